"""PCM to the network's input, as `backends/demo/src/speech/{mel,loudness,network}.rs` compute it.

In: 16 kHz mono PCM. Out: f32 `[frames, 40]`, one row each 10 ms; row i is centred on sample 160 * i.
"""

import numpy as np

SAMPLE_RATE = 16_000
HOP = 160
WINDOW = 400
FFT = 512
BANDS = 40
LOW_HZ, HIGH_HZ = 60.0, 7_600.0

# Loudness (loudness.rs)
START_DB = -32.0
LOWEST_DB, HIGHEST_DB = -58.0, -8.0
RANGE_DB = 30.0
SILENCE_DB = -72.0
QUANTILE = 0.85
SETTLE = 25.0
FLOOR_FALLS = 0.3
FLOOR_RISES = 0.05
STANDS_OUT_DB = 10.0
QUIET_STEP = 0.1

# Input scaling (network.rs)
INPUT_OFFSET_DB = 15.0
INPUT_SCALE_DB = 20.0
INPUT_RANGE = (-2.0, 2.0)


def _bands() -> np.ndarray:
    mel = lambda hz: 2595.0 * np.log10(1.0 + hz / 700.0)
    hz = lambda m: 700.0 * (10.0 ** (m / 2595.0) - 1.0)
    edges = hz(np.linspace(mel(LOW_HZ), mel(HIGH_HZ), BANDS + 2))
    f = np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT
    out = np.zeros((FFT // 2 + 1, BANDS))
    for b in range(BANDS):
        left, centre, right = edges[b : b + 3]
        out[:, b] = np.maximum(0.0, np.minimum((f - left) / (centre - left), (right - f) / (right - centre)))
        if not out[:, b].any():
            out[int(round(centre * FFT / SAMPLE_RATE)), b] = 1.0
    return out


_WINDOW = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(WINDOW) + 0.5) / WINDOW)
_WINDOW *= 2.0 / _WINDOW.sum()
_BANDS = _bands()


def mel(pcm: np.ndarray) -> np.ndarray:
    """Band levels, dB, `[frames, 40]`."""
    padded = np.concatenate([np.zeros(WINDOW // 2), np.asarray(pcm, np.float64)])
    count = max(0, (len(padded) - WINDOW) // HOP + 1)
    windows = np.lib.stride_tricks.as_strided(
        padded, (count, WINDOW), (padded.strides[0] * HOP, padded.strides[0])
    )
    power = np.abs(np.fft.rfft(windows * _WINDOW, FFT)) ** 2
    return (10.0 * np.log10(power @ _BANDS + 1e-10)).astype(np.float32)


def ceilings(levels: np.ndarray) -> np.ndarray:
    """The running ceiling after each frame, dB."""
    ceiling, heard, floor = START_DB, 0.0, None
    out = np.empty(len(levels), np.float32)
    for i, level in enumerate(levels.tolist()):
        if floor is None:
            floor = level
        floor += FLOOR_FALLS * (level - floor) if level < floor else FLOOR_RISES
        floor = max(floor, SILENCE_DB)
        if level > ceiling or level > max(ceiling - RANGE_DB, floor + STANDS_OUT_DB):
            step = 0.3 + 2.0 / (1.0 + heard / SETTLE)
            ceiling += step * (QUANTILE if level > ceiling else QUANTILE - 1.0)
            heard += 1.0
        elif level > floor + STANDS_OUT_DB:
            ceiling -= QUIET_STEP
        ceiling = min(max(ceiling, LOWEST_DB), HIGHEST_DB)
        out[i] = ceiling
    return out


def levels(bands: np.ndarray) -> np.ndarray:
    """Level of each frame: the mean power of its bands, dB."""
    return 10.0 * np.log10((10.0 ** (bands.astype(np.float64) / 10.0)).mean(axis=1) + 1e-10)


def features(pcm: np.ndarray) -> np.ndarray:
    """The network's input, `[frames, 40]`."""
    bands = mel(pcm)
    relative = bands - ceilings(levels(bands))[:, None]
    return np.clip((relative + INPUT_OFFSET_DB) / INPUT_SCALE_DB, *INPUT_RANGE).astype(np.float32)
