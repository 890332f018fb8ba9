"""The networks of a bundle. Each ``…_network`` function takes modules with loaded weights and gives a
``Network``."""

from .generator import generator_network, pack_bgr
from .interface import MODEL_NAMES, Network, Port, half
from .unet import unet_network
from .vae import vae_decoder_network, vae_encoder_network
from .whisper import whisper_network

__all__ = [
    "MODEL_NAMES",
    "Network",
    "Port",
    "generator_network",
    "half",
    "pack_bgr",
    "unet_network",
    "vae_decoder_network",
    "vae_encoder_network",
    "whisper_network",
]
