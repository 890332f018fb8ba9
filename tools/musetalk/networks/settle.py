"""Gives random weights the gains of trained ones: batch norms that saw data, layers that neither fade nor
grow.

In: a network with weights drawn from a seed, and one input. The statistics are rounded to two digits, so that
the weights are the same on machines whose arithmetic differs in the last bit.
"""

from __future__ import annotations

from typing import Callable, Mapping, NamedTuple, Sequence

import torch
from torch import Tensor, nn

from .batch_norm import Foldable


class Target(NamedTuple):
    """What a layer's outputs shall look like."""

    #: Standard deviation over everything.
    deviation: float = 1.0
    #: Mean of each channel; ``None`` leaves the layer's bias alone. Needs a bias.
    means: Sequence[float] | None = None


def settle(module: nn.Module, inputs: Tensor, targets: Mapping[str, Target]) -> None:
    """Scale the layers of ``module``, in the order in which they run on ``inputs``.

    Batch norms take mean and variance of what reaches them. Other convolutions and linear layers get the
    outputs of ``targets``, by their names, or unit deviation.
    """
    normed = {
        getattr(part, conv)
        for part in module.modules()
        if isinstance(part, Foldable)
        for conv in part.norms.values()
    }
    hooks = []
    for name, layer in module.named_modules():
        if isinstance(layer, nn.BatchNorm2d):
            hooks.append(layer.register_forward_pre_hook(take_statistics))
        elif isinstance(layer, (nn.Conv2d, nn.Linear)) and layer not in normed:
            hooks.append(layer.register_forward_hook(scaler(targets.get(name, Target()))))
    with torch.no_grad():
        module.eval()(inputs)
    for hook in hooks:
        hook.remove()


def take_statistics(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
    """Set the running statistics of ``norm`` to those of its input."""
    (x,) = inputs
    norm.running_mean.copy_(rounded(x.mean((0, 2, 3))))
    # A map of one cell, a mean over the picture, has no variance.
    if x.shape[2] * x.shape[3] > 1:
        norm.running_var.copy_(rounded(x.var((0, 2, 3)).clamp(min=1e-2)))


def scaler(target: Target) -> Callable[..., Tensor]:
    """A hook that scales a layer so that its outputs are as ``target`` says."""

    def scale(layer: nn.Conv2d | nn.Linear, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        layer.weight.mul_(rounded(target.deviation / output.std().clamp(min=1e-6)))
        if target.means is not None:
            wanted = torch.tensor(target.means, device=output.device)
            layer.bias.add_(wanted - rounded(layer.forward(*inputs).mean((0, 2, 3))))
        return layer.forward(*inputs)

    return scale


def rounded(x: Tensor) -> Tensor:
    """``x`` to two significant digits."""
    scale = 10.0 ** (1 - x.abs().clamp(min=1e-9).log10().floor())
    return (x * scale).round() / scale
