"""Makes clean synthetic utterances sound like recordings: rooms, microphones, noise, breath, levels."""

import random

import numpy as np

from .features import SAMPLE_RATE


def _shape(noise: np.ndarray, gain_db) -> np.ndarray:
    """Filters by a gain in dB over frequency (Hz)."""
    # A length with large prime factors would take many times as long.
    size = 1 << (len(noise) - 1).bit_length()
    spectrum = np.fft.rfft(noise, size)
    hz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    return np.fft.irfft(spectrum * 10 ** (gain_db(hz) / 20), size)[: len(noise)].astype(np.float32)


def breath(rng: random.Random, noise: np.random.Generator) -> np.ndarray:
    """An audible breath in: 0.15 to 0.5 s of hiss with a soft edge; peak about 1."""
    count = int(rng.uniform(0.15, 0.5) * SAMPLE_RATE)
    centre = rng.uniform(700, 2500)
    hiss = _shape(noise.standard_normal(count), lambda hz: -9 * np.abs(np.log2(np.maximum(hz, 50) / centre)))
    hiss *= np.hanning(count)
    return (hiss / (np.abs(hiss).max() + 1e-9)).astype(np.float32)


def background(rng: random.Random, noise: np.random.Generator, count: int) -> np.ndarray:
    """Hiss, rumble or mains hum; RMS 1."""
    kind = rng.choice(("white", "pink", "brown", "hum", "air"))
    if kind == "hum":
        t = np.arange(count) / SAMPLE_RATE
        base = rng.choice((50, 60, 50, 60, 100, 120)) * rng.uniform(0.98, 1.02)
        out = sum(
            rng.uniform(0.1, 1.0) / k * np.sin(2 * np.pi * base * k * t + rng.uniform(0, 6.3)) for k in range(1, 9)
        )
        out = out + 0.05 * noise.standard_normal(count)
    else:
        slope = {"white": 0, "pink": -3, "brown": -6, "air": -4.5}[kind]
        out = _shape(noise.standard_normal(count), lambda hz: slope * np.log2(np.maximum(hz, 40) / 1000))
        if kind == "air":
            out = out * (1 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.05, 0.4) * np.arange(count) / SAMPLE_RATE))
    return (out / (np.sqrt(np.mean(out**2)) + 1e-9)).astype(np.float32)


def room(rng: random.Random, noise: np.random.Generator, pcm: np.ndarray) -> np.ndarray:
    """A small room: the direct sound, then a decaying tail."""
    seconds = rng.uniform(0.1, 0.45)
    count = int(seconds * SAMPLE_RATE)
    tail = noise.standard_normal(count) * np.exp(-6.9 * np.arange(count) / count)
    tail[: int(0.003 * SAMPLE_RATE)] = 0
    tail *= 10 ** (-rng.uniform(4, 16) / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    size = 1 << (len(pcm) + count - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(pcm, size) * np.fft.rfft(tail, size), size)[: len(pcm)].astype(np.float32)


def microphone(rng: random.Random, pcm: np.ndarray) -> np.ndarray:
    """A tilt, a few soft bumps, and band limits as of a headset or a telephone."""
    tilt = rng.uniform(-3.0, 3.0)
    bumps = [(rng.uniform(150, 6000), rng.uniform(-6, 6), rng.uniform(0.4, 1.2)) for _ in range(3)]
    low = rng.choice((0, 0, 80, 150, 300))
    high = rng.choice((8000, 8000, 8000, 7000, 5500, 4000, 3400))

    def gain(hz):
        octave = np.log2(np.maximum(hz, 30) / 1000)
        out = tilt * octave
        for centre, db, width in bumps:
            out = out + db * np.exp(-((octave - np.log2(centre / 1000)) ** 2) / (2 * width**2))
        if low:
            out = out - 18 * np.maximum(0, np.log2(low / np.maximum(hz, 10)))
        return out - 60 * np.maximum(0, np.log2(np.maximum(hz, 10) / high))

    return _shape(pcm, gain)


def stretch_of_speech(rng: random.Random, noise: np.random.Generator, utterances):
    """Joins utterances with pauses and records them under one condition: (pcm, phones)."""
    parts, phones, at = [], [], 0
    peak = max(np.abs(pcm).max() for pcm, _ in utterances)
    breaths = []
    for pcm, spoken in utterances:
        pause = int(rng.choice((0.05, 0.2, 0.5, 1.0, 2.0, 4.0)) * rng.uniform(0.7, 1.3) * SAMPLE_RATE)
        gap = np.zeros(pause, np.float32)
        if rng.random() < 0.4:
            puff = breath(rng, noise)[:pause]
            where = rng.randrange(0, pause - len(puff) + 1)
            gap[where : where + len(puff)] += puff * peak * 10 ** (-rng.uniform(14, 36) / 20)
        level = 10 ** (rng.uniform(-5, 1) / 20)
        parts += [gap, pcm * level]
        at += pause
        phones += [(name, a + at / SAMPLE_RATE, b + at / SAMPLE_RATE) for name, a, b in spoken]
        at += len(pcm)
    parts.append(np.zeros(int(rng.uniform(0.3, 1.5) * SAMPLE_RATE), np.float32))
    pcm = np.concatenate(parts)
    if rng.random() < 0.5:
        pcm = room(rng, noise, pcm)
    if rng.random() < 0.8:
        pcm = microphone(rng, pcm)
    if rng.random() < 0.75:
        speech = np.sqrt(np.mean(pcm**2))
        pcm = pcm + background(rng, noise, len(pcm)) * speech * 10 ** (-rng.uniform(8, 45) / 20)
    pcm = pcm / np.abs(pcm).max() * 10 ** (rng.uniform(-30, -0.5) / 20)
    if rng.random() < 0.1:
        pcm = np.clip(pcm * rng.uniform(1, 2), -1, 1)
    if rng.random() < 0.5:  # as a 16-bit file would hold it
        pcm = np.round(pcm * 32767) / 32768
    return pcm.astype(np.float32), phones


def rest(rng: random.Random, noise: np.random.Generator) -> np.ndarray:
    """Seconds without speech: hum, hiss, breath, clicks, digital silence; they come and go, softly or at once."""
    count = int(rng.uniform(8, 20) * SAMPLE_RATE)
    pcm = np.zeros(count, np.float32)
    at = 0
    while at < count:
        part = pcm[at : at + int(rng.choice((0.3, 1.0, 3.0, 9.0)) * rng.uniform(0.7, 1.3) * SAMPLE_RATE)]
        at += len(part)
        if len(part) > 100 and rng.random() < 0.8:
            edge = int(rng.choice((0.0, 0.01, 0.2)) * SAMPLE_RATE)
            ramp = np.minimum(1.0, (np.arange(len(part)) + 1) / (edge + 1))
            part += background(rng, noise, len(part)) * ramp * ramp[::-1] * 10 ** (-rng.uniform(14, 70) / 20)
    for _ in range(rng.choice((0, 1, 3, 8))):
        puff = breath(rng, noise) * 10 ** (-rng.uniform(15, 55) / 20)
        where = rng.randrange(0, count - len(puff))
        pcm[where : where + len(puff)] += puff
    for _ in range(rng.choice((0, 0, 5))):
        pcm[rng.randrange(0, count)] += rng.uniform(-0.3, 0.3)
    return pcm
