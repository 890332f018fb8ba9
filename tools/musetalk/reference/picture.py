"""The face out of the frame and back into it. In and out: u8 pictures."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..networks.interface import IMAGE_SIZE
from .box import Box


def crop_of(frame: np.ndarray, box: Box) -> np.ndarray:
    """The box at the size that the VAE sees, u8 ``[256, 256, 3]``."""
    left, top, right, bottom = box
    return cv2.resize(
        frame[top:bottom, left:right], (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_LANCZOS4
    )


def vae_input(crop: np.ndarray, masked: bool) -> Tensor:
    """A BGR crop as RGB in -1…1, f32 ``[1, 3, 256, 256]``; the lower half black where it is masked."""
    planes = (crop[:, :, ::-1] / 255.0).astype(np.float32).transpose(2, 0, 1)
    tensor = torch.from_numpy(np.ascontiguousarray(planes[None]))
    if masked:
        keep = torch.zeros(IMAGE_SIZE, IMAGE_SIZE)
        keep[: IMAGE_SIZE // 2] = 1
        tensor = tensor * keep
    return (tensor - 0.5) / 0.5


def face_bytes(image: Tensor) -> np.ndarray:
    """The decoder's ``[B, 3, 256, 256]`` in 0…1 as u8 RGB ``[B, 256, 256, 3]``, rounded half to even."""
    return (image.permute(0, 2, 3, 1).float().numpy() * 255).round().astype(np.uint8)


def resized(face: np.ndarray, box: Box) -> np.ndarray:
    """A face at the size of its box."""
    return cv2.resize(face, (box[2] - box[0], box[3] - box[1]))


def blended(frame: np.ndarray, face: np.ndarray, box: Box, alpha: np.ndarray, square: Box) -> np.ndarray:
    """The frame with ``face``, at the box's size, drawn into it. All three are of one order of colours."""
    body = Image.fromarray(frame)
    large = body.crop(square)
    corner = (box[0] - square[0], box[1] - square[1])
    large.paste(Image.fromarray(face), (*corner, box[2] - square[0], box[3] - square[1]))
    body.paste(large, square[:2], Image.fromarray(alpha))
    return np.asarray(body)


def i420(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An RGB picture of even size as Y, U and V: BT.601, limited range, each chroma value of the mean of 2×2
    pixels.

    Plain f64 arithmetic, rounded half up at the end.
    """
    red, green, blue = np.moveaxis(frame.astype(np.float64) / 255, 2, 0)
    luma = 16 + 65.481 * red + 128.553 * green + 24.966 * blue
    red, green, blue = (
        plane.reshape(plane.shape[0] // 2, 2, plane.shape[1] // 2, 2).mean((1, 3))
        for plane in (red, green, blue)
    )
    u = 128 - 37.797 * red - 74.203 * green + 112 * blue
    v = 128 + 112 * red - 93.786 * green - 18.214 * blue
    return tuple(np.floor(plane + 0.5).astype(np.uint8) for plane in (luma, u, v))
