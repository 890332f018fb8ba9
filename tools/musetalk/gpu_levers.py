"""Measures what makes UNet and decoder fast on a GPU, one lever after the other.

    python tools/musetalk/gpu_levers.py                         # full size, fp16: four minutes on an H100
    python tools/musetalk/gpu_levers.py --sections matrix,compiled --max-autotune
    python tools/musetalk/gpu_levers.py --device cpu --preset nano --quick   # only tries the program out

In: random weights of a preset; speed does not depend on them. Out, a line as soon as it is known, and all of
them once more at the end: milliseconds a frame of UNet and decoder (medians), frames per second of both one
after the other, the arithmetic of that as a share of the rate at which the same device multiplies large
matrices, and its memory's peak.

A section that fails says why and leaves the others alone. None begins once ``--budget`` seconds are spent.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Callable, Sequence

import torch
from torch import Tensor

if not __package__:
    # Run by its path: the folder above is where the package is found.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from musetalk.bench import HEAD, Clock, Row, Timing
from musetalk.cost import cost_of
from musetalk.networks import Network
from musetalk.presets import PRESETS
from musetalk.speaking import Speaking, random_decoder, random_speaking

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
#: In the order in which they run: the cheap and telling ones first.
SECTIONS = ("matrix", "eager", "channels-last", "graphs", "compiled", "taesd", "torchscript")

#: What is left of a network once it is traced, compiled or captured.
Call = Callable[..., Any]


class Levers:
    """The networks, what was measured of them so far, and a method for each section."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.dtype = DTYPES[options.dtype]
        self.clock = Clock(options.device, 0.05 if options.quick else 0.8)
        self.started = time.monotonic()
        self.rate: float | None = None
        self.rows: list[Row] = []
        self.failures: list[str] = []
        with torch.device(options.device):  # A GPU draws weights many times faster.
            speaking = random_speaking(options.preset, 1, "sd-vae", options.fold_time_embedding)
            self.tiny = random_decoder(options.preset, 1, "taesd")
        self.unet, self.decoder = speaking.unet, speaking.decoder
        self.lay_out(channels_last=False)
        self.gflops = {}
        for network in (self.unet, self.decoder, self.tiny):
            self.gflops[network.name] = cost_of(network, self.inputs(network, 1))["gflops"]

    def section(self, name: str) -> None:
        """Runs one section, if there is time for it. What it raises is printed and kept."""
        clock = time.monotonic()
        try:
            if self.left() <= 0:
                raise TimeoutError(f"the budget of {self.options.budget:.0f} s is spent")
            with torch.no_grad():
                getattr(self, name.replace("-", "_"))()
        except Exception as error:  # Whatever it is, the other sections are worth running.
            reason = (str(error).strip() or "no reason given").splitlines()[0][:160]
            self.failures.append(f"{name}: {type(error).__name__}: {reason}")
            print(f"FAILED {self.failures[-1]}", flush=True)
            if self.options.verbose:
                traceback.print_exc()
        self.clock.tidy()
        print(f"  ({name}: {time.monotonic() - clock:.1f} s; {self.left():.0f} s left)", flush=True)

    def matrix(self) -> None:
        """The rate of a large matrix product of random values: what shares are of."""
        size = self.options.matrix
        a, b = (torch.randn(size, size, device=self.options.device, dtype=self.dtype) for _ in range(2))
        ms = self.clock.median_ms(lambda: a @ b)
        self.rate = 2 * size**3 / ms / 1e9
        print(f"matrix product {size}^3: {ms:.3f} ms, {self.rate:.1f} TFLOP/s", flush=True)

    def eager(self) -> None:
        """One operator after the other, as the reference runs them."""
        self.lay_out(channels_last=False)
        for batch in self.options.batches:
            self.row("eager", batch, self.time(self.unet, batch), self.time(self.decoder, batch))

    def channels_last(self) -> None:
        """The layout that the convolutions of a GPU's matrix units read."""
        self.lay_out()
        for batch in self.options.batches:
            self.row("channels-last", batch, self.time(self.unet, batch), self.time(self.decoder, batch))

    def graphs(self) -> None:
        """A call's kernels recorded once and replayed: the host no longer launches each."""
        self.lay_out()
        for batch in self.options.batches:
            times = [
                self.time(n, batch, self.captured(n, n.module, batch)) for n in (self.unet, self.decoder)
            ]
            self.row("channels-last, graph", batch, *times)

    def compiled(self) -> None:
        """Compiled for a batch size: normalisation, activation and additions fuse into few kernels."""
        self.lay_out()
        longest = 0.0
        for batch in self.options.compiled_batches:
            if longest > self.left():
                raise TimeoutError(
                    f"batch {batch}: the last took {longest:.0f} s, {self.left():.0f} are left"
                )
            clock = time.monotonic()
            calls = [(n, self.compile(n, batch)) for n in (self.unet, self.decoder)]
            print(f"  (compiled for batch {batch} in {time.monotonic() - clock:.1f} s)", flush=True)
            self.row("compiled", batch, *(self.time(n, batch, call) for n, call in calls))
            if self.clock.cuda:
                times = [self.time(n, batch, self.captured(n, call, batch)) for n, call in calls]
                self.row("compiled, graph", batch, *times)
            longest = time.monotonic() - clock

    def taesd(self) -> None:
        """The tiny decoder in place of the VAE's, beside the UNet as it was measured before."""
        self.lay_out()
        tiny = self.tiny
        for batch in self.options.batches:
            unet = self.known("channels-last", batch) or self.time(self.unet, batch)
            self.row("TAESD, channels-last", batch, unet, self.time(tiny, batch), tiny)
        for batch in self.options.compiled_batches:
            for variant in ("compiled", "compiled, graph"):
                if unet := self.known(variant, batch):
                    call = self.compile(tiny, batch)
                    call = self.captured(tiny, call, batch) if variant.endswith("graph") else call
                    self.row(f"TAESD, {variant}", batch, unet, self.time(tiny, batch, call), tiny)

    def torchscript(self) -> None:
        """Traced, as a bundle's files are; then frozen and rewritten by TorchScript's own passes."""
        self.lay_out()
        networks = (self.unet, self.decoder)
        traced = [torch.jit.trace(n.module, self.inputs(n, 2), check_trace=False) for n in networks]
        for batch in self.options.batches:
            self.row(
                "TorchScript", batch, *(self.time(n, batch, t) for n, t in zip(networks, traced, strict=True))
            )
        frozen = [torch.jit.optimize_for_inference(torch.jit.freeze(trace.eval())) for trace in traced]
        for batch in self.options.batches:
            self.row(
                "TorchScript, optimised",
                batch,
                *(self.time(n, batch, f) for n, f in zip(networks, frozen, strict=True)),
            )

    def lay_out(self, channels_last: bool = True) -> None:
        """Gives all weights this layout; free where they have it."""
        for decoder in (self.decoder, self.tiny):
            Speaking(self.unet, decoder, {}).place(self.options.device, self.dtype, channels_last)

    def inputs(self, network: Network, batch: int) -> tuple[Tensor, ...]:
        """Random inputs on the device."""
        rng = torch.Generator().manual_seed(1)
        return tuple(t.to(self.options.device, self.dtype) for t in network.example(batch, rng))

    def time(self, network: Network, batch: int, call: Call | None = None) -> Timing:
        """Times ``call``, or the network as it is."""
        inputs = self.inputs(network, batch)
        # A compiled module has a length, and asking for it fails: only ``None`` means that there is none.
        call = network.module if call is None else call
        return self.clock.timing(lambda: call(*inputs), batch)

    def compile(self, network: Network, batch: int) -> Call:
        """The network through the compiler, called once so that it is compiled."""
        mode = "max-autotune-no-cudagraphs" if self.options.max_autotune else None
        compiler = {"backend": self.options.compiler, "mode": mode}
        call = torch.compile(network.module, fullgraph=True, dynamic=False, **compiler)
        call(*self.inputs(network, batch))
        self.clock.synchronise()
        return call

    def captured(self, network: Network, call: Call, batch: int) -> Call:
        """``call`` as a CUDA graph over inputs of its own: what the result is called with is not read."""
        if not self.clock.cuda:
            raise RuntimeError("CUDA graphs need a GPU")
        inputs = self.inputs(network, batch)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # Capturing wants what is only done once to be done already.
            for _ in range(3):
                call(*inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = call(*inputs)

        def replay(*_: Tensor) -> tuple[Any, ...]:
            graph.replay()
            return output, inputs  # Named here, so that the memory which the graph works on stays.

        return replay

    def row(
        self, variant: str, batch: int, unet: Timing, decoder: Timing, network: Network | None = None
    ) -> None:
        """Keeps and prints a row; ``network`` is the decoder where it is not the VAE's."""
        gflops = self.gflops[self.unet.name] + self.gflops[(network or self.decoder).name]
        self.rows.append(Row(variant, batch, unet, decoder, gflops))
        print(self.rows[-1].line(self.rate), flush=True)

    def known(self, variant: str, batch: int) -> Timing | None:
        """The UNet's timing in a row that is there already."""
        return next((r.unet for r in self.rows if (r.variant, r.batch) == (variant, batch)), None)

    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.options.budget - (time.monotonic() - self.started)


def describe(device: str) -> str:
    """The device and what drives it, for the head of the output."""
    if not device.startswith("cuda"):
        return f"CPU, {torch.get_num_threads()} threads, torch {torch.__version__}"
    properties = torch.cuda.get_device_properties(device)
    cuda = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    return f"{properties.name}, {properties.total_memory >> 30} GiB, torch {torch.__version__}, {cuda}"


def numbers(text: str) -> list[int]:
    """Batch sizes from ``1,4,8``."""
    return [int(item) for item in text.split(",")]


def section_list(text: str) -> list[str]:
    """Sections from ``eager,compiled``, in the order in which they run."""
    asked = text.split(",")
    if unknown := set(asked) - set(SECTIONS):
        raise argparse.ArgumentTypeError(
            f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}"
        )
    return [name for name in SECTIONS if name in asked]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="fp16")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="full")
    parser.add_argument("--sections", type=section_list, default=list(SECTIONS), help=", ".join(SECTIONS))
    parser.add_argument("--batches", type=numbers, default=[1, 4, 8, 16], help="default 1,4,8,16")
    parser.add_argument("--compiled-batches", type=numbers, default=[8, 16], help="default 8,16")
    parser.add_argument("--compiler", default="inductor", help="the backend of torch.compile")
    parser.add_argument(
        "--max-autotune", action="store_true", help="the compiler times kernels: many minutes"
    )
    parser.add_argument("--fold-time-embedding", action="store_true", help="into the biases of convolutions")
    parser.add_argument("--matrix", type=int, default=8192, help="side of the matrices that give the rate")
    parser.add_argument("--budget", type=float, default=225, help="seconds after which no section begins")
    parser.add_argument("--quick", action="store_true", help="few calls, small matrices, batches 1 and 2")
    parser.add_argument("--json", type=Path, help="file for the rows")
    parser.add_argument("--verbose", action="store_true", help="tracebacks of sections that fail")
    options = parser.parse_args(arguments)
    if options.quick:
        options.batches, options.compiled_batches, options.matrix = [1, 2], [2], min(options.matrix, 512)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 when every section ran."""
    options = parse(arguments)
    torch.backends.cudnn.benchmark = True
    print(describe(options.device), flush=True)
    levers = Levers(options)
    names = "UNet {unet:.1f}, decoder {vae_decoder:.1f}, TAESD {taesd_decoder:.1f}".format(**levers.gflops)
    print(f"{options.preset}, {options.dtype}: {names} GFLOP a frame\n{HEAD}", flush=True)
    for name in options.sections:
        levers.section(name)
    print(
        "\n".join(["", HEAD, *(row.line(levers.rate) for row in levers.rows), *levers.failures]), flush=True
    )
    if options.json:
        rows = [dataclasses.asdict(row) | {"fps": row.fps} for row in levers.rows]
        report = {"device": describe(options.device), "matrix_tflops": levers.rate, "rows": rows}
        options.json.write_text(json.dumps(report | {"failures": levers.failures}, indent=2) + "\n")
    return 1 if levers.failures else 0


if __name__ == "__main__":
    sys.exit(main())
