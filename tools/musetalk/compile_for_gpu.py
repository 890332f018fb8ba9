"""Compiles UNet and decoder for one GPU: a package for each batch size, which the torch backend loads without
Python.

    .venv/bin/python tools/musetalk/compile_for_gpu.py --models models --bundle bundle
    .venv/bin/python tools/musetalk/compile_for_gpu.py --random full --bundle bundle --max-autotune

In: official folders as ``export_musetalk.py`` takes them, or a preset and a seed of random weights; the same
that the bundle was made of. Out, in the bundle's folder: ``generator.b{N}.fp16.pt2`` for each batch size N,
and ``compiled.json``, which says what they were made for and from. A package takes ``latents`` [N, 8, 32, 32]
and ``audio`` [N, 50, 384], both f16, on the device, and returns two tensors there: ``frames`` u8 [N, 256,
256, 3], RGB, rounded half to even; and ``finite`` bool [2], whether every value of the UNet's latent and of
the decoder's picture is finite.

A package holds its weights, and machine code for GPUs of the compute capability that it was compiled on and
for this very version of torch; elsewhere compile again. It is kept when it gives what the networks give
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
from typing import Any, Callable, Sequence

import torch
from torch import Tensor

if not __package__:
    # Run by its path: the folder above is where the package is found.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from musetalk import manifest
from musetalk.checkpoint import CheckpointError
from musetalk.official import read_config
from musetalk.presets import PRESETS
from musetalk.sources import VERSIONS, Models
from musetalk.speaking import DECODERS, RgbGenerator, Speaking, official_speaking, random_speaking

#: Raise it when a reader of ``compiled.json`` would have to change.
COMPILED_VERSION = 1
#: Seed of the inputs that a package is compared with.
PROBE_SEED = 7
#: Grey levels that compiled frames may be off the uncompiled ones on average; the reference's own fp16 is off
#: fp32 by 0.4.
MEAN_LEVELS = {"fp16": 0.5, "fp32": 0.01}

DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


class CompileError(Exception):
    """Why nothing was compiled, or why what was is not kept."""


@dataclasses.dataclass(frozen=True)
class Target:
    """What is compiled for."""

    device: str
    precision: str
    batches: Sequence[int]


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


def compile_generator(parts: Speaking, folder: Path, target: Target, levers: Levers) -> dict[str, str]:
    """Compiles into ``folder``; returns the file name of each batch size. ``parts`` are moved to the
    device."""
    dtype = DTYPES[target.precision]
    parts.place(target.device, dtype, levers.channels_last)
    generator = RgbGenerator(parts).eval()
    names = {}
    for batch in target.batches:
        rng = torch.Generator().manual_seed(PROBE_SEED)
        inputs = tuple(tensor.to(target.device, dtype) for tensor in parts.unet.example(batch, rng))
        name = f"generator.b{batch}.{target.precision}.pt2"
        clock = time.monotonic()
        with torch.no_grad():
            expected = generator(*inputs)
            insist_on_finite(parts, expected[1])
            program = torch.export.export(generator, inputs)
            torch._inductor.aoti_compile_and_package(
                program, package_path=str(folder / name), inductor_configs=levers.inductor()
            )
            seconds = time.monotonic() - clock
            package = torch._inductor.aoti_load_package(str(folder / name))
            compare(name, package(*inputs), expected, MEAN_LEVELS[target.precision])
            eager, compiled = (milliseconds(call, inputs, target.device) for call in (generator, package))
        print(
            f"{name}: compiled in {seconds:.0f} s; "
            f"{compiled / batch:.3f} ms a frame, {eager / batch:.3f} uncompiled",
            flush=True,
        )
        names[str(batch)] = name
    return names


def insist_on_finite(parts: Speaking, finite: Tensor) -> None:
    """Refuses networks whose values leave the precision's range already on the probe's inputs."""
    for network, is_finite in zip((parts.unet, parts.decoder), finite.tolist(), strict=True):
        if not is_finite:
            raise CompileError(f"{network.name} gives values that are not finite at this precision")


def compare(name: str, got: Sequence[Tensor], expected: Sequence[Tensor], allowed: float) -> None:
    """Refuses outputs that differ from ``expected`` by more than rounding makes them."""
    for a, b in zip(got, expected, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise CompileError(f"{name} gives {a.dtype} {list(a.shape)}, expected {b.dtype} {list(b.shape)}")
    if not torch.equal(got[1], expected[1]):
        raise CompileError(f"{name} gives values that are not finite")
    off = float((got[0].int() - expected[0].int()).abs().float().mean())
    if not off <= allowed:
        raise CompileError(
            f"{name} is off the uncompiled networks by {off:.3f} levels on average, allowed {allowed}"
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
    parts: Speaking, names: dict[str, str], folder: Path, options: argparse.Namespace
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
        "channels": "RGB",
        "packages": names,
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": manifest.sha256_of(folder / name)}
            for name in names.values()
        },
        "weights": parts.weights,
        "levers": dataclasses.asdict(levers_of(options)),
    }


def load(options: argparse.Namespace) -> Speaking:
    """The networks that the command line names, once they are known to be those of the bundle."""
    fold = options.fold_time_embedding
    if options.random:
        parts = random_speaking(options.random, options.seed, options.decoder, fold)
    else:
        parts = official_speaking(Models(options.models, options.version), options.decoder, fold)
    path = options.bundle / "manifest.json"
    if path.exists():
        insist_on_same_weights(read_config(path), parts.weights, path)
    return parts


def insist_on_same_weights(bundle: dict[str, Any], weights: dict[str, Any], path: Path) -> None:
    """Refuses to put packages into a bundle of other weights."""
    told = bundle.get("sources", {}) | {key: bundle.get(key) for key in ("preset", "seed")}
    for name, value in weights.items():
        if told.get(name) != value:
            raise CompileError(
                f"{path}: the bundle was made of other weights: its {name} is {told.get(name)}, not {value}"
            )


def levers_of(options: argparse.Namespace) -> Levers:
    """The levers that the command line names."""
    return Levers(options.channels_last, options.max_autotune, options.fold_time_embedding, options.freezing)


def install(drafts: Path, bundle: Path, compiled: dict[str, Any]) -> None:
    """Puts packages and ``compiled.json`` in place of those that the bundle had.

    The description goes first and comes last, so that it never tells of packages that are not there.
    """
    (bundle / "compiled.json").unlink(missing_ok=True)
    for old in bundle.glob("generator.b*.pt2"):
        old.unlink()
    for name in compiled["packages"].values():
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
        "--bundle", type=Path, required=True, help="folder to put the packages in; made if missing"
    )
    parser.add_argument("--batches", type=batch_list, default=[1, 4, 8, 16], help="default 1,4,8,16")
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
    drafts = Path(tempfile.mkdtemp(prefix=".compile.", dir=options.bundle))
    try:
        if options.device.startswith("cuda") and not torch.cuda.is_available():
            raise CompileError("there is no GPU that PyTorch can use; --device cpu tries this program out")
        parts = load(options)
        target = Target(options.device, options.dtype, options.batches)
        names = compile_generator(parts, drafts, target, levers_of(options))
        install(drafts, options.bundle, describe(parts, names, drafts, options))
    except (CheckpointError, CompileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
