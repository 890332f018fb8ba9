"""Golden tensors of each network, and the check of exported files against them.

In: a ``Network`` in fp32. Out: ``golden/<model>.safetensors`` with the inputs ``in.<port>`` and PyTorch's
outputs ``out.<port>``, and the largest difference of each file.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np
import torch
from safetensors.numpy import save_file as save_numpy_tensors
from torch import Tensor

from .networks import Network, pack_bgr
from .networks.interface import (
    AUDIO_TOKENS,
    FEATURE_DIM,
    FEATURES_PER_SECOND,
    LATENT_CHANNELS,
    LATENT_SIZE,
    MEL_BINS,
    MEL_FRAMES,
    WINDOW_STEPS,
)

#: Largest difference that passes, by precision, in units of the output's standard deviation where that is
#: above 1.
TOLERANCES = {"fp32": 2e-4, "fp16": 2e-2}


def golden_for(network: Network, batch: int, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Fixed inputs and the outputs PyTorch computes from them."""
    rng = torch.Generator().manual_seed(seed)
    inputs = list(network.example(batch, rng))
    return inputs, list(network.run(*inputs))


def named_golden(
    network: Network, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> dict[str, np.ndarray]:
    """The tensors of ``golden/<model>.safetensors``."""
    tensors = {f"in.{port.name}": tensor for port, tensor in zip(network.inputs, inputs)}
    tensors |= {f"out.{port.name}": tensor for port, tensor in zip(network.outputs, outputs)}
    return to_numpy(tensors)


def pipeline_golden(networks: Mapping[str, Network], seed: int, frames: int = 4) -> dict[str, np.ndarray]:
    """Run mel -> features -> windows -> UNet -> decoder once, end to end, for that many video frames.

    Window ``i`` of a 25 fps video starts at feature step ``2 i`` and spans ten steps; two feature steps of
    zeros per side frame are prepended, as MuseTalk does (left padding 2, right padding 2).
    """
    rng = torch.Generator().manual_seed(seed)
    fps = 25
    stride = FEATURES_PER_SECOND // fps
    mel = torch.randn(1, MEL_BINS, 2 * stride * frames, generator=rng)
    latents = torch.randn(frames, 2 * LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE, generator=rng)
    (features,) = networks["whisper_encoder"].run(mel)
    left = features.new_zeros(1, stride * 2, *features.shape[2:])
    right = features.new_zeros(1, stride * 6, *features.shape[2:])
    padded = torch.cat((left, features, right), dim=1)
    starts = [math.floor(i * FEATURES_PER_SECOND / fps) for i in range(frames)]
    windows = torch.cat([padded[:, s : s + WINDOW_STEPS] for s in starts])
    audio = windows.reshape(frames, AUDIO_TOKENS, FEATURE_DIM)
    (latent,) = networks["unet"].run(latents, audio)
    (rgb,) = networks["vae_decoder"].run(latent)
    return to_numpy(
        {"mel": mel, "latents": latents, "audio": audio, "latent": latent, "frames": pack_bgr(rgb)}
    )


def write_golden(folder: Path, name: str, tensors: Mapping[str, np.ndarray], npy: bool = False) -> list[Path]:
    """Write one golden set, and each tensor as ``.npy`` too where asked; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    save_numpy_tensors(dict(tensors), str(path))
    written = [path]
    if npy:
        for key, value in tensors.items():
            written.append(folder / f"{name}.{key}.npy")
            np.save(written[-1], value)
    return written


def to_numpy(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Tensors as C-ordered arrays."""
    return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in tensors.items()}


def check_file(path: Path, network: Network, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> float:
    """The largest absolute difference between what ``path`` computes and ``outputs``.

    A graph in half precision gets its inputs as f16; differences are those to the fp32 outputs.
    """
    if ".fp16." in path.name:
        inputs = [tensor.half() for tensor in inputs]
    if path.suffix == ".onnx":
        return check_onnx(path, network, inputs, outputs)
    return check_torchscript(path, inputs, outputs)


def check_onnx(path: Path, network: Network, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> float:
    """The largest absolute difference between ONNX Runtime on the CPU and ``outputs``."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {port.name: tensor.numpy() for port, tensor in zip(network.inputs, inputs)}
    return largest_difference(session.run([port.name for port in network.outputs], feed), outputs)


def check_torchscript(path: Path, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> float:
    """The largest absolute difference between the saved trace and ``outputs``."""
    with torch.no_grad():
        got = torch.jit.load(str(path))(*inputs)
    got = got if isinstance(got, tuple) else (got,)
    return largest_difference([tensor.numpy() for tensor in got], outputs)


def largest_difference(got: Sequence[np.ndarray], expected: Sequence[Tensor]) -> float:
    """The largest absolute difference over all outputs; NaN when one holds NaN."""
    worst = 0.0
    for a, b in zip(got, expected, strict=True):
        if a.shape != tuple(b.shape):
            raise ValueError(f"shape {a.shape} instead of {tuple(b.shape)}")
        difference = float(np.abs(a.astype(np.float64) - b.numpy().astype(np.float64)).max())
        worst = difference if not difference <= worst else worst
    return worst


def allowed_difference(precision: str, outputs: Sequence[Tensor], tolerance: float | None = None) -> float:
    """How far a file's outputs may be from ``outputs``; ``tolerance`` instead of the precision's where it is
    given."""
    tolerance = TOLERANCES[precision] if tolerance is None else tolerance
    if outputs[0].dtype == torch.uint8:
        # In 8-bit images a value on a rounding boundary may flip by one step.
        return max(1.0, math.ceil(255 * tolerance))
    return tolerance * max(1.0, *(float(tensor.std()) for tensor in outputs))


def check_against_library(network: Network) -> float:
    """The largest difference between the stacked Whisper encoder and ``transformers``' own forward pass."""
    mel = torch.randn(1, MEL_BINS, MEL_FRAMES, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ref = network.module.encoder(mel, output_hidden_states=True).hidden_states
        ref = network.module.widen(torch.stack(ref, dim=2))
    return largest_difference([network.run(mel)[0].numpy()], [ref])
