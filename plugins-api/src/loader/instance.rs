//! One loaded backend with its weights, and the avatars loaded into it.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::{self, ThreadId};

use serde_json::Value;

use super::checks;
use super::inferer::Inferer;
use super::open::Plugin;
use super::services::{HostServices, OperationHandle, Progress, SinkHandle, host_table};
use super::source::{Source, SourceHandle};
use crate::abi;
use crate::author::{check, empty_status, message, text};
use crate::types::{AvatarInfo, Code, Error, FrameMask, Health, HealthState, IdleBy, Rect, RestPolicy};

/// The largest text a backend may hand out: 1 MiB.
const TEXT_LIMIT: u64 = 1 << 20;

/// One loaded backend. Cheap to clone; the last clone, avatar, session or [`Inferer`] to go destroys it.
///
/// Its calls may come from any thread; those that the contract wants one at a time wait for each other.
#[derive(Clone)]
pub struct Instance {
    pub(super) inner: Arc<InstanceInner>,
}

pub(super) struct InstanceInner {
    pub(super) plugin: Plugin,
    pub(super) handle: *mut abi::Instance,
    control: Mutex<()>,
    /// Avatars that nobody holds any more. They are unloaded between control calls, never by waiting for one:
    /// the last to hold an avatar may be the inference thread, and a control call may take minutes.
    unneeded: Mutex<Vec<*mut abi::Avatar>>,
    inference_thread: OnceLock<ThreadId>,
}

/// A control call's turn. As it ends it unloads what became unneeded meanwhile.
struct Turn<'a> {
    instance: &'a InstanceInner,
    alone: Option<MutexGuard<'a, ()>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.alone = None;
        self.instance.unload_unneeded();
    }
}

// SAFETY: the contract lets control calls come from any thread as long as they do not overlap, which
// `control` sees to; `health`, `stats` and `get_extension` may come from any thread at any time; the calls
// of the fixed thread go through `Inferer`, which exists once and is not `Send`.
unsafe impl Send for InstanceInner {}
// SAFETY: as above.
unsafe impl Sync for InstanceInner {}

impl Drop for InstanceInner {
    fn drop(&mut self) {
        self.unload_unneeded();
        if let Some(destroy) = self.plugin.table().destroy {
            // SAFETY: a live instance; avatars and sessions hold this value, so none is left, and nobody else is
            // there to keep the avatars of the line above from being unloaded.
            unsafe { destroy(self.handle) }
        }
    }
}

impl InstanceInner {
    pub(super) fn table(&self) -> &abi::Backend {
        self.plugin.table()
    }

    fn control(&self) -> Turn<'_> {
        let alone = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        Turn { instance: self, alone: Some(alone) }
    }

    fn unneeded(&self) -> MutexGuard<'_, Vec<*mut abi::Avatar>> {
        self.unneeded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unloads what is unneeded, unless a control call is running: that one comes here as it ends.
    fn unload_unneeded(&self) {
        while !self.unneeded().is_empty() {
            let _alone = match self.control.try_lock() {
                Ok(alone) => alone,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            let avatars = std::mem::take(&mut *self.unneeded());
            if let Some(unload) = self.table().unload_avatar {
                for avatar in avatars {
                    // SAFETY: a live avatar that nothing else refers to: it came here from its last holder.
                    unsafe { unload(avatar) }
                }
            }
        }
    }
}

impl Instance {
    pub(super) fn create(
        plugin: Plugin,
        services: Arc<dyn HostServices>,
        config: &Value,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let host = host_table(services);
        let operation = OperationHandle(progress);
        let config = config.to_string();
        let mut handle = std::ptr::null_mut();
        call("create", plugin.table().create, |create, status| {
            // SAFETY: the host table lives as long as the process; the rest for the length of the call.
            unsafe { create(host, text(&config), operation.as_ptr(), &mut handle, status) }
        })?;
        let handle = made("create", handle)?;
        let inner = InstanceInner {
            plugin,
            handle,
            control: Mutex::new(()),
            unneeded: Mutex::default(),
            inference_thread: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The plugin it was created from.
    pub fn plugin(&self) -> &Plugin {
        &self.inner.plugin
    }

    /// Effective device, precision, batch sizes, memory.
    pub fn describe(&self) -> Result<Value, Error> {
        let _one_at_a_time = self.inner.control();
        self.json("describe", self.inner.table().describe)
    }

    /// Turns an avatar's source into a blob, written to `sink`. May take minutes.
    pub fn prepare_avatar(
        &self,
        source: &mut dyn Source,
        params: &Value,
        sink: &mut dyn Write,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let concurrent = self.inner.plugin.descriptor().capabilities.prepare_concurrent;
        let _one_at_a_time = (!concurrent).then(|| self.inner.control());
        let mut source = SourceHandle::new(source);
        let source = source.table();
        let params = params.to_string();
        let operation = OperationHandle(progress);
        let mut sink = SinkHandle { out: sink, failed: None };
        let prepared = call("prepare_avatar", self.inner.table().prepare_avatar, |prepare, status| {
            let sink = std::ptr::from_mut(&mut sink).cast();
            // SAFETY: a live instance; everything else lives for the length of the call.
            unsafe { prepare(self.inner.handle, &source, text(&params), sink, operation.as_ptr(), status) }
        });
        match sink.failed {
            Some(error) => Err(Error::internal(format!("the avatar's blob could not be stored: {error}"))),
            None => prepared,
        }
    }

    /// Loads a blob; its bytes are only needed during the call.
    pub fn load_avatar(&self, blob: &[u8]) -> Result<Avatar, Error> {
        let one_at_a_time = self.inner.control();
        let bytes = abi::Bytes { ptr: blob.as_ptr(), len: blob.len() as u64 };
        let mut handle = std::ptr::null_mut();
        call("load_avatar", self.inner.table().load_avatar, |load, status| {
            // SAFETY: a live instance; the bytes and the out argument live for the length of the call.
            unsafe { load(self.inner.handle, bytes, &mut handle, status) }
        })?;
        let handle = made("load_avatar", handle)?;
        drop(one_at_a_time);
        // From here on dropping unloads it.
        let mut loaded = AvatarInner { instance: self.inner.clone(), handle, info: EMPTY_INFO };
        loaded.info = loaded.read_info()?;
        Ok(Avatar { inner: Arc::new(loaded) })
    }

    /// The calls of the fixed thread; given out once. Take it on that thread: it cannot leave.
    pub fn inferer(&self) -> Result<Inferer, Error> {
        if self.inner.inference_thread.set(thread::current().id()).is_err() {
            return Err(Error::new(Code::NotReady, "the instance's inference thread is already taken"));
        }
        Ok(Inferer::new(self.inner.clone()))
    }

    /// How it feels; never waits for a running batch.
    pub fn health(&self) -> Health {
        let mut out = abi::Health {
            struct_size: size_of::<abi::Health>() as u32,
            state: abi::HEALTH_BROKEN,
            message: [0; 248],
        };
        if let Some(health) = self.inner.table().health {
            // SAFETY: a live instance; the call may come from any thread at any time.
            unsafe { health(self.inner.handle, &mut out) }
        }
        Health { state: HealthState::from_abi(out.state), message: message(&out.message) }
    }

    /// Counters and memory; `None` from a plugin older than this call.
    pub fn stats(&self) -> Result<Option<Value>, Error> {
        match self.inner.table().stats {
            None => Ok(None),
            stats => self.json("stats", stats).map(Some),
        }
    }

    /// Whether the plugin has a named table.
    pub fn has_extension(&self, id: &str) -> bool {
        // SAFETY: the call may come from any thread at any time; the text outlives it.
        self.inner.table().get_extension.is_some_and(|get| unsafe { !get(text(id)).is_null() })
    }

    fn json(&self, name: &str, function: Option<TextFn>) -> Result<Value, Error> {
        let mut buffer = vec![0_u8; 4096];
        loop {
            let mut out = abi::Text {
                struct_size: size_of::<abi::Text>() as u32,
                reserved: 0,
                ptr: buffer.as_mut_ptr(),
                capacity: buffer.len() as u64,
                length: 0,
            };
            call(name, function, |function, status| {
                // SAFETY: a live instance; `out` names as many bytes as `buffer` has.
                unsafe { function(self.inner.handle, &mut out, status) }
            })?;
            if out.length > TEXT_LIMIT {
                return Err(Error::new(Code::BadOutput, format!("{name} gave {} bytes of text", out.length)));
            }
            if out.length <= buffer.len() as u64 {
                return serde_json::from_slice(&buffer[..out.length as usize]).map_err(|error| {
                    Error::new(Code::BadOutput, format!("{name} gave something else than JSON: {error}"))
                });
            }
            buffer.resize(out.length as usize, 0);
        }
    }
}

type TextFn = unsafe extern "C" fn(*mut abi::Instance, *mut abi::Text, *mut abi::Status) -> i32;

/// A person loaded into an instance. Cheap to clone; unloaded when the last clone and session are gone, without
/// making whoever drops it wait: a control call that is running then does it as it ends, and for the inference
/// thread another one does.
#[derive(Clone)]
pub struct Avatar {
    pub(super) inner: Arc<AvatarInner>,
}

pub(super) struct AvatarInner {
    pub(super) instance: Arc<InstanceInner>,
    pub(super) handle: *mut abi::Avatar,
    info: AvatarInfo,
}

// SAFETY: an avatar does not change after it is loaded; `frame_mask` may come from any thread at any time.
unsafe impl Send for AvatarInner {}
// SAFETY: as above.
unsafe impl Sync for AvatarInner {}

impl Drop for AvatarInner {
    fn drop(&mut self) {
        // Its sessions hold this value, so none is left.
        self.instance.unneeded().push(self.handle);
        if self.instance.inference_thread.get() != Some(&thread::current().id()) {
            return self.instance.unload_unneeded();
        }
        let instance = self.instance.clone();
        let unload = thread::Builder::new().name("unload avatar".into());
        // Without a thread it waits for the next control call.
        let _ = unload.spawn(move || instance.unload_unneeded());
    }
}

impl Avatar {
    /// Canvas, rate, and how large results get; checked.
    pub fn info(&self) -> &AvatarInfo {
        &self.inner.info
    }

    /// Bytes a [`Slot`](super::Slot) for it needs: the largest format over `max_rect`.
    pub fn slot_len(&self) -> usize {
        checks::slot_len(&self.inner.info)
    }

    /// Where the patch of avatar frame `frame` lies and how it is blended; checked.
    pub fn frame_mask(&self, frame: u32) -> Result<FrameMask<'_>, Error> {
        self.inner.mask(frame)
    }
}

impl AvatarInner {
    pub(super) fn info(&self) -> &AvatarInfo {
        &self.info
    }

    pub(super) fn mask(&self, frame: u32) -> Result<FrameMask<'_>, Error> {
        if frame >= self.info.frame_count {
            return Err(Error::not_found(format!("avatar frame {frame} of {}", self.info.frame_count)));
        }
        let mut out = abi::FrameMask {
            struct_size: size_of::<abi::FrameMask>() as u32,
            reserved: 0,
            rect: Rect::default().to_abi(),
            alpha: std::ptr::null(),
            alpha_len: 0,
        };
        call("frame_mask", self.instance.table().frame_mask, |mask, status| {
            // SAFETY: a live avatar; the out argument lives for the length of the call.
            unsafe { mask(self.handle, frame, &mut out, status) }
        })?;
        let rect = Rect::from_abi(out.rect);
        checks::frame_mask(frame, &self.info, FrameMask { rect, alpha: None })?;
        if !out.alpha.is_null() && out.alpha_len != rect.area() {
            let (len, area) = (out.alpha_len, rect.area());
            let text = format!("the mask of frame {frame} has {len} bytes of alpha for {area} pixels");
            return Err(Error::new(Code::BadOutput, text));
        }
        let alpha = (!out.alpha.is_null()).then(|| {
            // SAFETY: as many bytes as the rect has pixels, which lies on the canvas; the plugin promises that they
            // do not change until the avatar is unloaded, which happens after `self` is gone.
            unsafe { std::slice::from_raw_parts(out.alpha, out.alpha_len as usize) }
        });
        checks::frame_mask(frame, &self.info, FrameMask { rect, alpha })
    }

    fn read_info(&self) -> Result<AvatarInfo, Error> {
        let mut out = abi::AvatarInfo {
            struct_size: size_of::<abi::AvatarInfo>() as u32,
            canvas_width: 0,
            canvas_height: 0,
            fps_num: 0,
            fps_den: 0,
            frame_count: 0,
            max_rect: Rect::default().to_abi(),
            slots: 0,
            idle: 0,
            rest_policy: 0,
            reserved: 0,
        };
        call("avatar_info", self.instance.table().avatar_info, |info, status| {
            // SAFETY: a live avatar; the out argument lives for the length of the call.
            unsafe { info(self.handle, &mut out, status) }
        })?;
        checks::avatar_info(AvatarInfo {
            canvas: (out.canvas_width, out.canvas_height),
            fps: (out.fps_num, out.fps_den),
            frame_count: out.frame_count,
            max_rect: Rect::from_abi(out.max_rect),
            slots: out.slots,
            idle: IdleBy::from_abi(out.idle).ok_or_else(|| bad(format!("idle {}", out.idle)))?,
            rest_policy: RestPolicy::from_abi(out.rest_policy)
                .ok_or_else(|| bad(format!("rest policy {}", out.rest_policy)))?,
        })
    }
}

const EMPTY_INFO: AvatarInfo = AvatarInfo {
    canvas: (0, 0),
    fps: (1, 1),
    frame_count: 0,
    max_rect: Rect::new(0, 0, 0, 0),
    slots: 0,
    idle: IdleBy::Host,
    rest_policy: RestPolicy::Ask,
};

fn bad(what: String) -> Error {
    Error::new(Code::BadOutput, format!("the backend gave {what}"))
}

/// A successful call must have made a handle.
pub(super) fn made<T>(name: &str, handle: *mut T) -> Result<*mut T, Error> {
    if handle.is_null() { Err(bad(format!("no handle from {name}"))) } else { Ok(handle) }
}

/// Calls a function of the table with a fresh status and reads the answer.
pub(super) fn call<F>(
    name: &str,
    function: Option<F>,
    run: impl FnOnce(F, *mut abi::Status) -> i32,
) -> Result<(), Error> {
    let function = function.ok_or_else(|| Error::unsupported(format!("the plugin has no {name}")))?;
    let mut status = empty_status();
    let code = run(function, &mut status);
    check(code, &status)
}
