"""Where the face is, by S3FD and RTMPose. In: a frame, u8 BGR. Out: a box, and 68 points."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from ..networks import Network
from ..networks.interface import LANDMARK_INPUT, LANDMARKS, SIMCC_SPLIT

#: Mean and deviation of the landmark network's input, RGB.
POSE_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
POSE_STD = np.array([58.395, 57.12, 57.375], np.float32)
#: The detector's mean, subtracted from RGB in this order although it belongs to BGR.
DETECTOR_MEAN = np.array([104.0, 117.0, 123.0], np.float32)
#: The frame, as a box, is enlarged by this.
POSE_PADDING = 1.25
#: The key points of the face.
FACE = slice(23, 91)


def pose_input(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The frame as the landmark network sees it, u8 BGR ``[384, 288, 3]``; centre and size of what it
    shows."""
    rows, columns = LANDMARK_INPUT
    height, width = frame.shape[:2]
    centre = np.array([width, height], np.float32) * np.float32(0.5)
    size = np.array([width, height], np.float32) * np.float32(POSE_PADDING)
    aspect = columns / rows
    wide = size[0] > size[1] * aspect
    size = np.array([size[0], size[0] / aspect] if wide else [size[1] * aspect, size[1]], np.float32)
    # Three points fix the map: the middle, half a width above it, and a right angle from there.
    source = np.array([centre, centre - [0, size[0] / 2], centre - [size[0] / 2, size[0] / 2]], np.float32)
    middle = np.array([columns / 2, rows / 2])
    target = np.array([middle, middle - [0, columns / 2], middle - [columns / 2, columns / 2]], np.float32)
    matrix = cv2.getAffineTransform(source, target)
    return cv2.warpAffine(frame, matrix, (columns, rows), flags=cv2.INTER_LINEAR), centre, size


def pose_logits(landmarks: Network, seen: np.ndarray) -> tuple[Tensor, Tensor]:
    """SimCC logits ``[1, 133, 576]`` and ``[1, 133, 768]``: the mean over the picture and its mirror
    image."""
    normal = (seen[:, :, ::-1].astype(np.float32) - POSE_MEAN) / POSE_STD
    tensor = torch.from_numpy(np.ascontiguousarray(normal.transpose(2, 0, 1)[None]))
    x, y = landmarks.run(tensor)
    mirrored_x, mirrored_y = landmarks.run(tensor.flip(-1))
    swap = mirror_table()
    return (x + mirrored_x.flip(-1)[:, swap]) * 0.5, (y + mirrored_y[:, swap]) * 0.5


def mirror_table() -> list[int]:
    """For each of the 133 key points, the one that it becomes in a mirror."""
    body = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    feet = [20, 21, 22, 17, 18, 19]
    face = [
        *range(16, -1, -1),  # jaw
        *range(26, 16, -1),  # brows
        *range(27, 31),  # bridge of the nose
        *range(35, 30, -1),  # its base
        *(45, 44, 43, 42, 47, 46),
        *(39, 38, 37, 36, 41, 40),
        *range(54, 47, -1),  # outer lips, upper and lower
        *range(59, 54, -1),
        *range(64, 59, -1),  # inner lips
        *range(67, 64, -1),
    ]
    hands = [*range(112, 133), *range(91, 112)]
    table = body + feet + [FACE.start + point for point in face] + hands
    assert sorted(table) == list(range(LANDMARKS))
    return table


def face_points(x: Tensor, y: Tensor, centre: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The 68 points of the face in pixels of the frame, i32 ``[68, 2]``, truncated toward zero."""
    places = np.stack((x[0].argmax(-1).numpy(), y[0].argmax(-1).numpy()), axis=-1).astype(np.float32)
    strength = torch.minimum(x[0].amax(-1), y[0].amax(-1)).numpy()
    places[strength <= 0] = -1
    places /= np.float32(SIMCC_SPLIT)
    seen = np.array(LANDMARK_INPUT[::-1], np.float32)
    points = places / seen * size + centre - np.float32(0.5) * size
    return points[FACE].astype(np.int32)


def detector_input(frame: np.ndarray) -> Tensor:
    """The frame as the detector sees it, f32 ``[1, 3, H, W]``."""
    planes = (frame[:, :, ::-1].astype(np.float32) - DETECTOR_MEAN).transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(planes[None]))


def detector_boxes(maps: tuple[Tensor, ...]) -> np.ndarray:
    """Faces, f32 ``[n, 5]``: left, top, right, bottom, probability; the most probable first."""
    found = []
    for head in range(6):
        stride = 4 * 2**head
        probability = maps[2 * head].softmax(1)[0, 1]
        offsets = maps[2 * head + 1][0]
        for row, column in (probability > 0.05).nonzero().tolist():
            middle = torch.tensor([stride / 2 + column * stride, stride / 2 + row * stride])
            values = offsets[:, row, column]
            middle = middle + values[:2] * 0.1 * (4 * stride)
            size = 4 * stride * torch.exp(values[2:] * 0.2)
            corner = middle - size / 2
            found.append(torch.cat((corner, corner + size, probability[row, column, None])))
    boxes = torch.stack(found).numpy() if found else np.zeros((0, 5), np.float32)
    boxes = boxes[suppress(boxes, 0.3)]
    return boxes[boxes[:, 4] > 0.5]


def suppress(boxes: np.ndarray, overlap: float) -> list[int]:
    """The boxes that no more probable one covers by more than ``overlap``, in order of probability."""
    left, top, right, bottom, score = boxes.T
    area = (right - left + 1) * (bottom - top + 1)
    # The reference sorts as numpy happens to. Of equal ones, which made-up weights alone give, the last is
    # first here.
    order = score.argsort(kind="stable")[::-1]
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        width = np.maximum(0, np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest]) + 1)
        height = np.maximum(0, np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest]) + 1)
        shared = width * height
        order = rest[shared / (area[best] + area[rest] - shared) <= overlap]
    return kept


def chosen_box(boxes: np.ndarray) -> tuple[int, int, int, int] | None:
    """The most probable face in whole pixels, or ``None``."""
    if not len(boxes):
        return None
    left, top, right, bottom = (int(max(value, 0)) for value in boxes[0, :4])
    return left, top, right, bottom
