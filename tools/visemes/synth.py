"""Speech whose phone times are known, from Debian's flite and espeak-ng.

Out: 16 kHz mono PCM, f32 -1..1, and (phone, start s, end s) in flite's names.
"""

import ctypes
import random
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np

from .targets import GLIDES, TABLE

FLITE_VOICES = ("kal16", "awb", "rms", "slt")
ESPEAK_VOICES = tuple(
    f"{accent}+{variant}"
    for accent in ("en-us", "en", "en-gb-x-rp")
    for variant in ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5")
)


def flite(voice: str, text: str, stretch: float = 1.0):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "o.wav"
        command = ["flite", "-voice", voice, "-psdur", "--setf", f"duration_stretch={stretch:.3f}"]
        printed = subprocess.run(
            [*command, "-t", text, "-o", str(out)], capture_output=True, text=True, check=True
        ).stdout
        pcm = _read(out)
    phones, at = [], 0.0
    for item in printed.split():
        name, end = item.rsplit(":", 1)
        phones.append((name, at, float(end)))
        at = float(end)
    return pcm, [p for p in phones if p[0] != "pau"]


def _read(path):
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2), path
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


# espeak-ng's English mnemonics; what is not named here is dropped, its time goes to silence's side of the phone before.
_ESPEAK = {
    "0": "aa", "A:": "aa", "A@": "aa", "O2": "aa", "a": "ae", "aa": "ae", "V": "ah", "O:": "ao", "O": "ao", "O@": "ao",
    "o@": "ao", "@": "ax", "@2": "ax", "@5": "ax", "a#": "ax", "3": "er", "3:": "er", "E": "eh", "e@": "eh", "E2": "eh",
    "I": "ih", "I2": "ih", "I#": "ih", "i": "iy", "i:": "iy", "i@": "iy", "i@3": "iy", "U": "uh", "U@": "uh",
    "u:": "uw", "u": "uw", "aI": "ay", "aU": "aw", "eI": "ey", "oU": "ow", "OI": "oy", "aI@": "ay", "aI3": "ay",
    "j": "y", "w": "w", "r": "r", "r-": "r", "l": "l", "h": "hh", "T": "th", "D": "dh", "f": "f", "v": "v", "s": "s",
    "z": "z", "S": "sh", "Z": "zh", "tS": "ch", "dZ": "jh", "t": "t", "t2": "t", "t#": "d", "d": "d", "n": "n",
    "k": "k", "g": "g", "N": "ng", "p": "p", "b": "b", "m": "m", "?": "t", "*": "d",
}
_SYLLABIC = {"@L": ("ax", "l"), "n-": ("n",), "l-": ("l",), "m-": ("m",), "A@r": ("aa", "r"), "O@r": ("ao", "r")}
# The event of an unvoiced stop marks its burst; the lips met this much earlier.
_CLOSURE_S = 0.05


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int), ("unique", ctypes.c_uint), ("text_position", ctypes.c_int), ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int), ("sample", ctypes.c_int), ("user", ctypes.c_void_p), ("id", _Id),
    ]


class Espeak:
    """One per process: the library keeps its state in globals."""

    def __init__(self):
        self.library = ctypes.CDLL("libespeak-ng.so.1")
        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
        self.rate = self.library.espeak_Initialize(2, 0, None, 1)  # synchronous; phoneme events
        self.pcm, self.events = [], []

        def heard(wave_data, count, events):
            if count > 0:
                self.pcm.append(np.ctypeslib.as_array(wave_data, (count,)).copy())
            i = 0
            while events[i].type != 0:
                if events[i].type == 7:
                    self.events.append((events[i].id.string.decode(), events[i].sample / self.rate))
                i += 1
            return 0

        self._keep = callback(heard)
        self.library.espeak_SetSynthCallback(self._keep)

    def speak(self, voice: str, text: str, words_per_minute: int, pitch: int):
        self.pcm.clear()
        self.events.clear()
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice {voice}")
        self.library.espeak_SetParameter(1, words_per_minute, 0)
        self.library.espeak_SetParameter(3, pitch, 0)
        data = text.encode()
        self.library.espeak_Synth(data, len(data) + 1, 0, 1, 0, 1, None, None)
        self.library.espeak_Synchronize()
        pcm = np.concatenate(self.pcm).astype(np.float32) / 32768
        phones = []
        ends = [at for _, at in self.events[1:]] + [len(pcm) / self.rate]
        for (name, start), end in zip(self.events, ends):
            names = _SYLLABIC.get(name) or ((_ESPEAK[name],) if name in _ESPEAK else ())
            if name in ("p", "t", "k") and phones:
                last, a, b = phones[-1]
                if b - start > -0.001:
                    phones[-1] = (last, a, max(a + 0.02, b - _CLOSURE_S))
                start = max(phones[-1][2], start - _CLOSURE_S)
            width = (end - start) / max(1, len(names))
            for k, phone in enumerate(names):
                assert phone in TABLE or phone in GLIDES, phone
                phones.append((phone, start + k * width, start + (k + 1) * width))
        return resample(pcm, self.rate / 16_000), phones


def resample(pcm: np.ndarray, step: float) -> np.ndarray:
    """Reads `pcm` with `step` input samples per output sample (band-limited when it shrinks)."""
    if step > 1.0:
        taps = np.arange(-32, 33)
        kernel = np.sinc(taps / step) * np.hanning(65)
        pcm = np.convolve(pcm, kernel / kernel.sum(), "same")
    x = np.arange(int((len(pcm) - 1) / step)) * step
    # Cubic (Catmull-Rom) between samples: clean enough well below the band edge.
    i = np.clip(x.astype(int), 1, len(pcm) - 3)
    f = (x - i).astype(np.float32)
    a, b, c, d = pcm[i - 1], pcm[i], pcm[i + 1], pcm[i + 2]
    out = b + 0.5 * f * (c - a + f * (2 * a - 5 * b + 4 * c - d + f * (3 * (b - c) + d - a)))
    return out.astype(np.float32)


def random_utterance(rng: random.Random, voice: str, espeak: Espeak | None, text: str):
    """One utterance at a random pace and pitch: (pcm, phones)."""
    if espeak is not None and "+" in voice:
        pcm, phones = espeak.speak(voice, text, rng.randint(120, 210), rng.randint(25, 75))
        step = rng.uniform(0.92, 1.08)
    else:
        pcm, phones = flite(voice, text, rng.uniform(0.75, 1.25))
        step = rng.uniform(0.84, 1.20)
    return resample(pcm, step), [(name, a / step, b / step) for name, a, b in phones]
