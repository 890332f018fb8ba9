//! The host's services as a plugin sees them.

use std::marker::PhantomData;

use serde_json::Value;

use crate::abi;
use crate::types::{Code, Error, LogLevel, MetricKind};

/// The host's services: log, metrics, clock. Cheap to clone and usable from any thread. The host keeps them for the
/// life of the process, so that a thread that outlives its backend does no harm; join your threads even so.
#[derive(Clone, Copy)]
pub struct Host {
    table: abi::Host,
}

// SAFETY: the contract makes every function of the host table callable from any thread, and `ctx` is only
// ever handed back to them.
unsafe impl Send for Host {}
// SAFETY: as above; the table itself is never written.
unsafe impl Sync for Host {}

impl Host {
    /// Takes over the host's table.
    ///
    /// # Safety
    /// The table's functions and `ctx` stay valid as long as the process, as the contract promises.
    pub(super) unsafe fn new(table: abi::Host) -> Self {
        Self { table }
    }

    /// The host's contract: major and minor version.
    pub fn api_version(&self) -> (u32, u32) {
        (self.table.api_major, self.table.api_minor)
    }

    /// Monotonic nanoseconds; the deadlines of requests are in this clock.
    pub fn now_ns(&self) -> u64 {
        // SAFETY: `new` promises a valid function and context.
        unsafe { (self.table.now_ns)(self.table.ctx) }
    }

    /// One line of log under `target`, which names the part that speaks.
    pub fn log(&self, level: LogLevel, target: &str, message: &str) {
        self.log_fields(level, target, message, &Value::Null);
    }

    /// One line of log with fields, a JSON object.
    pub fn log_fields(&self, level: LogLevel, target: &str, message: &str, fields: &Value) {
        let fields = if fields.is_null() { String::new() } else { fields.to_string() };
        // SAFETY: `new` promises a valid function and context; the texts outlive the call.
        unsafe {
            (self.table.log)(self.table.ctx, level.to_abi(), text(target), text(message), text(&fields));
        }
    }

    /// A measurement; the host prefixes the backend's name.
    pub fn metric(&self, name: &str, kind: MetricKind, value: f64) {
        // SAFETY: `new` promises a valid function and context; the texts outlive the call.
        unsafe { (self.table.metric)(self.table.ctx, text(name), kind.to_abi(), value, text("")) }
    }
}

/// A long call in progress: look whether the host wants it to end, and tell how far it is.
pub struct Operation<'a> {
    host: Host,
    handle: *const abi::Operation,
    _call: PhantomData<&'a ()>,
}

impl Operation<'_> {
    /// # Safety
    /// `handle` is the one of the running call.
    pub(super) unsafe fn new(host: Host, handle: *const abi::Operation) -> Self {
        Self { host, handle, _call: PhantomData }
    }

    /// Whether the host wants this call to end. Ask at least every 100 ms.
    pub fn is_cancelled(&self) -> bool {
        // SAFETY: the handle belongs to the running call.
        unsafe { (self.host.table.is_cancelled)(self.host.table.ctx, self.handle) != 0 }
    }

    /// `Err` with `CANCELLED` when the host wants this call to end.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// How far it is, 0 to 1000, and what it does now.
    pub fn progress(&self, permille: u32, stage: &str) {
        // SAFETY: the handle belongs to the running call; the text outlives it.
        unsafe {
            (self.host.table.progress)(self.host.table.ctx, self.handle, permille.min(1000), text(stage))
        }
    }
}

/// Where a prepared blob goes. Also a [`std::io::Write`].
pub struct BlobSink<'a> {
    host: Host,
    handle: *mut abi::Sink,
    _call: PhantomData<&'a mut ()>,
}

impl BlobSink<'_> {
    /// # Safety
    /// `handle` is the one of the running `prepare_avatar`.
    pub(super) unsafe fn new(host: Host, handle: *mut abi::Sink) -> Self {
        Self { host, handle, _call: PhantomData }
    }

    /// Appends `data`.
    pub fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        let bytes = abi::Bytes { ptr: data.as_ptr(), len: data.len() as u64 };
        // SAFETY: the handle belongs to the running call; the bytes outlive it.
        let code = unsafe { (self.host.table.blob_write)(self.host.table.ctx, self.handle, bytes) };
        match Code::from_abi(code) {
            None => Ok(()),
            Some(code) => Err(Error::new(code, "the host could not store the blob")),
        }
    }
}

impl std::io::Write for BlobSink<'_> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        BlobSink::write(self, data).map_err(std::io::Error::other)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) fn text(text: &str) -> abi::Str {
    abi::Str { ptr: text.as_ptr(), len: text.len() as u64 }
}
