//! One backend in this process, for whoever wants a single instance and no registry: the last resort of a server,
//! tools, tests.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use lipcast_plugins_api::loader::{LoadError, Plugin};
use serde_json::Value;

use super::keeper::{Changes, Keeper};
use super::program::{BackendSpec, Candidate, CrashList, Program};
use super::supervisor::Policy;
use super::{
    AvatarSource, BackendError, BackendMeter, Capacity, FrameReply, Instance, LoadedAvatar, SessionParams,
    SessionPort,
};
use crate::avatar::Job;

/// Why an instance could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The library was refused.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// `create` failed; the backend's own words.
    #[error("{0}")]
    Create(String),
}

/// A backend instance in this process. When it goes, the backend does.
pub struct LocalInstance {
    incarnation: Arc<dyn Instance>,
    /// Ends the backend's thread when it is dropped.
    keeper: Keeper,
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
        let candidate = Candidate { program: Program::Linked(plugin.clone()), expected_id: None };
        Self::start(BackendSpec {
            name: name.to_owned(),
            find: Arc::new(move || Ok(candidate.clone())),
            config: config.clone(),
            init_timeout: Duration::from_secs(120),
            policy: Policy::default(),
            required: false,
        })
    }

    /// Starts one backend, wherever it runs, and waits until it is ready.
    ///
    /// # Errors
    /// When it is refused, or does not come up at the first attempt.
    pub fn start(spec: BackendSpec) -> Result<Arc<Self>, OpenError> {
        let changes = Changes::default();
        let keeper = Keeper::start(spec, CrashList::default(), changes.clone(), Arc::default())
            .map_err(|error| OpenError::Create(format!("no thread for it: {error}")))?;
        let incarnation = keeper.wait_ready(&changes, None).map_err(OpenError::Create)?;
        Ok(Arc::new(Self { incarnation, keeper }))
    }
}

impl Instance for LocalInstance {
    fn name(&self) -> &str {
        self.incarnation.name()
    }

    fn summary(&self) -> String {
        self.incarnation.summary()
    }

    fn blob_key(&self) -> (&str, u32) {
        self.incarnation.blob_key()
    }

    fn lookahead_samples(&self) -> u64 {
        self.incarnation.lookahead_samples()
    }

    fn lookbehind_samples(&self) -> u64 {
        self.incarnation.lookbehind_samples()
    }

    fn batch_p99(&self) -> Duration {
        self.incarnation.batch_p99()
    }

    fn lost(&self) -> Option<String> {
        self.incarnation.lost()
    }

    fn is_late(&self) -> bool {
        self.incarnation.is_late()
    }

    fn capacity(&self) -> Option<Capacity> {
        self.incarnation.capacity()
    }

    fn blame(&self) {
        self.incarnation.blame();
    }

    fn meter(&self) -> Option<Arc<BackendMeter>> {
        Some(self.keeper.meter())
    }

    fn prepare_avatar(
        &self,
        source: &mut dyn AvatarSource,
        sink: &mut (dyn Write + Send),
        job: &Job,
    ) -> Result<(), BackendError> {
        self.incarnation.prepare_avatar(source, sink, job)
    }

    fn load_avatar(&self, blob: &[u8]) -> Result<Arc<dyn LoadedAvatar>, BackendError> {
        self.incarnation.load_avatar(blob)
    }

    fn open_session(
        &self,
        avatar: &Arc<dyn LoadedAvatar>,
        params: SessionParams,
        replies: Sender<FrameReply>,
    ) -> Result<Box<dyn SessionPort>, BackendError> {
        self.incarnation.open_session(avatar, params, replies)
    }
}
