"""A backend for Lipcast: the mouth opens as far as the voice is loud.

An avatar's frames come in once and become a blob; the blob comes back as a loaded avatar; then 16 kHz speech comes in
and patches go out, 25 times a second. The calls of Talker stand in that order; lipcast_backend.py does the rest.
"""

import math
import struct

from lipcast_backend import RGBA, Avatar, Backend, BackendError, serve

MAGIC = b"TLK1"  # Change it when the blob's layout changes, and blob_version below with it.
DARK = bytes((60, 20, 25, 255))  # R, G, B, A inside of a mouth.
BEFORE = 640  # Audio before a frame that is listened to, samples at 16 kHz: 40 ms.


class Talker(Backend):
    id = "org.example.talker"
    name = "Talker"
    version = "0.1.0"
    vendor = "you"
    license = "MIT OR Apache-2.0"
    capabilities = {
        "lookahead_ms": 0,  # A model that hears the future says how much: speech is heard that much later.
        "lookbehind_ms": 40,
        "max_batch": 8,
        "prepare": {"frames": True, "landmarks": True},
        "blob_version": 1,
        "deterministic": True,
    }

    def create(self, config, operation):
        """Loads weights. It may take minutes: call operation.progress and operation.check."""
        config = config or {}
        if not isinstance(config, dict):
            raise BackendError("INVALID_ARG", f"settings are a table, not {config}")
        for key in config.keys() - {"strength"}:
            raise BackendError("INVALID_ARG", f"there is no setting `{key}`; there is `strength`")
        self.strength = config.get("strength", 1.0)
        if type(self.strength) not in (int, float) or not 0 <= self.strength <= 2:
            raise BackendError("INVALID_ARG", f"`strength` is 0 to 2, not {self.strength!r}")
        self.host.log("info", "ready", target="talker")

    def prepare_avatar(self, source, params, sink, operation):
        """Frames in, blob out: once per avatar. A frame without a face is no error; nothing is painted there."""
        width, height = source.width, source.height
        sink.write(MAGIC + struct.pack("<5I", width, height, *source.fps, source.frame_count))
        for index in range(source.frame_count):
            operation.check()
            points = source.landmarks(index)
            place = find(points, width, height) if points else None
            if place is None:
                sink.write(bytes(28))
                continue
            rect, line, left, right = place
            sink.write(struct.pack("<7I", *rect, line, left, right))
            sink.write(cut(source.frame(index), width, rect))
            operation.progress(1000 * (index + 1) // source.frame_count, "mouths")

    def load_avatar(self, blob):
        """Blob in, avatar out. The blob has been on a disk: believe none of it."""
        try:
            return Person(blob)
        except (struct.error, ValueError) as error:
            raise BackendError("BLOB_INCOMPATIBLE", f"not a whole blob of talker: {error}") from None

    def open_session(self, avatar, params):
        if params.whole:
            raise BackendError("UNSUPPORTED", "it keeps too little audio for a whole utterance")
        return super().open_session(avatar, params)

    def draw(self, request):
        """One frame. Override infer_batch instead where a model computes several at once."""
        session = request.session
        opening = min(1.0, loudness(session, request.frame) * self.strength)
        if request.avatar_frame >= len(session.avatar.mouths):
            raise BackendError("INVALID_ARG", f"there is no avatar frame {request.avatar_frame}")
        mouth = session.avatar.mouths[request.avatar_frame]
        if opening == 0 or mouth is None:
            request.nothing()  # The avatar's own frame shows.
        else:
            paint(mouth, opening, request.picture(mouth[0], RGBA))
        if session.ended and session.params.first_sample(request.frame) >= session.end + BEFORE:
            request.at_rest()


class Person(Avatar):
    """mouths: per avatar frame None, or its rect, lip line, mouth corners, and RGBA pixels."""

    def __init__(self, blob):
        if bytes(blob[:4]) != MAGIC:
            raise ValueError("another kind of file")
        width, height, num, den, count = struct.unpack_from("<5I", blob, 4)
        sides = all(2 <= side <= 8192 and side % 2 == 0 for side in (width, height))
        # A rate that nobody films at would make frames of millions of samples.
        rate = den > 0 and 1 <= num // den <= 240
        if not sides or not rate or not 0 < count <= len(blob) // 28:
            raise ValueError("impossible numbers")
        self.mouths, at = [], 24
        for _ in range(count):
            x, y, columns, rows, line, left, right = struct.unpack_from("<7I", blob, at)
            at += 28
            if columns == 0:
                self.mouths.append(None)
                continue
            even = (x | y | columns | rows) % 2 == 0
            inside = x + columns <= width and y + rows <= height and line < rows and left <= right <= columns
            if not even or not inside or at + 4 * columns * rows > len(blob):
                raise ValueError("a mouth outside of its picture")
            self.mouths.append(((x, y, columns, rows), line, left, right, bytes(blob[at : at + 4 * columns * rows])))
            at += 4 * columns * rows
        if at != len(blob):
            raise ValueError("more bytes than mouths")
        # Slots are as large as max_rect: the smallest rectangle around all mouths.
        rects = [mouth[0] for mouth in self.mouths if mouth] or [(0, 0, 2, 2)]
        x0, y0 = min(rect[0] for rect in rects), min(rect[1] for rect in rects)
        x1, y1 = max(rect[0] + rect[2] for rect in rects), max(rect[1] + rect[3] for rect in rects)
        # Every result brings its own alpha, so there are no fixed masks.
        masks = [((0, 0, 0, 0), None)] * count
        super().__init__((width, height), (num, den), (x0, y0, x1 - x0, y1 - y0), masks)


def loudness(session, frame):
    """0 in silence, 1 for a loud voice: a function of frame and audio alone."""
    first, end = session.params.first_sample(frame), session.params.first_sample(frame + 1)
    pcm = session.window(first - BEFORE, end - first + BEFORE)
    # Anything may come in: what is no number is silence, and what is too loud is as loud as it gets.
    power = sum(min(sample * sample, 1.0) for sample in pcm if sample == sample)
    rms = math.sqrt(power / len(pcm))
    return 0.0 if rms < 0.004 else min(1.0, math.sqrt((rms - 0.004) * 6))  # Below that it is the room.


def find(points, width, height):
    """Where the mouth is: rect, row of the lip line and columns of the corners in it. None: too small, or outside."""
    # 48 and 54 are the corners, 62 and 66 the middle of the inner lips.
    left, right, line = points[48][0], points[54][0], (points[62][1] + points[66][1]) / 2
    size = right - left

    def even(value, limit):
        return min(max(0, int(value)), limit) // 2 * 2

    x0, x1 = even(left - size / 2, width), even(right + size / 2, width)
    y0, y1 = even(line - size * 0.3, height), even(line + size, height)
    if x1 < x0 + 16 or y1 < y0 + 16 or not y0 < line < y1 - 8:
        return None
    left, right = (min(max(x0, int(x)), x1) - x0 for x in (left, right))
    return (x0, y0, x1 - x0, y1 - y0), int(line) - y0, left, right


def cut(rgb, stride, rect):
    """The RGBA pixels of rect; the alpha fades over a sixth of the width at the edges, so that no seam shows."""
    x, y, width, height = rect
    out, edge = bytearray(4 * width * height), width // 6
    for row in range(height):
        line = rgb[3 * ((y + row) * stride + x) :][: 3 * width]
        rows = min(row, height - 1 - row)
        alpha = bytes(255 * min(column, width - 1 - column, rows, edge) // edge for column in range(width))
        at = 4 * row * width
        for channel, values in enumerate((line[0::3], line[1::3], line[2::3], alpha)):
            out[at + channel : at + 4 * width : 4] = values
    return out


def paint(mouth, opening, out):
    """The lower part of the face slides down, and the gap that opens is filled with dark. Replace it by your method."""
    (_, _, width, height), line, left, right, rgba = mouth
    gap = min(int(opening * height * 0.2), height - line - 1)  # A fifth of the piece is as far as it opens.
    below, stride = height - line, 4 * width
    for y in range(height):
        if y < line:
            source = y
        elif y < line + gap:
            source = line
        else:  # Chin and cheeks are pressed together, and the last row stays where it is.
            source = line + (y - line - gap) * below // (below - gap)
        out[y * stride : (y + 1) * stride] = rgba[source * stride : (source + 1) * stride]
        if line <= y < line + gap:  # An ellipse between the corners.
            t = (2 * (y - line) + 1) / gap - 1
            half = (right - left) * 0.4 * math.sqrt(1 - t * t)
            start, end = int((left + right) / 2 - half), int((left + right) / 2 + half)
            out[y * stride + 4 * start : y * stride + 4 * end] = DARK * (end - start)


if __name__ == "__main__":
    serve(Talker())
