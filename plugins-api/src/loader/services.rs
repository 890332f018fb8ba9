//! What the host offers to a plugin, and the C functions that carry it over.

use std::ffi::c_void;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::abi;
use crate::author::{read_slice, read_str};
use crate::types::{LogLevel, MetricKind};

/// What the host offers to a plugin. Called from any thread, also from the plugin's own.
pub trait HostServices: Send + Sync {
    /// One line of log; `fields_json` is a JSON object or empty.
    fn log(&self, level: LogLevel, target: &str, message: &str, fields_json: &str);

    /// A measurement; `labels_json` is a JSON object or empty.
    fn metric(&self, name: &str, kind: MetricKind, value: f64, labels_json: &str) {
        let _ = (name, kind, value, labels_json);
    }

    /// Monotonic nanoseconds; deadlines of requests are in this clock.
    fn now_ns(&self) -> u64 {
        monotonic_ns()
    }
}

/// A host that says and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct SilentHost;

impl HostServices for SilentHost {
    fn log(&self, _level: LogLevel, _target: &str, _message: &str, _fields_json: &str) {}
}

/// The other end of a long call.
pub trait Progress: Sync {
    /// Whether the call should end early.
    fn is_cancelled(&self) -> bool;
    /// How far it is, 0 to 1000, and what it does now.
    fn progress(&self, permille: u32, stage: &str);
}

/// Nobody is interested.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn is_cancelled(&self) -> bool {
        false
    }

    fn progress(&self, _permille: u32, _stage: &str) {}
}

/// Nanoseconds since the first call in this process.
pub fn monotonic_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// The services as the table a plugin sees. It is never freed: libraries are never unloaded either, and a thread
/// that a plugin forgot to join must still find its host.
pub(super) fn host_table(services: Arc<dyn HostServices>) -> &'static abi::Host {
    let services: &'static Arc<dyn HostServices> = Box::leak(Box::new(services));
    Box::leak(Box::new(abi::Host {
        struct_size: size_of::<abi::Host>() as u32,
        api_major: abi::API_MAJOR,
        api_minor: abi::API_MINOR,
        reserved: 0,
        ctx: std::ptr::from_ref(services).cast_mut().cast(),
        now_ns,
        log,
        is_cancelled,
        progress,
        blob_write,
        metric,
        get_extension,
    }))
}

/// A progress on its way through the contract: a thin pointer to a fat one.
pub(super) struct OperationHandle<'a>(pub(super) &'a dyn Progress);

impl OperationHandle<'_> {
    pub(super) fn as_ptr(&self) -> *const abi::Operation {
        std::ptr::from_ref(self).cast()
    }
}

/// A blob's destination, and the first error it met.
pub(super) struct SinkHandle<'a> {
    pub(super) out: &'a mut dyn Write,
    pub(super) failed: Option<std::io::Error>,
}

// In the functions below: `ctx` is that of `host_table`, which lives as long as the process; operations and sinks
// are those of the running call; texts are the plugin's, for the length of the call. No panic of the host's
// own code may cross into the plugin.

fn services<'a>(ctx: *mut c_void) -> &'a dyn HostServices {
    // SAFETY: see above.
    unsafe { &**ctx.cast::<Arc<dyn HostServices>>() }
}

fn contained<R>(otherwise: R, call: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(otherwise)
}

unsafe extern "C" fn now_ns(ctx: *mut c_void) -> u64 {
    contained(0, || services(ctx).now_ns())
}

unsafe extern "C" fn log(
    ctx: *mut c_void,
    level: u32,
    target: abi::Str,
    message: abi::Str,
    fields: abi::Str,
) {
    // SAFETY: see above.
    let (target, message, fields) = unsafe { (read_str(target), read_str(message), read_str(fields)) };
    // One line, whatever the plugin put there.
    let message = message.replace(char::is_control, " ");
    contained((), || services(ctx).log(LogLevel::from_abi(level), &target, &message, &fields));
}

unsafe extern "C" fn is_cancelled(_ctx: *mut c_void, operation: *const abi::Operation) -> u32 {
    // SAFETY: see above; null is a call nobody watches.
    let Some(operation) = (unsafe { operation.cast::<OperationHandle<'_>>().as_ref() }) else { return 0 };
    contained(1, || operation.0.is_cancelled().into())
}

unsafe extern "C" fn progress(
    _ctx: *mut c_void,
    operation: *const abi::Operation,
    permille: u32,
    stage: abi::Str,
) {
    // SAFETY: see above; null is a call nobody watches.
    let Some(operation) = (unsafe { operation.cast::<OperationHandle<'_>>().as_ref() }) else { return };
    // SAFETY: see above.
    let stage = unsafe { read_str(stage) };
    contained((), || operation.0.progress(permille.min(1000), &stage));
}

unsafe extern "C" fn blob_write(_ctx: *mut c_void, sink: *mut abi::Sink, data: abi::Bytes) -> i32 {
    // SAFETY: see above.
    let Some(sink) = (unsafe { sink.cast::<SinkHandle<'_>>().as_mut() }) else { return abi::INVALID_ARG };
    // SAFETY: see above.
    let data = unsafe { read_slice(data.ptr, data.len) };
    if sink.failed.is_none() {
        let written = contained(Err(std::io::Error::other("the host panicked")), || sink.out.write_all(data));
        sink.failed = written.err();
    }
    if sink.failed.is_some() { abi::INTERNAL } else { abi::OK }
}

unsafe extern "C" fn metric(ctx: *mut c_void, name: abi::Str, kind: u32, value: f64, labels: abi::Str) {
    // SAFETY: see above.
    let (name, labels) = unsafe { (read_str(name), read_str(labels)) };
    if let Some(kind) = MetricKind::from_abi(kind) {
        contained((), || services(ctx).metric(&name, kind, value, &labels));
    }
}

/// Version 1.0 of the host has no extensions.
unsafe extern "C" fn get_extension(_ctx: *mut c_void, _id: abi::Str) -> *const c_void {
    std::ptr::null()
}
