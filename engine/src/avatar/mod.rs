//! Avatars: prepared people. A video, image folder or single image in; a folder of frames, faces and blobs
//! out, shared by every session that shows the person.

mod id;
pub use id::{AvatarId, InvalidAvatarId};

mod error;
pub use error::AvatarError;

mod job;
pub use job::{Job, Progress, Stage};

mod source;
pub use source::{MAX_SOURCE_BYTES, PrepareSource};

pub mod builtin;

mod frames;
pub use frames::RgbSource;

mod prepare;
pub use prepare::PrepareOptions;

mod report;
pub use report::{IssueRun, Report};

mod manifest;
pub use manifest::{FORMAT_VERSION, FileEntry, LoopMode, Manifest, SourceKind, SourceRecord};

mod disk;
mod faces_file;
mod mapped;

mod loaded;
pub use loaded::Avatar;

mod blob;
pub use blob::{Blob, BlobWriter};

mod repair;

mod store;
pub use store::{AvatarStore, Summary};

#[cfg(test)]
mod tests;
