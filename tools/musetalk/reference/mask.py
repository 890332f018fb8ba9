"""What of the square around the face is drawn over. In: frame, box, labels. Out: alpha of the square, u8."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..networks.interface import PARSING_SIZE
from .box import Box

#: Side of the square over the longer side of the box.
EXPAND = 1.5
#: The blur's kernel over the side of the square: 0.1 in the real-time script, 0.05 in the other.
BLUR = 0.1
#: Rows of the square, as a share, that stay as they are.
UPPER = 0.5
#: Mean and deviation of the parsing's input, RGB in 0…1.
PARSING_MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
PARSING_STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
#: Classes: skin, nose, inner mouth and lips, neck.
SKIN, NOSE, MOUTH, NECK = 1, 10, (11, 12, 13), 14


def square_of(box: Box) -> Box:
    """The square around ``box``; it may leave the frame."""
    left, top, right, bottom = box
    x, y = (left + right) // 2, (top + bottom) // 2
    half = int((max(right - left, bottom - top) // 2) * EXPAND)
    return x - half, y - half, x + half, y + half


def parsing_input(frame: np.ndarray, square: Box) -> np.ndarray:
    """The square as face parsing sees it, u8 RGB ``[512, 512, 3]``."""
    large = Image.fromarray(frame[:, :, ::-1]).crop(square)
    return np.asarray(large.resize((PARSING_SIZE, PARSING_SIZE), Image.BILINEAR))


def parsing_tensor(picture: np.ndarray) -> Tensor:
    """``picture`` normalised, f32 ``[1, 3, 512, 512]``."""
    planes = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))).float().div(255)
    return planes.sub(PARSING_MEAN).div(PARSING_STD)[None]


def drawn_classes(labels: np.ndarray, mode: str = "jaw", cheeks: tuple[int, int] = (90, 90)) -> np.ndarray:
    """What of a label map u8 ``[512, 512]`` is drawn over, 0 or 255."""
    if mode != "jaw":
        return np.where(np.isin(labels, (SKIN, *MOUTH, *((NECK,) if mode == "neck" else ()))), 255, 0).astype(
            np.uint8
        )
    skin = np.where(labels == SKIN, 255, 0).astype(np.uint8)
    grown = cv2.dilate(skin, jaw_kernel(), iterations=1)
    shrunk = cv2.erode(grown, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (35, 3)), iterations=2)
    middle = PARSING_SIZE // 2
    shaped = shrunk.copy()
    shaped[:, middle - cheeks[0] + 1 : middle + cheeks[1]] = grown[
        :, middle - cheeks[0] + 1 : middle + cheeks[1]
    ]
    drawn = ((shaped == 255) & (labels != NOSE)) | np.isin(labels, MOUTH)
    return np.where(drawn, 255, 0).astype(np.uint8)


def jaw_kernel() -> np.ndarray:
    """The shape that skin grows by, u8 ``[33, 33]``: a triangle of eleven rows, then a bar."""
    kernel = np.zeros((33, 33), np.uint8)
    for row in range(10, 33):
        half = min(row - 10, 10)
        kernel[row, 16 - half : 17 + half] = 1
    return kernel


def alpha_of(drawn: np.ndarray, box: Box, square: Box, blur: float = BLUR) -> np.ndarray:
    """Alpha of the square, u8 ``[S, S]``: inside the box, the lower half, with a soft edge."""
    side = square[2] - square[0]
    mask = Image.fromarray(drawn).resize((side, side))
    inner = (box[0] - square[0], box[1] - square[1], box[2] - square[0], box[3] - square[1])
    boxed = Image.new("L", (side, side), 0)
    boxed.paste(mask.crop(inner), inner)
    lower = np.array(boxed)
    lower[: int(side * UPPER)] = 0
    kernel = int(((blur * side) // 2) * 2) + 1
    return cv2.GaussianBlur(lower, (kernel, kernel), 0)
