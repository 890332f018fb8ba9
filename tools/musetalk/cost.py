"""What one run of a network costs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .networks import Network


def cost_of(network: Network, example: tuple[Tensor, ...]) -> dict[str, Any]:
    """Count weights and multiply-adds (two FLOPs each) for one batch item.

    Attention runs in its plain form meanwhile: the counter does not know the fused CPU kernel.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network.module(*example)
    return {
        "parameters": sum(p.numel() for p in network.module.parameters()),
        "gflops": round(counter.get_total_flops() / example[0].shape[0] / 1e9, 4),
    }
