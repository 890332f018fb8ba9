"""Writes a network as ONNX, TorchScript, or weights alone. In: a ``Network``. Out: files in a folder.

Files are reproducible byte for byte with the same libraries: source locations, which name directories of the
machine, and time stamps are left out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import zipfile
from pathlib import Path
from typing import Any, Sequence

import torch
from safetensors.torch import save_file as save_torch_tensors
from torch import Tensor

from .networks import Network, half
from .norms import split_norms

#: Formats by the suffix of their files; the first two hold a graph, the others weights alone.
SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt", "safetensors": ".safetensors", "pth": ".pth"}
FORMATS = tuple(SUFFIXES)
GRAPH_FORMATS = ("onnx", "torchscript")
PRECISIONS = ("fp32", "fp16")
#: Seed of the inputs that a graph is traced with; graphs do not depend on it.
EXAMPLE_SEED = 20240401
#: Bytes of weights above which an ONNX file gets a side file: a protobuf message ends at 2 GiB.
EXTERNAL_BYTES = 1_800_000_000
#: Networks that see pictures whose lower half is black, in which ordinary norms are not exact as ONNX.
HALF_BLACK = ("vae_encoder",)
#: The record of a TorchScript archive that tells it from others.
IDENTITY_RECORD = ".data/serialization_id"


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """How graphs are written."""

    #: ONNX operator set; the dynamo exporter needs 18.
    opset: int = 17
    #: ``trace``, several times faster, or ``dynamo``, which writes fewer nodes.
    exporter: str = "trace"
    #: Where TorchScript is traced; the network's weights must be there.
    device: str = "cpu"


def format_key(fmt: str, precision: str) -> str:
    """The key of a manifest's ``formats``: ``onnx``, or ``onnx_fp16``."""
    return fmt if precision == "fp32" else f"{fmt}_{precision}"


def file_name(model: str, fmt: str, precision: str) -> str:
    """The name of a file: ``unet.onnx``, or ``unet.fp16.onnx``."""
    infix = "" if precision == "fp32" else f".{precision}"
    return f"{model}{infix}{SUFFIXES[fmt]}"


def export_network(
    network: Network,
    formats: Sequence[str],
    precisions: Sequence[str],
    folder: Path,
    options: ExportOptions = ExportOptions(),
) -> dict[str, list[Path]]:
    """Write ``network`` into ``folder`` and return the files of each format key, the graph first.

    A network comes in fp32. Weights alone are written once, in fp32, whatever the precisions.
    """
    files: dict[str, list[Path]] = {}
    for precision in precisions:
        shaped = network if precision == "fp32" else half(network)
        for fmt in formats:
            if fmt not in GRAPH_FORMATS and (precision != precisions[0] or network.name == "generator"):
                continue  # The generator's weights are those of unet and vae_decoder.
            key = format_key(fmt, precision if fmt in GRAPH_FORMATS else "fp32")
            path = folder / file_name(network.name, fmt, precision if fmt in GRAPH_FORMATS else "fp32")
            files[key] = export_file(shaped if fmt in GRAPH_FORMATS else network, fmt, path, options)
    return files


def export_file(network: Network, fmt: str, path: Path, options: ExportOptions) -> list[Path]:
    """Write one file of one format, at the precision that the weights have; return what was written."""
    if fmt not in GRAPH_FORMATS:
        return export_weights(network, path)
    dtype = next(network.module.parameters()).dtype
    rng = torch.Generator().manual_seed(EXAMPLE_SEED)
    example = tuple(t.to(options.device, dtype) for t in network.example(2, rng))
    if fmt == "onnx":
        return export_onnx(network, path, example, options)
    return export_torchscript(network, path, example)


def export_onnx(
    network: Network, path: Path, example: tuple[Tensor, ...], options: ExportOptions
) -> list[Path]:
    """Write ``network`` as ONNX with its dynamic axes; return the files written."""
    import onnx

    size = sum(p.numel() * p.element_size() for p in network.module.parameters())
    external = size > EXTERNAL_BYTES
    staging = path.parent / f".{path.stem}.export"
    staging.mkdir(parents=True, exist_ok=True)
    draft = staging / path.name
    trace_onnx(network, draft, example, options, external)

    model = onnx.load(str(draft))
    drop_debug_info(model)
    # Half precision has its norms summed in single precision, and no room for squares outside of them.
    if network.name in HALF_BLACK and example[0].dtype == torch.float32:
        split_norms(model)
    written = [path]
    if external:
        side = path.with_suffix(".onnx.data")
        side.unlink(missing_ok=True)
        onnx.save_model(
            model,
            str(path),
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=side.name,
            size_threshold=1024,
        )
        written.append(side)
    else:
        onnx.save_model(model, str(path))
    shutil.rmtree(staging)
    return written


def trace_onnx(
    network: Network, draft: Path, example: tuple[Tensor, ...], options: ExportOptions, external: bool
) -> None:
    """Let PyTorch write ``network``, weights in side files where it likes."""
    common: dict[str, Any] = {
        "input_names": [port.name for port in network.inputs],
        "output_names": [port.name for port in network.outputs],
        "opset_version": options.opset,
    }
    if options.exporter == "dynamo":
        dims = tuple(dict.fromkeys(port.dynamic_axes(), torch.export.Dim.DYNAMIC) for port in network.inputs)
        torch.onnx.export(
            network.module,
            example,
            str(draft),
            dynamo=True,
            dynamic_shapes=dims,
            external_data=external,
            optimize=True,
            verbose=False,
            **common,
        )
    else:
        axes = {port.name: port.dynamic_axes() for port in (*network.inputs, *network.outputs)}
        torch.onnx.export(network.module, example, str(draft), dynamo=False, dynamic_axes=axes, **common)


def drop_debug_info(model: Any) -> None:
    """Strip source locations, which bloat the file and leak build paths."""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del model.graph.value_info[:]
    model.graph.doc_string = ""


def export_torchscript(network: Network, path: Path, example: tuple[Tensor, ...]) -> list[Path]:
    """Trace ``network``; its weights stay unfrozen, so that it can move to another device."""
    traced = torch.jit.trace(network.module, example, check_trace=False)
    keep_lengths_on_the_host(traced)
    draft = path.with_suffix(".pt.draft")
    traced.save(str(draft))
    copy_without_debug_records(draft, path)
    draft.unlink()
    return [path]


def keep_lengths_on_the_host(traced: torch.jit.ScriptModule) -> None:
    """Turns whole numbers that a trace took for tensors back into numbers.

    Lengths like a head's (a width over the count of heads) are computed by the graph, and a tensor among them
    goes to the GPU with the weights: each such length would make the host wait for all that the GPU has to do,
    twenty times in a UNet, and a graph that waits cannot be recorded as a CUDA graph.
    """
    for module in traced.modules():
        if not module._c._has_method("forward"):
            continue  # A list of modules.
        graph = module.graph
        for node in graph.findAllNodes("prim::Constant"):
            if "value" not in node.attributeNames() or node.kindOf("value") != "t":
                continue
            value = node.t("value")
            if value.dim() > 0 or value.dtype != torch.int64:
                continue
            with graph.insert_point_guard(node):
                number = graph.insertConstant(int(value))
                tensor = graph.insertNode(graph.create("prim::NumToTensor", [number], 1))
            node.output().replaceAllUsesWith(tensor.output())
            node.destroy()


def copy_without_debug_records(source: Path, target: Path) -> None:
    """Copy a TorchScript archive without its source locations.

    They are as large as a small network's weights and name the directories of the machine that made the file.
    Fixed time stamps, and an identity made of what remains, make the result reproducible byte for byte.
    """
    identity = hashlib.sha256()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for item in old.infolist():
            if item.filename.endswith(".debug_pkl"):
                continue
            # The archive's top folder carries the draft's name.
            _, _, rest = item.filename.partition("/")
            entry = zipfile.ZipInfo(f"{target.stem}/{rest}", date_time=(1980, 1, 1, 0, 0, 0))
            if rest == IDENTITY_RECORD:
                # PyTorch's hashes the source locations too. It is the last record; 40 digits, as PyTorch
                # writes.
                new.writestr(entry, f"{int(identity.hexdigest(), 16) % 10**40:040d}")
                continue
            identity.update(f"{rest} {item.CRC} {item.file_size}\n".encode())
            entry.file_size = item.file_size
            with (
                old.open(item) as reader,
                new.open(entry, "w", force_zip64=item.file_size > 1 << 30) as writer,
            ):
                shutil.copyfileobj(reader, writer, 1 << 20)


def export_weights(network: Network, path: Path) -> list[Path]:
    """Write the weights alone, under the names official checkpoints use."""
    state = network.weights()
    if path.suffix == ".safetensors":
        save_torch_tensors(state, str(path), metadata={"format": "pt"})
    else:
        torch.save(state, str(path))
    return [path]
