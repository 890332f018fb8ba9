"""Compiles UNet and decoder for one GPU: a package of each for each batch size, which the torch backend loads
without Python.

    .venv/bin/python tools/musetalk/compile_for_gpu.py --models models --bundle bundle
    .venv/bin/python tools/musetalk/compile_for_gpu.py --random full --bundle bundle --max-autotune

In: official folders as ``export_musetalk.py`` takes them, or a preset and a seed of random weights; the same
that the bundle was made of. Out, in the bundle's folder: ``unet.b{N}.fp16.pt2`` and
``vae_decoder.b{N}.fp16.pt2`` (``taesd_decoder`` in its place) for each batch size N, and ``compiled.json``,
which says what they were made for and from. A package takes and gives what its network does, f16 and on the
device.

The decoder gains the most and its weights are small: ``--networks vae_decoder`` leaves out the UNet's, each of
which holds 1.7 GB.

A package holds its weights, and machine code for GPUs of the compute capability that it was compiled on and
for this very version of torch; elsewhere compile again. It is kept when it gives what its network gives
uncompiled.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import torch
from torch import Tensor

if not __package__:
    # Run by its path: the folder above is where the package is found.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from musetalk import manifest
from musetalk.checkpoint import CheckpointError
from musetalk.networks import Network
from musetalk.networks.random import drawn_on
from musetalk.official import read_config
from musetalk.presets import PRESETS
from musetalk.sources import VERSIONS, Models
from musetalk.speaking import DECODERS, Speaking, official_speaking, random_speaking

#: Raise it when a reader of ``compiled.json`` would have to change.
COMPILED_VERSION = 2
#: Seed of the inputs that a package is compared with.
PROBE_SEED = 7
#: What a compiled network may be off the uncompiled one on average, in standard deviations of its output. In
#: fp16 that is half a grey level of a picture; the reference's own fp16 is off fp32 by 0.4.
MEAN_OFF = {"fp16": 0.01, "fp32": 0.0001}

#: What can be compiled, as a bundle calls them; the decoder is that of ``--decoder``.
NETWORKS = ("unet", "vae_decoder")

DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


class CompileError(Exception):
    """Why nothing was compiled, or why what was is not kept."""


@dataclasses.dataclass(frozen=True)
class Target:
    """What is compiled for."""

    device: str
    precision: str
    batches: Sequence[int]
    networks: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Levers:
    """What may make packages faster; each is an option of the command line, so that it can be measured."""

    #: Weights lie channels-last, as the GPU's convolutions like them.
    channels_last: bool = True
    #: Candidates of each kernel are timed while compiling; takes many minutes.
    max_autotune: bool = False
    #: The time embedding is part of the biases.
    fold_time_embedding: bool = False
    #: Weights are constants to the compiler, which may transform them ahead.
    freezing: bool = False

    def inductor(self) -> dict[str, Any]:
        """The compiler's own settings."""
        return {"max_autotune": self.max_autotune, "freezing": self.freezing}


#: File names of packages, by network and batch size.
Names = dict[str, dict[str, str]]


def compile_networks(parts: Speaking, folder: Path, target: Target, levers: Levers) -> Names:
    """Compiles into ``folder``. ``parts`` are moved to the device."""
    parts.place(target.device, DTYPES[target.precision], levers.channels_last)
    networks = {"unet": parts.unet, "vae_decoder": parts.decoder}
    names: Names = {}
    for name in target.networks:
        files = (compile_network(networks[name], batch, folder, target, levers) for batch in target.batches)
        names[name] = dict(zip(map(str, target.batches), files, strict=True))
    return names


def compile_network(network: Network, batch: int, folder: Path, target: Target, levers: Levers) -> str:
    """Compiles a network for one batch size; returns the name of the file."""
    rng = torch.Generator().manual_seed(PROBE_SEED)
    dtype = DTYPES[target.precision]
    inputs = tuple(tensor.to(target.device, dtype) for tensor in network.example(batch, rng))
    name = f"{network.name}.b{batch}.{target.precision}.pt2"
    clock = time.monotonic()
    with torch.no_grad():
        expected = network.module(*inputs)
        if not expected.isfinite().all():
            raise CompileError(f"{network.name} gives values that are not finite at this precision")
        program = torch.export.export(network.module, inputs)
        exported = time.monotonic()
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(folder / name), inductor_configs=levers.inductor()
        )
        compiled = time.monotonic()
        package = torch._inductor.aoti_load_package(str(folder / name))
        compare(name, package(*inputs), expected, MEAN_OFF[target.precision])
        calls = (network.module, package)
        before, after = (milliseconds(call, inputs, target.device) / batch for call in calls)
    print(
        f"{name}: exported in {exported - clock:.0f} s, compiled in {compiled - exported:.0f} s; "
        f"{after:.3f} ms a frame, {before:.3f} uncompiled",
        flush=True,
    )
    return name


def compare(name: str, got: Tensor, expected: Tensor, allowed: float) -> None:
    """Refuses outputs that differ from ``expected`` by more than rounding makes them."""
    if got.shape != expected.shape or got.dtype != expected.dtype:
        raise CompileError(
            f"{name} gives {got.dtype} {list(got.shape)}, expected {expected.dtype} {list(expected.shape)}"
        )
    off = float((got.float() - expected.float()).abs().mean() / expected.float().std())
    if not off <= allowed:
        raise CompileError(
            f"{name} is off the uncompiled network by {off:.4f} standard deviations on average, "
            f"allowed {allowed}"
        )


def milliseconds(call: Callable[..., Any], inputs: tuple[Tensor, ...], device: str, runs: int = 11) -> float:
    """The median duration of a call, synchronised."""
    durations = []
    for run in range(runs + 2):
        clock = time.perf_counter()
        call(*inputs)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        if run >= 2:
            durations.append(1e3 * (time.perf_counter() - clock))
    return statistics.median(durations)


def describe(
    parts: Speaking, names: Names, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """What ``compiled.json`` says."""
    cuda = options.device.startswith("cuda")
    return {
        "compiled_version": COMPILED_VERSION,
        "device": torch.cuda.get_device_name(options.device) if cuda else "cpu",
        "capability": list(torch.cuda.get_device_capability(options.device)) if cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "decoder": options.decoder,
        "dtype": options.dtype,
        "packages": names,
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": manifest.sha256_of(folder / name)}
            for name in file_names(names)
        },
        "weights": parts.weights,
        "levers": dataclasses.asdict(levers_of(options)),
    }


def file_names(names: Names) -> Iterator[str]:
    """Those of all networks and batch sizes."""
    return (name for batches in names.values() for name in batches.values())


def load(options: argparse.Namespace) -> Speaking:
    """The networks that the command line names, once they are known to be those of the bundle."""
    fold = options.fold_time_embedding
    if options.random:
        with torch.device(options.draw_on):
            parts = random_speaking(options.random, options.seed, options.decoder, fold)
        parts.weights |= drawn_on(options.draw_on)
    else:
        parts = official_speaking(Models(options.models, options.version), options.decoder, fold)
    path = options.bundle / "manifest.json"
    if path.exists():
        insist_on_same_weights(read_config(path), parts.weights, path)
    return parts


def insist_on_same_weights(bundle: dict[str, Any], weights: dict[str, Any], path: Path) -> None:
    """Refuses to put packages into a bundle of other weights."""
    told = bundle.get("sources", {}) | {key: bundle.get(key) for key in ("preset", "seed", "drawn_on")}
    for name in sorted(weights.keys() | {"drawn_on"}):
        if told.get(name) != weights.get(name):
            raise CompileError(
                f"{path}: the bundle was made of other weights: its {name} is {told.get(name)}, "
                f"not {weights.get(name)}"
            )


def levers_of(options: argparse.Namespace) -> Levers:
    """The levers that the command line names."""
    return Levers(options.channels_last, options.max_autotune, options.fold_time_embedding, options.freezing)


def install(drafts: Path, bundle: Path, compiled: dict[str, Any]) -> None:
    """Puts packages and ``compiled.json`` in place of those that the bundle had.

    The description goes first and comes last, so that it never tells of packages that are not there.
    """
    (bundle / "compiled.json").unlink(missing_ok=True)
    for old in bundle.glob("*.b*.pt2"):
        old.unlink()
    for name in file_names(compiled["packages"]):
        (drafts / name).chmod(0o644)
        (drafts / name).replace(bundle / name)
    draft = drafts / "compiled.json"
    draft.write_text(json.dumps(compiled, indent=2) + "\n")
    draft.replace(bundle / "compiled.json")


def batch_list(text: str) -> list[int]:
    """Rising batch sizes from ``1,4,8``."""
    batches = sorted({int(item) for item in text.split(",")})
    if batches[0] < 1:
        raise argparse.ArgumentTypeError("a batch has at least 1 frame")
    return batches


def network_list(text: str) -> list[str]:
    """Networks from ``unet,vae_decoder``."""
    asked = text.split(",")
    if unknown := set(asked) - set(NETWORKS):
        raise argparse.ArgumentTypeError(f"no network {', '.join(sorted(unknown))}; it takes {NETWORKS}")
    return [name for name in NETWORKS if name in asked]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--models", type=Path, help="the folder of official weights")
    source.add_argument("--random", choices=sorted(PRESETS), help="random weights of this size")
    parser.add_argument("--version", choices=VERSIONS, default=VERSIONS[0], help="with --models")
    parser.add_argument(
        "--seed", type=int, default=20240401, help="with --random; that of a bundle by default"
    )
    parser.add_argument(
        "--draw-on", default="cpu", help="with --random: the --device that the bundle's weights were drawn on"
    )
    parser.add_argument(
        "--bundle", type=Path, required=True, help="folder to put the packages in; made if missing"
    )
    parser.add_argument("--batches", type=batch_list, default=[1, 4, 8, 16], help="default 1,4,8,16")
    parser.add_argument(
        "--networks", type=network_list, default=list(NETWORKS), help="default unet,vae_decoder"
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try this program out")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="fp16")
    parser.add_argument("--decoder", choices=DECODERS, default=DECODERS[0])
    parser.add_argument(
        "--channels-last", action=argparse.BooleanOptionalAction, default=Levers.channels_last
    )
    parser.add_argument(
        "--max-autotune", action="store_true", help="time kernels while compiling; takes many minutes"
    )
    parser.add_argument("--fold-time-embedding", action="store_true", help="into the biases of convolutions")
    parser.add_argument("--freezing", action="store_true", help="let the compiler transform weights ahead")
    parser.add_argument(
        "--threads", type=int, default=0, help="PyTorch's threads on a CPU (0: its own choice)"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    options.bundle.mkdir(parents=True, exist_ok=True)
    for left in options.bundle.glob(".compile.*"):  # Of a run that was killed, or crashed as it tried a package.
        shutil.rmtree(left, ignore_errors=True)
    drafts = Path(tempfile.mkdtemp(prefix=".compile.", dir=options.bundle))
    try:
        if options.device.startswith("cuda") and not torch.cuda.is_available():
            raise CompileError("there is no GPU that PyTorch can use; --device cpu tries this program out")
        parts = load(options)
        target = Target(options.device, options.dtype, options.batches, options.networks)
        names = compile_networks(parts, drafts, target, levers_of(options))
        install(drafts, options.bundle, describe(parts, names, drafts, options))
    except (CheckpointError, CompileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
