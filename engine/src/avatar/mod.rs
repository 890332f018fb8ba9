//! Avatars: prepared people. A video, image folder or single image in; a folder of frames, faces and blobs
//! out, shared by every session that shows the person.

pub mod builtin;
mod id;
mod job;

pub use id::{AvatarId, InvalidAvatarId};
pub use job::{Job, Progress, Stage};
