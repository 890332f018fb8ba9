"""The stream of numbers against values that other implementations of it gave."""

import unittest
import zlib

import numpy as np

from musetalk import portable, scene


class Portable(unittest.TestCase):
    def test_floats(self) -> None:
        found = portable.floats_of("conv_in.weight", (4,), seed=1)
        np.testing.assert_allclose(found, [0.1669389, -0.1121309, 0.2282462, -0.8346272], atol=1e-7)

    def test_bytes(self) -> None:
        self.assertEqual(portable.bytes_of("A", (8,)).tolist(), [36, 52, 167, 152, 120, 100, 30, 148])
        self.assertEqual(zlib.crc32(portable.bytes_of("A", (301, 257, 3)).tobytes()), 0x7102D67E)

    def test_labels(self) -> None:
        self.assertEqual(zlib.crc32(scene.labels().tobytes()), 0xA35F7047)

    def test_a_backdrop_pixel_by_hand(self) -> None:
        corners = portable.bytes_of("x.corners", (3, 4, 3)).astype(int)
        grain = portable.bytes_of("x.grain", (70, 90, 3)).astype(int)
        row, below, column, right = 1, 23, 2, 9
        upper = 31 * corners[row, column] + right * corners[row, column + 1]
        lower = 31 * corners[row + 1, column] + right * corners[row + 1, column + 1]
        colour = (17 * upper + below * lower + 800) // 1600
        wanted = colour * 15 // 16 + grain[63, 89] // 32
        self.assertEqual(scene.backdrop("x", 90, 70)[63, 89].tolist(), wanted.tolist())


if __name__ == "__main__":
    unittest.main()
