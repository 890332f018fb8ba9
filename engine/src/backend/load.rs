//! An avatar from the store into an instance: its blob is read, or made first when there is none.

use std::sync::Arc;

use lipcast_plugins_api::author::Error;

use super::{AvatarSource, BackendError, Code, Instance, LoadedAvatar};
use crate::avatar::{Avatar, AvatarError, Job, RgbSource};

/// Why an avatar cannot be loaded into a backend.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Its files.
    #[error(transparent)]
    Avatar(#[from] AvatarError),
    /// The backend's own refusal.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Loads `avatar` into `instance` from the blob that is there; `None` when there is none, the backend says that it is
/// not for it (`BLOB_INCOMPATIBLE`), or what it loaded is another avatar, and [`load_avatar`] would have to make it.
/// Takes as long as reading does.
///
/// # Errors
/// When the disk fails, or the blob cannot be loaded for any other reason, such as a full device; it stays then.
pub fn load_existing(
    avatar: &Avatar,
    instance: &Arc<dyn Instance>,
) -> Result<Option<Arc<dyn LoadedAvatar>>, LoadError> {
    Ok(existing(avatar, instance)?.ok())
}

/// What is there: the avatar loaded, or why its blob has to be made.
fn existing(
    avatar: &Avatar,
    instance: &Arc<dyn Instance>,
) -> Result<Result<Arc<dyn LoadedAvatar>, Option<LoadError>>, LoadError> {
    let (id, version) = instance.blob_key();
    let Some(blob) = avatar.blob(id, version)? else { return Ok(Err(None)) };
    match instance.load_avatar(&blob) {
        Ok(loaded) => Ok(checked(loaded, avatar, instance).map_err(Some)),
        Err(error @ BackendError::Call { code: Code::BlobIncompatible, .. }) => Ok(Err(Some(error.into()))),
        Err(error) => Err(error.into()),
    }
}

/// Loads `avatar` into `instance`. The blob is made from the avatar's source when it is missing, or when the backend
/// says that the one that is there is not for it (`BLOB_INCOMPATIBLE`); that may take as long as the backend needs.
/// `frames` are the source's frames where they are at hand; otherwise the source is decoded again, if it is needed.
///
/// # Errors
/// When the source is gone, the disk fails, the backend refuses, what it loaded is not this avatar, or `job` is
/// cancelled. A blob that is there stays when it could not be loaded for any other reason, such as a full device.
pub fn load_avatar(
    avatar: &Avatar,
    instance: &Arc<dyn Instance>,
    frames: Option<RgbSource>,
    job: &Job,
) -> Result<Arc<dyn LoadedAvatar>, LoadError> {
    match existing(avatar, instance)? {
        Ok(loaded) => return Ok(loaded),
        Err(None) => {}
        Err(Some(LoadError::Backend(BackendError::Call { message: reason, .. }))) => {
            tracing::info!(avatar = %avatar.id(), backend = instance.name(), reason, "its blob is made again");
        }
        Err(Some(error)) => {
            tracing::warn!(avatar = %avatar.id(), %error, "its blob is another avatar's; it is made again");
        }
    }
    let (id, version) = instance.blob_key();
    tracing::info!(avatar = %avatar.id(), backend = instance.name(), "preparing");
    let rgb = frames.map_or_else(|| avatar.open_source(), Ok)?;
    let mut source = StoredSource { avatar, rgb };
    let mut writer = match avatar.blob_writer(id, version) {
        Err(error) if error.is_storage_full() => {
            return load_unstored(&mut source, avatar, instance, &error, job);
        }
        writer => writer?,
    };
    instance.prepare_avatar(&mut source, &mut writer, job)?;
    writer.commit()?;
    let blob = avatar.blob(id, version)?.ok_or_else(|| BackendError::Contract {
        backend: instance.name().to_owned(),
        call: "prepare_avatar",
        message: "its blob could not be read back".to_owned(),
    })?;
    checked(instance.load_avatar(&blob)?, avatar, instance)
}

/// Loads from a blob that lives in memory, on a disk that takes none: better made at every start than not shown.
fn load_unstored(
    source: &mut StoredSource<'_>,
    avatar: &Avatar,
    instance: &Arc<dyn Instance>,
    error: &AvatarError,
    job: &Job,
) -> Result<Arc<dyn LoadedAvatar>, LoadError> {
    tracing::warn!(avatar = %avatar.id(), %error, "its blob is not kept");
    let mut blob = Vec::new();
    instance.prepare_avatar(source, &mut blob, job)?;
    checked(instance.load_avatar(&blob)?, avatar, instance)
}

/// What a backend loaded must be the avatar that the host shows.
fn checked(
    loaded: Arc<dyn LoadedAvatar>,
    avatar: &Avatar,
    instance: &Arc<dyn Instance>,
) -> Result<Arc<dyn LoadedAvatar>, LoadError> {
    let fits = loaded.info().fits(avatar.size(), avatar.frame_count());
    fits.map_err(|message| BackendError::Contract {
        backend: instance.name().to_owned(),
        call: "avatar_info",
        message,
    })?;
    Ok(loaded)
}

/// The source of an avatar in the store, with the faces that preparing found.
struct StoredSource<'a> {
    avatar: &'a Avatar,
    rgb: RgbSource,
}

impl AvatarSource for StoredSource<'_> {
    fn frame_count(&self) -> u32 {
        self.rgb.frame_count() as u32
    }

    fn size(&self) -> (u32, u32) {
        let (width, height) = self.rgb.size();
        (width as u32, height as u32)
    }

    fn fps(&self) -> (u32, u32) {
        (self.avatar.fps().num(), self.avatar.fps().den())
    }

    fn frame(&mut self, index: u32, rgb: &mut Vec<u8>) -> Result<(), Error> {
        self.rgb.frame(index as usize, rgb).map_err(|error| Error::internal(error.to_string()))
    }

    fn landmarks(&self, index: u32) -> Option<[[f32; 2]; 68]> {
        self.avatar.face(index as usize).map(|face| face.landmarks)
    }

    fn face_box(&self, index: u32) -> Option<[f32; 4]> {
        self.avatar.face(index as usize).map(|face| face.face_box)
    }

    fn assets(&self) -> Vec<String> {
        self.avatar.assets().map(str::to_owned).collect()
    }

    fn asset(&self, name: &str) -> Option<Arc<[u8]>> {
        let asset = self.avatar.asset(name);
        asset
            .inspect_err(|error| tracing::warn!(avatar = %self.avatar.id(), %error, "an asset is not there"))
            .ok()
    }
}
