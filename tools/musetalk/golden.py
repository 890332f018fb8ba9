"""Golden tensors of each network, and the check of exported files against them.

In: a ``Network`` in fp32. Out: ``golden/<model>.safetensors`` with the inputs ``in.<port>`` and PyTorch's
outputs ``out.<port>``, and the largest difference of each file.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Sequence

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

#: Networks whose check-points (G22, G24, G26) allow 1e-3 in fp32.
FACE_MODELS = ("face_parsing", "landmarks", "face_detector")
#: Difference that passes, by precision; ``fault_of`` tells of what.
TOLERANCES = {"fp32": 2e-4, "fp16": 2e-2}


def golden_for(network: Network, batch: int, seed: int, small: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Fixed inputs and the outputs PyTorch computes from them; ``small`` as in :func:`write_model_golden`."""
    if small and network.pictures:
        inputs = [network.pictures.batch(batch)]
    else:
        inputs = list(network.example(batch, torch.Generator().manual_seed(seed)))
    return inputs, list(network.run(*inputs))


def write_model_golden(
    folder: Path,
    network: Network,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    small: bool,
    npy: bool = False,
) -> list[Path]:
    """Write ``<folder>/<model>.safetensors`` and return what was written.

    A ``small`` golden has pictures by formula instead of its input where the network takes one, and samples
    of large outputs; the header tells how to make and take them.
    """
    arrays: dict[str, np.ndarray] = {}
    how: dict[str, Any] = {}
    for port, tensor in zip(network.inputs, inputs, strict=True):
        if small and network.pictures:
            how[f"in.{port.name}"] = network.pictures.describe(len(tensor))
        else:
            arrays |= to_numpy({f"in.{port.name}": tensor})
    for port, tensor in zip(network.outputs, outputs, strict=True):
        sample = network.samples.get(port.name) if small else None
        if sample:
            kept, taken = sample.take(f"out.{port.name}", tensor)
            arrays |= kept
            how |= taken
        else:
            arrays |= to_numpy({f"out.{port.name}": tensor})
    return write_golden(folder, network.name, arrays, how, npy)


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


def write_golden(
    folder: Path, name: str, arrays: Mapping[str, np.ndarray], how: Mapping[str, Any], npy: bool = False
) -> list[Path]:
    """Write one golden set, and each array as ``.npy`` too where asked; return the files.

    ``how`` goes into the header, as JSON under the one key ``golden``: with more keys, their order would
    vary.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    save_numpy_tensors(dict(arrays), str(path), metadata={"golden": json.dumps(how)} if how else None)
    written = [path]
    if npy:
        for key, value in arrays.items():
            written.append(folder / f"{name}.{key}.npy")
            np.save(written[-1], value)
    return written


def to_numpy(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Tensors as C-ordered arrays."""
    return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in tensors.items()}


def tolerance_of(model: str, precision: str) -> float:
    """What :func:`fault_of` shall allow a network."""
    return 1e-3 if precision == "fp32" and model in FACE_MODELS else TOLERANCES[precision]


class Difference(NamedTuple):
    """How far a file's outputs are from PyTorch's."""

    #: The largest absolute difference.
    largest: float
    #: The root of the mean square, of the output where it is largest, in units of that output's deviation.
    relative: float


def check_file(
    path: Path, network: Network, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> Difference:
    """Run ``path`` on the CPU and compare what it computes with ``outputs``.

    A graph in half precision gets its inputs as f16; differences are those to the fp32 outputs.
    """
    if ".fp16." in path.name:
        inputs = [tensor.half() for tensor in inputs]
    if path.suffix == ".onnx":
        return difference(run_onnx(path, network, inputs), outputs)
    with torch.no_grad():
        got = torch.jit.load(str(path))(*inputs)
    got = got if isinstance(got, tuple) else (got,)
    return difference([tensor.numpy() for tensor in got], outputs)


def run_onnx(path: Path, network: Network, inputs: Sequence[Tensor]) -> list[np.ndarray]:
    """The outputs of an ONNX file, from ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {port.name: tensor.numpy() for port, tensor in zip(network.inputs, inputs)}
    return session.run([port.name for port in network.outputs], feed)


def difference(got: Sequence[np.ndarray], expected: Sequence[Tensor]) -> Difference:
    """The difference over all outputs; NaN when one holds NaN."""
    largest = relative = 0.0
    for a, b in zip(got, expected, strict=True):
        if a.shape != tuple(b.shape):
            raise ValueError(f"shape {a.shape} instead of {tuple(b.shape)}")
        wanted = b.numpy().astype(np.float64)
        off = np.abs(a.astype(np.float64) - wanted)
        # maximum keeps NaN, max would not.
        largest = float(np.maximum(largest, off.max()))
        relative = float(np.maximum(relative, np.sqrt((off**2).mean()) / max(wanted.std(), 1e-6)))
    return Difference(largest, relative)


def fault_of(
    found: Difference, precision: str, outputs: Sequence[Tensor], tolerance: float | None
) -> str | None:
    """What is wrong with ``found``, if it is; ``tolerance`` instead of the precision's where it is given.

    fp32 is judged by the largest difference, in units of the outputs' deviation where that is above 1. In
    fp16 single values may be far off, where a small difference of large ones decides: it is judged by the
    mean square.
    """
    tolerance = TOLERANCES[precision] if tolerance is None else tolerance
    if outputs[0].dtype == torch.uint8:
        # In 8-bit images a value on a rounding boundary may flip by one step.
        value, limit = found.largest, max(1.0, math.ceil(255 * tolerance))
    elif precision == "fp16":
        value, limit = found.relative, tolerance
    else:
        value, limit = found.largest, tolerance * max(1.0, *(float(tensor.std()) for tensor in outputs))
    return None if value <= limit else f"differs by {value:.3e} (allowed {limit:.1e})"


def check_against_library(network: Network) -> float:
    """The largest difference between the stacked Whisper encoder and ``transformers``' own forward pass."""
    mel = torch.randn(1, MEL_BINS, MEL_FRAMES, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ref = network.module.encoder(mel, output_hidden_states=True).hidden_states
        ref = network.module.widen(torch.stack(ref, dim=2))
    return difference([network.run(mel)[0].numpy()], [ref]).largest
