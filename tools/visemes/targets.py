"""Phones with times to the mouth's targets at 100 Hz.

The table gives each phone its own mouth; neighbours pull on it by dominance functions (a phone with a large weight
keeps its shape, one with a small weight takes its neighbours'), which decay over some 50 ms on each side, so that two
phones blend over 80 to 120 ms. Closed lips do not blend: they always win.
"""

import numpy as np

FRAME_S = 0.01
# The visible gesture comes before its sound.
LEAD_S = 0.012
# Speech is announced this much before its first sound, so that the mouth has left its rest when it is needed.
SPEECH_LEAD_S = 0.04
BLEND_S = 0.042

# phone: (opening, weight, width, weight, teeth); opening, teeth 0..1; width -1 rounded .. 1 spread.
TABLE = {
    "aa": (1.00, 1.0, 0.05, 0.8, 0.15), "ae": (0.85, 1.0, 0.50, 1.0, 0.25), "ah": (0.65, 1.0, 0.10, 0.6, 0.15),
    "ao": (0.75, 1.0, -0.55, 1.0, 0.05), "ax": (0.42, 0.7, 0.05, 0.3, 0.15), "eh": (0.62, 1.0, 0.50, 1.0, 0.25),
    "er": (0.38, 1.0, -0.40, 0.9, 0.15), "ih": (0.38, 0.9, 0.50, 0.9, 0.30), "iy": (0.28, 1.0, 1.00, 1.2, 0.40),
    "uh": (0.32, 0.9, -0.60, 1.0, 0.05), "uw": (0.20, 1.0, -1.00, 1.3, 0.00), "y": (0.22, 0.7, 0.75, 0.8, 0.35),
    "w": (0.12, 1.3, -1.00, 1.5, 0.00), "r": (0.25, 0.8, -0.45, 0.6, 0.15), "l": (0.32, 0.6, 0.10, 0.2, 0.20),
    "hh": (0.35, 0.2, 0.00, 0.1, 0.10), "th": (0.18, 0.9, 0.10, 0.3, 0.60), "dh": (0.20, 0.8, 0.10, 0.3, 0.55),
    "f": (0.07, 2.0, 0.05, 0.5, 0.70), "v": (0.08, 1.8, 0.05, 0.5, 0.60), "s": (0.12, 1.2, 0.30, 0.5, 1.00),
    "z": (0.14, 1.2, 0.30, 0.5, 1.00), "sh": (0.17, 1.2, -0.50, 0.8, 0.90), "zh": (0.18, 1.2, -0.45, 0.8, 0.85),
    "ch": (0.16, 1.1, -0.45, 0.7, 0.90), "jh": (0.17, 1.1, -0.40, 0.7, 0.85), "t": (0.18, 0.7, 0.15, 0.2, 0.50),
    "d": (0.20, 0.7, 0.15, 0.2, 0.45), "n": (0.20, 0.7, 0.15, 0.2, 0.35), "k": (0.27, 0.4, 0.05, 0.1, 0.20),
    "g": (0.27, 0.4, 0.05, 0.1, 0.20), "ng": (0.27, 0.5, 0.05, 0.1, 0.20), "p": (0.00, 2.5, 0.00, 0.15, 0.00),
    "b": (0.00, 2.5, 0.00, 0.15, 0.00), "m": (0.00, 2.5, 0.00, 0.15, 0.00), "pau": (0.00, 1.0, 0.00, 0.6, 0.00),
}
# Diphthongs are two mouths in one phone: the share of the first, then the two.
GLIDES = {
    "ay": (0.55, (0.95, 1.0, 0.10, 0.8, 0.15), (0.38, 0.8, 0.65, 0.9, 0.30)),
    "aw": (0.50, (0.95, 1.0, 0.15, 0.8, 0.15), (0.32, 0.8, -0.85, 1.0, 0.05)),
    "ey": (0.45, (0.55, 1.0, 0.60, 1.0, 0.25), (0.32, 0.8, 0.85, 1.0, 0.35)),
    "ow": (0.40, (0.55, 1.0, -0.55, 1.0, 0.05), (0.28, 0.9, -0.95, 1.2, 0.00)),
    "oy": (0.50, (0.58, 1.0, -0.75, 1.0, 0.05), (0.36, 0.8, 0.65, 0.9, 0.30)),
}
CLOSED = {"p": 0.65, "b": 0.75, "m": 1.0}  # the share of the phone before the lips part
SPREAD = ("iy", "ih", "ey", "eh", "ae")
ROUNDED = ("uw", "ow", "uh", "w", "ao")
OUTPUTS = ("opening", "width", "teeth", "closed", "speech")


def targets(phones: list[tuple[str, float, float]], frames: int) -> np.ndarray:
    """`[frames, 5]`: opening, width, teeth, closed, speech; row i is the mouth at 10 ms * i.

    `phones`: (name, start, end) in seconds, in order; what they do not cover is silence.
    """
    t = np.arange(frames) * FRAME_S
    num = np.zeros((frames, 3))
    den = np.full((frames, 3), 1e-9)
    closed = np.zeros(frames)
    speech = np.zeros(frames)
    for name, start, end in _with_silence(phones, frames * FRAME_S):
        for value, a, b in _parts(name, start, end):
            # Dominance 1 inside, a smooth fall outside; earlier by the lead.
            outside = np.maximum(0.0, np.maximum(a - LEAD_S - t, t - (b - LEAD_S)))
            near = outside < 6 * BLEND_S
            dominance = np.exp(-((outside[near] / BLEND_S) ** 1.5))
            opening, opening_weight, width, width_weight, teeth = value
            # Lips need to be there, not on their way: silence and closures come up more slowly.
            for channel, (v, w) in enumerate(((opening, opening_weight), (width, width_weight), (teeth, 1.0))):
                num[near, channel] += w * dominance * v
                den[near, channel] += w * dominance
        if name != "pau":
            speech[(t >= start - SPEECH_LEAD_S) & (t < end)] = 1.0
        if name in CLOSED:
            stop = start + CLOSED[name] * (end - start)
            closed[(t >= start - 0.005) & (t <= max(stop, start + 0.03))] = 1.0
    out = num / den
    ramp = np.convolve(closed, [0.25, 0.5, 0.25], "same")
    out[:, 0] *= 1.0 - np.maximum(closed, ramp)
    return np.column_stack([out, np.maximum(closed, ramp), speech]).astype(np.float32)


def _parts(name, start, end):
    if name in GLIDES:
        share, first, second = GLIDES[name]
        middle = start + share * (end - start)
        return [(first, start, middle), (second, middle, end)]
    return [(TABLE[name], start, end)]


def _with_silence(phones, total):
    at = 0.0
    for name, start, end in phones:
        if start > at + 1e-4:
            yield "pau", at, start
        yield name, start, end
        at = end
    # Silence lasts: nothing that follows the clip may be heard in it.
    yield "pau", at, max(total, at) + 1.0
