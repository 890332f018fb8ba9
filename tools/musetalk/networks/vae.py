"""The two halves of the VAE, with scaling factor and value range inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .interface import IMAGE_SIZE, LATENT_CHANNELS, LATENT_SIZE, SCALING_FACTOR, Network, Port, portable_class
from .samples import Pictures, Sample
from .unet import latent_shape

#: Shape of a batch of faces.
IMAGE_SHAPE: tuple[int | str, ...] = ("batch", 3, IMAGE_SIZE, IMAGE_SIZE)
#: What a small golden keeps of them.
IMAGE_SAMPLE = Sample((1, 1, 4, 4))


def vae_decoder_network(vae: nn.Module) -> Network:
    """The network ``vae_decoder`` around a ``diffusers.AutoencoderKL``."""
    ports = [Port("latent", latent_shape())], [Port("image", IMAGE_SHAPE)]
    return Network(
        "vae_decoder", LatentDecoder(vae), *ports, decoder_example, samples={"image": IMAGE_SAMPLE}
    )


def vae_encoder_network(vae: nn.Module) -> Network:
    """The network ``vae_encoder`` around a ``diffusers.AutoencoderKL``."""
    outputs = [Port("latent_mean", latent_shape()), Port("latent_std", latent_shape())]
    inputs = [Port("image", IMAGE_SHAPE)]
    pictures = Pictures("vae_encoder.image", 2.0**-7, lambda count: (IMAGE_SIZE, IMAGE_SIZE))
    return Network("vae_encoder", LatentEncoder(vae), inputs, outputs, encoder_example, pictures=pictures)


def decoder_example(count: int, rng: torch.Generator) -> tuple[Tensor, ...]:
    """A batch of latents, standard normal."""
    return (torch.randn(count, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE, generator=rng),)


def encoder_example(count: int, rng: torch.Generator) -> tuple[Tensor, ...]:
    """A batch of images, uniform in -1…1."""
    return (torch.rand(count, 3, IMAGE_SIZE, IMAGE_SIZE, generator=rng) * 2.0 - 1.0,)


@portable_class
class LatentDecoder(nn.Module):
    """Map a scaled latent to RGB in [0, 1]."""

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.post_quant_conv = vae.post_quant_conv
        self.decoder = vae.decoder

    def forward(self, latents: Tensor) -> Tensor:
        image = self.decoder(self.post_quant_conv(latents / SCALING_FACTOR))
        return (image * 0.5 + 0.5).clamp(0.0, 1.0)


@portable_class
class LatentEncoder(nn.Module):
    """Map RGB in [-1, 1] to mean and deviation of the scaled latent."""

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.encoder = vae.encoder
        self.quant_conv = vae.quant_conv

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.quant_conv(self.encoder(image)).chunk(2, dim=1)
        deviation = torch.exp(0.5 * log_variance.clamp(-30.0, 20.0))
        return SCALING_FACTOR * mean, SCALING_FACTOR * deviation
