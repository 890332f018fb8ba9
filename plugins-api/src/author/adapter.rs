//! The contract's calls over a safe [`Backend`]: pointers in, references on, panics out as a status.

use std::borrow::Cow;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde_json::Value;

use super::backend::Backend;
use super::batch::Batch;
use super::host::{BlobSink, Host, Operation};
use super::source::AvatarSource;
use crate::abi;
use crate::types::{Code, Error, SessionMode, SessionParams};

/// What an instance handle points to.
struct InstanceState<B> {
    backend: Arc<B>,
    host: Host,
}

/// What an avatar handle points to.
struct AvatarState<B: Backend> {
    backend: Arc<B>,
    avatar: Arc<B::Avatar>,
}

/// What a session handle points to.
pub(super) struct SessionState<B: Backend> {
    backend: Arc<B>,
    pub(super) session: B::Session,
}

/// The session parameter that makes `open_session` panic, to see that panics are caught.
const DEBUG_PANIC: &str = "debug_panic";

/// The call table of backend `B`.
pub(super) struct Adapter<B>(PhantomData<B>);

impl<B: Backend> Adapter<B> {
    pub(super) const TABLE: abi::Backend = abi::Backend {
        struct_size: size_of::<abi::Backend>() as u32,
        reserved: 0,
        create: Some(create::<B>),
        destroy: Some(destroy::<B>),
        describe: Some(describe::<B>),
        prepare_avatar: Some(prepare_avatar::<B>),
        load_avatar: Some(load_avatar::<B>),
        unload_avatar: Some(unload_avatar::<B>),
        avatar_info: Some(avatar_info::<B>),
        frame_mask: Some(frame_mask::<B>),
        open_session: Some(open_session::<B>),
        close_session: Some(close_session::<B>),
        push_audio: Some(push_audio::<B>),
        reset: Some(reset::<B>),
        infer_batch: Some(infer_batch::<B>),
        health: Some(health::<B>),
        stats: Some(stats::<B>),
        get_extension: Some(get_extension::<B>),
    };
    const CONTROL: abi::ControlDraft1 = abi::ControlDraft1 {
        struct_size: size_of::<abi::ControlDraft1>() as u32,
        reserved: 0,
        control: Some(control::<B>),
    };
}

// In every function below the proofs are the contract's: handles are those that this table returned and
// have not been ended; `status` and out arguments are valid and not shared; calls of one session do not
// overlap. What the contract leaves open (sizes, null, UTF-8) is checked.

unsafe extern "C" fn create<B: Backend>(
    host: *const abi::Host,
    config_json: abi::Str,
    operation: *const abi::Operation,
    out: *mut *mut abi::Instance,
    status: *mut abi::Status,
) -> i32 {
    guard(status, || {
        // SAFETY: the contract gives a host table that starts with its size and lives as long as the process.
        let size = unsafe { (*host).struct_size } as usize;
        if size < size_of::<abi::Host>() {
            return Err(Error::invalid_arg("the host's table is older than this plugin's contract"));
        }
        // SAFETY: the table is at least as large as ours, as just checked.
        let host = unsafe { Host::new(*host) };
        // SAFETY: the contract's text, for the length of the call.
        let config = parse_json(unsafe { read_str(config_json) }.as_ref(), "the config")?;
        // SAFETY: the handle of this very call.
        let operation = unsafe { Operation::new(host, operation) };
        let backend = Arc::new(B::create(host, config, &operation)?);
        let state = Box::into_raw(Box::new(InstanceState { backend, host }));
        // SAFETY: a valid out argument.
        unsafe { *out = state.cast() };
        Ok(())
    })
}

unsafe extern "C" fn destroy<B: Backend>(instance: *mut abi::Instance) {
    quietly(|| {
        // SAFETY: made by `create`, ended once, after all avatars and sessions.
        drop(unsafe { Box::from_raw(instance.cast::<InstanceState<B>>()) });
    });
}

unsafe extern "C" fn describe<B: Backend>(
    instance: *mut abi::Instance,
    out: *mut abi::Text,
    status: *mut abi::Status,
) -> i32 {
    guard(status, || {
        // SAFETY: a live instance.
        let state = unsafe { &*instance.cast::<InstanceState<B>>() };
        // SAFETY: a valid text argument.
        unsafe { write_text(out, &state.backend.describe().to_string()) };
        Ok(())
    })
}

unsafe extern "C" fn prepare_avatar<B: Backend>(
    instance: *mut abi::Instance,
    source: *const abi::AvatarSource,
    params_json: abi::Str,
    sink: *mut abi::Sink,
    operation: *const abi::Operation,
    status: *mut abi::Status,
) -> i32 {
    guard(status, || {
        // SAFETY: a live instance, and arguments of this very call.
        let (state, source, mut sink, operation) = unsafe {
            let state = &*instance.cast::<InstanceState<B>>();
            let source = AvatarSource::new(&*source);
            (state, source, BlobSink::new(state.host, sink), Operation::new(state.host, operation))
        };
        // SAFETY: the contract's text, for the length of the call.
        let params = parse_json(unsafe { read_str(params_json) }.as_ref(), "the parameters")?;
        state.backend.prepare_avatar(&source, &params, &mut sink, &operation)
    })
}

unsafe extern "C" fn load_avatar<B: Backend>(
    instance: *mut abi::Instance,
    blob: abi::Bytes,
    out: *mut *mut abi::Avatar,
    status: *mut abi::Status,
) -> i32 {
    guard(status, || {
        // SAFETY: a live instance.
        let state = unsafe { &*instance.cast::<InstanceState<B>>() };
        // SAFETY: the contract's bytes, for longer than the call.
        let blob = unsafe { read_slice(blob.ptr, blob.len) };
        let avatar = Arc::new(state.backend.load_avatar(blob)?);
        let avatar = Box::into_raw(Box::new(AvatarState { backend: state.backend.clone(), avatar }));
        // SAFETY: a valid out argument.
        unsafe { *out = avatar.cast() };
        Ok(())
    })
}

unsafe extern "C" fn unload_avatar<B: Backend>(avatar: *mut abi::Avatar) {
    quietly(|| {
        // SAFETY: made by `load_avatar`, ended once, after all its sessions.
        drop(unsafe { Box::from_raw(avatar.cast::<AvatarState<B>>()) });
    });
}

unsafe extern "C" fn avatar_info<B: Backend>(
    avatar: *mut abi::Avatar,
    out: *mut abi::AvatarInfo,
    status: *mut abi::Status,
) -> i32 {
    guard(status, || {
        // SAFETY: a live avatar.
        let state = unsafe { &*avatar.cast::<AvatarState<B>>() };
        let info = state.backend.avatar_info(&state.avatar);
        let value = abi::AvatarInfo {
            struct_size: size_of::<abi::AvatarInfo>() as u32,
            canvas_width: info.canvas.0,
            canvas_height: info.canvas.1,
            fps_num: info.fps.0,
            fps_den: info.fps.1,
            frame_count: info.frame_count,
            max_rect: info.max_rect.to_abi(),
            slots: info.slots,
            idle: info.idle.to_abi(),
            rest_policy: info.rest_policy.to_abi(),
            reserved: 0,
        };
        // SAFETY: an out argument of at least the first minor's size; this struct has not grown since.
        unsafe { *out = value };
        Ok(())
    })
}

unsafe extern "C" fn frame_mask<B: Backend>(
    avatar: *mut abi::Avatar,
    frame: u32,
    out: *mut abi::FrameMask,
    status: *mut abi::Status,
) -> i32 {
    guard(status, || {
        // SAFETY: a live avatar; the mask borrows from it, as the contract allows until it is unloaded.
        let state = unsafe { &*avatar.cast::<AvatarState<B>>() };
        let mask = state.backend.frame_mask(&state.avatar, frame)?;
        if let Some(alpha) = mask.alpha
            && alpha.len() as u64 != mask.rect.area()
        {
            return Err(Error::internal(format!(
                "mask of frame {frame} has {} bytes for a rect of {} pixels",
                alpha.len(),
                mask.rect.area()
            )));
        }
        let value = abi::FrameMask {
            struct_size: size_of::<abi::FrameMask>() as u32,
            reserved: 0,
            rect: mask.rect.to_abi(),
            alpha: mask.alpha.map_or(std::ptr::null(), <[u8]>::as_ptr),
            alpha_len: mask.alpha.map_or(0, |alpha| alpha.len() as u64),
        };
        // SAFETY: an out argument of at least the first minor's size; this struct has not grown since.
        unsafe { *out = value };
        Ok(())
    })
}

unsafe extern "C" fn open_session<B: Backend>(
    instance: *mut abi::Instance,
    avatar: *mut abi::Avatar,
    params: *const abi::SessionParams,
    out: *mut *mut abi::Session,
    status: *mut abi::Status,
) -> i32 {
    guard(status, || {
        // SAFETY: a live instance and avatar, and an argument of this very call.
        let (state, avatar, params) =
            unsafe { (&*instance.cast::<InstanceState<B>>(), &*avatar.cast::<AvatarState<B>>(), &*params) };
        if params.fps_num == 0 || params.fps_den == 0 {
            return Err(Error::invalid_arg("a frame rate of zero"));
        }
        let mode = SessionMode::from_abi(params.mode)
            .ok_or_else(|| Error::unsupported(format!("session mode {}", params.mode)))?;
        // SAFETY: the contract's text, for the length of the call.
        let json = parse_json(unsafe { read_str(params.params_json) }.as_ref(), "the parameters")?;
        let params = SessionParams {
            mode,
            canvas: (params.canvas_width, params.canvas_height),
            fps: (params.fps_num, params.fps_den),
            params: json,
        };
        // `lipcast plugin check` asks for it: a library that was built without unwinding ends its process here.
        assert!(params.params[DEBUG_PANIC] != Value::Bool(true), "asked for by `{DEBUG_PANIC}`");
        let session = state.backend.open_session(avatar.avatar.clone(), &params)?;
        let session = Box::into_raw(Box::new(SessionState { backend: state.backend.clone(), session }));
        // SAFETY: a valid out argument.
        unsafe { *out = session.cast() };
        Ok(())
    })
}

unsafe extern "C" fn close_session<B: Backend>(session: *mut abi::Session) {
    quietly(|| {
        // SAFETY: made by `open_session`, ended once, and no call of it is running.
        drop(unsafe { Box::from_raw(session.cast::<SessionState<B>>()) });
    });
}

unsafe extern "C" fn push_audio<B: Backend>(
    session: *mut abi::Session,
    first_sample: u64,
    pcm: *const f32,
    count: u64,
    flags: u32,
    status: *mut abi::Status,
) -> i32 {
    guard(status, || {
        // SAFETY: a live session, none of whose calls overlap.
        let state = unsafe { &mut *session.cast::<SessionState<B>>() };
        // SAFETY: the contract's samples, for the length of the call.
        let pcm = unsafe { read_slice(pcm, count) };
        let end = flags & abi::AUDIO_END != 0;
        state.backend.push_audio(&mut state.session, first_sample, pcm, end)
    })
}

unsafe extern "C" fn reset<B: Backend>(
    session: *mut abi::Session,
    epoch: u32,
    status: *mut abi::Status,
) -> i32 {
    guard(status, || {
        // SAFETY: a live session, none of whose calls overlap.
        let state = unsafe { &mut *session.cast::<SessionState<B>>() };
        state.backend.reset(&mut state.session, epoch)
    })
}

unsafe extern "C" fn infer_batch<B: Backend>(
    instance: *mut abi::Instance,
    requests: *const *mut abi::Request,
    count: u32,
    status: *mut abi::Status,
) -> i32 {
    // SAFETY: a live instance.
    let state = unsafe { &*instance.cast::<InstanceState<B>>() };
    // SAFETY: the contract gives `count` pointers to requests, each valid and used by nobody else until
    // this call returns, and their slots and sessions too.
    let mut batch = unsafe { Batch::<B>::new(read_slice(requests, count.into())) };
    guard(status, || state.backend.infer_batch(&mut batch))
}

unsafe extern "C" fn health<B: Backend>(instance: *mut abi::Instance, out: *mut abi::Health) {
    quietly(|| {
        // SAFETY: a live instance and a valid out argument that starts with its size.
        let (state, out) = unsafe { (&*instance.cast::<InstanceState<B>>(), &mut *out) };
        let health = state.backend.health();
        out.state = health.state.to_abi();
        fill_message(&mut out.message, &health.message);
    });
}

unsafe extern "C" fn stats<B: Backend>(
    instance: *mut abi::Instance,
    out: *mut abi::Text,
    status: *mut abi::Status,
) -> i32 {
    guard(status, || {
        // SAFETY: a live instance.
        let state = unsafe { &*instance.cast::<InstanceState<B>>() };
        // SAFETY: a valid text argument.
        unsafe { write_text(out, &state.backend.stats().to_string()) };
        Ok(())
    })
}

unsafe extern "C" fn get_extension<B: Backend>(id: abi::Str) -> *const c_void {
    // SAFETY: the contract's text, for the length of the call.
    if unsafe { read_str(id) } == abi::EXTENSION_CONTROL {
        std::ptr::from_ref(const { &Adapter::<B>::CONTROL }).cast()
    } else {
        std::ptr::null()
    }
}

unsafe extern "C" fn control<B: Backend>(
    session: *mut abi::Session,
    json: abi::Str,
    status: *mut abi::Status,
) -> i32 {
    guard(status, || {
        // SAFETY: a live session, none of whose calls overlap.
        let state = unsafe { &mut *session.cast::<SessionState<B>>() };
        // SAFETY: the contract's text, for the length of the call.
        let message = parse_json(unsafe { read_str(json) }.as_ref(), "the message")?;
        state.backend.control(&mut state.session, &message)
    })
}

/// Runs a call, and turns its error or panic into the status and the returned code.
fn guard(status: *mut abi::Status, call: impl FnOnce() -> Result<(), Error>) -> i32 {
    let result = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let reason = panic_text(panic.as_ref()).to_owned();
        // The payload's own drop may panic too; better leaked than unwound into C.
        std::mem::forget(panic);
        Err(Error::new(Code::BackendPanic, format!("backend panicked: {reason}")))
    });
    match result {
        Ok(()) => abi::OK,
        Err(error) => {
            // SAFETY: the contract gives a valid status, or null.
            if let Some(status) = unsafe { status.as_mut() } {
                fill_status(status, &error);
            }
            error.code.to_abi()
        }
    }
}

/// Runs a call that has no status: a panic in it is only kept from crossing into C.
fn quietly(call: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
        std::mem::forget(panic);
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

pub(crate) fn fill_status(status: &mut abi::Status, error: &Error) {
    status.code = error.code.to_abi();
    status.retryable = error.retryable.into();
    fill_message(&mut status.message, &error.message);
}

/// Copies text into a fixed field: one line, cut at a character, ended by a zero byte.
fn fill_message(field: &mut [u8], message: &str) {
    let mut end = message.len().min(field.len() - 1);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    field[..end].copy_from_slice(&message.as_bytes()[..end]);
    field[end] = 0;
    for byte in &mut field[..end] {
        if byte.is_ascii_control() {
            *byte = b' ';
        }
    }
}

pub(crate) fn empty_status() -> abi::Status {
    abi::Status {
        struct_size: size_of::<abi::Status>() as u32,
        code: abi::OK,
        retryable: 0,
        reserved: 0,
        message: [0; 240],
    }
}

/// Reads the answer of a call of the other side.
pub(crate) fn check(code: i32, status: &abi::Status) -> Result<(), Error> {
    let Some(code) = Code::from_abi(code) else { return Ok(()) };
    Err(Error { code, retryable: status.retryable != 0, message: message(&status.message) })
}

/// Reads the text of a fixed field: up to its zero byte, and one line whatever the other side put there.
pub(crate) fn message(field: &[u8]) -> String {
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text).replace(char::is_control, " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn parse_json(json: &str, what: &str) -> Result<Value, Error> {
    if json.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(json).map_err(|error| Error::invalid_arg(format!("{what} is not JSON: {error}")))
}

/// # Safety
/// `out` is a text argument of the running call, with `capacity` writable bytes.
unsafe fn write_text(out: *mut abi::Text, text: &str) {
    // SAFETY: promised by the caller.
    let out = unsafe { &mut *out };
    out.length = text.len() as u64;
    if !out.ptr.is_null() && out.length <= out.capacity {
        // SAFETY: `capacity` bytes are writable, and the text is no longer.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), out.ptr, text.len()) };
    }
}

/// # Safety
/// A non-null `ptr` has `len` initialised values that nobody writes during `'a`.
pub(crate) unsafe fn read_slice<'a, T>(ptr: *const T, len: u64) -> &'a [T] {
    if ptr.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(ptr, len as usize) }
}

/// # Safety
/// As for [`read_slice`], over the text's bytes.
pub(crate) unsafe fn read_str<'a>(text: abi::Str) -> Cow<'a, str> {
    // SAFETY: promised by the caller.
    String::from_utf8_lossy(unsafe { read_slice(text.ptr, text.len) })
}
