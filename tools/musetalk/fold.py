"""Folds the UNet's time embedding into its convolutions' biases.

MuseTalk runs one time step, 0, so what the embedding adds to each residual block is a constant vector, one
value a channel: `time_emb_proj(silu(time_embedding(sinusoids(0))))`, added after `conv1`. Added to the bias
of `conv1` instead, it saves the graph one linear layer and one addition a block; results differ by rounding
alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .networks.interface import UNET_TIMESTEP


def fold_time_embedding(unet: nn.Module) -> int:
    """Folds it into `unet`, a `diffusers.UNet2DConditionModel`, in place; returns how many residual blocks it
    had."""
    from diffusers.models.resnet import ResnetBlock2D

    blocks = [
        module for module in unet.modules() if isinstance(module, ResnetBlock2D) and module.time_emb_proj
    ]
    weight = unet.conv_in.weight
    with torch.no_grad():
        step = torch.tensor([UNET_TIMESTEP], device=weight.device)
        embedding = unet.time_embedding(unet.time_proj(step).to(weight.dtype))
        for block in blocks:
            if block.time_embedding_norm != "default":
                raise ValueError(f"time embedding of kind {block.time_embedding_norm} cannot be folded")
            added = block.time_emb_proj(block.nonlinearity(embedding))[0]
            block.conv1.bias = nn.Parameter(block.conv1.bias + added, requires_grad=False)
            block.time_emb_proj = None
    unet.time_embedding = NoTimeEmbedding()
    return len(blocks)


class NoTimeEmbedding(nn.Module):
    """Stands where the embedding was. Blocks without a projection take `None` for nothing to add."""

    def forward(self, _sinusoids: Tensor, _condition: Tensor | None = None) -> None:
        return None
