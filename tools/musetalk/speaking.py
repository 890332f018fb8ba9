"""The networks that speak, UNet and decoder, with weights of either kind.

In: official folders, or a preset and a seed. Out: both networks, and where their weights came from.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from . import official, sources
from .fold import fold_time_embedding
from .networks import Network, taesd_decoder_network, unet_network, vae_decoder_network
from .networks.random import random_unet, random_vae
from .networks.random_faces import random_taesd
from .presets import PRESETS
from .sources import Models

#: What can make pictures of latents, the default first.
DECODERS = ("sd-vae", "taesd")


@dataclasses.dataclass
class Speaking:
    """UNet and decoder with their weights, and where those came from."""

    unet: Network
    decoder: Network
    #: As a bundle's manifest has it: ``preset`` and ``seed``, or size and SHA-256 of each official file.
    weights: dict[str, Any]

    def place(self, device: str, dtype: torch.dtype, channels_last: bool) -> Speaking:
        """Moves both to a device, a precision and a layout of convolution weights. Returns itself."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        for network in (self.unet, self.decoder):
            network.module.to(device=device, dtype=dtype, memory_format=layout)
        return self


def random_speaking(preset: str, seed: int, decoder: str, fold_time: bool = False) -> Speaking:
    """Both with random weights: those of a random bundle of the same preset and seed."""
    unet = speaking_unet(random_unet(PRESETS[preset], seed), fold_time)
    return Speaking(unet, random_decoder(preset, seed, decoder), {"preset": preset, "seed": seed})


def random_decoder(preset: str, seed: int, decoder: str) -> Network:
    """One of ``DECODERS`` with random weights."""
    if decoder == "taesd":
        return random_taesd(PRESETS[preset], seed)
    return vae_decoder_network(random_vae(PRESETS[preset], seed))


def official_speaking(models: Models, decoder: str, fold_time: bool = False) -> Speaking:
    """Both with the weights of the official files."""
    unet, _ = official.load_unet(models)
    if decoder == "taesd":
        (path,) = models.require(sources.TAESD)
        pictures = taesd_decoder_network(official.load_taesd(path)[0])
    else:
        pictures = vae_decoder_network(official.load_vae(models)[0])
    return Speaking(speaking_unet(unet, fold_time), pictures, models.hashes())


def speaking_unet(unet: nn.Module, fold_time: bool) -> Network:
    """The UNet of a ``diffusers.UNet2DConditionModel``, which is changed: no graph computes the time step's
    sinusoids.

    With ``fold_time`` nothing is left of the time embedding; otherwise they are a constant.
    """
    if fold_time:
        fold_time_embedding(unet)
    return unet_network(unet, fold_time=not fold_time)
