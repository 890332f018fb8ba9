//! What is asked of a backend for one frame, and what it answers.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use lipcast_wire::client::Picture;

pub use lipcast_plugins_api::author::{Alpha, Code, FrameMask, PixelFormat, Rect};

use super::RequestFlags;

/// The part of a frame that a backend drew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Where it goes.
    pub rect: Rect,
    /// How the pixels lie.
    pub format: PixelFormat,
    /// Where its transparency comes from.
    pub alpha: Alpha,
    /// [`PixelFormat::bytes`] of them, rows and planes packed.
    pub pixels: Pixels,
}

/// Bytes of a picture: of our own, or where the process of its backend drew them. Clones share them.
///
/// Read them once, to make other pixels of them: a backend that breaks the contract can change the latter kind at any
/// time. Whoever keeps many for long gets copies.
#[derive(Clone)]
pub struct Pixels(Store);

#[derive(Clone)]
enum Store {
    Own(Arc<Vec<u8>>),
    Remote(Arc<Picture>),
}

impl Pixels {
    /// Whether they lie in memory that they share with the backend's process.
    pub fn are_lent(&self) -> bool {
        matches!(&self.0, Store::Remote(picture) if picture.is_lent())
    }
}

impl Deref for Pixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Store::Own(bytes) => bytes,
            Store::Remote(picture) => picture,
        }
    }
}

impl From<Vec<u8>> for Pixels {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Store::Own(Arc::new(bytes)))
    }
}

impl From<Picture> for Pixels {
    fn from(picture: Picture) -> Self {
        Self(Store::Remote(Arc::new(picture)))
    }
}

impl PartialEq for Pixels {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Pixels {}

impl fmt::Debug for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pixels({} bytes{})", self.len(), if self.are_lent() { ", lent" } else { "" })
    }
}

/// Asks for one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRequest {
    /// Counts a session's requests, so that a late reply is told from the next.
    pub seq: u64,
    /// Bumped by every barge-in; replies of an older epoch are dropped.
    pub epoch: u32,
    /// Frame k of the session's clock.
    pub frame: u64,
    /// Which of the avatar's frames lies under it.
    pub avatar_frame: u32,
    /// When the frame leaves; `None` offline, where every frame is waited for.
    pub deadline: Option<Instant>,
    /// First or last of a run; may be thrown away.
    pub flags: RequestFlags,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A patch to lay over the avatar's frame.
    Patch(Patch),
    /// The avatar's frame as it is: nothing was redrawn.
    AvatarFrame,
    /// The picture of the session's previous result once more.
    SamePatch,
    /// There is no picture, because the deadline had passed.
    Expired,
    /// The backend refused or broke; its own words.
    Failed(String),
    /// The backend is of no more use to this session: it panicked, or the whole instance is lost.
    Gone {
        /// Its own words.
        reason: String,
        /// This very request was in the batch during which the backend broke, and may be what broke it.
        in_flight: bool,
    },
}

/// The answer to one [`FrameRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameReply {
    /// The request's number.
    pub seq: u64,
    /// The request's epoch.
    pub epoch: u32,
    /// What came of it.
    pub outcome: Outcome,
    /// The mouth is at rest: the host may go back to the avatar's own frames.
    pub at_rest: bool,
    /// The avatar frame that was really used; differs from the request's for backends that choose their own.
    pub avatar_frame_used: u32,
}
