//! Avatars and backends brought together: who can be shown, and by whom.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use lipcast_demo::DemoBackend;
use lipcast_engine::audio::{SpeechDecoder, SpeechLimits, builtin as builtin_clip};
use lipcast_engine::avatar::{
    Avatar, AvatarError, AvatarId, AvatarStore, Job, PrepareOptions, PrepareSource, RgbSource, Summary,
    builtin,
};
use lipcast_engine::backend::{self, BackendSpec, Backends, Instance, LoadedAvatar, LocalInstance};
use lipcast_engine::session::Stage;
use lipcast_plugins_api::loader::Plugin;
use serde_json::Value;

use crate::app::{AvatarSummary, BackendReport, BackendState, Mode, StudioError};
use crate::config::{BackendConfig, Config};

/// The id that the demo backend's descriptor carries, by which it is told from models.
const DEMO_ID: &str = "lipcast.demo";

/// What the copy of demo that is linked into the program is called.
const LAST_RESORT: &str = "demo (built in)";

/// The store, the backends, and which avatar is loaded where.
pub struct Stages {
    store: AvatarStore,
    backends: Arc<Backends>,
    options: PrepareOptions,
    loaded: Mutex<HashMap<(AvatarId, String), Loaded>>,
    /// Held while the built-in avatar is drawn, so that it is drawn once.
    builtin: Mutex<()>,
}

/// An avatar in an instance, good as long as both are the ones it was loaded from.
struct Loaded {
    avatar: Weak<Avatar>,
    instance: Weak<dyn Instance>,
    there: Arc<dyn LoadedAvatar>,
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

impl Stages {
    /// Opens the store and begins to open the backends; returns at once.
    ///
    /// # Errors
    /// When the store's folder cannot be used, or not even the built-in backend works.
    pub fn open(config: &Config) -> Result<Self, StudioOpenError> {
        let media = &config.media;
        let store =
            AvatarStore::open(media.avatars_dir())?.with_landmark_model(Some(media.landmarks.clone()));
        let linked = Plugin::linked(lipcast_plugins_api::author::plugin_table::<DemoBackend>())
            .map_err(|error| StudioOpenError::LastResort(error.to_string()))?;
        let last_resort = LocalInstance::create(LAST_RESORT, &linked, &Value::Object(Default::default()))
            .map_err(|error| StudioOpenError::LastResort(error.to_string()))?;
        let specs = config.engine.backends.iter().map(|backend| spec(config, backend)).collect();
        Ok(Self {
            store,
            backends: Backends::open(specs, last_resort),
            options: PrepareOptions { max_frames: media.max_frames, ..PrepareOptions::default() },
            loaded: Mutex::default(),
            builtin: Mutex::default(),
        })
    }

    /// Every configured backend in order of preference, and the built-in one behind them.
    pub fn backends(&self) -> Vec<BackendReport> {
        let mut reports: Vec<_> = self.backends.report().into_iter().map(report).collect();
        // It cannot fail: without it nothing was opened.
        reports.push(BackendReport {
            name: LAST_RESORT.to_owned(),
            state: BackendState::Ready,
            mode: Mode::Demo,
            detail: "linked into the program; serves when nothing else is ready".to_owned(),
            required: false,
        });
        reports
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

    /// Makes and loads what the first session of a fresh server would wait for. Blocks.
    pub fn warm_up(&self) {
        match self.builtin_avatar() {
            Ok(avatar) => drop(self.stages_for(&avatar).next()),
            Err(error) => tracing::error!(%error, "the built-in avatar cannot be made"),
        }
    }

    /// All avatars that can be shown; damaged ones are left out and logged.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn avatars(&self) -> Result<Vec<AvatarSummary>, StudioError> {
        let _ = self.builtin_avatar()?;
        let list = self.store.list().map_err(|error| said(&error))?;
        let usable = list.into_iter().filter_map(|(id, summary)| match summary {
            Summary::Ready(avatar) => Some(AvatarSummary::of(&avatar)),
            Summary::Damaged(reason) => {
                tracing::warn!(avatar = %id, reason, "an avatar is damaged; its next use makes it again from its own source");
                None
            }
        });
        let mut avatars: Vec<_> = usable.collect();
        avatars.sort_by_key(|avatar| !avatar.builtin);
        Ok(avatars)
    }

    /// One avatar; the built-in one is drawn when it is not there yet.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be read.
    pub fn avatar(&self, id: &AvatarId) -> Result<Arc<Avatar>, StudioError> {
        match self.store.avatar(id) {
            Ok(avatar) => Ok(avatar),
            Err(AvatarError::Unknown(_)) if id.as_str() == builtin::ID => self.builtin_avatar(),
            Err(error @ AvatarError::Damaged { .. }) => self.mend(id, &error),
            Err(error) => Err(said(&error)),
        }
    }

    /// The built-in avatar, drawn on first use.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn builtin_avatar(&self) -> Result<Arc<Avatar>, StudioError> {
        // The id is a constant of the engine, and one that its own rule allows.
        let id = AvatarId::parse(builtin::ID).map_err(StudioError::internal)?;
        let _once = self.builtin.lock().unwrap_or_else(PoisonError::into_inner);
        match self.store.avatar(&id) {
            Ok(avatar) => Ok(avatar),
            Err(_) => self.make(&id, PrepareSource::Builtin, &Job::new()),
        }
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
        if id.as_str() == builtin::ID {
            return Err(StudioError::Conflict(format!("\"{id}\" comes with the program and stays")));
        }
        self.forget(id);
        self.store.delete(id).map_err(|error| said(&error))
    }

    /// Prepares an avatar, and its blob for the first backend that is ready. Blocks.
    ///
    /// # Errors
    /// In the client's words what is wrong with the source.
    pub fn prepare(&self, id: &AvatarId, source: &Path, job: &Job) -> Result<Arc<Avatar>, StudioError> {
        if id.as_str() == builtin::ID {
            return Err(StudioError::Conflict(format!(
                "\"{id}\" is the built-in avatar; choose another name"
            )));
        }
        self.make(id, PrepareSource::File(source.to_owned()), job)
    }

    /// Who can show `avatar` now, in order of preference; each is loaded when it is asked for.
    pub fn stages_for(&self, avatar: &Arc<Avatar>) -> impl Iterator<Item = (Stage, Mode)> {
        self.backends.ready().into_iter().filter_map(|instance| {
            let mode = mode_of(&instance);
            match self.load(avatar, &instance, None, &Job::new()) {
                Ok(there) => Some((Stage { canvas: avatar.clone(), instance, avatar: there }, mode)),
                Err(error) => {
                    tracing::warn!(backend = instance.name(), avatar = %avatar.id(), error, "cannot show it");
                    None
                }
            }
        })
    }

    fn make(&self, id: &AvatarId, source: PrepareSource, job: &Job) -> Result<Arc<Avatar>, StudioError> {
        self.forget(id);
        let (avatar, frames) =
            self.store.prepare_with_frames(id, source, &self.options, job).map_err(|error| said(&error))?;
        if let Some(instance) = self.backends.ready().first() {
            match self.load(&avatar, instance, Some(frames), job) {
                Ok(_) => {}
                Err(_) if job.is_cancelled() => return Err(StudioError::Cancelled),
                // Another backend may still show it.
                Err(error) => tracing::warn!(backend = instance.name(), avatar = %id, error, "no blob"),
            }
        }
        Ok(avatar)
    }

    /// Rebuilds a damaged avatar from its own copy of the source.
    fn mend(&self, id: &AvatarId, damage: &AvatarError) -> Result<Arc<Avatar>, StudioError> {
        tracing::warn!(avatar = %id, %damage, "rebuilding");
        self.forget(id);
        self.store.repair(id, &Job::new()).map_err(|error| said(&error))
    }

    /// `avatar` in `instance`; its blob is made when it is missing.
    fn load(
        &self,
        avatar: &Arc<Avatar>,
        instance: &Arc<dyn Instance>,
        frames: Option<RgbSource>,
        job: &Job,
    ) -> Result<Arc<dyn LoadedAvatar>, String> {
        let key = (avatar.id().clone(), instance.name().to_owned());
        if let Some(found) = self.lock().get(&key).filter(|found| found.is_for(avatar, instance)) {
            return Ok(found.there.clone());
        }
        let there = backend::load_avatar(avatar, instance, frames, job).map_err(|error| error.to_string())?;
        let loaded = Loaded {
            avatar: Arc::downgrade(avatar),
            instance: Arc::downgrade(instance),
            there: there.clone(),
        };
        // Bound to a name, so that what was there before ends after the lock.
        let former = self.lock().insert(key, loaded);
        drop(former);
        Ok(there)
    }

    fn forget(&self, id: &AvatarId) {
        // Unloading may take a while: not under the lock.
        let forgotten: Vec<_> = self.lock().extract_if(|(avatar, _), _| avatar == id).collect();
        drop(forgotten);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(AvatarId, String), Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loaded {
    fn is_for(&self, avatar: &Arc<Avatar>, instance: &Arc<dyn Instance>) -> bool {
        let same_avatar = self.avatar.upgrade().is_some_and(|known| Arc::ptr_eq(&known, avatar));
        same_avatar && self.instance.upgrade().is_some_and(|known| Arc::ptr_eq(&known, instance))
    }
}

impl AvatarSummary {
    /// What clients are told of `avatar`.
    pub fn of(avatar: &Avatar) -> Self {
        let (width, height) = avatar.size();
        Self {
            id: avatar.id().clone(),
            width,
            height,
            fps: avatar.fps().as_f64(),
            frame_count: avatar.frame_count(),
            builtin: avatar.id().as_str() == builtin::ID,
        }
    }
}

fn spec(config: &Config, backend: &BackendConfig) -> BackendSpec {
    let (name, library, settings) =
        (backend.name.clone(), config.engine.library(backend), backend.config.clone());
    let open = move || {
        let instance = LocalInstance::open(&name, &library, &settings).map_err(|error| error.to_string())?;
        Ok(instance as Arc<dyn Instance>)
    };
    BackendSpec {
        name: backend.name.clone(),
        open: Arc::new(open),
        init_timeout: backend.init_timeout,
        required: backend.required,
    }
}

fn report(report: backend::BackendReport) -> BackendReport {
    let state = match report.state {
        "ready" => BackendState::Ready,
        "failed" => BackendState::Failed,
        "late" => BackendState::Late,
        _ => BackendState::Opening,
    };
    let mode = if report.name == "demo" { Mode::Demo } else { Mode::Model };
    BackendReport { name: report.name, state, mode, detail: report.detail, required: report.required }
}

fn mode_of(instance: &Arc<dyn Instance>) -> Mode {
    if instance.blob_key().0 == DEMO_ID { Mode::Demo } else { Mode::Model }
}

/// An avatar's error as the client is told it.
fn said(error: &AvatarError) -> StudioError {
    match error {
        AvatarError::Cancelled => StudioError::Cancelled,
        AvatarError::Unknown(id) => StudioError::Unknown(format!("there is no avatar \"{id}\"")),
        AvatarError::Busy(_) => StudioError::Conflict(error.to_string()),
        AvatarError::Source { .. } | AvatarError::Media(_) => StudioError::Invalid(error.to_string()),
        AvatarError::NoFace { name, frames } => StudioError::Invalid(format!(
            "{name}: no face found in any of {frames} frames; show one person who looks ahead"
        )),
        AvatarError::Io { .. } if error.is_storage_full() => {
            StudioError::Busy { detail: "this server's disk is full".to_owned(), retry_after: 60 }
        }
        // A landmark file that is missing or damaged: the operator's to mend, and no secret.
        AvatarError::Face(_) => StudioError::Invalid(error.to_string()),
        _ => StudioError::internal(error.to_string()),
    }
}
