"""TAESD's decoder: the small one that can stand in for the VAE's, with the same ports."""

from __future__ import annotations

from torch import Tensor, nn

from .interface import Network, Port, portable_class
from .unet import latent_shape
from .vae import IMAGE_SAMPLE, IMAGE_SHAPE, decoder_example


def taesd_decoder_network(taesd: nn.Module) -> Network:
    """The network ``taesd_decoder`` around a ``diffusers.AutoencoderTiny``."""
    ports = [Port("latent", latent_shape())], [Port("image", IMAGE_SHAPE)]
    return Network(
        "taesd_decoder", TinyLatentDecoder(taesd), *ports, decoder_example, samples={"image": IMAGE_SAMPLE}
    )


@portable_class
class TinyLatentDecoder(nn.Module):
    """Map a scaled latent to RGB in [0, 1]. TAESD takes latents as they are scaled, without a division."""

    def __init__(self, taesd: nn.Module) -> None:
        super().__init__()
        self.decoder = taesd.decoder

    def forward(self, latents: Tensor) -> Tensor:
        # The library moves the decoder's own 0…1 to -1…1.
        return (self.decoder(latents) * 0.5 + 0.5).clamp(0.0, 1.0)
