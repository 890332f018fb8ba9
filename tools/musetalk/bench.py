"""A clock on the device, and the rows of a table of what was measured with it.

In: calls. Out: the median duration of each, the peak of the device's memory meanwhile, and lines to print.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import statistics
import time
from typing import Any, Callable

import torch

MIB = 1 << 20

HEAD = (
    f"{'variant':<30}{'batch':>6}{'UNet ms':>9}{'dec. ms':>9}{'frame ms':>10}"
    f"{'fps':>8}{'of matrix':>11}{'MiB':>8}"
)


@dataclasses.dataclass(frozen=True)
class Timing:
    """One network at one batch size."""

    #: Milliseconds of one frame: of a call, over its batch.
    ms: float
    #: Peak of the allocated device memory while it ran, with all weights that lay there, MiB; 0 on a CPU.
    memory: int


@dataclasses.dataclass(frozen=True)
class Row:
    """UNet and decoder in one variant at one batch size."""

    variant: str
    batch: int
    unet: Timing
    decoder: Timing
    #: Arithmetic of one frame.
    gflops: float

    @property
    def fps(self) -> float:
        """Frames per second when UNet and decoder take turns."""
        return 1e3 / (self.unet.ms + self.decoder.ms)

    def line(self, rate: float | None) -> str:
        """The row of the table; `rate` is that of the matrix product, TFLOP/s."""
        share = f"{100 * self.gflops * self.fps / 1e3 / rate:9.1f} %" if rate else f"{'?':>11}"
        memory = max(self.unet.memory, self.decoder.memory)
        return (
            f"{self.variant:<30}{self.batch:>6}{self.unet.ms:>9.3f}{self.decoder.ms:>9.3f}"
            f"{self.unet.ms + self.decoder.ms:>10.3f}{self.fps:>8.1f}{share}{memory:>8}"
        )


class Clock:
    """Times calls on one device, by the device's own events where it is a GPU."""

    def __init__(self, device: str, seconds: float) -> None:
        self.device = torch.device(device)
        self.cuda = self.device.type == "cuda"
        #: How long one timing may take; between 5 and 200 calls are timed.
        self.seconds = seconds

    def timing(self, call: Callable[[], Any], batch: int) -> Timing:
        """The median of several calls, and the memory that they needed."""
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        ms = self.median_ms(call) / batch
        return Timing(ms, torch.cuda.max_memory_allocated(self.device) // MIB if self.cuda else 0)

    def median_ms(self, call: Callable[[], Any]) -> float:
        """The median duration of `call`, ms, after two that are not counted."""
        # The first calls choose kernels and fill caches; the next tells how many can be timed.
        for _ in range(2):
            call()
        self.synchronise()
        clock = time.perf_counter()
        call()
        self.synchronise()
        runs = int(min(max(self.seconds / (time.perf_counter() - clock), 5), 200))
        return statistics.median(self._events(call, runs) if self.cuda else self._host(call, runs))

    def synchronise(self) -> None:
        """Waits until the device has done what it was given."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def tidy(self) -> None:
        """Gives back memory that nothing refers to any more."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()

    def _events(self, call: Callable[[], Any], runs: int) -> list[float]:
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(runs + 1)]
        marks[0].record()
        for mark in marks[1:]:
            call()
            mark.record()
        self.synchronise()
        return [a.elapsed_time(b) for a, b in itertools.pairwise(marks)]

    def _host(self, call: Callable[[], Any], runs: int) -> list[float]:
        marks = [time.perf_counter()]
        for _ in range(runs):
            call()
            marks.append(time.perf_counter())
        return [1e3 * (b - a) for a, b in itertools.pairwise(marks)]
