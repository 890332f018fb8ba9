//! The calls of an instance's one fixed thread: sessions and batches.

use std::marker::PhantomData;
use std::sync::Arc;

use serde_json::Value;

use super::checks::{FrameResult, RawResult};
use super::instance::{Avatar, AvatarInner, InstanceInner, call, made};
use super::open::copy_prefix;
use super::slot::Slot;
use crate::abi;
use crate::author::{check, empty_status, text};
use crate::types::{Code, Error, Rect, SessionParams};

/// Opens sessions and draws frames. There is one for an instance, and it cannot leave its thread.
pub struct Inferer {
    instance: Arc<InstanceInner>,
    // Reused from batch to batch.
    requests: Vec<abi::Request>,
    pointers: Vec<*mut abi::Request>,
    _stays: PhantomData<*mut ()>,
}

/// The state of one performance; closed when dropped. It cannot leave the thread of its [`Inferer`].
pub struct Session {
    avatar: Arc<AvatarInner>,
    handle: *mut abi::Session,
    _stays: PhantomData<*mut ()>,
}

/// One frame to draw, and how it went.
pub struct FrameRequest<'a> {
    /// Whose frame.
    pub session: &'a Session,
    /// The session's epoch since its last reset.
    pub epoch: u32,
    /// Counts the session's requests.
    pub seq: u64,
    /// Video frame k of the session's timeline.
    pub frame: u64,
    /// Avatar frame j it is shown on.
    pub avatar_frame: u32,
    /// When the result is of no more use, in the clock of the host services; 0: never.
    pub deadline_ns: u64,
    /// The first of a run of speech, or after a reset.
    pub first: bool,
    /// The last frame with audio of this run.
    pub last: bool,
    /// It is late: keep the state in step, the picture may be left out.
    pub discard_ok: bool,
    /// Where the picture goes.
    pub slot: &'a mut Slot,
    /// After the call: how it went. The picture is in `slot`.
    pub result: Result<FrameResult, Error>,
}

impl FrameResult {
    /// The bytes of the picture in its slot.
    pub fn picture<'s>(&self, slot: &'s Slot) -> &'s [u8] {
        &slot.bytes()[..self.format.bytes(&self.rect) as usize]
    }
}

impl<'a> FrameRequest<'a> {
    /// A request for video frame `frame` over avatar frame `avatar_frame`, without flags or deadline.
    pub fn new(session: &'a Session, frame: u64, avatar_frame: u32, slot: &'a mut Slot) -> Self {
        Self {
            session,
            epoch: 0,
            seq: frame,
            frame,
            avatar_frame,
            deadline_ns: 0,
            first: false,
            last: false,
            discard_ok: false,
            slot,
            result: Err(Error::new(Code::NotReady, "not asked yet")),
        }
    }
}

impl Inferer {
    pub(super) fn new(instance: Arc<InstanceInner>) -> Self {
        Self { instance, requests: Vec::new(), pointers: Vec::new(), _stays: PhantomData }
    }

    /// Begins a performance; cheap.
    pub fn open_session(&self, avatar: &Avatar, params: &SessionParams) -> Result<Session, Error> {
        if !Arc::ptr_eq(&avatar.inner.instance, &self.instance) {
            return Err(Error::invalid_arg("the avatar is loaded in another instance"));
        }
        let json = params.params.to_string();
        let params = abi::SessionParams {
            struct_size: size_of::<abi::SessionParams>() as u32,
            mode: params.mode.to_abi(),
            canvas_width: params.canvas.0,
            canvas_height: params.canvas.1,
            fps_num: params.fps.0,
            fps_den: params.fps.1,
            params_json: text(&json),
        };
        let mut handle = std::ptr::null_mut();
        call("open_session", self.instance.table().open_session, |open, status| {
            // SAFETY: a live instance and avatar; the rest lives for the length of the call.
            unsafe { open(self.instance.handle, avatar.inner.handle, &params, &mut handle, status) }
        })?;
        let handle = made("open_session", handle)?;
        Ok(Session { avatar: avatar.inner.clone(), handle, _stays: PhantomData })
    }

    /// Draws a batch; every request gets its `result`. Several requests of one session stand in the order
    /// of their frames. Takes at most `max_batch` of the capabilities.
    ///
    /// A result that breaks the contract becomes `BAD_OUTPUT`: an odd or outlying rect, an unknown format,
    /// a write behind the slot.
    pub fn infer_batch(&mut self, requests: &mut [FrameRequest<'_>]) {
        let limit = self.instance.plugin.descriptor().capabilities.max_batch as usize;
        let foreign = |r: &FrameRequest<'_>| !Arc::ptr_eq(&r.session.avatar.instance, &self.instance);
        if requests.len() > limit || requests.iter().any(foreign) {
            let error = Error::invalid_arg(format!(
                "a batch of {} requests, of which some may be of another instance; the limit is {limit}",
                requests.len()
            ));
            requests.iter_mut().for_each(|request| request.result = Err(error.clone()));
            return;
        }
        self.requests.clear();
        self.requests.extend(requests.iter_mut().map(to_abi));
        self.pointers.clear();
        self.pointers.extend(self.requests.iter_mut().map(std::ptr::from_mut));
        let outcome = call("infer_batch", self.instance.table().infer_batch, |infer, status| {
            // SAFETY: a live instance on its fixed thread; the requests and their slots are borrowed
            // mutably for the call; their sessions are live and nobody else can call them meanwhile.
            unsafe { infer(self.instance.handle, self.pointers.as_ptr(), self.pointers.len() as u32, status) }
        });
        for (request, answer) in requests.iter_mut().zip(&self.requests) {
            request.result = match &outcome {
                Err(error) => Err(error.clone()),
                Ok(()) => read_result(&request.session.avatar, request.slot, answer),
            };
            if !request.slot.canary_intact() {
                request.result =
                    Err(Error::new(Code::BadOutput, "the backend wrote behind the end of its output slot"));
            }
        }
    }
}

impl Session {
    /// Appends 16 kHz mono PCM whose first sample is number `first_sample` of the session; `end` when
    /// nothing else is queued. Fails with `WOULD_BLOCK` when the backend's queue is full.
    pub fn push_audio(&mut self, first_sample: u64, pcm: &[f32], end: bool) -> Result<(), Error> {
        let flags = if end { abi::AUDIO_END } else { 0 };
        call("push_audio", self.avatar.instance.table().push_audio, |push, status| {
            // SAFETY: a live session; the samples live for the length of the call.
            unsafe { push(self.handle, first_sample, pcm.as_ptr(), pcm.len() as u64, flags, status) }
        })
    }

    /// Barge-in: the backend drops audio and motion; later requests carry `epoch`.
    pub fn reset(&mut self, epoch: u32) -> Result<(), Error> {
        call("reset", self.avatar.instance.table().reset, |reset, status| {
            // SAFETY: a live session.
            unsafe { reset(self.handle, epoch, status) }
        })
    }

    /// Draft extension `draft.control/1`: a JSON message, for emotion and gesture.
    pub fn control(&mut self, message: &Value) -> Result<(), Error> {
        let json = message.to_string();
        let control = self.avatar.instance.table().get_extension.and_then(|get| {
            // SAFETY: the call may come from any thread at any time; the text outlives it.
            let table = unsafe { get(text(abi::EXTENSION_CONTROL)) }.cast::<abi::ControlDraft1>();
            if table.is_null() || !table.is_aligned() {
                return None;
            }
            // SAFETY: the draft's id fixes the type of its table, which is static and starts with its size.
            let size = unsafe { (*table).struct_size } as usize;
            // SAFETY: the table has `size` bytes; its fields are integers and an optional function.
            unsafe { copy_prefix(table, size) }.control
        });
        call(abi::EXTENSION_CONTROL, control, |control, status| {
            // SAFETY: a live session; the text outlives the call.
            unsafe { control(self.handle, text(&json), status) }
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(close) = self.avatar.instance.table().close_session {
            // SAFETY: a live session, closed once; requests borrow it, so none is running.
            unsafe { close(self.handle) }
        }
    }
}

fn to_abi(request: &mut FrameRequest<'_>) -> abi::Request {
    let flag = |set, bit| if set { bit } else { 0 };
    abi::Request {
        struct_size: size_of::<abi::Request>() as u32,
        epoch: request.epoch,
        session: request.session.handle,
        seq: request.seq,
        frame: request.frame,
        avatar_frame: request.avatar_frame,
        flags: flag(request.first, abi::REQUEST_FIRST)
            | flag(request.last, abi::REQUEST_LAST)
            | flag(request.discard_ok, abi::REQUEST_DISCARD_OK),
        deadline_ns: request.deadline_ns,
        slot: request.slot.as_mut_ptr(),
        slot_len: request.slot.len() as u64,
        status: empty_status(),
        rect: Rect::default().to_abi(),
        format: 0,
        alpha: 0,
        result_flags: 0,
        avatar_frame_used: request.avatar_frame,
    }
}

fn read_result(avatar: &AvatarInner, slot: &Slot, answer: &abi::Request) -> Result<FrameResult, Error> {
    check(answer.status.code, &answer.status)?;
    let raw = RawResult {
        rect: Rect::from_abi(answer.rect),
        format: answer.format,
        alpha: answer.alpha,
        flags: answer.result_flags,
        avatar_frame_used: answer.avatar_frame_used,
    };
    raw.check(answer.frame, avatar.info(), slot.len() as u64, |frame| Ok(avatar.mask(frame)?.rect))
}
