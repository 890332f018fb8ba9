#!/usr/bin/env python3
"""Creates a bundle of MuseTalk's networks with random weights, and the numbers to test a runtime with.

The real checkpoints are large and not needed to test an engine that *runs* such models. This builds networks
of the same topology from a fixed seed, exports each to several formats and records golden tensors next to
them, so that any runtime can be checked against the same numbers. ``tools/musetalk/README.md`` tells what is
in a bundle.

    python3.11 -m venv .venv && .venv/bin/pip install -r tools/musetalk/requirements.txt
    .venv/bin/python tools/make_random_bundle.py --out bundle --preset tiny --threads 1
    .venv/bin/python tools/make_random_bundle.py --out bundle --preset full --formats onnx --dtype fp16 \\
        --models unet,vae_decoder
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, Sequence

import torch
from musetalk import golden
from musetalk.cost import cost_of
from musetalk.formats import (
    FORMATS,
    GRAPH_FORMATS,
    PRECISIONS,
    ExportOptions,
    export_network,
    format_key,
)
from musetalk.manifest import model_entry, write_manifest
from musetalk.networks import MODEL_NAMES, Network
from musetalk.networks.interface import FIRST_MODELS
from musetalk.networks.random import build_random_networks, drawn_on
from musetalk.presets import PRESETS

LOG = logging.getLogger("make_random_bundle")

#: The networks that golden/pipeline.safetensors runs.
PIPELINE_MODELS = {"unet", "vae_decoder", "whisper_encoder"}
#: The networks that golden/reference.safetensors runs.
REFERENCE_MODELS = set(MODEL_NAMES) - {"taesd_decoder"}


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_arguments(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    if args.verbose:
        LOG.setLevel(logging.INFO)
    quieten_libraries()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(args.device == "cpu")

    if acts_reference(args.models, args):
        # What is missing is missed now, not after minutes of exporting.
        import musetalk.reference.run  # noqa: F401

    started = time.monotonic()
    preset = PRESETS[args.preset]
    names = [*args.models, *(["generator"] if args.fused else [])]
    networks = build_random_networks(preset, args.seed, names, args.fold_time, args.device)
    args.out.mkdir(parents=True, exist_ok=True)

    models, files = export_all(networks, args)
    failures: list[str] = []
    if args.golden != "none":
        for network in networks.values():
            files += check_and_keep(network, models[network.name], args, failures)
        files += whole_runs(networks, args)
    head = {
        "weights": "random",
        "preset": args.preset,
        "seed": args.seed,
        **drawn_on(args.device),
        "dtype": args.dtype[0],
        "precisions": args.dtype,
        "opset": args.opset,
        "configs": preset.configs(),
    }
    manifest = write_manifest(args.out, head, models, files)

    total = sum(item["bytes"] for item in manifest["files"].values())
    print(f"{args.out}: {len(files)} files, {total / 1e6:.1f} MB, {time.monotonic() - started:.0f} s")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def export_all(
    networks: Mapping[str, Network], args: argparse.Namespace
) -> tuple[dict[str, Any], list[Path]]:
    """Write every network; return their manifest entries and the files.

    A precision comes after the other, not a network: TorchScript numbers repeated classes as they come in the
    process, and so the fp32 files are the same with fp16 and without.
    """
    options = ExportOptions(opset=args.opset, exporter=args.exporter, device=args.device)
    written: dict[str, dict[str, list[Path]]] = {name: {} for name in networks}
    for precision in args.dtype:
        for name, network in networks.items():
            clock = time.monotonic()
            formats = (
                args.formats
                if precision == args.dtype[0]
                else [f for f in args.formats if f in GRAPH_FORMATS]
            )
            written[name] |= export_network(network, formats, [precision], args.out, options)
            LOG.info("%s: %s in %.1f s", name, precision, time.monotonic() - clock)
    models = {name: model_entry(networks[name], files) for name, files in written.items()}
    for name, entry in models.items():
        if args.cost:
            example = networks[name].example(2, torch.Generator().manual_seed(args.seed))
            entry["cost"] = cost_of(networks[name], tuple(tensor.to(args.device) for tensor in example))
            if name == "whisper_encoder":
                entry["cost"]["note"] = f"for {example[0].shape[-1]} mel frames"
    return models, [path for files in written.values() for paths in files.values() for path in paths]


def check_and_keep(
    network: Network, entry: dict[str, Any], args: argparse.Namespace, failures: list[str]
) -> list[Path]:
    """Compare the files of ``network`` with PyTorch and write its golden.

    Returns what was written; adds to ``failures``.
    """
    files: list[Path] = []
    entry["max_abs_diff"] = {}
    small = args.golden == "small" or network.name not in FIRST_MODELS
    # A batch that differs from the traced one exposes baked-in sizes.
    for batch in sorted({args.golden_batch, 1, 3 if args.golden_batch == 1 else 1}):
        inputs, outputs = golden.golden_for(network, batch, args.seed + 7, small)
        if batch == args.golden_batch and args.golden != "pipeline":
            folder = args.out / "golden"
            files = golden.write_model_golden(folder, network, inputs, outputs, small, args.npy)
            entry["golden"] = f"golden/{files[0].name}"
        for precision in args.dtype:
            for fmt in (fmt for fmt in args.formats if fmt in GRAPH_FORMATS):
                key = format_key(fmt, precision)
                found = golden.check_file(args.out / entry["formats"][key][0], network, inputs, outputs)
                entry["max_abs_diff"][key] = max(found.largest, entry["max_abs_diff"].get(key, 0.0))
                LOG.info("%s: %s, batch %d: %.1e, relative %.1e", network.name, key, batch, *found)
                tolerance = args.tolerance or golden.tolerance_of(network.name, precision)
                fault = golden.fault_of(found, precision, outputs, tolerance)
                if fault:
                    failures.append(f"{network.name} as {key} {fault}")
    if network.name == "whisper_encoder":
        worst = golden.check_against_library(network)
        entry["max_abs_diff"]["transformers"] = worst
        if not worst <= golden.TOLERANCES["fp32"]:
            failures.append(f"{network.name} differs from transformers by {worst:.3e}")
    return files


def acts_reference(names: Iterable[str], args: argparse.Namespace) -> bool:
    """Whether golden/reference.safetensors is made."""
    return set(names) >= REFERENCE_MODELS and args.golden in ("whole", "small")


def whole_runs(networks: Mapping[str, Network], args: argparse.Namespace) -> list[Path]:
    """Write the goldens that need several networks, where those are there."""
    folder = args.out / "golden"
    files: list[Path] = []
    if networks.keys() >= PIPELINE_MODELS:
        tensors = golden.pipeline_golden(networks, args.seed + 8, args.pipeline_frames)
        files += golden.write_golden(folder, "pipeline", tensors, {}, args.npy)
    if acts_reference(networks, args):
        # OpenCV and Pillow are needed for this alone.
        from musetalk.reference.run import Reference

        files += golden.write_golden(folder, "reference", *Reference(networks).run(), args.npy)
    return files


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="directory to write; made if missing")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--seed", type=int, default=20240401)
    parser.add_argument(
        "--models",
        type=comma_list(MODEL_NAMES),
        default=list(MODEL_NAMES),
        help="comma-separated subset of: " + ", ".join(MODEL_NAMES),
    )
    parser.add_argument(
        "--formats",
        type=comma_list(FORMATS),
        default=["onnx", "torchscript", "safetensors"],
        help="comma-separated subset of: " + ", ".join(FORMATS),
    )
    parser.add_argument("--fused", action="store_true", help="also export the one-graph generator")
    parser.add_argument(
        "--dtype", type=comma_list(PRECISIONS), default=["fp32"], help="fp32, fp16, or both: fp32,fp16"
    )
    parser.add_argument("--fold-time", action="store_true", help="the UNet's time step as a constant")
    parser.add_argument(
        "--device", default="cpu", help="where weights are drawn and graphs are traced: cpu or cuda"
    )
    parser.add_argument(
        "--opset", type=int, default=17, help="ONNX operator set (the dynamo exporter needs 18+)"
    )
    parser.add_argument(
        "--exporter",
        choices=("trace", "dynamo"),
        default="trace",
        help="trace is several times faster; dynamo writes fewer nodes",
    )
    parser.add_argument(
        "--golden",
        choices=("whole", "small", "pipeline", "none"),
        default="whole",
        help="small: large inputs by formula, samples of large outputs; pipeline: the end-to-end run alone; "
        "none: no checks either",
    )
    parser.add_argument(
        "--no-golden", dest="golden", action="store_const", const="none", help="as --golden none"
    )
    parser.add_argument("--golden-batch", type=int, default=2)
    parser.add_argument(
        "--pipeline-frames", type=int, default=4, help="video frames of golden/pipeline.safetensors"
    )
    parser.add_argument("--npy", action="store_true", help="write golden tensors as .npy too")
    parser.add_argument(
        "--tolerance", type=float, default=None, help="largest difference allowed (default by dtype)"
    )
    parser.add_argument("--cost", action="store_true", help="record weights and FLOPs in the manifest")
    parser.add_argument("--threads", type=int, default=0, help="PyTorch threads (0: library default)")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args(argv)
    args.dtype = [precision for precision in PRECISIONS if precision in args.dtype]
    if args.exporter == "dynamo" and args.opset < 18:
        parser.error("the dynamo exporter needs --opset 18 or higher")
    if args.device != "cpu" and args.golden != "none":
        parser.error("goldens are made on the CPU: give --no-golden with --device")
    return args


def comma_list(choices: Sequence[str]) -> Callable[[str], list[str]]:
    """An argparse type that accepts a comma-separated subset."""

    def parse(text: str) -> list[str]:
        items = [item for item in text.split(",") if item]
        unknown = sorted(set(items) - set(choices))
        if unknown or not items:
            raise argparse.ArgumentTypeError(
                f"unknown: {', '.join(unknown) or 'nothing'} (choose from {', '.join(choices)})"
            )
        return items

    return parse


def quieten_libraries() -> None:
    """Hide advice that does not concern someone who builds a bundle."""
    from transformers.utils import logging as transformers_logging

    warnings.filterwarnings("ignore")
    transformers_logging.set_verbosity_error()


if __name__ == "__main__":
    sys.exit(main())
