"""Batch norms folded into the convolutions before them: fewer tensors, fewer operations, the same
function."""

from __future__ import annotations

import copy
from typing import Callable, ClassVar, Mapping

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Foldable(nn.Module):
    """A module that tells which of its children are batch norms, and after which convolution each comes."""

    norms: ClassVar[Mapping[str, str]] = {"bn": "conv"}


class ConvBn(Foldable):
    """A convolution without bias, its batch norm, and an activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        activation: Callable[[Tensor], Tensor] = functional.relu,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.bn(self.conv(x)))


def fold_batch_norms(module: nn.Module) -> nn.Module:
    """A copy of ``module`` whose ``Foldable`` parts have no batch norm left."""
    folded = copy.deepcopy(module).eval()
    for part in folded.modules():
        if isinstance(part, Foldable):
            for norm, conv in part.norms.items():
                setattr(part, conv, fuse_conv_bn_eval(getattr(part, conv), getattr(part, norm)))
                setattr(part, norm, nn.Identity())
    return folded
