"""The made-up talking head that goldens are run on: pictures, landmarks, labels and speech, all by formula.

Pictures are integer arithmetic over the portable stream, so that any language makes the same bytes.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from . import portable

#: Columns and rows of a source frame.
WIDTH, HEIGHT = 480, 360
#: Columns and rows of one cell of the backdrop.
CELL = 40
#: Samples per second of the speech.
SAMPLE_RATE = 16_000
#: Samples of the speech: 1.2 s.
SAMPLES = 19_200


@dataclasses.dataclass(frozen=True)
class Oval:
    """An axis-parallel ellipse, in pixels from the middle of the head, and the RGB colour that it is tinted
    with."""

    x: int
    y: int
    half_width: int
    half_height: int
    colour: tuple[int, int, int]


#: The head, painted in this order.
HEAD = (
    Oval(0, 0, 58, 76, (214, 170, 148)),
    Oval(-23, -14, 12, 6, (236, 236, 232)),
    Oval(23, -14, 12, 6, (236, 236, 232)),
    Oval(-22, -14, 5, 5, (60, 44, 36)),
    Oval(24, -14, 5, 5, (60, 44, 36)),
    Oval(-23, -28, 15, 4, (82, 58, 44)),
    Oval(23, -28, 15, 4, (82, 58, 44)),
    Oval(0, 8, 8, 17, (196, 148, 126)),
    Oval(0, 40, 22, 9, (170, 74, 78)),
    Oval(0, 41, 14, 4, (74, 24, 30)),
)
#: The middle of the head in each frame, in pixels from the left and from the top.
CENTRES = ((233, 168), (239, 172))

#: The 68 landmarks (iBUG order), in pixels from the middle of the head.
LANDMARKS = (
    *((-58, -2), (-57, 12), (-55, 26), (-50, 40), (-43, 52), (-34, 62), (-23, 70), (-12, 75), (0, 76)),
    *((12, 75), (23, 70), (34, 62), (43, 52), (50, 40), (55, 26), (57, 12), (58, -2)),
    *((-38, -26), (-31, -31), (-23, -32), (-15, -31), (-8, -27)),
    *((8, -27), (15, -31), (23, -32), (31, -31), (38, -26)),
    *((0, -15), (0, -6), (0, 3), (0, 12)),
    *((-9, 20), (-4, 22), (0, 24), (4, 22), (9, 20)),
    *((-35, -14), (-28, -19), (-18, -19), (-11, -13), (-18, -9), (-28, -9)),
    *((11, -13), (18, -19), (28, -19), (35, -14), (28, -9), (18, -9)),
    *((-22, 40), (-14, 34), (-6, 31), (0, 33), (6, 31), (14, 34), (22, 40)),
    *((14, 46), (6, 49), (0, 49), (-6, 49), (-14, 46)),
    *((-18, 40), (-6, 37), (0, 38), (6, 37), (18, 40), (6, 44), (0, 45), (-6, 44)),
)


def frame(number: int) -> np.ndarray:
    """Source frame ``number`` (0 or 1), u8 RGB ``[360, 480, 3]``."""
    picture = backdrop(f"frame{number}", WIDTH, HEIGHT)
    for oval in HEAD:
        tint(picture, oval, CENTRES[number])
    return picture


def backdrop(name: str, width: int, height: int) -> np.ndarray:
    """Smooth colours with a little grain, u8 RGB ``[height, width, 3]``.

    Corners of 40×40 cells have the colours of stream ``<name>.corners``, pixels between them are
    interpolated: ``(Σ weight·corner + 800) div 1600``; of that 15 sixteenths (``·15 div 16``) plus the top
    three bits of stream ``<name>.grain``.
    """
    rows, columns = -(-height // CELL) + 1, -(-width // CELL) + 1
    corners = portable.bytes_of(f"{name}.corners", (rows, columns, 3)).astype(np.int64)
    row, below = np.divmod(np.arange(height), CELL)
    column, right = np.divmod(np.arange(width), CELL)
    below, right = below[:, None, None], right[None, :, None]
    upper = (CELL - right) * corners[row][:, column] + right * corners[row][:, column + 1]
    lower = (CELL - right) * corners[row + 1][:, column] + right * corners[row + 1][:, column + 1]
    colours = ((CELL - below) * upper + below * lower + CELL * CELL // 2) // (CELL * CELL)
    grain = portable.bytes_of(f"{name}.grain", (height, width, 3)) >> 5
    return (colours * 15 // 16 + grain).astype(np.uint8)


def tint(picture: np.ndarray, oval: Oval, centre: tuple[int, int]) -> None:
    """Mix the colour of ``oval`` into ``picture``: ``(old + 3·colour) div 4`` where
    ``dx²·half_height² + dy²·half_width² ≤ half_width²·half_height²``."""
    dy, dx = np.ogrid[: picture.shape[0], : picture.shape[1]]
    dx, dy = dx - centre[0] - oval.x, dy - centre[1] - oval.y
    a, b = oval.half_width**2, oval.half_height**2
    inside = dx * dx * b + dy * dy * a <= a * b
    mixed = (picture[inside].astype(np.int64) + 3 * np.array(oval.colour)) // 4
    picture[inside] = mixed.astype(np.uint8)


def landmarks(number: int) -> np.ndarray:
    """The landmarks of frame ``number``, i32 ``[68, 2]``, x and y in pixels.

    In frame 1 the chin and the lower lip are seven pixels lower, so that the two boxes have different sizes.
    """
    points = np.array(LANDMARKS)
    points[points[:, 1] > 42, 1] += 7 * number
    return (points + np.array(CENTRES[number])).astype(np.int32)


def labels() -> np.ndarray:
    """A label map of face parsing, u8 ``[512, 512]``: classes in cells of 16×16, and a face of rectangles.

    The class of a cell is the word of stream ``LAB`` modulo 19.
    """
    cells = (portable.words("LAB", 32 * 32) % np.uint64(19)).astype(np.uint8).reshape(32, 32)
    picture = cells.repeat(16, axis=0).repeat(16, axis=1)
    picture[96:448, 112:400] = 1
    picture[224:288, 232:280] = 10
    picture[320:352, 200:312] = 12
    picture[352:360, 200:312] = 11
    picture[360:392, 200:312] = 13
    return picture


def speech() -> np.ndarray:
    """A second of babble, i16 ``[19200]`` at 16 kHz: a rising tone in syllables of 0.16 s, with pauses and
    hiss.

    Computed in f64 and rounded, so that it is stored with the goldens rather than made anew.
    """
    t = np.arange(SAMPLES) / SAMPLE_RATE
    pitch = 2 * np.pi * (110 * t + 40 * t * t)
    tone = sum(np.sin(harmonic * pitch) / harmonic for harmonic in (1, 2, 3, 5, 8, 13))
    formant = 1 + 0.6 * np.sin(2 * np.pi * 3.1 * t)
    syllables = np.maximum(np.sin(2 * np.pi * t / 0.32), 0) ** 0.7
    hiss = portable.floats_of("speech.hiss", (SAMPLES,)).astype(np.float64)
    wave = 0.22 * syllables * formant * tone + 0.002 * hiss + 0.05 * (t > 0.9) * hiss
    wave[(t > 0.55) & (t < 0.64)] = 0
    return np.clip(np.rint(wave * 32767), -32768, 32767).astype(np.int16)
