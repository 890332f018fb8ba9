"""The box that is redrawn. In: 68 points and the detector's box. Out: four pixels, or nothing."""

from __future__ import annotations

import numpy as np

Box = tuple[int, int, int, int]

#: What stands for a frame without a face.
NO_FACE = (0, 0, 0, 0)
#: Rows that version 1.5 adds below the chin.
EXTRA_MARGIN = 10


def face_box(points: np.ndarray, detected: Box | None, height: int, margin: int = EXTRA_MARGIN) -> Box:
    """The box of ``points`` i32 ``[68, 2]`` in a frame of ``height`` rows: left, top, right, bottom.

    As high above the middle of the nose as the chin is below it. Where the points make no box, ``detected``
    is taken; where the detector saw nothing, ``NO_FACE``.
    """
    if detected is None:
        return NO_FACE
    middle = points[29]
    half = int(points[:, 1].max()) - int(middle[1])
    top = max(0, int(middle[1]) - half)
    left, right = int(points[:, 0].min()), int(points[:, 0].max())
    bottom = int(points[:, 1].max())
    box = (left, top, right, bottom)
    if bottom - top <= 0 or right - left <= 0 or left < 0:
        box = detected
    return box[0], box[1], box[2], min(box[3] + margin, height)
