"""A stream of numbers that any language can make: the inputs of goldens need not be stored.

Word ``k`` (1, 2, …) of the stream ``name`` at ``seed`` is SplitMix64's output for the state
``(FNV-1a-64(name) xor seed) + k·9E3779B97F4A7C15``, all modulo 2^64.
"""

from __future__ import annotations

import math

import numpy as np

#: Seed of all inputs.
INPUT_SEED = 7

FNV_OFFSET = 0xCBF29CE484222325
FNV_PRIME = 0x100000001B3
GOLDEN_GAMMA = 0x9E3779B97F4A7C15
WORD = (1 << 64) - 1


def words(name: str, count: int, seed: int = INPUT_SEED) -> np.ndarray:
    """The first ``count`` words, u64."""
    state = FNV_OFFSET
    for byte in name.encode():
        state = ((state ^ byte) * FNV_PRIME) & WORD
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN_GAMMA) + np.uint64(state ^ seed)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def bytes_of(name: str, shape: tuple[int, ...], seed: int = INPUT_SEED) -> np.ndarray:
    """The top byte of each word, u8, in C order."""
    return (words(name, math.prod(shape), seed) >> np.uint64(56)).astype(np.uint8).reshape(shape)


def floats_of(
    name: str, shape: tuple[int, ...], amplitude: float = 1.0, seed: int = INPUT_SEED
) -> np.ndarray:
    """The top 24 bits of each word as f32 in ±``amplitude``: ``(word >> 40) · 2^-23 - 1``, exact, times
    that."""
    unit = (words(name, math.prod(shape), seed) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23)
    return ((unit - np.float32(1.0)) * np.float32(amplitude)).reshape(shape)
