"""MuseTalk's networks from the official files. Sizes come from the files; what the pipeline fixes is insisted
on.

In: a `Models` folder. Out: library modules with their weights, and the sizes that they were built with. A
network is built without memory for its weights first, so that names and shapes are compared before anything
is allocated.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any, Callable, Mapping

import torch
from torch import Tensor, nn

from . import sources
from .checkpoint import CheckpointError, first_line, fit, read
from .networks import BiSeNet, RtmPose, RtmPoseSizes, S3fd
from .networks import interface as sizes
from .sources import Models

#: What the pipeline around each network takes for granted.
UNET_FIXED = {
    "in_channels": 2 * sizes.LATENT_CHANNELS,
    "out_channels": sizes.LATENT_CHANNELS,
    "cross_attention_dim": sizes.FEATURE_DIM,
}
VAE_FIXED = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": sizes.LATENT_CHANNELS,
    "scaling_factor": sizes.SCALING_FACTOR,
    "shift_factor": None,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
}
WHISPER_FIXED = {
    "d_model": sizes.FEATURE_DIM,
    "encoder_layers": sizes.HIDDEN_STATES - 1,
    "num_mel_bins": sizes.MEL_BINS,
    "max_source_positions": sizes.MEL_FRAMES // 2,
    "activation_function": "gelu",
    "scale_embedding": False,
}
MEL_FIXED = {"feature_size": sizes.MEL_BINS, "sampling_rate": 16_000, "hop_length": 160, "n_fft": 400}
#: The encoder's part of `whisper/config.json`; the rest of the file is about the decoder.
WHISPER_SIZES = (*WHISPER_FIXED, "encoder_attention_heads", "encoder_ffn_dim")
#: Leaves of the VAE's attention, as the file of sd-vae-ft-mse calls them, and as diffusers does since 2023.
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def load_unet(models: Models) -> tuple[nn.Module, dict[str, Any]]:
    """A `diffusers.UNet2DConditionModel`, and its configuration."""
    from diffusers import UNet2DConditionModel

    version = models.version
    path, weights = models.require(sources.UNET_CONFIG[version], sources.UNET_WEIGHTS[version])
    config = read_config(path)
    if (config.get("in_channels"), config.get("out_channels")) == (32, 16):
        raise CheckpointError(
            f"{path}: has 32 channels in and 16 out, where MuseTalk has 8 and 4: this is the wrong "
            "musetalk.json that was published for some days in March 2025; fetch it again"
        )
    insist(path, known(path, config, UNet2DConditionModel), UNET_FIXED)
    unet = build(path, lambda: UNet2DConditionModel(**config))
    fit(unet, read(weights), weights)
    return unet, config


def load_vae(models: Models) -> tuple[nn.Module, dict[str, Any]]:
    """A `diffusers.AutoencoderKL`, and its configuration."""
    from diffusers import AutoencoderKL

    path, weights = models.require(sources.VAE_CONFIG, sources.VAE_WEIGHTS)
    config = read_config(path)
    insist(path, known(path, config, AutoencoderKL), VAE_FIXED)
    if len(config.get("block_out_channels", ())) != 4:
        raise CheckpointError(
            f"{path}: block_out_channels has to list 4 widths, to divide a picture's side by 8"
        )
    vae = build(path, lambda: AutoencoderKL(**config))
    fit(vae, with_new_attention_names(read(weights), weights), weights)
    return vae, config


def load_whisper(models: Models) -> tuple[nn.Module, dict[str, Any]]:
    """The encoder of a `transformers.WhisperModel`, and its configuration."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    path, weights, mel = models.require(sources.WHISPER_CONFIG, sources.WHISPER_WEIGHTS, sources.WHISPER_MEL)
    insist(mel, read_config(mel), MEL_FIXED)
    raw = read_config(path)
    config = {key: raw.get(key, getattr(WhisperConfig(), key)) for key in WHISPER_SIZES}
    insist(path, config, WHISPER_FIXED)

    def encoder() -> nn.Module:
        library = WhisperConfig(**config)
        library._attn_implementation = "sdpa"
        return WhisperEncoder(library)

    module = build(path, encoder)
    fit(module, below(read(weights), ("model.encoder.", "encoder."), weights), weights)
    return module, config


def load_bisenet(path: Path) -> tuple[BiSeNet, dict[str, Any]]:
    """Face parsing from `79999_iter.pth`, and its width."""
    state = read(path)
    config = {"width": outputs(state, "cp.resnet.conv1", path)}
    module = build(path, lambda: BiSeNet(**config))
    fit(module, state, path)
    return module, config


def load_s3fd(path: Path) -> tuple[S3fd, dict[str, Any]]:
    """The face detector from `s3fd-619a316812.pth`, and its width."""
    state = read(path)
    config = {"width": outputs(state, "conv1_1", path)}
    module = build(path, lambda: S3fd(**config))
    fit(module, state, path)
    return module, config


def load_pose(path: Path) -> tuple[RtmPose, dict[str, Any]]:
    """The landmarks from `dw-ll_ucoco_384.pth`, and their sizes.

    The file is a checkpoint of its training, with a log and the optimiser's state; the weights lie in
    `state_dict`.
    """
    state = read(path, below="state_dict")
    # Mean and deviation of its pre-processing, which the pipeline has as constants.
    state = {key: value for key, value in state.items() if not key.startswith("data_preprocessor.")}
    stages = [f"backbone.stage{number}" for number in range(1, 5)]
    pose = RtmPoseSizes(
        channels=tuple(
            outputs(state, f"{part}.conv", path) for part in ("backbone.stem.2", *(f"{s}.0" for s in stages))
        ),
        blocks=tuple(
            len({m[0] for key in state if (m := re.match(rf"{s}\.\d+\.blocks\.\d+\.", key))}) for s in stages
        ),
        hidden=outputs(state, "head.mlp.1", path),
    )
    module = build(path, lambda: RtmPose(pose))
    fit(module, state, path)
    return module, {"channels": list(pose.channels), "blocks": list(pose.blocks), "hidden": pose.hidden}


def load_taesd(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """TAESD's decoder as the attribute `decoder` of a module, and its configuration.

    The authors' own file numbers its layers from a clamp on, which has no weights; diffusers' file, which has
    the encoder too, numbers them from the convolution after it.
    """
    from diffusers import AutoencoderTiny

    state = read(path)
    if any(key.startswith("decoder.") for key in state):
        state = below(state, ("decoder.",), path)
    else:
        state = {
            re.sub(r"^\d+", lambda n: f"layers.{int(n[0]) - 1}", key): value for key, value in state.items()
        }
    widths = [outputs(state, "layers.0", path)] * 4
    config = {"encoder_block_out_channels": widths, "decoder_block_out_channels": widths}
    decoder = build(path, lambda: AutoencoderTiny(**config).decoder)
    fit(decoder, state, path)
    return nn.ModuleDict({"decoder": decoder}), config


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object, less the keys that say who wrote it."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path}: no JSON: {first_line(error)}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: holds no JSON object")
    return {key: value for key, value in config.items() if not key.startswith("_")}


def known(path: Path, config: Mapping[str, Any], library: type[nn.Module]) -> dict[str, Any]:
    """`config` with the defaults of the library's class; it may have no other keys than the class."""
    parameters = inspect.signature(library.__init__).parameters
    if unknown := sorted(set(config) - set(parameters)):
        raise CheckpointError(f"{path}: has keys that {library.__name__} does not know: {', '.join(unknown)}")
    return {key: parameter.default for key, parameter in parameters.items()} | dict(config)


def insist(path: Path, config: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Refuses values that the pipeline was not written for."""
    for key, expected in fixed.items():
        if config.get(key) != expected:
            raise CheckpointError(
                f"{path}: {key} is {json.dumps(config.get(key))}, expected {json.dumps(expected)}"
            )


def build(path: Path, make: Callable[[], nn.Module]) -> Any:
    """The module that `make` makes, without memory for its weights; `path` is to blame when it cannot be
    made."""
    try:
        with torch.device("meta"):
            return make().eval()
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        ZeroDivisionError,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise CheckpointError(
            f"{path}: describes no network that can be built: {first_line(error)}"
        ) from error


def with_new_attention_names(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """`state` under the names of today, whichever of the two it has."""
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        head, _, leaf = key.rpartition(".")
        stem, _, name = head.rpartition(".")
        old = ".attentions." in key and name in OLD_ATTENTION
        new = f"{stem}.{OLD_ATTENTION[name]}.{leaf}" if old else key
        if new in renamed:
            raise CheckpointError(f"{path}: has {new} twice, under its old name and its new one")
        renamed[new] = value
    return renamed


def below(state: Mapping[str, Tensor], prefixes: tuple[str, ...], path: Path) -> dict[str, Tensor]:
    """The part of `state` below the first of `prefixes` that it has, without it."""
    for prefix in prefixes:
        part = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if part:
            return part
    raise CheckpointError(f"{path}: has no key that begins with {' or '.join(prefixes)}")


def outputs(state: Mapping[str, Tensor], layer: str, path: Path) -> int:
    """How many channels a layer gives: where no configuration comes with a file, its own layers tell."""
    weight = state.get(f"{layer}.weight")
    if weight is None or weight.dim() < 2:
        raise CheckpointError(f"{path}: lacks {layer}.weight, so this is another network's file")
    return int(weight.shape[0])
