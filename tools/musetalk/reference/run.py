"""One performance of the made-up head by the reference's steps, with every check-point kept.

In: the seven networks of a bundle in fp32. Out: the arrays of ``golden/reference.safetensors``, named by the
check-points of the specification, and how its samples were taken. ``tools/musetalk/README.md`` lists them.
"""

from __future__ import annotations

import zlib
from typing import Any, Mapping

import numpy as np
import torch
from torch import Tensor

from .. import scene
from ..networks import Network
from ..networks.interface import SCALING_FACTOR
from ..networks.samples import Sample
from ..networks.unet import sinusoidal_positions
from . import audio, detect, mask, picture
from .box import Box, face_box

#: Video frames per second.
FPS = 25
#: The video frames that are generated: the first, and one that shows source frame 1 on the way back.
DRAWN = (0, 26)
#: The windows that are kept: those, and the last, which hears past the end.
HEARD = (0, 26, 29)
#: The tokens that are kept of each window: every seventh, so that rows and states both vary.
TOKENS = slice(0, 50, 7)
#: The feature rows that are kept.
ROWS = slice(0, 60, 6)
#: Frame rates and numbers of samples whose windows are counted.
RATES = (12, 20, 24, 25, 29.97, 30)
LENGTHS = (1, 319, 320, 639, 640, 641, 15_999, 16_000, 16_001, 19_200, 479_999, 480_000, 480_001, 1_234_567)


class Reference:
    """Runs the steps and keeps what the check-points want."""

    def __init__(self, networks: Mapping[str, Network]) -> None:
        self.networks = networks
        self.arrays: dict[str, np.ndarray] = {}
        #: How the samples among them were taken.
        self.how: dict[str, Any] = {}

    def run(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """All steps, and their arrays and header."""
        frames = [np.ascontiguousarray(scene.frame(number)[:, :, ::-1]) for number in (0, 1)]
        for number, frame in enumerate(frames):
            self.seal(f"frame.{number}", frame[:, :, ::-1])
        self.find(frames[0])
        boxes = self.boxes()
        latents = [self.encode(number, frames[number], boxes[number]) for number in (0, 1)]
        masks = [self.mask(number, frames[number], boxes[number]) for number in (0, 1)]
        windows = self.listen()
        self.speak(frames, boxes, latents, masks, windows)
        return self.arrays, self.how

    def keep(self, key: str, array: np.ndarray | Tensor) -> None:
        """Keep an array whole."""
        self.arrays[key] = np.ascontiguousarray(array)

    def sample(self, key: str, array: np.ndarray | Tensor, sample: Sample) -> None:
        """Keep a part of an array."""
        arrays, how = sample.take(key, torch.from_numpy(np.array(array)))
        self.arrays |= arrays
        self.how |= how

    def seal(self, key: str, array: np.ndarray) -> None:
        """Keep the CRC-32 of an array that must be equal byte for byte."""
        crc = zlib.crc32(np.ascontiguousarray(array).tobytes())
        self.arrays[f"crc32.{key}"] = np.array([crc], np.uint32)

    def find(self, frame: np.ndarray) -> None:
        """G21…G25: landmarks and the detector on the first frame."""
        seen, centre, size = detect.pose_input(frame)
        self.seal("G21.input", seen[:, :, ::-1])
        self.sample("G21.input", seen[:, :, ::-1], Sample((4, 4, 1)))
        x, y = detect.pose_logits(self.networks["landmarks"], seen)
        for key, logits in (("G22.simcc_x", x), ("G22.simcc_y", y)):
            self.sample(key, logits, Sample((1, 8, 1), axis=2, axis_strides=(1, 1)))
        self.keep("G23.landmarks", detect.face_points(x, y, centre, size))
        maps = self.networks["face_detector"].run(detect.detector_input(frame))
        for index, tensor in enumerate(maps):
            key = f"G24.{('class', 'box')[index % 2]}{index // 2}"
            if index < 4:
                self.sample(key, tensor, Sample((1, 1, 4, 4)))
            else:
                self.keep(key, tensor)
        faces = detect.detector_boxes(maps)
        self.keep("G25.faces", faces)
        box = detect.chosen_box(faces)
        self.keep("G25.box", np.array(box if box else (), np.int32))

    def boxes(self) -> list[Box]:
        """G27: the boxes of the two frames, by the given landmarks, and of cases that go wrong."""
        points = np.stack([scene.landmarks(number) for number in (0, 1)])
        self.keep("in.landmarks", points)
        detected: Box = (180, 90, 300, 250)
        boxes = [face_box(each, detected, scene.HEIGHT) for each in points]
        self.keep("G27.boxes", np.array(boxes, np.int32))
        flat = points[0].copy()
        flat[:, 1] = 100
        cases = {
            "outside on the left": (points[0] - [200, 0], detected),
            "no height": (flat, detected),
            "above the top": (points[0] - [0, 130], detected),
            "chin at the bottom": (points[0] + [0, 108], detected),
            "fallback at the bottom": (flat, (180, 200, 300, 355)),
            "no face": (points[0], None),
        }
        self.keep("G27.case_landmarks", np.stack([case[0] for case in cases.values()]).astype(np.int32))
        self.keep("G27.case_faces", np.array([case[1] or (0, 0, 0, 0) for case in cases.values()], np.int32))
        found = [face_box(*case, scene.HEIGHT) for case in cases.values()]
        self.keep("G27.case_boxes", np.array(found, np.int32))
        return boxes

    def encode(self, number: int, frame: np.ndarray, box: Box) -> Tensor:
        """G1, G7…G9: the latents ``[1, 8, 32, 32]`` of a source frame; the mode of the posterior."""
        crop = picture.crop_of(frame, box)
        self.seal(f"G1.crop.{number}", crop[:, :, ::-1])
        means = []
        for name, masked in (("masked", True), ("full", False)):
            tensor = picture.vae_input(crop, masked)
            self.seal(f"G7.{name}.{number}", tensor.numpy())
            mean, deviation = self.networks["vae_encoder"].run(tensor)
            means.append(mean)
            if number == 0:
                self.sample(f"G7.{name}.0", tensor, Sample((1, 1, 8, 8)))
                self.keep(f"G8.std.{name}.0", deviation)
        if number == 0:
            self.sample("G1.crop.0", crop[:, :, ::-1], Sample((2, 2, 1)))
        latents = torch.cat(means, dim=1)
        self.keep(f"G9.latents.{number}", latents)
        return latents

    def mask(self, number: int, frame: np.ndarray, box: Box) -> tuple[np.ndarray, Box]:
        """G3…G5, G26: alpha and square of a source frame.

        The random network's labels make an odd mask; what is drawn later goes by the given label map.
        """
        square = mask.square_of(box)
        seen = mask.parsing_input(frame, square)
        self.seal(f"G3.parsing_input.{number}", seen)
        logits = self.networks["face_parsing"].run(mask.parsing_tensor(seen))[0]
        labels = logits[0].argmax(0).numpy().astype(np.uint8)
        self.sample(f"G26.labels.{number}", labels, Sample((2, 2)))
        drawn = mask.drawn_classes(labels)
        self.seal(f"G4.mask512.{number}", drawn)
        self.keep(f"G4.mask512.{number}.bits", np.packbits(drawn > 0, axis=1))
        self.seal(f"G5.alpha.{number}", mask.alpha_of(drawn, box, square))
        self.keep(f"G5.square.{number}", np.array(square, np.int32))
        if number == 0:
            self.sample("G3.parsing_input.0", seen, Sample((4, 4, 1)))
            self.sample("G26.logits.0", logits, Sample((1, 1, 32, 32)))
        for mode in ("raw", "neck", "jaw"):
            drawn = mask.drawn_classes(scene.labels(), mode)
            alpha = mask.alpha_of(drawn, box, square)
            self.seal(f"G4.given.{mode}", drawn)
            self.seal(f"G5.given.{mode}.{number}", alpha)
        if number == 0:
            self.keep("G5.given.jaw.0", alpha)
        return alpha, square

    def listen(self) -> Tensor:
        """G10…G16: the windows ``[F, 50, 384]`` of the speech."""
        speech = scene.speech()
        self.keep("G10.waveform", speech)
        samples = speech.astype(np.float32) / np.float32(32768)
        bank = audio.mel_bank()
        self.keep("G11.cells", np.argwhere(bank).astype(np.int32))
        self.keep("G11.values", bank[bank != 0])
        mel = audio.log_mel(samples)
        heard = len(samples) // 160 + 8
        self.keep("G12.mel", mel[0, :, :heard].numpy())
        self.keep("G12.rest", mel[0, :, heard:].unique().numpy())
        features = audio.hidden_states(self.networks["whisper_encoder"], mel, len(samples))
        self.keep("G13.features", features[ROWS].numpy())
        for rate in RATES:
            self.keep(f"G14.rows.{rate}", audio.first_rows(len(samples), rate))
        counts = [
            (length, rate * 100, audio.feature_rows(length), audio.video_frames(length, rate))
            for rate in RATES
            for length in LENGTHS
        ]
        self.keep("G14.counts", np.array(counts).round().astype(np.int32))
        windows = audio.windows(features, len(samples), FPS)
        self.keep("G15.chunks", windows[list(HEARD)][:, TOKENS].numpy())
        self.keep("G16.positions", sinusoidal_positions(*windows.shape[1:])[0, TOKENS].numpy())
        return windows

    def speak(
        self,
        frames: list[np.ndarray],
        boxes: list[Box],
        latents: list[Tensor],
        masks: list[tuple[np.ndarray, Box]],
        windows: Tensor,
    ) -> None:
        """G18…G20, G2 and G6: generated faces, and frames with them."""
        # Source frames forwards, then backwards; both ends come twice in a row.
        cycle = (0, 1, 1, 0)
        sources = [cycle[index % len(cycle)] for index in DRAWN]
        batch = torch.cat([latents[source] for source in sources])
        (latent,) = self.networks["unet"].run(batch, windows[list(DRAWN)])
        self.keep("G18.latent", latent)
        decoder = self.networks["vae_decoder"].module
        with torch.no_grad():
            raw = decoder.decoder(decoder.post_quant_conv(latent / SCALING_FACTOR))
        self.sample("G19.raw", raw, Sample((1, 1, 8, 8)))
        (image,) = self.networks["vae_decoder"].run(latent)
        faces = picture.face_bytes(image)
        for index, source, face in zip(DRAWN, sources, faces, strict=True):
            alpha, square = masks[source]
            resized = picture.resized(face, boxes[source])
            rgb = np.ascontiguousarray(frames[source][:, :, ::-1])
            drawn = picture.blended(rgb, resized, boxes[source], alpha, square)
            self.seal(f"G2.resized.{index}", resized)
            self.seal(f"G6.frame.{index}", drawn)
            planes = picture.i420(drawn)
            self.seal(f"G6.i420.{index}", np.concatenate([plane.ravel() for plane in planes]))
            self.keep(f"G20.face.{index}", face)
            region = even_region(square)
            self.keep(f"G6.region.{index}", np.array(region, np.int32))
            left, top, right, bottom = region
            self.keep(f"G6.frame.{index}", drawn[top:bottom, left:right])
            for name, plane, step in zip("yuv", planes, (1, 2, 2), strict=True):
                part = plane[top // step : bottom // step, left // step : right // step]
                self.keep(f"G6.i420.{name}.{index}", part)


def even_region(square: Box) -> Box:
    """The part of a square that lies in the frame, grown to even pixels."""
    left, top = (max(value, 0) // 2 * 2 for value in square[:2])
    right, bottom = (
        min(-(-value // 2) * 2, edge) for value, edge in zip(square[2:], (scene.WIDTH, scene.HEIGHT))
    )
    return left, top, right, bottom
