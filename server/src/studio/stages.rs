//! Avatars and backends brought together: who can be shown, and by whom.

use std::path::Path;
use std::sync::Arc;

use lipcast_demo::DemoBackend;
use lipcast_engine::audio::{SpeechDecoder, SpeechLimits, builtin as builtin_clip};
use lipcast_engine::avatar::{Avatar, AvatarError, AvatarId, Job, builtin};
use lipcast_engine::backend::{BackendFigures, Backends, Instance, LoadedAvatar, LocalInstance, ReloadError};
use lipcast_engine::session::{Casting, Stage};
use lipcast_plugins_api::loader::Plugin;
use serde_json::Value;

use super::backends::{mode_of, report, spec, whole};
use super::gallery::Gallery;
use super::loading::{Found, Haste, Loading, Unloaded};
use crate::app::{AvatarSummary, BackendReport, BackendState, Mode, StudioError};
use crate::config::{BackendConfig, Config, EngineConfig};

/// What the copy of demo that is linked into the program is called.
pub const LAST_RESORT: &str = "demo (built in)";

/// The avatars, the backends, and which avatar is loaded where.
pub struct Stages {
    gallery: Gallery,
    backends: Arc<Backends>,
    loading: Loading,
}

/// Why a backend cannot show an avatar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{backend}: {reason}")]
pub struct Refusal {
    /// The backend's name in the settings.
    pub backend: String,
    /// Its own words, or what is wrong with the avatar's files.
    pub reason: String,
}

/// Why a studio cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StudioOpenError {
    /// The avatar folder.
    #[error("media.data_dir: {0}")]
    Store(#[from] AvatarError),
    /// Not even the backend that is linked into the program works.
    #[error("the built-in backend does not start: {0}")]
    LastResort(String),
}

/// The copy of demo that is linked into the program, and serves when nothing else is ready.
///
/// # Errors
/// When not even that one works.
pub(crate) fn last_resort() -> Result<Arc<LocalInstance>, StudioOpenError> {
    let linked = Plugin::linked(lipcast_plugins_api::author::plugin_table::<DemoBackend>())
        .map_err(|error| StudioOpenError::LastResort(error.to_string()))?;
    LocalInstance::create(LAST_RESORT, &linked, &Value::Object(Default::default()))
        .map_err(|error| StudioOpenError::LastResort(error.to_string()))
}

impl Stages {
    /// Opens the gallery and begins to open the backends; returns at once.
    ///
    /// # Errors
    /// When the avatar folder cannot be used, or not even the built-in backend works.
    pub fn open(config: &Config) -> Result<Self, StudioOpenError> {
        let gallery = Gallery::open(&config.media)?;
        let specs = config.engine.backends.iter().map(|backend| spec(&config.engine, backend)).collect();
        Ok(Self::of(gallery, Backends::open(specs, last_resort()?)))
    }

    pub(super) fn of(gallery: Gallery, backends: Arc<Backends>) -> Self {
        Self { gallery, backends, loading: Loading::default() }
    }

    /// Every configured backend in order of preference, and the built-in one behind them.
    pub fn backends(&self) -> Vec<BackendReport> {
        let mut reports: Vec<_> = self.backends.report().into_iter().map(report).collect();
        // It cannot fail: without it nothing was opened.
        reports.push(BackendReport {
            name: LAST_RESORT.to_owned(),
            state: BackendState::Ready,
            mode: Some(Mode::Demo),
            detail: "linked into the program; serves when nothing else is ready".to_owned(),
            required: false,
            restarts: 0,
            process: None,
            capacity_fps: self.backends.last_resort().capacity().map(whole),
            load_fps: 0,
            last_reload: None,
        });
        reports
    }

    /// What became of every backend, and of the built-in one.
    pub fn figures(&self) -> Vec<BackendFigures> {
        self.backends.figures()
    }

    /// Waits until each backend is ready, has failed or is past its deadline. Blocks.
    pub fn settle_backends(&self) {
        self.backends.wait_settled();
    }

    /// Opens those that failed again, and waits as [`Stages::settle_backends`] does.
    pub fn retry_backends(&self) {
        self.backends.retry_failed();
        self.backends.wait_settled();
    }

    /// Opens the backend `backend` anew as `config` says, and puts it in the place of the one that serves. Blocks.
    ///
    /// # Errors
    /// When it is not in use, or the new one does not come up; the one before serves on.
    pub fn reload(&self, config: &EngineConfig, backend: &BackendConfig) -> Result<(), ReloadError> {
        let former = self.backends.ready().into_iter().find(|instance| instance.name() == backend.name);
        self.backends.reload(spec(config, backend))?;
        if let Some(former) = former {
            self.loading.forget_instance(&former);
        }
        Ok(())
    }

    /// Makes and loads what the first session of a fresh server would wait for. Blocks.
    pub fn warm_up(&self) {
        match self.builtin_avatar() {
            Ok(avatar) => drop(self.stages_for(&avatar).next()),
            Err(error) => tracing::error!(%error, "the built-in avatar cannot be made"),
        }
    }

    /// Stops what is prepared in the background; sessions go on.
    pub fn stop(&self) {
        self.loading.stop();
    }

    /// As [`Gallery::avatars`].
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn avatars(&self) -> Result<Vec<AvatarSummary>, StudioError> {
        self.gallery.avatars()
    }

    /// As [`Gallery::avatar`].
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be read.
    pub fn avatar(&self, id: &AvatarId) -> Result<Arc<Avatar>, StudioError> {
        self.gallery.avatar(id)
    }

    /// The built-in avatar, drawn on first use.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn builtin_avatar(&self) -> Result<Arc<Avatar>, StudioError> {
        self.gallery.builtin_avatar()
    }

    /// The built-in clip.
    ///
    /// # Errors
    /// When this program cannot read its own clip.
    pub fn builtin_speech(&self) -> Result<SpeechDecoder, StudioError> {
        // Limits are for what others bring.
        let limits = SpeechLimits::default();
        SpeechDecoder::from_bytes(builtin_clip::CLIP.to_vec(), builtin_clip::FILE_NAME, &limits)
            .map_err(StudioError::internal)
    }

    /// The poster of an avatar, a JPEG.
    ///
    /// # Errors
    /// As [`Stages::avatar`].
    pub fn poster(&self, id: &AvatarId) -> Result<Vec<u8>, StudioError> {
        self.avatar(id)?.poster().map_err(StudioError::internal)
    }

    /// Deletes an avatar; sessions that show it go on.
    ///
    /// # Errors
    /// When there is none of that name, or it is the built-in one.
    pub fn delete(&self, id: &AvatarId) -> Result<(), StudioError> {
        if id.as_str() != builtin::ID {
            self.loading.forget(id);
        }
        self.gallery.delete(id)
    }

    /// Prepares an avatar, and its blob for the first ready backend that can show it; blocks until then. The next
    /// backend, which would take over, is prepared after that, in the background.
    ///
    /// # Errors
    /// In the client's words what is wrong with the source, also when no backend that is ready can show it.
    pub fn prepare(&self, id: &AvatarId, source: &Path, job: &Job) -> Result<Arc<Avatar>, StudioError> {
        let (avatar, frames) = self.gallery.prepare(id, source, job)?;
        // What was loaded is of the avatar that had the name before.
        self.loading.forget(id);
        let (mut frames, mut refused) = (Some(frames), Vec::new());
        let mut ready = self.backends.ready().into_iter();
        while let Some(instance) = ready.next() {
            let name = instance.name();
            let mut loaded = self.loading.wait(&avatar, &instance, frames.take(), job);
            if loaded.as_ref().is_err_and(|error| error.replaced)
                && let Some(other) = self.ready(name)
            {
                loaded = self.loading.wait(&avatar, &other, None, job);
            }
            match loaded {
                Ok(_) => {
                    if let Some(next) = ready.next() {
                        self.loading.in_background(&avatar, &next, Haste::Later);
                    }
                    refused.iter().for_each(|reason| job.note(format!("it cannot be shown on {reason}")));
                    return Ok(avatar);
                }
                Err(_) if job.is_cancelled() => return Err(StudioError::Cancelled),
                Err(Unloaded { reason, .. }) => refused.push(format!("{name}: {reason}")),
            }
        }
        let reasons = refused.join("; ");
        Err(StudioError::Conflict(format!("avatar \"{id}\" was made, but no backend can show it: {reasons}")))
    }

    /// The backend `name`, if it is ready.
    fn ready(&self, name: &str) -> Option<Arc<dyn Instance>> {
        self.backends.ready().into_iter().find(|instance| instance.name() == name)
    }

    /// Who can show `avatar`, in order of preference, for whoever has time: each backend is loaded when it is asked
    /// for, and what it needs of the avatar is made when it is missing. Blocks.
    pub fn stages_for(&self, avatar: &Arc<Avatar>) -> impl Iterator<Item = (Stage, Mode)> {
        self.backends.ready().into_iter().filter_map(|instance| {
            let loaded = self.loading.wait(avatar, &instance, None, &Job::new());
            stage(avatar, instance, loaded).ok()
        })
    }

    /// `avatar` on the backend `name`, which is the only one that is loaded; what it needs of the avatar is made when
    /// it is missing, unless `job` is cancelled. Blocks.
    ///
    /// # Errors
    /// When that backend is not ready, or cannot show the avatar.
    pub fn stage_on(&self, avatar: &Arc<Avatar>, name: &str, job: &Job) -> Result<(Stage, Mode), Refusal> {
        match self.ready(name) {
            Some(instance) => {
                let loaded = self.loading.wait(avatar, &instance, None, job);
                stage(avatar, instance, loaded)
            }
            None => Err(Refusal { backend: name.to_owned(), reason: "it is not ready".to_owned() }),
        }
    }

    /// Who can take over a session of `avatar`; cancelling `job` ends what is prepared for it alone.
    pub(super) fn casting(&self, avatar: &Arc<Avatar>, job: Job) -> Arc<dyn Casting> {
        let (backends, loading) = (self.backends.clone(), self.loading.clone());
        Arc::new(Company { avatar: avatar.clone(), backends, loading, job })
    }

    /// Who can show `avatar` soon, in order of preference: backends that have what they need of it. The preferred
    /// ones that do not are prepared in the background, once, and take the sessions that come later. When none has,
    /// the first in order that can be prepared is waited for; `job` ends the waiting and leaves the work going on.
    /// Blocks.
    pub fn stages_soon(
        &self,
        avatar: &Arc<Avatar>,
        job: Job,
    ) -> impl Iterator<Item = Result<(Stage, Mode), Refusal>> {
        let ready = self.backends.ready();
        let missing: Vec<_> = ready
            .iter()
            .take_while(|instance| !matches!(self.loading.at_once(avatar, instance), Found::Loaded(_)))
            .cloned()
            .collect();
        let somebody_has = missing.len() < ready.len();
        if somebody_has {
            for instance in &missing {
                // Does nothing for what failed a moment ago or is being prepared.
                if self.loading.in_background(avatar, instance, Haste::Now) {
                    let (backend, id) = (instance.name(), avatar.id());
                    tracing::info!(backend, avatar = %id, "is prepared for it; others show it meanwhile");
                }
            }
        }
        let now = ready.into_iter().skip(if somebody_has { missing.len() } else { 0 });
        now.map(move |instance| {
            self.loading.in_background(avatar, &instance, Haste::Now);
            let loaded = self.loading.outcome(avatar, &instance, &job);
            stage(avatar, instance, loaded)
        })
    }
}

/// The backends of a server as one session's understudies.
struct Company {
    avatar: Arc<Avatar>,
    backends: Arc<Backends>,
    loading: Loading,
    job: Job,
}

impl Casting for Company {
    fn ready(&self) -> Vec<Arc<dyn Instance>> {
        self.backends.ready()
    }

    fn stage(&self, instance: &Arc<dyn Instance>) -> Result<Stage, String> {
        self.loading.in_background(&self.avatar, instance, Haste::Later);
        let there = self.loading.outcome(&self.avatar, instance, &self.job).map_err(|error| error.reason)?;
        Ok(Stage { canvas: self.avatar.clone(), instance: instance.clone(), avatar: there })
    }
}

fn stage(
    avatar: &Arc<Avatar>,
    instance: Arc<dyn Instance>,
    loaded: Result<Arc<dyn LoadedAvatar>, Unloaded>,
) -> Result<(Stage, Mode), Refusal> {
    match loaded {
        Ok(there) => {
            let mode = mode_of(instance.blob_key().0);
            Ok((Stage { canvas: avatar.clone(), instance, avatar: there }, mode))
        }
        Err(Unloaded { reason, .. }) => Err(Refusal { backend: instance.name().to_owned(), reason }),
    }
}
