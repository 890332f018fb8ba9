"""UNet, decoder and the conversion to packed 8-bit BGR in one graph: latents never leave the device."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .interface import IMAGE_SIZE, Network, Port, portable_class


def generator_network(unet: Network, decoder: Network) -> Network:
    """The network ``generator``: inputs of ``unet``, 8-bit frames as output."""
    frames = Port("frames", ("batch", IMAGE_SIZE, IMAGE_SIZE, 3), "u8")
    fused = FusedGenerator(unet.module, decoder.module)
    return Network("generator", fused, unet.inputs, [frames], unet.example)


def pack_bgr(rgb: Tensor) -> Tensor:
    """Convert planar RGB in [0, 1] to packed 8-bit BGR, rounding half to even."""
    levels = (rgb * 255.0).round().to(torch.uint8)
    return levels[:, [2, 1, 0]].permute(0, 2, 3, 1)


@portable_class
class FusedGenerator(nn.Module):
    """UNet, decoder and 8-bit conversion in one graph."""

    def __init__(self, unet: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.unet = unet
        self.decoder = decoder

    def forward(self, latents: Tensor, audio: Tensor) -> Tensor:
        rgb = self.decoder(self.unet(latents, audio))
        return pack_bgr(rgb)
