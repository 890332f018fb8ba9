//! The media unit: one video frame and exactly the audio that belongs to it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use lipcast_codecs::{I420, I420Ref};

use crate::avatar::Avatar;
use crate::time::FrameRate;

/// The pictures under a performance: an avatar's own frames, played for ever.
pub trait Canvas: Send + Sync {
    /// Width and height in pixels, even.
    fn size(&self) -> (usize, usize);
    /// Frames per second at which `playback_index` counts.
    fn fps(&self) -> FrameRate;
    /// Which distinct frame is shown as the `counter`-th: ping-pong or loop, by arithmetic.
    fn playback_index(&self, counter: u64) -> usize;
    /// Distinct frames, at least 1.
    fn frame_count(&self) -> usize;
    /// Puts distinct frame `index`, below [`frame_count`](Self::frame_count), into `picture`, which has the canvas's
    /// size.
    ///
    /// # Errors
    /// When the disk fails, or somebody damaged the file; `picture` then holds anything.
    fn read(&self, index: usize, picture: &mut I420) -> io::Result<()>;
}

impl Canvas for Avatar {
    fn size(&self) -> (usize, usize) {
        Avatar::size(self)
    }

    fn fps(&self) -> FrameRate {
        Avatar::fps(self)
    }

    fn playback_index(&self, counter: u64) -> usize {
        Avatar::playback_index(self, counter)
    }

    fn frame_count(&self) -> usize {
        Avatar::frame_count(self)
    }

    fn read(&self, index: usize, picture: &mut I420) -> io::Result<()> {
        self.read_frame(index, picture)
    }
}

/// A picture on its way to the encoder; cheap to clone.
#[derive(Clone)]
pub struct Picture(pub(super) Arc<I420>);

impl Picture {
    /// The planes, BT.601 limited.
    pub fn as_view(&self) -> I420Ref<'_> {
        self.0.as_view()
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{})", self.0.width(), self.0.height())
    }
}

/// Where a unit's picture came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitKind {
    /// Nobody speaks: the avatar's own frame, into which a patch that was interrupted fades.
    Idle,
    /// The backend answered.
    Speech,
    /// The backend was to draw it and did not in time, failed, or was not asked because it is too slow: the last
    /// picture again. Where it is gone altogether: the avatar's own frame.
    Held,
}

/// One frame of a session.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Frame k of the session's clock, counted from 0 without gaps.
    pub frame: u64,
    /// The avatar's distinct frame under it.
    pub avatar_frame: usize,
    /// What is seen.
    pub picture: Picture,
    /// What is heard: 48 kHz mono PCM, -1 to 1, from `floor(k·48000/fps)` up to that of k + 1.
    pub pcm_48k: Vec<f32>,
    /// Where the picture came from.
    pub kind: UnitKind,
    /// How long it took to make the picture, once the backend's answer was there.
    pub composing: Duration,
}
