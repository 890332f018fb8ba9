"""Watches a running server with aiortc and prints one line of JSON with what arrived.

    python watch.py --url http://127.0.0.1:8080 --session demo --seconds 30 [--start 'avatar_id=A&audio_path=P']

An implementation independent of any browser, and one that plays nothing: it compares media times. RTP timestamps
of both tracks are put on one clock through the sender reports, as a player does, so what is measured is what the
server says, free of any player's buffers. --measure and --flash as in watch.mjs.
"""

import argparse
import asyncio
import json
import time
import urllib.request
from collections import Counter
from itertools import groupby

import numpy
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpreceiver import RTCRtpReceiver, TimestampMapper

NTP_UNIT = 2.0**-32


class Reports:
    """The sender reports of one track: where RTP time stands on the sender's wall clock."""

    def __init__(self):
        self.all = []

    def wall(self, rtp, rate):
        """Seconds since 1900 of RTP timestamp `rtp`, by the report nearest to it."""
        behind = lambda report: (rtp - report[1] + 2**31) % 2**32 - 2**31
        nearest = min(self.all, key=lambda report: abs(behind(report)))
        return nearest[0] * NTP_UNIT + behind(nearest) / rate


def listen_for_reports(reports):
    """aiortc keeps the sender reports to itself; they are read as they come in."""
    original = RTCRtpReceiver._handle_rtcp_packet

    async def handle(self, packet):
        info = getattr(packet, "sender_info", None)
        if info is not None:
            kind = self._track.kind if self._track else None
            if kind in reports:
                reports[kind].all.append((info.ntp_timestamp, info.rtp_timestamp))
        await original(self, packet)

    RTCRtpReceiver._handle_rtcp_packet = handle
    # Frames keep their RTP timestamps; aiortc would count each track from its own first frame.
    TimestampMapper.map = lambda self, timestamp: timestamp


def read_barcode(luma):
    """(frame, avatar frame) of the probe backend's barcode, or None: 7 rows of 8 squares of 16 pixels."""
    cells = [[luma[20 + 16 * r : 28 + 16 * r, 20 + 16 * c : 28 + 16 * c].mean() for c in range(8)] for r in range(7)]
    finder = list(zip([1, 0, 1, 0, 1, 1, 0, 0], cells[0]))
    white = min(cell for bit, cell in finder if bit)
    black = max(cell for bit, cell in finder if not bit)
    if white - black < 60:
        return None
    *data, check = (sum((cell > (white + black) / 2) << (7 - i) for i, cell in enumerate(row)) for row in cells[1:])
    crc = 0xFF
    for byte in data:
        crc ^= int(byte)
        for _ in range(8):
            crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
    if crc != check:
        return None
    return int.from_bytes(bytes(map(int, data[:3])), "big"), int.from_bytes(bytes(map(int, data[3:])), "big")


async def post(url, path, token, body=None):
    request = urllib.request.Request(url + path, method="POST", data=None if body is None else json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    if token:
        request.add_header("authorization", f"Bearer {token}")

    def send():
        with urllib.request.urlopen(request) as reply:
            return json.load(reply)

    return await asyncio.get_running_loop().run_in_executor(None, send)


async def watch(options):
    reports = {"video": Reports(), "audio": Reports()}
    listen_for_reports(reports)
    frames, clicks, heard = [], [], {"packets": 0, "quiet": 0, "first": None, "last": None, "steps": Counter()}
    reading = []
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    started, began = time.monotonic(), time.time()

    async def read_video(track):
        while True:
            frame = await track.recv()
            luma = frame.to_ndarray(format="gray")
            seen = {"rtp": frame.pts, "arrival": time.monotonic() - started}
            if options.barcode:
                code = read_barcode(luma)
                if code is not None:
                    seen["id"], seen["tag"] = code[0], code[1] >> 12
            if options.flash:
                x, y, width, height = options.flash
                seen["white"] = bool(luma[y : y + height, x : x + width].mean() > 128)
            frames.append(seen)

    async def read_audio(track):
        while True:
            frame = await track.recv()
            pcm = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0].astype(numpy.float32) / 32768
            heard["packets"] += 1
            if heard["last"] is not None:
                heard["steps"][(frame.pts - heard["last"]) % 2**32] += 1
            heard["first"] = frame.pts if heard["first"] is None else heard["first"]
            heard["last"] = frame.pts
            for index in numpy.flatnonzero(numpy.abs(pcm) > 0.2):
                position = frame.pts + int(index)
                if position - heard["quiet"] > 4800:
                    clicks.append({"rtp": position, "arrival": time.monotonic() - started})
                heard["quiet"] = position

    @connection.on("track")
    def on_track(track):
        async def read():
            try:
                await (read_video(track) if track.kind == "video" else read_audio(track))
            except MediaStreamError:
                pass  # The end of the track.

        reading.append(asyncio.ensure_future(read()))

    if options.start is not None:
        await post(options.url, f"/api/webrtc/realtime/start?session_id={options.session}&{options.start}", options.token)
    connection.addTransceiver("video", direction="recvonly")
    connection.addTransceiver("audio", direction="recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    offer = {"session_id": options.session, "sdp": connection.localDescription.sdp, "type": "offer"}
    answer = await post(options.url, "/api/webrtc/offer", options.token, offer)
    await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
    # Until the time is over, or the session.
    await asyncio.wait(reading, timeout=options.seconds)
    statistics = [entry for entry in (await connection.getStats()).values() if entry.type == "inbound-rtp"]
    await connection.close()
    return report(options, began, reports, frames, clicks, heard, statistics)


def report(options, began, reports, frames, clicks, heard, statistics):
    result = {
        "seconds": options.seconds,
        "video_frames": len(frames),
        "first_frame_ms": round(frames[0]["arrival"] * 1000) if frames else None,
        "audio_packets": heard["packets"],
        # Seconds of media time between sounds that follow 100 ms of quiet.
        "between_clicks": [round((b["rtp"] - a["rtp"]) % 2**32 / 48_000, 4) for a, b in zip(clicks, clicks[1:])],
        "lost": {entry.kind: entry.packetsLost for entry in statistics},
        "reports": {kind: len(of.all) for kind, of in reports.items()},
    }
    steps = [(b["rtp"] - a["rtp"]) % 2**32 for a, b in zip(frames, frames[1:])]
    result["audio_steps"] = {str(step): count for step, count in sorted(heard["steps"].items())}
    result["longest_gap_ms"] = max((round((b["arrival"] - a["arrival"]) * 1000) for a, b in zip(frames, frames[1:])), default=None)
    result["ended_ms"] = round(frames[-1]["arrival"] * 1000) if frames else None
    result["rtp_steps"] = {str(step): steps.count(step) for step in sorted(set(steps))}
    if options.barcode and frames:
        ids = [frame["id"] for frame in frames if "id" in frame]
        jumps = [b - a for a, b in zip(ids, ids[1:])]
        result["ids"] = {
            "read": len(ids),
            "first": ids[0] if ids else None,
            "last": ids[-1] if ids else None,
            "repeated": sum(jump == 0 for jump in jumps),
            "backwards": sum(jump < 0 for jump in jumps),
            "missed": sum(jump - 1 for jump in jumps if jump > 1),
            "without": len(frames) - len(ids),
        }
        # By the media clock: from the first id on each picture is its own, or the one before once more, or the avatar's
        # own without an id; anything else is a wrong one.
        first = next((index for index, frame in enumerate(frames) if "id" in frame), 0)
        clock = lambda frame: ((frame["rtp"] - frames[first]["rtp"]) % 2**32) // 3600
        counts, run, shown, disturbances = Counter(), 0, None, []
        for frame in frames[first:]:
            number = frame.get("id")
            own = number is not None and number == ids[0] + clock(frame)
            kind = "own" if own else "plain" if number is None else "held" if number == shown else "wrong"
            counts[kind] += 1
            run = 0 if own else run + 1
            if run == 1:
                disturbances.append([round(frame["arrival"], 3), 0])
            if run:
                disturbances[-1][1] = run
            counts["longest_disturbance"] = max(counts["longest_disturbance"], run)
            shown = number
        kinds = ("own", "held", "plain", "wrong", "longest_disturbance")
        result["shown"] = {kind: counts[kind] for kind in kinds}
        # Pictures in a row that were not their own: when the first came, and how many. Times are the clock's on the wall.
        result["disturbances"] = [[round(began + arrival, 3), length] for arrival, length in disturbances]
        # Who drew, in runs: the tag of the backend (the upper four bits of the avatar frame; the probe's is 0) or null,
        # the first id, and how many pictures.
        runs = (list(run) for _, run in groupby(frames, key=lambda frame: frame.get("tag")))
        result["drawn"] = [[run[0].get("tag"), run[0].get("id"), len(run)] for run in runs]
        # In the second half, when whatever was to settle has: how far the numbers go from one new picture to the next,
        # in runs of [step, count].
        late = [b - a for a, b in zip(ids[len(ids) // 2 :], ids[len(ids) // 2 + 1 :]) if b != a]
        result["ids"]["late_beat"] = [[step, len(list(run))] for step, run in groupby(late)]
        if ids and clicks and all(of.all for of in reports.values()):
            # At each click: how long ago the picture that is seen just then was due by its number. Both are put on the
            # sender's clock, on which picture 0 and the sound's beginning are one moment.
            wall = lambda frame: reports["video"].wall(frame["rtp"], 90_000)
            begin = wall(frames[first]) - ids[0] * 0.04
            seen = [(wall(frame) - begin, frame["id"]) for frame in frames[first:] if "id" in frame]
            offsets = []
            for click in clicks:
                at = reports["audio"].wall(click["rtp"], 48_000) - begin
                # A click stands at the beginning of a frame; a quarter of one is left for rounding.
                shown = [number for since, number in seen if since <= at + 0.01]
                if shown:
                    offsets.append([round(at, 3), round((at - shown[-1] * 0.04) * 1000, 1)])
            result["av_offsets"] = offsets
    if options.flash and all(of.all for of in reports.values()):
        flashes = [b for a, b in zip(frames, frames[1:]) if b["white"] and not a["white"]]
        seen = [reports["video"].wall(flash["rtp"], 90_000) for flash in flashes]
        pairs = []
        for click in clicks:
            at = reports["audio"].wall(click["rtp"], 48_000)
            nearest = min(seen, key=lambda flash: abs(flash - at), default=None)
            if nearest is not None and abs(at - nearest) < 0.5:
                pairs.append((click["arrival"], (at - nearest) * 1000))
        settled = [late for second, late in pairs if second >= 15]
        result["sync"] = {
            "flashes": len(flashes),
            "clicks": len(clicks),
            "pairs": [[round(second), round(late, 2)] for second, late in pairs],
            "mean_ms": sum(settled) / len(settled) if settled else None,
            "worst_ms": max(map(abs, settled)) if settled else None,
        }
    return result


def main():
    numbers = lambda text: [int(number) for number in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--session", default="e2e")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--start")
    parser.add_argument("--token")
    parser.add_argument("--measure", default="barcode")
    parser.add_argument("--flash", type=numbers, default=[24, 24, 112, 96])
    options = parser.parse_args()
    measured = options.measure.split(",")
    options.barcode = "barcode" in measured
    options.flash = options.flash if "flash" in measured else None
    print(json.dumps(asyncio.run(watch(options))))


if __name__ == "__main__":
    main()
