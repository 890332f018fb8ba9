"""The networks of a bundle. Each ``…_network`` function takes modules with loaded weights and gives a
``Network``."""

from .bisenet import BiSeNet, face_parsing_network
from .generator import generator_network, pack_bgr
from .interface import MODEL_NAMES, Network, Port
from .precision import half
from .rtmpose import RtmPose, RtmPoseSizes, landmarks_network
from .s3fd import S3fd, face_detector_network
from .taesd import taesd_decoder_network
from .unet import unet_network
from .vae import vae_decoder_network, vae_encoder_network
from .whisper import whisper_network

__all__ = [
    "MODEL_NAMES",
    "BiSeNet",
    "Network",
    "Port",
    "RtmPose",
    "RtmPoseSizes",
    "S3fd",
    "face_detector_network",
    "face_parsing_network",
    "generator_network",
    "half",
    "landmarks_network",
    "pack_bgr",
    "taesd_decoder_network",
    "unet_network",
    "vae_decoder_network",
    "vae_encoder_network",
    "whisper_network",
]
