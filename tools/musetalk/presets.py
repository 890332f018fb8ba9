"""Sizes of the random-weight networks: the kinds of layers and all interfaces are those of the published
ones."""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping

from .networks.interface import (
    FEATURE_DIM,
    HIDDEN_STATES,
    IMAGE_SIZE,
    LATENT_CHANNELS,
    MEL_BINS,
    MEL_FRAMES,
    SCALING_FACTOR,
)
from .networks.rtmpose import RtmPoseSizes


@dataclasses.dataclass(frozen=True)
class Preset:
    """Sizes of one member of the family; the kinds of layers never vary."""

    unet_channels: tuple[int, int, int, int]
    unet_heads: int
    unet_groups: int
    vae_channels: tuple[int, int, int, int]
    vae_groups: int
    whisper_width: int
    whisper_heads: int
    whisper_ffn: int
    taesd_width: int
    parsing_width: int
    pose: RtmPoseSizes
    detector_width: int
    layers_per_block: int = 2

    def configs(self) -> dict[str, dict[str, Any]]:
        """The configuration of each library model, as ``manifest.json`` records it."""
        return {
            "unet": self.unet_config(),
            "vae": self.vae_config(),
            "whisper": self.whisper_config(),
            "taesd": self.taesd_config(),
            "face_parsing": {"width": self.parsing_width},
            "landmarks": dataclasses.asdict(self.pose),
            "face_detector": {"width": self.detector_width},
        }

    def unet_config(self) -> dict[str, Any]:
        """Keyword arguments of ``diffusers.UNet2DConditionModel``."""
        return {
            "sample_size": 64,
            "in_channels": 2 * LATENT_CHANNELS,
            "out_channels": LATENT_CHANNELS,
            "center_input_sample": False,
            "flip_sin_to_cos": True,
            "freq_shift": 0,
            "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
            "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
            "block_out_channels": list(self.unet_channels),
            "layers_per_block": self.layers_per_block,
            "downsample_padding": 1,
            "mid_block_scale_factor": 1,
            "act_fn": "silu",
            "norm_num_groups": self.unet_groups,
            "norm_eps": 1e-5,
            "cross_attention_dim": FEATURE_DIM,
            # diffusers reads this historical name as the number of heads.
            "attention_head_dim": self.unet_heads,
        }

    def vae_config(self) -> dict[str, Any]:
        """Keyword arguments of ``diffusers.AutoencoderKL``."""
        return {
            "in_channels": 3,
            "out_channels": 3,
            "latent_channels": LATENT_CHANNELS,
            "down_block_types": ["DownEncoderBlock2D"] * 4,
            "up_block_types": ["UpDecoderBlock2D"] * 4,
            "block_out_channels": list(self.vae_channels),
            "layers_per_block": self.layers_per_block,
            "act_fn": "silu",
            "norm_num_groups": self.vae_groups,
            "sample_size": IMAGE_SIZE,
            "scaling_factor": SCALING_FACTOR,
        }

    def whisper_config(self) -> dict[str, Any]:
        """Keyword arguments of ``transformers.WhisperConfig`` (encoder part)."""
        return {
            "num_mel_bins": MEL_BINS,
            "max_source_positions": MEL_FRAMES // 2,
            "d_model": self.whisper_width,
            "encoder_layers": HIDDEN_STATES - 1,
            "encoder_attention_heads": self.whisper_heads,
            "encoder_ffn_dim": self.whisper_ffn,
            "activation_function": "gelu",
        }

    def taesd_config(self) -> dict[str, Any]:
        """Keyword arguments of ``diffusers.AutoencoderTiny``; the published ones are its defaults."""
        widths = [self.taesd_width] * 4
        return {"encoder_block_out_channels": widths, "decoder_block_out_channels": widths}


PRESETS: Mapping[str, Preset] = {
    # Half the depth of the others, for real-time tests on a CPU core.
    "nano": Preset(
        unet_channels=(8, 8, 8, 8),
        unet_heads=1,
        unet_groups=4,
        vae_channels=(4, 8, 8, 8),
        vae_groups=4,
        whisper_width=16,
        whisper_heads=1,
        whisper_ffn=32,
        taesd_width=4,
        parsing_width=2,
        pose=RtmPoseSizes(channels=(4, 4, 4, 4, 4), blocks=(1, 1, 1, 1), hidden=8),
        detector_width=1,
        layers_per_block=1,
    ),
    # About half a million weights altogether, for unit and CI tests.
    "tiny": Preset(
        unet_channels=(8, 16, 16, 16),
        unet_heads=2,
        unet_groups=4,
        vae_channels=(8, 16, 16, 16),
        vae_groups=4,
        whisper_width=32,
        whisper_heads=2,
        whisper_ffn=64,
        taesd_width=8,
        parsing_width=4,
        pose=RtmPoseSizes(channels=(4, 4, 4, 6, 4), hidden=8),
        detector_width=2,
    ),
    # Some tens of millions, for throughput smoke tests on a CPU.
    "small": Preset(
        unet_channels=(64, 128, 128, 128),
        unet_heads=8,
        unet_groups=32,
        vae_channels=(32, 64, 64, 64),
        vae_groups=32,
        whisper_width=128,
        whisper_heads=4,
        whisper_ffn=512,
        taesd_width=32,
        parsing_width=16,
        pose=RtmPoseSizes(channels=(16, 32, 64, 128, 256), hidden=64),
        detector_width=8,
    ),
    # The published configuration: 850 M weights in the UNet.
    "full": Preset(
        unet_channels=(320, 640, 1280, 1280),
        unet_heads=8,
        unet_groups=32,
        vae_channels=(128, 256, 512, 512),
        vae_groups=32,
        whisper_width=FEATURE_DIM,
        whisper_heads=6,
        whisper_ffn=1536,
        taesd_width=64,
        parsing_width=64,
        pose=RtmPoseSizes(),
        detector_width=64,
    ),
}
