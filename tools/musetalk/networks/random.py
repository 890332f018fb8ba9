"""Networks with weights drawn from a seed. Each network has its own, so that a choice of networks changes
none."""

from __future__ import annotations

import math
from typing import Callable, Mapping, Sequence

import torch
from torch import nn

from ..presets import Preset
from .generator import generator_network
from .interface import Network
from .random_faces import random_face_detector, random_face_parsing, random_landmarks, random_taesd
from .unet import unet_network
from .vae import vae_decoder_network, vae_encoder_network
from .whisper import whisper_network


def build_random_networks(
    preset: Preset, seed: int, names: Sequence[str], fold_time: bool = False, device: str = "cpu"
) -> dict[str, Network]:
    """The networks ``names`` of ``preset``, and ``generator`` too where it is named, with weights on
    ``device``.

    ``fold_time`` as in :func:`unet_network`.
    """
    with torch.device(device):
        vae = random_vae(preset, seed) if {"vae_decoder", "vae_encoder", "generator"} & set(names) else None
        makers: Mapping[str, Callable[[], Network]] = {
            "unet": lambda: unet_network(random_unet(preset, seed), fold_time),
            "vae_decoder": lambda: vae_decoder_network(vae),
            "vae_encoder": lambda: vae_encoder_network(vae),
            "whisper_encoder": lambda: random_whisper(preset, seed),
            "taesd_decoder": lambda: random_taesd(preset, seed),
            "face_parsing": lambda: random_face_parsing(preset, seed),
            "landmarks": lambda: random_landmarks(preset, seed),
            "face_detector": lambda: random_face_detector(preset, seed),
        }
        networks = {name: makers[name]() for name in names if name != "generator"}
        if "generator" in names:
            parts = [networks.get(name) or makers[name]() for name in ("unet", "vae_decoder")]
            networks["generator"] = generator_network(*parts)
    return networks


def drawn_on(device: str) -> dict[str, str]:
    """What a manifest tells of where weights were drawn: from the same seed, a GPU draws others than a CPU,
    which is what is meant where nothing is told."""
    kind = torch.device(device).type
    return {} if kind == "cpu" else {"drawn_on": kind}


def random_unet(preset: Preset, seed: int) -> nn.Module:
    """A ``UNet2DConditionModel`` as its library initialises it."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    return UNet2DConditionModel(**preset.unet_config())


def random_vae(preset: Preset, seed: int) -> nn.Module:
    """An ``AutoencoderKL`` as its library initialises it."""
    from diffusers import AutoencoderKL

    torch.manual_seed(seed + 1)
    return AutoencoderKL(**preset.vae_config())


def random_whisper(preset: Preset, seed: int) -> Network:
    """A Whisper encoder whose states depend on every weight."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    torch.manual_seed(seed + 2)
    config = WhisperConfig(**preset.whisper_config())
    config._attn_implementation = "sdpa"
    network = whisper_network(WhisperEncoder(config), preset.whisper_width)
    spread_out_weights(network.module)
    return network


def spread_out_weights(module: nn.Module) -> None:
    """Redraw weight matrices with unit gain.

    ``transformers`` starts from a deviation of 0.02, which leaves the hidden states of a narrow encoder
    almost equal to its position table. Golden tensors made from that would not notice a wrong weight.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv1d)):
            nn.init.normal_(layer.weight, std=1.0 / math.sqrt(layer.weight[0].numel()))
