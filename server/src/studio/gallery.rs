//! The avatars of one data folder, without any backend: what there is, new ones, the built-in one.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lipcast_engine::avatar::{
    Avatar, AvatarError, AvatarId, AvatarStore, Job, PrepareOptions, PrepareSource, RgbSource, Summary,
    builtin,
};

use crate::app::{AvatarSummary, Rejection, StudioError};
use crate::config::MediaConfig;

/// How long a failure to store the built-in avatar stands: a full disk may have been cleared by then.
const DRAW_AGAIN: Duration = Duration::from_secs(30);

/// The store, and the rules of this program around it.
pub struct Gallery {
    store: AvatarStore,
    options: PrepareOptions,
    /// Held while the built-in avatar is drawn, so that it is drawn once; when that last failed.
    builtin: Mutex<Option<Instant>>,
}

impl Gallery {
    /// Opens the avatar folder of `media`, which is made when it is missing.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(media: &MediaConfig) -> Result<Self, AvatarError> {
        let store = AvatarStore::open(media.avatars_dir())?;
        Ok(Self {
            store: store.with_landmark_model(Some(media.landmarks.clone())),
            options: PrepareOptions { max_frames: media.max_frames, ..PrepareOptions::default() },
            builtin: Mutex::default(),
        })
    }

    /// All avatars that can be shown, the built-in one first; damaged ones are left out and logged.
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

    /// One avatar; the built-in one is drawn when it is not there yet, a damaged one made again from its own copy of
    /// the source. Blocks for as long as that takes.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be read.
    pub fn avatar(&self, id: &AvatarId) -> Result<Arc<Avatar>, StudioError> {
        match self.store.avatar(id) {
            Ok(avatar) => Ok(avatar),
            Err(AvatarError::Unknown(_)) if id.as_str() == builtin::ID => self.builtin_avatar(),
            Err(damage @ AvatarError::Damaged { .. }) => {
                tracing::warn!(avatar = %id, %damage, "rebuilding");
                self.store.repair(id, &Job::new()).map_err(|error| said(&error))
            }
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
        let mut failed = self.builtin.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(avatar) = self.store.avatar(&id) {
            return Ok(avatar);
        }
        // Seconds of drawing for nothing at every look at the list would be a burden of their own.
        if failed.is_some_and(|at| at.elapsed() < DRAW_AGAIN) {
            let detail = "the built-in avatar could not be stored a moment ago; the log tells why".to_owned();
            let (retry_after, reason) = (DRAW_AGAIN.as_secs() as u32, Rejection::Preparing);
            return Err(StudioError::Busy { detail, retry_after, reason });
        }
        let drawn = self.store.prepare(&id, PrepareSource::Builtin, &self.options, &Job::new());
        *failed = drawn.is_err().then(Instant::now);
        drawn.map_err(|error| {
            tracing::error!(%error, "the built-in avatar cannot be stored");
            said(&error)
        })
    }

    /// Deletes an avatar; a loaded one stays whole.
    ///
    /// # Errors
    /// When there is none of that name, or it is the built-in one.
    pub fn delete(&self, id: &AvatarId) -> Result<(), StudioError> {
        if id.as_str() == builtin::ID {
            return Err(StudioError::Conflict(format!("\"{id}\" comes with the program and stays")));
        }
        self.store.delete(id).map_err(|error| said(&error))
    }

    /// Prepares an avatar from a video, an image or a folder of images, and keeps the frames for a backend. Blocks.
    ///
    /// # Errors
    /// In the client's words what is wrong with the source.
    pub fn prepare(
        &self,
        id: &AvatarId,
        source: &Path,
        job: &Job,
    ) -> Result<(Arc<Avatar>, RgbSource), StudioError> {
        if id.as_str() == builtin::ID {
            return Err(StudioError::Conflict(format!(
                "\"{id}\" is the built-in avatar; choose another name"
            )));
        }
        let source = PrepareSource::File(source.to_owned());
        self.store.prepare_with_frames(id, source, &self.options, job).map_err(|error| said(&error))
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
            notes: avatar.report().notes.clone(),
        }
    }
}

/// An avatar's error as the client is told it.
fn said(error: &AvatarError) -> StudioError {
    match error {
        AvatarError::Cancelled => StudioError::Cancelled,
        AvatarError::Unknown(id) => StudioError::Unknown(format!("there is no avatar \"{id}\"")),
        AvatarError::Busy(_) => StudioError::Conflict(error.to_string()),
        // It was not to be mended, and the reason tells what can be done.
        AvatarError::Damaged { id, file, reason } => {
            StudioError::Conflict(format!("avatar \"{id}\" is damaged: {file}: {reason}"))
        }
        AvatarError::Source { .. } | AvatarError::Media(_) => StudioError::Invalid(error.to_string()),
        AvatarError::NoFace { name, frames } => StudioError::Invalid(format!(
            "{name}: no face found in any of {frames} frames; show one person who looks ahead"
        )),
        AvatarError::Io { source, .. } if error.is_storage_full() => {
            // "no storage space", "read-only filesystem or storage medium" and the like.
            let detail = format!("this server's disk: {}", source.kind());
            StudioError::Busy { detail, retry_after: 60, reason: Rejection::Disk }
        }
        // A landmark file that is missing or damaged: the operator's to mend, and no secret.
        AvatarError::Face(_) => StudioError::Invalid(error.to_string()),
        _ => StudioError::internal(error.to_string()),
    }
}
