"""What the reference spends around its networks, per frame: the other half of `lipcast bench around`.

MuseTalk's real-time path, re-enacted with the same OpenCV and Pillow calls in the same order, on pictures of noise:
audio windows cut and position code added, the face resized, the frame copied, the square cropped, the face pasted, the
square blended in. What a network computes is given; making 8-bit pictures of the decoder's output is measured apart,
since Lipcast leaves that to the device.

    python tools/bench_around.py --frame 1280x720 --box 250,120,390,301 --frames 200

prints one JSON object: milliseconds of processor time a frame, by step and in all. It needs numpy, OpenCV
(opencv-python-headless 4.9.0.80) and Pillow (10.4.0); one thread.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from PIL import Image

FACE = 256
FEATURES = 384
STATES = 5
ROWS = 10


class Steps:
    """Processor time by name."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Adds the processor time of what is inside to step `name`."""
        begun = time.process_time()
        yield
        self.spent[name] = self.spent.get(name, 0.0) + time.process_time() - begun


def position_code(tokens: int, width: int) -> np.ndarray:
    """The sinusoidal code that is added to the audio tokens: f32 [tokens, width]."""
    rate = np.exp(np.arange(0, width, 2, dtype=np.float32) * (-math.log(10000.0) / width))
    angle = np.arange(tokens, dtype=np.float32)[:, None] * rate[None]
    code = np.zeros((tokens, width), np.float32)
    code[:, 0::2], code[:, 1::2] = np.sin(angle), np.cos(angle)
    return code


def alpha_of(square: tuple[int, int, int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """A mask as preparation leaves one: the lower half of the box, blurred. u8 [side, side]."""
    side = square[2] - square[0]
    mask = np.zeros((side, side), np.uint8)
    x1, y1, x2, y2 = (box[i] - square[i % 2] for i in range(4))
    mask[max(y1, side // 2) : y2, x1:x2] = 255
    kernel = int(0.1 * side // 2 * 2) + 1
    return cv2.GaussianBlur(mask, (kernel, kernel), 0)


def to_bytes(planes: np.ndarray) -> np.ndarray:
    """Decoder output f32 [3, 256, 256], RGB in 0..1, as u8 [256, 256, 3], BGR."""
    packed = planes.transpose(1, 2, 0)
    return (packed * 255).round().astype("uint8")[..., ::-1]


def blend(
    frame: np.ndarray, face: np.ndarray, box: tuple[int, ...], mask: np.ndarray, square: tuple[int, ...]
) -> np.ndarray:
    """The face into its square, the square into the frame, as the reference does it. BGR in, BGR out."""
    body = Image.fromarray(frame[:, :, ::-1])
    face_picture = Image.fromarray(face[:, :, ::-1])
    around = body.crop(square)
    alpha = Image.fromarray(mask).convert("L")
    left, top = square[:2]
    around.paste(face_picture, (box[0] - left, box[1] - top, box[2] - left, box[3] - top))
    body.paste(around, (left, top), alpha)
    return np.array(body)[:, :, ::-1]


def frame_loop(arguments: argparse.Namespace) -> tuple[Steps, Steps]:
    """Runs the frames; returns what counts, and what is shown beside it."""
    width, height = (int(side) for side in arguments.frame.split("x"))
    box = tuple(int(side) for side in arguments.box.split(","))
    x1, y1, x2, y2 = box
    middle, half = ((x1 + x2) // 2, (y1 + y2) // 2), int((max(x2 - x1, y2 - y1) // 2) * 1.5)
    square = (middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half)
    random = np.random.default_rng(1)
    frames = [random.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(8)]
    planes = random.random((4, 3, FACE, FACE), dtype=np.float32)
    faces = [to_bytes(plane) for plane in planes]
    mask = cv2.merge([alpha_of(square, box)] * 3)  # Read back from a PNG it has three channels.
    features = random.standard_normal((2 * arguments.frames + 20, STATES, FEATURES)).astype(np.float32)
    code = position_code(ROWS * STATES, FEATURES)

    counted, beside = Steps(), Steps()
    for index in range(arguments.frames):
        with counted.measure("audio window"):
            window = features[2 * index : 2 * index + ROWS].reshape(ROWS * STATES, FEATURES)
            _ = window[None] + code[None]
        with beside.measure("8 bit"):
            to_bytes(planes[index % len(planes)])
        face = faces[index % len(faces)]
        with counted.measure("copy"):
            frame = copy.deepcopy(frames[index % len(frames)])
        with counted.measure("resize"):
            face = cv2.resize(face.astype(np.uint8), (x2 - x1, y2 - y1))
        with counted.measure("blend"):
            blend(frame, face, box, mask, square)
    return counted, beside


def main() -> None:
    """Prints milliseconds a frame."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frame", default="1280x720", help="columns x rows")
    parser.add_argument("--box", default="500,160,780,520", help="x1,y1,x2,y2 of the face")
    parser.add_argument("--frames", type=int, default=200)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    frame_loop(argparse.Namespace(**{**vars(arguments), "frames": 10}))
    counted, beside = frame_loop(arguments)
    ms: Callable[[dict[str, float]], dict[str, float]] = lambda spent: {
        name: seconds * 1e3 / arguments.frames for name, seconds in spent.items()
    }
    steps = ms(counted.spent)
    print(json.dumps({"ms": sum(steps.values()), "steps": steps, "beside": ms(beside.spent)}))


if __name__ == "__main__":
    main()
