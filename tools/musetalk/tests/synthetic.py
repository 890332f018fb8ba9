"""Folders of weights in the official formats, small and random: what an export is tested with.

Each function writes one network's files below a `models` folder, as the published ones are: the same file
names, layouts of pickles, key names and nesting. It returns the library's module with the weights that it
wrote.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import sys
import types
from pathlib import Path
from typing import Any, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from musetalk.formats import ExportOptions, export_file
from musetalk.networks import Network, RtmPoseSizes, landmarks_network
from musetalk.networks.random import random_unet, random_vae
from musetalk.networks.random_faces import (
    random_face_detector,
    random_face_parsing,
    random_landmarks,
)
from musetalk.official import OLD_ATTENTION
from musetalk.presets import PRESETS

NANO = PRESETS["nano"]
#: Of random bundles, where the weights are known to give usable values in half precision, too.
SEED = 20240401


def write_models(root: Path) -> dict[str, nn.Module]:
    """All networks but DWPose's ONNX file."""
    return {
        "unet": write_unet(root / "musetalkV15" / "unet.pth"),
        "vae": write_vae(root / "sd-vae"),
        "whisper": write_whisper(root / "whisper"),
        "taesd": write_taesd(root / "taesd" / "taesd_decoder.pth"),
        "face_parsing": write_bisenet(root / "face-parse-bisent" / "79999_iter.pth"),
        "landmarks": write_pose(root / "dwpose" / "dw-ll_ucoco_384.pth"),
        "face_detector": write_s3fd(root / "s3fd-619a316812.pth"),
    }


def write_unet(path: Path, seed: int = 1) -> nn.Module:
    """A zip pickle of an `OrderedDict`, and `musetalk.json` beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unet = random_unet(NANO, seed).eval()
    save(unet.state_dict(), path)
    head = {"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.6.0.dev0"}
    write_json(path.parent / "musetalk.json", head | NANO.unet_config())
    return unet


def write_vae(folder: Path, old_names: bool = True, safetensors: bool = False) -> nn.Module:
    """The VAE with the attention names of 2022 or of today; its configuration has no scaling factor, as
    published."""
    folder.mkdir(parents=True, exist_ok=True)
    vae = random_vae(NANO, 2).eval()
    state = vae.state_dict()
    if old_names:
        old = {new: name for name, new in OLD_ATTENTION.items()}
        for key in [key for key in state if ".attentions." in key]:
            for new, name in old.items():
                if f".{new}." in key:
                    state[key.replace(f".{new}.", f".{name}.")] = state.pop(key)
    save(state, folder / f"diffusion_pytorch_model.{'safetensors' if safetensors else 'bin'}")
    config = {key: value for key, value in NANO.vae_config().items() if key != "scaling_factor"}
    write_json(
        folder / "config.json", {"_class_name": "AutoencoderKL", "_diffusers_version": "0.4.2"} | config
    )
    return vae


def write_whisper(folder: Path, safetensors: bool = False) -> nn.Module:
    """A whole model, decoder and all, with the published width; returns its encoder."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"encoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "decoder_layers": 1}
    config = WhisperConfig(
        **sizes, vocab_size=32, pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0
    )
    torch.manual_seed(3)
    model = WhisperForConditionalGeneration(config).eval()
    for layer in model.modules():
        if isinstance(layer, (nn.Linear, nn.Conv1d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    state = model.state_dict()
    if safetensors:
        state.pop("proj_out.weight")  # Shares memory with the token embedding, and is left out of such files.
        save(state, folder / "model.safetensors")
    else:
        save(state, folder / "pytorch_model.bin")
    write_json(folder / "config.json", config.to_dict())
    mel = {"feature_size": 80, "sampling_rate": 16000, "hop_length": 160, "n_fft": 400, "chunk_length": 30}
    write_json(folder / "preprocessor_config.json", mel)
    return model.model.encoder


def write_taesd(path: Path) -> nn.Module:
    """The authors' file of the decoder: layers numbered from the clamp on, which has no weights."""
    from diffusers import AutoencoderTiny

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(4)
    taesd = AutoencoderTiny(**NANO.taesd_config()).eval()
    state = {}
    for key, value in taesd.decoder.state_dict().items():
        _, number, rest = key.split(".", 2)
        state[f"{int(number) + 1}.{rest}"] = value
    save(state, path)
    return taesd


def write_bisenet(path: Path) -> nn.Module:
    """A pickle of the layout before PyTorch 1.6."""
    return write_old(random_face_parsing(NANO, SEED), path)


def write_s3fd(path: Path) -> nn.Module:
    """A pickle of the layout before PyTorch 1.6."""
    return write_old(random_face_detector(NANO, SEED), path)


def write_old(network: Network, path: Path) -> nn.Module:
    """Writes the weights of `network` in the old layout, under their published names; returns the module."""
    path.parent.mkdir(parents=True, exist_ok=True)
    module = network.checkpoint or network.module
    save(module.state_dict(), path, old_layout=True)
    return module


def write_pose(path: Path) -> nn.Module:
    """A checkpoint of mmengine: weights below `state_dict`, beside a log of its own classes and the
    optimiser's state."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = RtmPoseSizes(channels=(4, 4, 4, 4, 4), blocks=(1, 2, 1, 1), hidden=8)
    pose = random_landmarks(dataclasses.replace(NANO, pose=sizes), SEED).checkpoint
    torch.save(
        {
            "meta": {"epoch": 210, "dataset_meta": {"classes": ("person",)}},
            "state_dict": collections.OrderedDict(pose.state_dict()),
            "message_hub": {
                "log_scalars": {"train/loss": history_buffer()},
                "runtime_info": {"lr": np.float64(1e-3)},
            },
            "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}},
        },
        path,
    )
    return pose


def history_buffer() -> Any:
    """An object that pickles as `mmengine.logging.HistoryBuffer` does: arrays, and its own methods by
    name."""
    name = "mmengine.logging.history_buffer"
    module = sys.modules.get(name)
    if module is None:
        for parent in ("mmengine", "mmengine.logging", name):
            module = sys.modules[parent] = types.ModuleType(parent)

        class HistoryBuffer:
            def __init__(self) -> None:
                self._log_history = np.array([1.0, 0.5])
                self._count_history = np.array([1, 1])
                self._statistics_methods = {"mean": HistoryBuffer.mean}

            def mean(self) -> float:
                return float(self._log_history.mean())

        HistoryBuffer.__module__ = HistoryBuffer.mean.__module__ = name
        HistoryBuffer.__qualname__, HistoryBuffer.mean.__qualname__ = "HistoryBuffer", "HistoryBuffer.mean"
        module.HistoryBuffer = HistoryBuffer
    return module.HistoryBuffer()


def write_pose_onnx(path: Path, pose: nn.Module, names: Mapping[str, str], batch: int | None) -> None:
    """`pose` as an ONNX file with other names for its ports, and with a batch of fixed size, or of any."""
    import onnx

    path.parent.mkdir(parents=True, exist_ok=True)
    export_file(landmarks_network(pose), "onnx", path, ExportOptions())
    model = onnx.load(str(path))
    graph = model.graph
    for value in (*graph.input, *graph.output):
        if batch:
            value.type.tensor_type.shape.dim[0].dim_value = batch
        for node in graph.node:
            for ends in (node.input, node.output):
                for index, name in enumerate(ends):
                    if name == value.name:
                        ends[index] = names.get(name, name)
        value.name = names.get(value.name, value.name)
    onnx.save_model(model, str(path))


def save(state: Mapping[str, Tensor], path: Path, old_layout: bool = False) -> None:
    """Writes tensors in the format that the suffix names."""
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file({key: value.contiguous() for key, value in state.items()}, str(path))
    else:
        torch.save(collections.OrderedDict(state), path, _use_new_zipfile_serialization=not old_layout)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object."""
    path.write_text(json.dumps(content, indent=2) + "\n")
