"""Reads other people's weights without running their code, and holds them to exact names and shapes.

In: a `.pth`, `.pt` or `.bin` file of PyTorch (the zip layout, or the one before 1.6) or a `.safetensors`
file. Out: a flat dict from key to f32 tensor in main memory (counters stay integers). Whatever is wrong is a
`CheckpointError` whose one line names the file, and the key where there is one.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

#: Keys that an error lists before it says how many more there are.
LISTED = 4

#: The end of the keys of counters of training steps.
COUNTER = ".num_batches_tracked"

#: The largest finite value of a 16-bit float.
HALF_MAX = torch.finfo(torch.float16).max


class CheckpointError(Exception):
    """A file of weights that cannot be used; the message names it and says why."""


def read(path: Path, below: str | None = None) -> dict[str, Tensor]:
    """The tensors of `path`; with `below`, those of the dict that lies under this name (`state_dict`, say).

    A checkpoint that has a `below` may hold a training log beside the weights. It is read as inert data.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: not there")
    with path.open("rb") as stream:
        head = stream.read(16)
    if head.startswith(b"version https://"):
        raise CheckpointError(f"{path}: only a pointer of Git LFS, not the weights themselves")
    if path.suffix == ".safetensors":
        content: Any = _read_safetensors(path)
    else:
        content = _read_pickle(path, head, log=below is not None)
    if below is not None:
        if not isinstance(content, Mapping) or not isinstance(content.get(below), Mapping):
            raise CheckpointError(f"{path}: has no dict named {below}")
        content = content[below]
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, expected a dict of tensors")
    return {_key(path, key): _tensor(path, key, value) for key, value in content.items()}


def fit(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Puts `state` into `module`, which may have been made on the meta device; nothing is copied.

    Every key of the module has to be there with its shape, and no other. Values have to be finite.
    Counters of training steps may be missing.
    """
    expected = module.state_dict()
    # Batch norms count the batches of their training, which nothing reads any more; old files do not.
    counters = {key: torch.zeros((), dtype=torch.int64) for key in expected if key.endswith(COUNTER)}
    state = counters | dict(state)
    missing = [key for key in expected if key not in state]
    extra = [key for key in state if key not in expected]
    if missing or extra:
        parts = [
            f"{what} {_list(keys)}" for what, keys in (("lacks", missing), ("has unknown", extra)) if keys
        ]
        raise CheckpointError(f"{source}: {'; '.join(parts)}")
    for key, tensor in state.items():
        want, got = list(expected[key].shape), list(tensor.shape)
        if want != got:
            raise CheckpointError(f"{source}: {key} has shape {got}, expected {want}")
        if tensor.is_floating_point() != expected[key].is_floating_point():
            raise CheckpointError(f"{source}: {key} is {tensor.dtype}, expected {expected[key].dtype}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            kind = "NaN" if bool(torch.isnan(tensor).any()) else "an infinite value"
            raise CheckpointError(f"{source}: {key} holds {kind}")
    module.load_state_dict(state, strict=True, assign=True)
    left = [name for name, t in (*module.named_parameters(), *module.named_buffers()) if t.is_meta]
    assert not left, f"not part of the state dict: {left}"


def overflows_half(state: Mapping[str, Tensor]) -> str | None:
    """The first key whose values do not fit into 16-bit floats, with the value; `None` when all do."""
    for key, tensor in state.items():
        if tensor.is_floating_point() and tensor.numel():
            largest = float(tensor.abs().max())
            if not largest <= HALF_MAX:
                return f"{key} reaches {largest:.6g}, and 16-bit floats end at {HALF_MAX:.0f}"
    return None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(str(path))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file: {first_line(error)}") from error


def _read_pickle(path: Path, head: bytes, log: bool) -> Any:
    zipped = head.startswith(b"PK")
    if zipped and not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path}: cut short: its table of contents, which comes last, is missing")
    try:
        with torch.serialization.safe_globals(_inert_log() if log else []):
            # A mapped file costs no memory until a tensor is used; the old layout cannot be mapped.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign:
            raise CheckpointError(
                f"{path}: wants {foreign.group(1)} to be called while it is read; "
                "only plain tensors are accepted"
            ) from error
        raise CheckpointError(f"{path}: not a file of plain tensors: {_reason(error)}") from error
    except EOFError as error:
        raise CheckpointError(f"{path}: cut short") from error
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise CheckpointError(f"{path}: cut short or damaged: {first_line(error)}") from error


class Inert:
    """Stands for an object of a training log: takes any arguments and state, and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def _inert_log() -> list[tuple[type, str]]:
    """What an mmengine checkpoint names beside its weights, each mapped to a class of its own that does
    nothing.

    The names are those that `mmengine.logging.HistoryBuffer` and the NumPy arrays and scalars in it pickle
    to; `getattr` is how its methods are named. None of the real ones is looked up, let alone called.
    """
    names = [
        "mmengine.logging.history_buffer.HistoryBuffer",
        "_codecs.encode",
        "numpy.ndarray",
        "numpy.dtype",
    ]
    names += [f"{module}.getattr" for module in ("builtins", "__builtin__")]
    for core in ("numpy.core.multiarray", "numpy._core.multiarray"):
        names += [f"{core}._reconstruct", f"{core}.scalar"]
    return [(type("Inert", (Inert,), {}), name) for name in names]


def _key(path: Path, key: Any) -> str:
    if not isinstance(key, str):
        raise CheckpointError(f"{path}: has a key that is no text: {key!r}")
    return key


def _tensor(path: Path, key: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise CheckpointError(f"{path}: {key} is a {type(value).__name__}, expected a tensor")
    if value.layout is not torch.strided or value.is_quantized or value.is_complex():
        raise CheckpointError(f"{path}: {key} is not a dense tensor of real numbers")
    value = value.detach()
    return value.float() if value.is_floating_point() else value


def _list(keys: list[str]) -> str:
    more = len(keys) - LISTED
    return ", ".join(keys[:LISTED]) + (f" and {more} more" if more > 0 else "")


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _reason(error: BaseException) -> str:
    """PyTorch wraps its reason in advice to read the file unsafely, which we do not pass on."""
    said = re.search(r"(Unsupported[^\n]*|invalid[^\n]*|Trying to[^\n]*)", str(error))
    return said.group(1) if said else "PyTorch's safe reader refuses it"
