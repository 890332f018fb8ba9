"""A talking-avatar server as one is written in Python today, to compare with: aiortc, NumPy, no model.

    python aiortc_server.py --frames frames.i420 --size 512x640 --fps 25 --speech speech.wav [--pixels bgr24|yuv420p]

Does what Lipcast does around its model, the way such servers do it: the avatar's frames are in memory, each frame is
copied, a patch is pasted over it, and aiortc encodes H.264 and Opus and sends them. `bgr24` keeps the pictures as
OpenCV has them; `yuv420p` spares the conversion and is kinder than what is common.

Prints `listening on URL`, and answers `POST /api/webrtc/offer`. `GET /cost` gives the processor seconds spent inside
the two encoders so far.
"""

import argparse
import asyncio
import fractions
import json
import threading
import time
import wave

import av
import numpy
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import h264, opus

PATCH = (16, 16, 128, 112)  # x, y, width, height: what the probe backend redraws
ENCODING = {"seconds": 0.0}
ENCODING_LOCK = threading.Lock()


def time_the_encoders():
    """Only the codecs' own calls count; conversions around them are the server's work."""

    class Timed:
        def __init__(self, codec):
            self.__dict__["codec"] = codec

        def __getattr__(self, name):
            return getattr(self.codec, name)

        def __setattr__(self, name, value):
            setattr(self.codec, name, value)

        def encode(self, frame):
            if isinstance(frame, av.VideoFrame) and frame.format.name != "yuv420p":
                frame = frame.reformat(format="yuv420p")
            begun = time.thread_time()
            packets = self.codec.encode(frame)
            with ENCODING_LOCK:
                ENCODING["seconds"] += time.thread_time() - begun
            return packets

    class Context:
        @staticmethod
        def create(name, mode):
            codec = av.CodecContext.create(name, mode)
            if name == "libx264":
                # In the calling thread, whose clock can be read.
                codec.thread_count = 1
            return Timed(codec) if mode == "w" else codec

    opus.CodecContext = Context
    h264.av = type("av", (), {**{name: getattr(av, name) for name in dir(av) if not name.startswith("__")},
                              "CodecContext": Context})


class Avatar:
    """All frames in memory, as such servers keep them."""

    def __init__(self, options):
        width, height = options.width, options.height
        planes = numpy.fromfile(options.frames, dtype=numpy.uint8).reshape(-1, height * 3 // 2, width)
        self.pixels = options.pixels
        self.fps = options.fps
        x, y, w, h = PATCH
        if self.pixels == "yuv420p":
            self.frames = planes
            self.patch = numpy.full((h, w), 180, dtype=numpy.uint8)
        else:
            self.frames = [
                av.VideoFrame.from_ndarray(plane, format="yuv420p").to_ndarray(format="bgr24") for plane in planes
            ]
            self.patch = numpy.full((h, w, 3), 180, dtype=numpy.uint8)

    def frame(self, number):
        turn = number % max(1, 2 * len(self.frames) - 2)
        frame = self.frames[turn if turn < len(self.frames) else 2 * len(self.frames) - 2 - turn].copy()
        x, y, w, h = PATCH
        frame[y : y + h, x : x + w] = self.patch
        return av.VideoFrame.from_ndarray(frame, format=self.pixels)


class Track(MediaStreamTrack):
    """Frames at their times, counted from the first."""

    def __init__(self, kind, rate, step, make):
        super().__init__()
        self.kind, self.rate, self.step, self.make = kind, rate, step, make
        self.number, self.begun = 0, None

    async def recv(self):
        self.begun = self.begun or time.monotonic()
        due = self.begun + self.number * self.step / self.rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        frame = self.make(self.number)
        frame.pts, frame.time_base = self.number * self.step, fractions.Fraction(1, self.rate)
        self.number += 1
        return frame


class Server:
    def __init__(self, options):
        self.avatar = Avatar(options)
        with wave.open(options.speech) as speech:
            assert speech.getnchannels() == 1, "mono is what is sent"
            self.rate = speech.getframerate()
            self.pcm = numpy.frombuffer(speech.readframes(speech.getnframes()), dtype=numpy.int16)
        self.connections = []

    def sound(self, number):
        count = self.rate // 50
        start = number * count % (len(self.pcm) - count)
        frame = av.AudioFrame.from_ndarray(self.pcm[None, start : start + count], format="s16", layout="mono")
        frame.sample_rate = self.rate
        return frame

    async def answer(self, offer):
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connections.append(connection)
        connection.addTrack(Track("video", 90_000, round(90_000 / self.avatar.fps), self.avatar.frame))
        connection.addTrack(Track("audio", self.rate, self.rate // 50, self.sound))
        await connection.setRemoteDescription(RTCSessionDescription(offer["sdp"], offer["type"]))
        await connection.setLocalDescription(await connection.createAnswer())
        return {"sdp": connection.localDescription.sdp, "type": connection.localDescription.type}

    async def serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lengths = [line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length:")]
        body = await reader.readexactly(int(lengths[0]) if lengths else 0)
        if head.startswith("GET /cost"):
            reply = dict(ENCODING)
        elif head.startswith("POST /api/webrtc/offer"):
            reply = await self.answer(json.loads(body))
        else:
            reply = {}
        text = json.dumps(reply).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))
        await writer.drain()
        writer.close()


async def run(options):
    server = Server(options)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    print(f"listening on http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", flush=True)
    await listener.serve_forever()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", required=True)
    parser.add_argument("--size", required=True)
    parser.add_argument("--fps", type=float, default=25)
    parser.add_argument("--speech", required=True)
    parser.add_argument("--pixels", choices=["bgr24", "yuv420p"], default="bgr24")
    options = parser.parse_args()
    options.width, options.height = map(int, options.size.split("x"))
    time_the_encoders()
    asyncio.run(run(options))


main()
