"""Connects several viewers to a running server, one a session, and counts what arrives without decoding it.

    python viewers.py --url http://127.0.0.1:8080 --sessions 4 --seconds 20 [--start 'audio_path=P']

Prints `watching` once every viewer has a picture, then, that many seconds later, `{"video": [...], "audio": [...]}`:
the encoded frames that each viewer got in between. The viewers cost processor time too; they are a process of their
own, so that what a server costs can be read beside them.
"""

import argparse
import asyncio
import json

from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription, rtcrtpreceiver

from watch import post


class Viewer:
    """One connection, and the encoded frames it got."""

    def __init__(self):
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.frames = {"video": 0, "audio": 0}

    async def connect(self, options, session):
        if options.start is not None:
            await post(options.url, f"/api/webrtc/realtime/start?session_id={session}&{options.start}", None)
        video = self.connection.addTransceiver("video", direction="recvonly")
        codecs = RTCRtpReceiver.getCapabilities("video").codecs
        video.setCodecPreferences([codec for codec in codecs if codec.name in ("H264", "rtx")])
        self.connection.addTransceiver("audio", direction="recvonly")
        await self.connection.setLocalDescription(await self.connection.createOffer())
        offer = {"session_id": session, "sdp": self.connection.localDescription.sdp, "type": "offer"}
        answer = await post(options.url, "/api/webrtc/offer", None, offer)
        await self.connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))


def count_instead_of_decoding(viewers):
    """aiortc gives each receiver's encoded frames to a thread of its own; this one counts them."""

    def count(loop, inputs, outputs, _error):
        owner = None
        while True:
            task = inputs.get()
            if task is None:
                asyncio.run_coroutine_threadsafe(outputs.put(None), loop)
                return
            owner = owner or find(viewers, inputs)
            codec, _ = task
            owner.frames[codec.mimeType.split("/")[0]] += 1

    rtcrtpreceiver.decoder_worker = count


def find(viewers, inputs):
    for viewer in viewers:
        for receiver in viewer.connection.getReceivers():
            if receiver._RTCRtpReceiver__decoder_queue is inputs:
                return viewer
    raise LookupError("frames of a connection that nobody made")


async def watch(options):
    viewers = [Viewer() for _ in range(options.sessions)]
    count_instead_of_decoding(viewers)
    for number, viewer in enumerate(viewers):
        await viewer.connect(options, f"bench-{number}")
    for _ in range(300):
        if all(viewer.frames["video"] > 10 and viewer.frames["audio"] > 10 for viewer in viewers):
            break
        await asyncio.sleep(0.1)
    else:
        raise SystemExit(f"no picture after 30 s: {[viewer.frames for viewer in viewers]}")
    before = [dict(viewer.frames) for viewer in viewers]
    print("watching", flush=True)
    await asyncio.sleep(options.seconds)
    counted = {
        kind: [viewer.frames[kind] - start[kind] for viewer, start in zip(viewers, before)]
        for kind in ("video", "audio")
    }
    print(json.dumps(counted), flush=True)
    for viewer in viewers:
        await viewer.connection.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--start")
    asyncio.run(watch(parser.parse_args()))


main()
