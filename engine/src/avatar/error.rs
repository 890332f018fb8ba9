//! What can go wrong with an avatar, in words that a user can act on.

use std::io;
use std::path::{Path, PathBuf};

use super::AvatarId;
use crate::face::FaceError;
use crate::media::MediaError;

/// Why an avatar could not be prepared, loaded or changed.
#[derive(Debug, thiserror::Error)]
pub enum AvatarError {
    /// No folder of that name in the store.
    #[error("unknown avatar '{0}'")]
    Unknown(AvatarId),
    /// A second preparation of the same avatar while one runs.
    #[error("avatar '{0}' is being prepared already; wait for that job or cancel it")]
    Busy(AvatarId),
    /// The folder on disk is no longer the one this avatar was loaded from.
    #[error("avatar '{0}' was deleted or prepared again since it was loaded")]
    Replaced(AvatarId),
    /// [`Job::cancel`](super::Job::cancel) was called.
    #[error("the preparation was cancelled")]
    Cancelled,
    /// A file of the avatar is missing or altered; `AvatarStore::repair` rebuilds it from its own source.
    #[error("avatar '{id}' is damaged: {file}: {reason}; it can be rebuilt from its own copy of the source")]
    Damaged {
        /// The avatar.
        id: AvatarId,
        /// Relative to the avatar's folder.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The source cannot be taken.
    #[error("{name}: {reason}")]
    Source {
        /// File name of what was to be prepared.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The source cannot be read as frames.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// Nobody in any frame.
    #[error("{name}: no face found in any of {frames} frames; show one person who looks ahead")]
    NoFace {
        /// File name of what was to be prepared.
        name: String,
        /// Frames that were looked at.
        frames: usize,
    },
    /// The detector or the landmark model cannot be used.
    #[error(transparent)]
    Face(#[from] FaceError),
    /// A backend id or blob name that is not safe as a file name.
    #[error("{0:?} cannot name a blob: use 1 to 64 letters, digits, '_', '-' or '.', not beginning with '.'")]
    BlobName(String),
    /// The disk said no.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done, as a verb: "write", "rename".
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl AvatarError {
    /// Wraps an answer of the disk; used as `.map_err(AvatarError::io("write", path))`.
    pub(crate) fn io(doing: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// Whether the disk is full, over quota or read-only: nothing is wrong with the request,
    /// and it can work again once there is room.
    pub fn is_storage_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem))
    }
}
