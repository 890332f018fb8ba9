"""Takes over DWPose's published ONNX file: the same arithmetic under the names and axes of a bundle.

In: `dw-ll_ucoco_384.onnx`. Out: `landmarks.onnx` in the bundle's folder, and a way to run it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from .checkpoint import CheckpointError, first_line
from .golden import difference, fault_of, run_onnx
from .manifest import sha256_of
from .networks import Network, RtmPose, landmarks_network

#: The file that DWPose's authors publish.
PUBLISHED_SHA256 = "724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843"
#: How far three pictures at once may be from one by one, in deviations of the output.
TOLERANCE = 1e-3
#: The name of the axis whose length may vary.
BATCH = "batch"


def adopt(path: Path, target: Path, any_hash: bool) -> None:
    """Writes the graph of `path` to `target`, with our ports and a batch of any size.

    Unless `any_hash`, it has to be the published file to the last byte.
    """
    import onnx

    found = sha256_of(path)
    if found != PUBLISHED_SHA256 and not any_hash:
        raise CheckpointError(
            f"{path}: has SHA-256 {found}, the published file has {PUBLISHED_SHA256}; "
            "--any-dwpose takes it as it is"
        )
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:  # The parser's own errors have no common base.
        raise CheckpointError(f"{path}: no ONNX file that can be used: {first_line(error)}") from error
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise CheckpointError(f"{path}: {tensor.name} holds a value that is not finite")
    match_ports(model, path)
    onnx.save_model(model, str(target))
    check_batches(path, target)


def match_ports(model: Any, path: Path) -> None:
    """Gives inputs and outputs, told by their shapes, the names that a bundle's readers know, and a batch
    axis."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    for role, ours, theirs in (
        ("input", landmarks_ports().inputs, inputs),
        ("output", landmarks_ports().outputs, list(graph.output)),
    ):
        if len(theirs) != len(ours):
            raise CheckpointError(f"{path}: has {len(theirs)} {role}s, expected {len(ours)}")
        for port in ours:
            same = [value for value in theirs if could_be(shape_of(value), port.shape)]
            if len(same) != 1:
                shapes = ", ".join(f"{value.name} {shape_of(value)}" for value in theirs)
                raise CheckpointError(
                    f"{path}: has {role}s {shapes}, expected {port.name} {list(port.shape)}"
                )
            rename(graph, same[0].name, port.name)
            same[0].name = port.name
            same[0].type.tensor_type.shape.dim[0].dim_param = BATCH
    # Shapes between the ports were inferred for the batch that it had.
    del graph.value_info[:]


def could_be(theirs: list[int | str], ours: tuple[int | str, ...]) -> bool:
    """Whether a port of shape ``theirs`` is ours. The last axis has to be told; others may be left open."""
    known = [(a, b) for a, b in zip(theirs[1:], ours[1:], strict=False) if isinstance(a, int)]
    return len(theirs) == len(ours) and theirs[-1] == ours[-1] and all(a == b for a, b in known)


def shape_of(value: Any) -> list[int | str]:
    """The axes of a graph's port; one without a length has a name."""
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in dims]


def rename(graph: Any, old: str, new: str) -> None:
    """Renames a tensor of `graph` wherever a node reads or writes it."""
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new


def check_batches(path: Path, target: Path) -> None:
    """Refuses a graph that cannot run several pictures at once, or gives other numbers when it does."""
    network = landmarks_ports()
    (pictures,) = network.example(3, torch.Generator().manual_seed(1))
    try:
        together = run_onnx(target, network, [pictures])
        single = [run_onnx(target, network, [picture[None]]) for picture in pictures]
    except Exception as error:  # The runtime's own errors have no common base.
        raise CheckpointError(f"{path}: cannot run batches of three: {first_line(error)}") from error
    expected = [torch.from_numpy(np.concatenate(parts)) for parts in zip(*single, strict=True)]
    if fault := fault_of(difference(together, expected), "fp32", expected, TOLERANCE):
        raise CheckpointError(f"{path}: of three pictures at once each {fault} from what it gives alone")


def landmarks_ports() -> Network:
    """The network `landmarks` without weights, for its ports and examples."""
    with torch.device("meta"):
        return landmarks_network(RtmPose())
