"""How goldens stay small: inputs that are pictures by formula, and outputs of which a part is kept."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable

import numpy as np
import torch
from torch import Tensor

from .. import scene


@dataclasses.dataclass(frozen=True)
class Pictures:
    """An input ``[B, 3, rows, columns]`` of backdrops: ``(pixel - 128) · scale``, planar RGB.

    Item ``i`` of a batch is ``scene.backdrop(f"{name}.{i}", columns, rows)``.
    """

    name: str
    scale: float
    #: Rows and columns for a batch of that many.
    size: Callable[[int], tuple[int, int]]

    def batch(self, count: int) -> Tensor:
        """A batch of ``count``, f32."""
        rows, columns = self.size(count)
        pixels = np.stack([scene.backdrop(f"{self.name}.{i}", columns, rows) for i in range(count)])
        planes = (pixels.astype(np.float32) - 128).transpose(0, 3, 1, 2) * np.float32(self.scale)
        return torch.from_numpy(np.ascontiguousarray(planes))

    def example(self, count: int, rng: torch.Generator) -> tuple[Tensor, ...]:
        """The batch as a network's example inputs."""
        return (self.batch(count),)

    def describe(self, count: int) -> dict[str, Any]:
        """What a reader needs to make the batch."""
        return {
            "picture": self.name,
            "shape": [count, 3, *self.size(count)],
            "offset": -128,
            "scale": self.scale,
        }


@dataclasses.dataclass(frozen=True)
class Sample:
    """The part of an output that is kept: every ``strides``-th value of each axis, and the arg-max along
    one."""

    strides: tuple[int, ...]
    #: The axis of the arg-max.
    axis: int | None = None
    #: Strides of the arg-max, over the axes that remain.
    axis_strides: tuple[int, ...] = ()

    def take(self, key: str, output: Tensor) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The arrays kept of ``output``, and what a reader needs to take the same of its own, by key."""
        arrays = {f"{key}.sample": strided(output.numpy(), self.strides)}
        how: dict[str, Any] = {f"{key}.sample": {"of": key, "strides": self.strides}}
        if self.axis is not None:
            best = output.argmax(self.axis).numpy()
            best = best.astype(np.uint8 if output.shape[self.axis] <= 256 else np.int32)
            arrays[f"{key}.argmax"] = strided(best, self.axis_strides)
            how[f"{key}.argmax"] = {"of": key, "axis": self.axis, "strides": self.axis_strides}
        return arrays, how


def strided(array: np.ndarray, strides: tuple[int, ...]) -> np.ndarray:
    """Every ``strides``-th value of each axis, from the first."""
    return np.ascontiguousarray(array[tuple(slice(None, None, stride) for stride in strides)])
