"""The reference's steps against values that its own code gave on the same inputs."""

import unittest
import zlib

import cv2
import numpy as np
from PIL import Image

from musetalk import portable, scene
from musetalk.reference import audio, detect, mask, picture


def crc(array: np.ndarray) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(array).tobytes()):08x}"


class Pictures(unittest.TestCase):
    def test_crop(self) -> None:
        frame = portable.bytes_of("A", (301, 257, 3))
        self.assertEqual(crc(picture.crop_of(frame, (0, 0, 257, 301))), "2f0b498b")

    def test_resize(self) -> None:
        face = portable.bytes_of("B", (256, 256, 3))
        for width, height, wanted in ((170, 221, "f877f0ca"), (300, 333, "72420641"), (128, 128, "e6bca1c6")):
            self.assertEqual(crc(picture.resized(face, (0, 0, width, height))), wanted)

    def test_parsing_input(self) -> None:
        square = portable.bytes_of("C", (330, 330, 3))
        # The stream's colours are taken as they come: a BGR frame of them reversed.
        seen = mask.parsing_input(square[:, :, ::-1], (0, 0, 330, 330))
        self.assertEqual(crc(seen), "030dce59")

    def test_masked_rows_are_black_before_they_are_normalised(self) -> None:
        crop = portable.bytes_of("B", (256, 256, 3))
        masked, full = (picture.vae_input(crop, each).numpy() for each in (True, False))
        self.assertTrue((masked[:, :, 128:] == -1).all())
        np.testing.assert_array_equal(masked[:, :, :128], full[:, :, :128])

    def test_i420_of_plain_colours(self) -> None:
        for colour, wanted in (
            ((255, 255, 255), (235, 128, 128)),
            ((255, 0, 0), (81, 90, 240)),
            ((0, 0, 255), (41, 240, 110)),
        ):
            planes = picture.i420(np.full((2, 2, 3), colour, np.uint8))
            self.assertEqual(tuple(int(plane[0, 0]) for plane in planes), wanted)


class Masks(unittest.TestCase):
    def test_modes(self) -> None:
        labels = scene.labels()
        for mode, cheeks, wanted in (
            ("jaw", (90, 90), "8c9f95a4"),
            ("neck", (90, 90), "0f592d9d"),
            ("raw", (90, 90), "bc5d1fb7"),
            ("jaw", (80, 80), "55a5676e"),
        ):
            self.assertEqual(crc(mask.drawn_classes(labels, mode, cheeks)), wanted)

    def test_alpha_and_blend(self) -> None:
        frame = cv2.GaussianBlur(portable.bytes_of("IMG", (480, 640, 3)), (7, 7), 0)
        face = portable.bytes_of("B", (256, 256, 3))
        drawn = mask.drawn_classes(scene.labels())
        for box, square, wanted in (
            ((250, 120, 390, 301), (185, 75, 455, 345), ("a9c79fef", "34e08481", "c0c7fe99")),
            ((4, 200, 150, 390), (-65, 153, 219, 437), ("5291c9f4", "e2b69c5d", "4f41ea73")),
        ):
            self.assertEqual(mask.square_of(box), square)
            live, offline = (mask.alpha_of(drawn, box, square, blur) for blur in (0.1, 0.05))
            resized = picture.resized(face, box)
            blends = [picture.blended(frame, resized, box, alpha, square) for alpha in (live, offline)]
            self.assertEqual((crc(live), *map(crc, blends)), wanted)

    def test_growing_of_one_pixel(self) -> None:
        dot = np.zeros((100, 100), np.uint8)
        dot[50, 50] = 255
        rows, columns = np.nonzero(cv2.dilate(dot, mask.jaw_kernel(), iterations=1))
        self.assertEqual((rows.min(), rows.max(), columns.min(), columns.max()), (34, 56, 40, 60))

    def test_pillow_is_the_version_that_was_measured(self) -> None:
        self.assertEqual((Image.__version__, cv2.__version__), ("10.4.0", "4.9.0"))


class Audio(unittest.TestCase):
    def test_mel(self) -> None:
        t = np.arange(32_000) / 16_000
        samples = (0.5 * np.sin(2 * np.pi * (200 * t + 150 * t * t))).astype(np.float32)
        samples[16_000:20_000] = 0
        mel = audio.log_mel(samples)[0].numpy()
        cells = {(0, 0): 1.170601, (5, 10): 1.415837, (10, 50): 1.177347, (20, 99): 0.232797}
        cells |= {(40, 110): -0.555069, (8, 150): -0.214141, (79, 199): -0.555069}
        for cell, wanted in cells.items():
            self.assertAlmostEqual(float(mel[cell]), wanted, delta=2e-5)

    def test_windows_begin_earlier_at_low_rates(self) -> None:
        for rate, first in ((25, -4), (29.97, -4), (24, -6), (20, -6), (16, -8), (13, -8), (12, -10)):
            self.assertEqual(audio.first_rows(19_200, rate)[0], first)


class Faces(unittest.TestCase):
    def test_a_frame_as_the_landmark_network_sees_it(self) -> None:
        frame = np.zeros((720, 1280, 3), np.uint8)
        # 0.18 of its size, at (28.8, 127.2).
        frame[200:220, 400:440] = 255
        seen, _, _ = detect.pose_input(frame)
        rows, columns = np.nonzero(seen[:, :, 0] > 127)
        self.assertEqual((columns.min(), columns.max(), rows.min(), rows.max()), (101, 107, 164, 166))

    def test_mirroring_twice_changes_nothing(self) -> None:
        table = detect.mirror_table()
        self.assertEqual([table[point] for point in table], list(range(133)))

    def test_of_overlapping_boxes_the_most_probable_stays(self) -> None:
        boxes = np.array([[0, 0, 9, 9, 0.6], [1, 1, 10, 10, 0.9], [30, 30, 39, 39, 0.7]], np.float32)
        self.assertEqual(detect.suppress(boxes, 0.3), [1, 2])


if __name__ == "__main__":
    unittest.main()
