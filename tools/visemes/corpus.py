"""The training set: features and targets at 100 Hz, made once and kept in a cache folder."""

import hashlib
import multiprocessing
import random
from pathlib import Path

import numpy as np

from . import augment, features, synth, targets, text

HELD_OUT = "rms"
TRAINED = tuple(v for v in synth.FLITE_VOICES if v != HELD_OUT)
# Stretches of some half a minute, so that the running loudness has settled in most of it.
UTTERANCES = 8

_espeak = None


def load(cache: Path, name: str, minutes: float, seed: int):
    """(features f32 [n, 40], targets f32 [n, 5], starts of stretches), from the cache if it is there."""
    sources = b"".join(Path(module.__file__).read_bytes() for module in (augment, features, synth, targets, text))
    made_by = hashlib.sha256(sources).hexdigest()[:8]
    file = cache / f"{name}-{minutes:g}-{seed}-{made_by}.npz"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        x, y, starts = _make(name == "held-out", minutes, seed)
        np.savez(file, x=x.astype(np.float16), y=y.astype(np.float16), starts=starts)
    with np.load(file) as data:
        return data["x"].astype(np.float32), data["y"].astype(np.float32), data["starts"]


def _make(held_out: bool, minutes: float, seed: int):
    xs, ys, starts, frames = [], [], [], 0
    jobs = [(held_out, seed * 1_000_003 + i) for i in range(int(minutes * 4) + 16)]
    with multiprocessing.Pool(2) as pool:
        for x, y in pool.imap(_stretch, jobs):
            xs.append(x)
            ys.append(y)
            starts.append(frames)
            frames += len(x)
            if frames >= minutes * 6000:
                break
        pool.terminate()
    return np.concatenate(xs), np.concatenate(ys), np.array(starts)


def _stretch(job):
    global _espeak
    held_out, seed = job
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    if not held_out and rng.random() < 0.2:
        pcm, phones = augment.rest(rng, noise), []
    else:
        if held_out:
            voice = HELD_OUT
        elif rng.random() < 0.35:
            voice = rng.choice(synth.ESPEAK_VOICES)
        else:
            voice = rng.choice(TRAINED)
        if "+" in voice and _espeak is None:
            _espeak = synth.Espeak()
        spoken = [synth.random_utterance(rng, voice, _espeak, text.sentence(rng)) for _ in range(UTTERANCES)]
        pcm, phones = augment.stretch_of_speech(rng, noise, spoken)
    x = features.features(pcm)
    return x, targets.targets(phones, len(x))
