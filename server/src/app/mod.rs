//! What the routes work with: the studio, files, jobs and access; and the router over all of them.

mod access;
mod events;
mod guard;
mod jobs;
mod rejection;
mod router;
mod studio;

use std::sync::Arc;

pub(crate) use self::jobs::overall;

pub use self::access::{Access, Caller};
pub use self::events::{BackendChange, SessionEvent, SessionEvents};
pub use self::jobs::{JobRecord, JobState, Jobs};
pub use self::rejection::Rejection;
pub use self::router::router;
pub use self::studio::{
    AvatarSummary, BackendReport, BackendState, Census, LastReload, Mode, OfferRequest, QueuedSpeech,
    SessionReport, SpeechSource, StartRequest, Started, Studio, StudioError,
};

use crate::config::Config;
use crate::files::{MediaRoots, Uploads};
use crate::metrics::{Exporter, Metrics};

/// Shared by all requests.
#[derive(Clone)]
pub struct App {
    /// The settings.
    pub config: Arc<Config>,
    /// Avatars, backends and sessions.
    pub studio: Arc<dyn Studio>,
    /// Folders that client paths are resolved in.
    pub roots: Arc<MediaRoots>,
    /// Where uploads go.
    pub uploads: Uploads,
    /// Preparations that run or ran.
    pub jobs: Arc<Jobs>,
    /// Who may do what.
    pub access: Arc<Access>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The same and more, as a text.
    pub exporter: Arc<Exporter>,
}

impl App {
    /// Opens the media folders of `config`; everything else is made here.
    ///
    /// # Errors
    /// When the data folder cannot be made or a media folder cannot be opened.
    pub fn new(config: Arc<Config>, studio: Arc<dyn Studio>) -> std::io::Result<Self> {
        Ok(Self {
            roots: Arc::new(MediaRoots::open(&config.media)?),
            uploads: Uploads::open(&config.media, config.server.max_upload)?,
            jobs: Arc::new(Jobs::default()),
            access: Arc::new(Access::new(&config.server)),
            metrics: studio.metrics(),
            exporter: Arc::new(Exporter::new(studio.clone())),
            config,
            studio,
        })
    }
}
