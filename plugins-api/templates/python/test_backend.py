"""The backend alone, without a server: python3 test_backend.py"""

import array
import unittest

from backend import Talker
from lipcast_backend import BackendError, Request, SessionParams


class Grey:
    """Two grey frames of 128 by 96; the second has no face."""

    frame_count, width, height, fps, assets = 2, 128, 96, (25, 1), []

    def frame(self, index):
        return bytes([128]) * (3 * 128 * 96)

    def landmarks(self, index):
        points = [(64, 48)] * 68
        points[48], points[54] = (48, 48), (80, 48)
        return points if index == 0 else None


class Quiet:
    """Host and operation of a call: nobody listens, nobody cancels."""

    def check(self):
        pass

    def log(self, *words, **fields):
        pass

    progress = log


def created(config=None):
    backend = Talker()
    backend.host = Quiet()
    backend.create(config, Quiet())
    return backend


def blob(backend):
    out = bytearray()
    sink = type("Sink", (), {"write": lambda self, data: out.extend(data)})()
    backend.prepare_avatar(Grey(), None, sink, Quiet())
    return bytes(out)


class Speaks(unittest.TestCase):
    def test_the_mouth_opens_in_speech_and_rests_in_silence(self):
        backend = created({"strength": 1.5})
        avatar = backend.load_avatar(memoryview(blob(backend)))
        session = backend.open_session(avatar, SessionParams((25, 1), False, None))
        session.push_audio(0, array.array("f", [0.3] * 4 * 640), True)
        for frame in range(7):
            request = Request.for_test(session, frame)
            backend.infer_batch([request])
            self.assertIsNone(request.error)
            dark = request.pixels.count(bytes((60, 20, 25, 255)))
            # 40 ms before a frame are heard too, so frame 4 still moves.
            self.assertEqual(dark > 20, frame <= 4, frame)
            self.assertEqual(request.is_at_rest, frame > 4, frame)

    def test_audio_that_waits_for_its_frames_is_not_dropped(self):
        backend = created()
        avatar = backend.load_avatar(memoryview(blob(backend)))
        session = backend.open_session(avatar, SessionParams((25, 1), False, None))
        second = array.array("f", [0.3] * 16000)
        with self.assertRaises(BackendError) as refused:
            for first in range(0, 30 * 16000, 16000):
                session.push_audio(first, second, False)
        self.assertEqual(refused.exception.code, "WOULD_BLOCK")
        self.assertEqual(session.window(0, 2), second[:2])

    def test_settings_and_blobs_are_not_believed(self):
        for config in ({"strenght": 1}, {"strength": 3}, {"strength": "much"}, 7):
            with self.assertRaises(BackendError):
                created(config)
        backend = created()
        whole = blob(backend)
        for length in (0, 1, 24, len(whole) - 1):
            with self.assertRaises(BackendError):
                backend.load_avatar(memoryview(whole[:length]))


if __name__ == "__main__":
    unittest.main()
