"""Backends for Lipcast in Python: subclass Backend, call serve(). Python 3.11 or later, nothing else; Linux.

Lipcast starts this program and speaks the protocol of docs/exec-protocol.md with it: JSON packets over a socket for
what is rare, a ring in shared memory for audio and frames. This file is that protocol; your method is in backend.py.

What `Avatar`, `Source`, `Request` and `Session` give is told at each class. Pictures go straight into shared memory.
An exception of yours becomes the status BACKEND_PANIC of the call and ends one performance; raise BackendError to say
more. What you print appears in Lipcast's log, and so does a traceback.
"""

import array
import fcntl
import json
import math
import mmap
import os
import queue
import select
import socket
import struct
import sys
import threading
import time
import traceback

PROTOCOL = 1
CONTROL_FD, RING_FD, WORK_FD, DONE_FD = 3, 4, 5, 6
CELLS, CELL_LEN, HEADER_LEN = 64, 65536, 4096
PACKET_LEN = 65536
STATUS_AT, MESSAGE_LEN = CELL_LEN - 512, 240
OPEN, PUSH, RESET, CLOSE, INFER = 1, 2, 3, 4, 5
# Words of the ring's header, in units of four bytes.
SUBMITTED, COMPLETED, CHILD_WAITS, BEAT = 64 // 4, 128 // 4, 192 // 4, 320 // 4

RGB24, RGBA, I420, I420A = 1, 2, 3, 4
STATIC, INLINE, OPAQUE = 0, 1, 2
FIRST, LAST, DISCARD_OK = 1, 2, 4
UNCHANGED, AT_REST = 1, 2

CODES = {name: number for number, name in enumerate(
    "OK INVALID_ARG UNSUPPORTED NOT_READY WOULD_BLOCK CANCELLED DEADLINE OOM_HOST OOM_DEVICE DEVICE_LOST "
    "MODEL_MISSING MODEL_CORRUPT BLOB_INCOMPATIBLE BAD_OUTPUT NOT_FOUND INTERNAL BACKEND_PANIC".split())}


class BackendError(Exception):
    """How a call fails: a name of CODES, one line for people, and whether the same call may succeed later."""

    def __init__(self, code, message, retryable=False):
        super().__init__(message)
        self.code, self.message, self.retryable = code, message, retryable


class Backend:
    """Your method: override what you need. Calls come in the order in which they stand here.

    infer_batch and the calls of sessions come from the main thread, one at a time; the others from threads of their
    own, and may run beside them. health and stats answer at once, whatever else runs.
    """

    id = ""  # "org.example.talker": up to 64 letters, digits, '.', '-', '_'
    name = version = vendor = license = url = ""
    capabilities = {}  # docs/exec-protocol.md lists the keys

    def create(self, config, operation):
        """Loads weights and warms up. config: the backend's table of config.toml, a dict or None."""

    def describe(self):
        return {"device": "cpu"}

    def prepare_avatar(self, source, params, sink, operation):
        """Source in, blob out through sink.write(bytes). The same source gives the same bytes."""
        raise NotImplementedError

    def load_avatar(self, blob):
        """Blob (a memoryview; believe none of it) in, an Avatar out."""
        raise NotImplementedError

    def unload_avatar(self, avatar):
        pass

    def open_session(self, avatar, params):
        """Begins a performance. Returns an object with push_audio, reset and close: usually a Session."""
        return Session(avatar, params)

    def infer_batch(self, requests):
        """Draws a batch. Override draw instead, unless you compute several frames at once."""
        for request in requests:
            try:
                self.draw(request)
            except BaseException as problem:
                request.fail(_as_error(problem))

    def draw(self, request):
        raise NotImplementedError

    def health(self):
        """("OK", "DEGRADED" or "BROKEN", one line)."""
        return "OK", ""

    def stats(self):
        return {}

    def destroy(self):
        pass


class Avatar:
    """What load_avatar returns; add what you like.

    canvas (width, height) and fps (numerator, denominator) are the source's. max_rect (x, y, width, height; even):
    every result lies inside. masks: one (rect, alpha) per avatar frame, alpha is width·height bytes or None for
    opaque; empty when the backend draws without source frames.
    """

    def __init__(self, canvas, fps, max_rect, masks, idle="HOST", rest="ASK", slots=0):
        self.canvas, self.fps, self.max_rect, self.masks = canvas, fps, max_rect, masks
        self.idle, self.rest, self.slots = idle, rest, slots
        self.memory = None  # (mmap, count, len, stride) once the host has given it


class SessionParams:
    """fps (numerator, denominator) of the video; whole: all audio comes before the first request; params: a dict."""

    def __init__(self, fps, whole, params):
        self.fps, self.whole, self.params = fps, whole, params

    def first_sample(self, frame):
        """First 16 kHz sample of video frame `frame`."""
        return frame * 16000 * self.fps[1] // self.fps[0]


class Session:
    """One performance, with the last seconds of its audio: an array of floats, 16 kHz, -1 to 1.

    keep: samples at most. A live session pushes little further than it asks; but after a machine stood still all comes
    at once, and only after ten seconds the server gives up on what was not answered: 12 s are enough."""

    def __init__(self, avatar, params, keep=192000):
        self.avatar, self.params, self.keep = avatar, params, keep
        self.reset(0)

    def push_audio(self, first, pcm, end):
        if first < self.end:
            raise BackendError("INVALID_ARG", f"audio from sample {first} after audio up to {self.end}")
        gap = first - self.end
        run = first if self.ended or gap > 0 else self.run
        # Nothing is dropped that a frame may still want; a new run needs nothing of the one before.
        if first + len(pcm) > max(self.wanted, run) + self.keep:
            raise BackendError("WOULD_BLOCK", "the queue is full")
        if gap >= self.keep:
            self.samples = array.array("f")
        else:
            self.samples.extend([0.0] * gap)
        self.samples.extend(pcm)
        del self.samples[: max(0, len(self.samples) - self.keep)]
        self.end, self.run, self.ended = first + len(pcm), run, end

    def reset(self, epoch):
        self.samples, self.end, self.ended = array.array("f"), 0, True
        self.run = self.wanted = 0

    def close(self):
        pass

    def window(self, first, count):
        """Samples from `first` on; what was not pushed reads as zero. What lies before `first` may be dropped from then
        on; a frame that is drawn without a window calls release instead."""
        self.release(first)
        start = self.end - len(self.samples)
        here = self.samples[max(0, first - start) : max(0, first + count - start)]
        before = min(count, max(0, start - first))
        window = array.array("f", bytes(4 * before)) + here
        window.frombytes(bytes(4 * (count - len(window))))
        return window

    def release(self, first):
        """Says that no frame wants the samples before `first` any more."""
        self.wanted = max(0, first)


class Request:
    """One frame to draw: session, frame (k), avatar_frame (j), epoch, seq, deadline_ns (of host.now_ns; 0: never),
    first and last of a run, discard_ok (late: the picture may be left out)."""

    def __init__(self, session, numbers, slot):
        self.session = session
        self.seq, self.frame, self.deadline_ns, self.epoch, self.avatar_frame, flags, _ = numbers
        self.first, self.last, self.discard_ok = (bool(flags & bit) for bit in (FIRST, LAST, DISCARD_OK))
        self._slot = slot
        self._error = BackendError("INTERNAL", "the backend gave no result for this request")
        self._result = [0, 0, 0, 0, RGB24, OPAQUE, 0, self.avatar_frame]

    @classmethod
    def for_test(cls, session, frame, avatar_frame=0, discard_ok=False):
        """A request without a server, to draw and to look at: pixels, rect, is_at_rest and error say what came of it."""
        _, _, width, height = session.avatar.max_rect
        slot = memoryview(bytearray(4 * width * height))
        return cls(session, (0, frame, 0, 0, avatar_frame, DISCARD_OK if discard_ok else 0, 0), slot)

    @property
    def pixels(self):
        """What was drawn, with whatever of the slot lies behind it."""
        return bytes(self._slot)

    @property
    def rect(self):
        """x, y, width, height of what was drawn; all 0: the avatar's own frame shows."""
        return tuple(self._result[:4])

    @property
    def is_at_rest(self):
        return self._result[6] & AT_REST != 0

    @property
    def error(self):
        """The BackendError that it failed with; None: it did not."""
        return self._error

    def picture(self, rect, format=RGBA, alpha=INLINE):
        """Answers with a picture of `rect` (even): the memory to fill, rows packed, planes one after the other.
        With alpha=STATIC, `rect` is that of this avatar frame's mask.
        With numpy: numpy.frombuffer(memory, numpy.uint8)."""
        x, y, width, height = rect
        size = width * height * {RGB24: 6, RGBA: 8, I420: 3, I420A: 5}[format] // 2
        if (x | y | width | height) & 1 or size > len(self._slot):
            raise BackendError("BAD_OUTPUT", f"{rect} is odd or larger than max_rect")
        self._error, self._result[:6] = None, [x, y, width, height, format, alpha]
        return self._slot[:size]

    def nothing(self):
        """The avatar's own frame shows as it is."""
        self._error, self._result[:6] = None, [0, 0, 0, 0, RGB24, OPAQUE]

    def unchanged(self):
        """The picture of this session's previous result once more."""
        self.nothing()
        self._result[6] |= UNCHANGED

    def at_rest(self):
        """The face is at rest. Say it after the picture."""
        self._result[6] |= AT_REST

    def used(self, avatar_frame):
        """Another avatar frame than the one asked for was used. Say it after the picture."""
        self._result[7] = avatar_frame

    def fail(self, error):
        """This request failed; its neighbours are untouched."""
        self._error = error

    def _write(self, cell, at):
        if self._error is None:
            struct.pack_into("<iI6I2I", cell, at + 64, 0, 0, *self._result)
        else:
            _put_status(cell, at + 64, at + 128, self._error)


class Host:
    """Lipcast itself: log, measurements, clock. From any thread."""

    def __init__(self, send):
        self._send = send

    def log(self, level, message, target="", **fields):
        """level: "error", "warn", "info", "debug" or "trace"."""
        self._send({"log": level, "target": target, "message": str(message)[:4000], "fields": fields or None})

    def metric(self, name, value, kind="gauge", **labels):
        """kind: "counter" (is added), "gauge" (is set) or "histogram". What is no number is left out."""
        if not math.isfinite(value):
            return
        self._send({"metric": name, "kind": kind, "value": float(value), "labels": labels or None})

    @staticmethod
    def now_ns():
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


class Operation:
    """A long call: tell how far it is, and look whether it shall end (every 100 ms)."""

    def __init__(self, server, number):
        self._server, self._number = server, number

    @property
    def is_cancelled(self):
        return self._number in self._server.cancelled

    def check(self):
        if self.is_cancelled:
            raise BackendError("CANCELLED", "cancelled by the host")

    def progress(self, permille, stage=""):
        self._server.send({"progress": self._number, "permille": int(permille), "stage": stage})

    def ask(self, want, **arguments):
        return self._server.ask(self._number, want, **arguments)


class Source:
    """What an avatar is prepared from: frame_count, width, height, fps and the names of its assets."""

    def __init__(self, operation, message, transfer):
        self.frame_count, self.width, self.height = message["frame_count"], message["width"], message["height"]
        self.fps, self.assets = tuple(message["fps"]), message.get("assets", [])
        self._operation, self._transfer = operation, transfer

    def frame(self, index):
        """3·width·height bytes: R, G, B, rows from the top."""
        answer, _ = self._operation.ask("frame", index=index)
        return self._transfer[: answer["len"]]

    def landmarks(self, index):
        """68 (x, y) in pixels, iBUG order; None: no face there."""
        try:
            points = self._operation.ask("landmarks", index=index)[0]["points"]
        except BackendError as error:
            return _none_if_not_found(error)
        return list(zip(points[::2], points[1::2]))

    def face_box(self, index):
        """x0, y0, x1, y1 in pixels; None: no face there."""
        try:
            return self._operation.ask("face_box", index=index)[0]["box"]
        except BackendError as error:
            return _none_if_not_found(error)

    def asset(self, name):
        """The bytes of a file beside the frames."""
        answer, fds = self._operation.ask("asset", name=name)
        return bytes(_map(fds, answer["len"]))


class Sink:
    """Where a blob goes."""

    def __init__(self, operation, transfer):
        self._operation, self._transfer, self._waiting = operation, transfer, bytearray()

    def write(self, data):
        self._waiting += data
        while len(self._waiting) >= len(self._transfer):
            self.flush()

    def flush(self):
        piece = self._waiting[: len(self._transfer)]
        if piece:
            self._transfer[: len(piece)] = piece
            self._operation.ask("blob", len=len(piece))
            del self._waiting[: len(piece)]


def serve(backend):
    """Serves `backend` to the Lipcast that started this program; returns when it is told to end."""
    if os.environ.get("LIPCAST_PROTOCOL") != str(PROTOCOL):
        sys.exit("This program is a Lipcast backend: name it in config.toml, or try it with `lipcast plugin check`.")
    _Server(backend).run()


class _Server:
    def __init__(self, backend):
        self.backend, self.cancelled = backend, set()
        for fd in (CONTROL_FD, RING_FD, WORK_FD, DONE_FD):
            os.set_inheritable(fd, False)
        self.control = socket.socket(fileno=CONTROL_FD)
        self.ring = mmap.mmap(RING_FD, HEADER_LEN + CELLS * CELL_LEN)
        # Counters are stored as one word: memoryview items are, struct's "<I" is not.
        self.words = memoryview(self.ring).cast("I")
        if bytes(self.ring[:4]) != b"LPCR" or self.words[1] != PROTOCOL:
            sys.exit("This ring speaks another version of the protocol.")
        self.avatars, self.sessions = {}, {}
        self.lock, self.questions, self.next_question = threading.Lock(), {}, 0
        self.ending = None
        backend.host = Host(self.send)

    def run(self):
        backend = self.backend
        names = ("id", "name", "version", "vendor", "license", "url", "capabilities")
        hello = {"protocol": PROTOCOL, **{name: getattr(backend, name) for name in names}}
        hello["origin"] = f"{os.path.abspath(sys.argv[0])}, Python {sys.version.split()[0]}"
        self.send({"hello": hello})
        threading.Thread(target=self.beat, daemon=True).start()
        threading.Thread(target=self.listen, daemon=True).start()
        self.perform()
        backend.destroy()
        self.send({"reply": self.ending, "ok": {}})

    def beat(self):
        # Whatever holds the interpreter's lock for seconds stops this too, and looks like a machine that is starved.
        while True:
            self.words[BEAT] = (self.words[BEAT] + 1) & 0xFFFFFFFF
            time.sleep(0.1)

    # ---- the socket: rare calls

    def send(self, message, fds=()):
        # What is no number has no word in JSON, and raises here.
        data = json.dumps(message, allow_nan=False).encode()
        if len(data) > PACKET_LEN:
            raise ValueError(f"{len(data)} bytes of JSON in one message, which holds {PACKET_LEN}")
        with self.lock:
            if fds:
                socket.send_fds(self.control, [data], fds)
            else:
                self.control.send(data)

    def listen(self):
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.control, PACKET_LEN, 2)
            except OSError:
                data = b""
            if not data:
                os._exit(0)  # Lipcast is gone.
            message = json.loads(data)
            if "call" in message:
                if message["call"] == "end":
                    self.ending = message["number"]
                    os.eventfd_write(WORK_FD, 1)
                elif message["call"] in ("health", "stats"):
                    self.obey(message, fds)
                else:
                    threading.Thread(target=self.obey, args=(message, fds), daemon=True).start()
            elif "answer" in message:
                waiting = self.questions.pop(message["answer"], None)
                if waiting is not None:
                    waiting.put((message, fds))
            elif "cancel" in message:
                self.cancelled.add(message["cancel"])

    def ask(self, call, want, **arguments):
        with self.lock:
            self.next_question += 1
            number, answer = self.next_question, queue.SimpleQueue()
            self.questions[number] = answer
        self.send({"ask": call, "number": number, "want": want, **arguments})
        message, fds = answer.get()
        if "error" in message:
            error = message["error"]
            raise BackendError(error["code"], error.get("message", ""), error.get("retryable", False))
        return message["ok"], fds

    def obey(self, message, fds):
        number, beside = message["number"], []
        try:
            handler = getattr(self, "call_" + message["call"], None)
            if handler is None:
                raise BackendError("UNSUPPORTED", f"there is no call {message['call']}")
            given, beside = handler(message, fds)
            self.send({"reply": number, "ok": given}, beside)
        except BaseException as problem:  # sys.exit of a library too: somebody waits for the answer.
            error = _as_error(problem)
            told = {"code": error.code, "message": str(error.message)[:1000], "retryable": error.retryable}
            self.send({"reply": number, "error": told})
        for fd in beside:
            os.close(fd)
        self.cancelled.discard(number)

    def call_create(self, message, fds):
        self.backend.create(message["config"], Operation(self, message["number"]))
        return {}, []

    def call_describe(self, message, fds):
        return self.backend.describe(), []

    def call_health(self, message, fds):
        state, line = self.backend.health()
        return {"state": state, "message": line}, []

    def call_stats(self, message, fds):
        return self.backend.stats(), []

    def call_prepare_avatar(self, message, fds):
        operation = Operation(self, message["number"])
        with _map(fds, message["transfer_len"], writable=True) as transfer:
            sink = Sink(operation, transfer)
            source = Source(operation, message["source"], transfer)
            self.backend.prepare_avatar(source, message["params"], sink, operation)
            sink.flush()
        return {}, []

    def call_load_avatar(self, message, fds):
        avatar = self.backend.load_avatar(memoryview(_map(fds, message["len"])))
        self.avatars[message["avatar"]] = avatar
        info = {"canvas": avatar.canvas, "fps": avatar.fps, "frame_count": len(avatar.masks), "slots": avatar.slots}
        info |= {"max_rect": avatar.max_rect, "idle": avatar.idle, "rest": avatar.rest}
        return {"info": info}, [_masks(avatar.masks)] if avatar.masks else []

    def call_attach_slots(self, message, fds):
        count, stride = message["count"], message["stride"]
        memory = memoryview(_map(fds, count * stride, writable=True))
        self.avatars[message["avatar"]].memory = memory, count, message["len"], stride
        return {}, []

    def call_unload_avatar(self, message, fds):
        avatar = self.avatars.pop(message["avatar"], None)
        if avatar is not None:
            self.backend.unload_avatar(avatar)
        return {}, []

    # ---- the ring: sessions and frames

    def perform(self):
        """Does what lies in the ring, in order, until the end is asked for."""
        bell = select.poll()
        bell.register(WORK_FD, select.POLLIN)
        self.words[CHILD_WAITS] = 1  # Always: then the parent always rings.
        done = self.words[COMPLETED]
        while self.ending is None:
            if self.words[SUBMITTED] == done:
                bell.poll()
                try:
                    os.eventfd_read(WORK_FD)
                except BlockingIOError:
                    pass
                continue
            cell = HEADER_LEN + done % CELLS * CELL_LEN
            try:
                self.do(cell)
            except BaseException as problem:
                _put_status(self.ring, cell + STATUS_AT, cell + STATUS_AT + 8, _as_error(problem))
            done = (done + 1) & 0xFFFFFFFF
            self.words[COMPLETED] = done
            os.eventfd_write(DONE_FD, 1)

    def do(self, cell):
        op, flags, session = struct.unpack_from("<IIQ", self.ring, cell)
        if op == OPEN:
            avatar, whole, num, den, length = struct.unpack_from("<QIIII", self.ring, cell + 16)
            text = bytes(self.ring[cell + 40 : cell + 40 + length])
            params = SessionParams((num, den), whole == 1, json.loads(text) if text else None)
            if avatar not in self.avatars:
                raise BackendError("INVALID_ARG", f"there is no avatar {avatar}")
            self.sessions[session] = self.backend.open_session(self.avatars[avatar], params), self.avatars[avatar]
        elif op == PUSH:
            first, count = struct.unpack_from("<QI", self.ring, cell + 16)
            pcm = array.array("f", bytes(self.ring[cell + 32 : cell + 32 + 4 * count]))
            self.seat(session)[0].push_audio(first, pcm, bool(flags & 1))
        elif op == RESET:
            self.seat(session)[0].reset(struct.unpack_from("<I", self.ring, cell + 16)[0])
        elif op == CLOSE:
            self.seat(session)
            self.sessions.pop(session)[0].close()
        elif op == INFER:
            self.infer(cell, struct.unpack_from("<I", self.ring, cell + 16)[0])
        else:
            raise BackendError("UNSUPPORTED", f"there is no operation {op}")

    def infer(self, cell, count):
        requests = []
        for at in range(cell + 64, cell + 64 + 512 * count, 512):
            session, *numbers = struct.unpack_from("<QQQQIIII", self.ring, at)
            try:
                seat, avatar = self.seat(session)
                memory, slots, length, stride = avatar.memory
                if numbers[6] >= slots:
                    raise BackendError("INVALID_ARG", f"slot {numbers[6]} of {slots}")
            except BackendError as error:
                _put_status(self.ring, at + 64, at + 128, error)
                continue
            start = numbers[6] * stride
            requests.append((at, Request(seat, numbers, memory[start : start + length])))
        if requests:
            self.backend.infer_batch([request for _, request in requests])
        for at, request in requests:
            request._write(self.ring, at)

    def seat(self, session):
        if session not in self.sessions:
            raise BackendError("INVALID_ARG", f"there is no session {session}")
        return self.sessions[session]


def _as_error(problem):
    if isinstance(problem, BackendError):
        return problem
    traceback.print_exception(problem)
    return BackendError("BACKEND_PANIC", f"{type(problem).__name__}: {problem}")


def _none_if_not_found(error):
    if error.code == "NOT_FOUND":
        return None
    raise error


def _put_status(memory, at, text_at, error):
    struct.pack_into("<iI", memory, at, CODES.get(error.code, CODES["INTERNAL"]), bool(error.retryable))
    text = str(error.message).encode()[: MESSAGE_LEN - 1].decode(errors="ignore").encode()
    memory[text_at : text_at + MESSAGE_LEN] = text.ljust(MESSAGE_LEN, b"\0")


def _map(fds, length, writable=False):
    """Maps the descriptor that came beside a message; the mapping keeps the file."""
    if not fds:
        raise BackendError("INVALID_ARG", "a descriptor is missing beside the call")
    try:
        if not length:
            return b""
        if writable:
            return mmap.mmap(fds[0], length, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        # Private: before Linux 6.7 memory that is sealed against writing cannot be mapped otherwise.
        return mmap.mmap(fds[0], length, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    finally:
        for fd in fds:
            os.close(fd)


def _masks(masks):
    """The masks of all avatar frames in memory that nobody can change any more."""
    entries, alphas, places = bytearray(), bytearray(), {}
    for rect, alpha in masks:
        offset = 0
        if alpha is not None:
            if id(alpha) not in places:
                places[id(alpha)] = 32 * len(masks) + len(alphas)
                alphas += alpha
            offset = places[id(alpha)]
        entries += struct.pack("<4IQQ", *rect, offset, 0)
    fd = os.memfd_create("lipcast-masks", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(fd, "wb", closefd=False) as file:
        file.write(entries + alphas)
    fcntl.fcntl(fd, 1033, 1 | 2 | 4 | 8)  # F_ADD_SEALS: SEAL, SHRINK, GROW, WRITE
    return fd
