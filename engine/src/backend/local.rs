//! An instance in this process: control calls from any thread, everything else on the instance's own.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use lipcast_plugins_api::author::{Error, IdleBy, LogLevel, RestPolicy};
use lipcast_plugins_api::loader::{self, HostServices, LoadError, Plugin, Progress};
use serde_json::Value;

use super::worker::{self, Call, Shared};
use super::{
    AvatarInfo, AvatarSource, BackendError, FrameMask, FrameReply, FrameRequest, Idle, Instance,
    LoadedAvatar, Rest, SessionParams, SessionPort,
};
use crate::avatar::Job;
use crate::time::FrameRate;

/// Why an instance could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The library was refused.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// `create` failed; the backend's own words.
    #[error("create: {0}")]
    Create(#[from] Error),
}

/// A backend instance that lives in this process.
pub struct LocalInstance {
    name: String,
    instance: loader::Instance,
    calls: Sender<Call>,
    shared: Arc<Shared>,
    next_session: AtomicU64,
}

impl LocalInstance {
    /// Opens the shared library at `path` and creates an instance from it; may take as long as its weights do.
    ///
    /// # Errors
    /// When the file is no plugin of this contract, or the backend refuses its settings.
    pub fn open(name: &str, path: &Path, config: &Value) -> Result<Arc<Self>, OpenError> {
        Self::create(name, &Plugin::open(path)?, config)
    }

    /// Creates an instance from an opened or linked plugin.
    ///
    /// # Errors
    /// When the backend refuses its settings.
    pub fn create(name: &str, plugin: &Plugin, config: &Value) -> Result<Arc<Self>, OpenError> {
        let services = Arc::new(TracingHost { backend: name.to_owned() });
        let job = Job::new();
        let instance = plugin.create(services, config, &JobProgress { job: &job, backend: name })?;
        let shared = Arc::new(Shared::default());
        let calls = worker::spawn(name, instance.clone(), shared.clone())?;
        Ok(Arc::new(Self { name: name.to_owned(), instance, calls, shared, next_session: AtomicU64::new(0) }))
    }

    fn call_failed(&self, call: &'static str) -> impl Fn(Error) -> BackendError {
        let backend = self.name.clone();
        move |error| BackendError::Call {
            backend: backend.clone(),
            call,
            code: error.code,
            message: error.to_string(),
        }
    }
}

impl Instance for LocalInstance {
    fn name(&self) -> &str {
        &self.name
    }

    fn summary(&self) -> String {
        let plugin = self.instance.plugin();
        let descriptor = plugin.descriptor();
        let (major, minor) = plugin.api_version();
        let (id, version, origin) = (&descriptor.id, &descriptor.version, plugin.origin());
        format!("{id} {version}, contract {major}.{minor}, {origin}")
    }

    fn blob_key(&self) -> (&str, u32) {
        let descriptor = self.instance.plugin().descriptor();
        (&descriptor.id, descriptor.capabilities.blob_version)
    }

    fn lookahead_samples(&self) -> u64 {
        u64::from(self.instance.plugin().descriptor().capabilities.lookahead_ms) * 16
    }

    fn lookbehind_samples(&self) -> u64 {
        u64::from(self.instance.plugin().descriptor().capabilities.lookbehind_ms) * 16
    }

    fn batch_p99(&self) -> Duration {
        self.shared.batch_p99()
    }

    fn lost(&self) -> Option<String> {
        self.shared.lost().map(str::to_owned)
    }

    fn prepare_avatar(
        &self,
        source: &mut dyn AvatarSource,
        sink: &mut (dyn Write + Send),
        job: &Job,
    ) -> Result<(), BackendError> {
        let progress = JobProgress { job, backend: &self.name };
        job.set_backend(0);
        let mut sink: &mut (dyn Write + Send) = sink;
        let prepared = self.instance.prepare_avatar(source, &Value::Null, &mut sink, &progress);
        if job.is_cancelled() {
            return Err(BackendError::Cancelled);
        }
        prepared.map_err(self.call_failed("prepare_avatar"))
    }

    fn load_avatar(&self, blob: &[u8]) -> Result<Arc<dyn LoadedAvatar>, BackendError> {
        let avatar = self.instance.load_avatar(blob).map_err(self.call_failed("load_avatar"))?;
        let found = *avatar.info();
        let fps = FrameRate::new(found.fps.0, found.fps.1).ok_or_else(|| BackendError::Contract {
            backend: self.name.clone(),
            call: "avatar_info",
            message: format!("a frame rate of {}/{}", found.fps.0, found.fps.1),
        })?;
        let info = AvatarInfo {
            canvas_width: found.canvas.0,
            canvas_height: found.canvas.1,
            fps,
            frame_count: found.frame_count,
            max_rect: (found.max_rect.width, found.max_rect.height),
            idle: if found.idle == IdleBy::Host { Idle::Host } else { Idle::Backend },
            rest: if found.rest_policy == RestPolicy::Ask { Rest::Backend } else { Rest::HostBlend },
        };
        Ok(Arc::new(LocalAvatar { avatar, info }))
    }

    fn open_session(
        &self,
        avatar: &Arc<dyn LoadedAvatar>,
        params: SessionParams,
        replies: Sender<FrameReply>,
    ) -> Result<Box<dyn SessionPort>, BackendError> {
        let gone = || BackendError::NotReady {
            backend: self.name.clone(),
            reason: self.shared.lost().unwrap_or("its thread has ended").to_owned(),
        };
        if self.shared.lost().is_some() {
            return Err(gone());
        }
        let avatar = avatar.as_any().downcast_ref::<LocalAvatar>().ok_or_else(|| BackendError::Contract {
            backend: self.name.clone(),
            call: "open_session",
            message: "the avatar was loaded by another instance".into(),
        })?;
        let session = self.next_session.fetch_add(1, Ordering::Relaxed);
        let (done, opened) = bounded(1);
        let call = Call::Open { session, avatar: avatar.avatar.clone(), params, replies, done };
        self.calls.send(call).map_err(|_| gone())?;
        opened.recv().map_err(|_| gone())?.map_err(self.call_failed("open_session"))?;
        Ok(Box::new(LocalPort { session, calls: self.calls.clone() }))
    }
}

struct LocalAvatar {
    avatar: loader::Avatar,
    info: AvatarInfo,
}

impl LoadedAvatar for LocalAvatar {
    fn info(&self) -> AvatarInfo {
        self.info
    }

    fn mask(&self, index: u32) -> Option<FrameMask<'_>> {
        self.avatar.frame_mask(index).ok()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// The thread alone holds the sender of replies: when it ends, whatever the reason, the session's channel hangs up.
/// So a call that finds the thread gone has nothing to say.
struct LocalPort {
    session: u64,
    calls: Sender<Call>,
}

impl SessionPort for LocalPort {
    fn push_audio(&mut self, first_sample: u64, pcm: Vec<f32>, end: bool) {
        let _ = self.calls.send(Call::Push { session: self.session, first_sample, pcm, end });
    }

    fn request(&mut self, request: FrameRequest) {
        let _ = self.calls.send(Call::Request { session: self.session, request });
    }

    fn reset(&mut self, epoch: u32) {
        let _ = self.calls.send(Call::Reset { session: self.session, epoch });
    }
}

impl Drop for LocalPort {
    fn drop(&mut self) {
        let _ = self.calls.send(Call::Close { session: self.session });
    }
}

/// Progress of a long call, for whoever watches the job.
struct JobProgress<'a> {
    job: &'a Job,
    backend: &'a str,
}

impl Progress for JobProgress<'_> {
    fn is_cancelled(&self) -> bool {
        self.job.is_cancelled()
    }

    fn progress(&self, permille: u32, stage: &str) {
        self.job.set_backend(permille);
        tracing::debug!(backend = self.backend, permille, stage, "progress");
    }
}

/// Log lines of a backend, in ours.
struct TracingHost {
    backend: String,
}

impl HostServices for TracingHost {
    fn log(&self, level: LogLevel, target: &str, message: &str, fields_json: &str) {
        let backend = self.backend.as_str();
        match level {
            LogLevel::Error => tracing::error!(backend, target, fields = fields_json, "{message}"),
            LogLevel::Warn => tracing::warn!(backend, target, fields = fields_json, "{message}"),
            LogLevel::Info => tracing::info!(backend, target, fields = fields_json, "{message}"),
            LogLevel::Debug => tracing::debug!(backend, target, fields = fields_json, "{message}"),
            LogLevel::Trace => tracing::trace!(backend, target, fields = fields_json, "{message}"),
        }
    }
}
