//! A batch of frames to draw, as `infer_batch` sees it.

use std::marker::PhantomData;

use super::adapter::{SessionState, fill_status};
use super::backend::Backend;
use crate::abi;
use crate::types::{Alpha, Code, Error, PixelFormat, Rect};

/// Requests of one or more sessions, drawn in one go.
///
/// Walk it as often as needed, one request at a time: to gather inputs, to run, to write outputs.
/// Several requests of one session stand in the order of their frames.
pub struct Batch<'a, B: Backend> {
    requests: &'a [*mut abi::Request],
    _backend: PhantomData<&'a mut B>,
}

/// One frame to draw.
pub struct FrameRequest<'r, B: Backend> {
    /// The session it belongs to.
    pub session: &'r mut B::Session,
    /// Of the session, since its last reset.
    pub epoch: u32,
    /// Counts the session's requests.
    pub seq: u64,
    /// Video frame k of the session's timeline: it shows samples floor(k·16000·den/num) and on.
    pub frame: u64,
    /// Avatar frame j it is shown on.
    pub avatar_frame: u32,
    /// When the result is of no more use, in the clock of `Host::now_ns`; 0: never.
    pub deadline_ns: u64,
    /// The first of a run of speech, or after a reset.
    pub first: bool,
    /// The last frame with audio of this run.
    pub last: bool,
    /// It is late: keep the state in step, the picture may be left out.
    pub discard_ok: bool,
    /// Where the result goes.
    pub output: FrameOutput<'r>,
}

/// Where one result goes. Nothing written means an `INTERNAL` failure of that request.
pub struct FrameOutput<'r> {
    request: &'r mut abi::Request,
}

impl<'a, B: Backend> Batch<'a, B> {
    /// # Safety
    /// Every pointer is a request of the running `infer_batch`, with a live session of this backend and a
    /// slot of `slot_len` writable bytes; nobody else touches any of it until the call returns.
    pub(super) unsafe fn new(requests: &'a [*mut abi::Request]) -> Self {
        for request in requests {
            // SAFETY: promised by the caller.
            let request = unsafe { &mut **request };
            let unanswered = Error::internal("the backend gave no result for this request");
            fill_status(&mut request.status, &unanswered);
        }
        Self { requests, _backend: PhantomData }
    }

    /// How many requests there are.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Request `index`. Panics when there is none: a bug of the backend.
    pub fn request(&mut self, index: usize) -> FrameRequest<'_, B> {
        // SAFETY: `new` promises a request that nobody else touches; `&mut self` keeps two of them, which
        // may share a session, from being held at once.
        let request = unsafe { &mut *self.requests[index] };
        // SAFETY: `new` promises a live session of this backend.
        let session = unsafe { &mut *request.session.cast::<SessionState<B>>() };
        FrameRequest {
            session: &mut session.session,
            epoch: request.epoch,
            seq: request.seq,
            frame: request.frame,
            avatar_frame: request.avatar_frame,
            deadline_ns: request.deadline_ns,
            first: request.flags & abi::REQUEST_FIRST != 0,
            last: request.flags & abi::REQUEST_LAST != 0,
            discard_ok: request.flags & abi::REQUEST_DISCARD_OK != 0,
            output: FrameOutput { request },
        }
    }

    /// Calls `draw` for each request in turn; its error becomes that request's status.
    pub fn for_each(&mut self, mut draw: impl FnMut(&mut FrameRequest<'_, B>) -> Result<(), Error>) {
        for index in 0..self.len() {
            let mut request = self.request(index);
            if let Err(error) = draw(&mut request) {
                request.output.fail(&error);
            }
        }
    }
}

impl FrameOutput<'_> {
    /// A picture of `rect`: the bytes to fill, exactly as many as `format` takes, rows packed, planes one
    /// after the other. The avatar frame used is the one asked for unless [`used`](Self::used) says
    /// otherwise. Fails when the rect is odd or larger than the slot.
    pub fn picture(&mut self, rect: Rect, format: PixelFormat, alpha: Alpha) -> Result<&mut [u8], Error> {
        if !rect.is_even() {
            return Err(Error::new(Code::BadOutput, format!("the result's {rect:?} is not even-aligned")));
        }
        let bytes = format.bytes(&rect);
        if bytes > self.request.slot_len {
            return Err(Error::new(
                Code::BadOutput,
                format!("the result's {rect:?} needs {bytes} bytes, the slot has {}", self.request.slot_len),
            ));
        }
        self.answer(rect);
        self.request.format = format.to_abi();
        self.request.alpha = alpha.to_abi();
        if bytes == 0 {
            return Ok(&mut []);
        }
        // SAFETY: the batch promises `slot_len` writable bytes that nobody else touches.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.request.slot, bytes as usize) })
    }

    /// The avatar's own frame shows as it is: an empty patch.
    pub fn nothing(&mut self) {
        self.answer(Rect::default());
        self.request.format = abi::FORMAT_RGB24;
        self.request.alpha = abi::ALPHA_OPAQUE;
    }

    /// For a request marked `discard_ok`: the state is in step, and there is no picture. Its frame shows the last one.
    pub fn left_out(&mut self) {
        self.fail(&Error::new(Code::Deadline, "left out, since it came too late"));
    }

    /// The picture is that of this session's previous result, with the mask it had; the slot stays as it is. After a
    /// reset there is none, and the avatar's own frame shows.
    pub fn unchanged(&mut self) {
        self.answer(Rect::default());
        self.request.result_flags |= abi::RESULT_UNCHANGED;
    }

    /// The face is at rest. Say it after the picture.
    pub fn at_rest(&mut self) {
        self.request.result_flags |= abi::RESULT_AT_REST;
    }

    /// Another avatar frame than the one asked for was used. Say it after the picture.
    pub fn used(&mut self, avatar_frame: u32) {
        self.request.avatar_frame_used = avatar_frame;
    }

    /// This request failed; its neighbours are untouched.
    pub fn fail(&mut self, error: &Error) {
        fill_status(&mut self.request.status, error);
    }

    fn answer(&mut self, rect: Rect) {
        self.request.status.code = abi::OK;
        self.request.status.retryable = 0;
        self.request.status.message[0] = 0;
        self.request.rect = rect.to_abi();
        self.request.result_flags = 0;
        self.request.avatar_frame_used = self.request.avatar_frame;
    }
}
