"""The UNet's single step: masked and whole latents plus audio features to a clean latent."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .interface import (
    AUDIO_TOKENS,
    FEATURE_DIM,
    LATENT_CHANNELS,
    LATENT_SIZE,
    UNET_TIMESTEP,
    Network,
    Port,
    portable_class,
)


def unet_network(unet: nn.Module, fold_time: bool = False) -> Network:
    """The network ``unet`` around a ``diffusers.UNet2DConditionModel``.

    With ``fold_time`` the sinusoids of the time step are a constant of the graph; ``unet`` is changed.
    Otherwise they are computed in the graph, on the device where it was traced, which binds a TorchScript
    file to that device.
    """
    module = OneStepUNet(unet)
    if fold_time:
        module.fold_time()
    return Network("unet", module, unet_inputs(), [Port("latent", latent_shape())], unet_example)


def unet_inputs() -> list[Port]:
    """``latents`` (masked, whole; scaled) and ``audio``, plain Whisper features."""
    return [
        Port("latents", ("batch", 2 * LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE)),
        Port("audio", ("batch", AUDIO_TOKENS, FEATURE_DIM)),
    ]


def latent_shape() -> tuple[int | str, ...]:
    """Shape of a batch of latents."""
    return ("batch", LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE)


def unet_example(count: int, rng: torch.Generator) -> tuple[Tensor, ...]:
    """Latents and audio for a batch of ``count``, standard normal."""
    return (
        torch.randn(count, 2 * LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE, generator=rng),
        torch.randn(count, AUDIO_TOKENS, FEATURE_DIM, generator=rng),
    )


def sinusoidal_positions(length: int, width: int) -> Tensor:
    """The position code ``[1, length, width]`` that is added to audio tokens.

    Even columns hold sines and odd columns cosines of geometrically spaced frequencies, the arrangement of
    "Attention is all you need".
    """
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10000.0) / width))
    angle = torch.arange(length, dtype=torch.float32)[:, None] * rate[None, :]
    code = torch.stack((angle.sin(), angle.cos()), dim=-1)
    return code.reshape(1, length, width)


@portable_class
class OneStepUNet(nn.Module):
    """Map masked + reference latents and audio features to a clean latent."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet
        self.register_buffer("positions", sinusoidal_positions(AUDIO_TOKENS, FEATURE_DIM), persistent=False)
        self.register_buffer("step", None, persistent=False)

    def fold_time(self) -> None:
        """Make the sinusoids of the time step a constant, and the step itself one that lies on the device: a
        number would be copied there in every call, which a CUDA graph cannot record."""
        device = next(self.unet.parameters()).device
        if not isinstance(self.unet.time_proj, ConstantSinusoids):
            self.unet.time_proj = ConstantSinusoids(self.unet.time_proj, device)
        self.step = torch.tensor([UNET_TIMESTEP], device=device)

    def forward(self, latents: Tensor, audio: Tensor) -> Tensor:
        tokens = audio + self.positions.to(audio.dtype)
        step = UNET_TIMESTEP if self.step is None else self.step
        return self.unet(latents, step, encoder_hidden_states=tokens, return_dict=False)[0]


@portable_class
class ConstantSinusoids(nn.Module):
    """The sinusoids ``[1, channels]`` of the one time step, whatever it is asked for."""

    def __init__(self, projection: nn.Module, device: torch.device) -> None:
        super().__init__()
        sinusoids = projection(torch.tensor([UNET_TIMESTEP], device=device))
        self.register_buffer("sinusoids", sinusoids, persistent=False)

    def forward(self, timesteps: Tensor) -> Tensor:
        return self.sinusoids
