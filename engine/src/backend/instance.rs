//! The trait that hides where a backend instance lives.

use std::io::Write;
use std::sync::Arc;

use crossbeam_channel::Sender;
/// What an avatar is prepared from: the source's own RGB, never a copy that went through I420.
pub use lipcast_plugins_api::loader::Source as AvatarSource;

use super::{BackendMeter, Capacity, Code, FrameMask, FrameReply, FrameRequest};
use crate::avatar::Job;
use crate::time::FrameRate;

/// Why a backend could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The backend is not loaded (yet, or any more).
    #[error("backend {backend} is not ready: {reason}")]
    NotReady {
        /// The backend's name in the configuration.
        backend: String,
        /// Its state in words.
        reason: String,
    },
    /// A call came back with a status that is not OK.
    #[error("backend {backend} failed in {call}: {message}")]
    Call {
        /// The backend's name in the configuration.
        backend: String,
        /// The function of the contract.
        call: &'static str,
        /// The kind of failure.
        code: Code,
        /// The backend's own words.
        message: String,
    },
    /// The backend broke the contract.
    #[error("backend {backend} broke the contract in {call}: {message}")]
    Contract {
        /// The backend's name in the configuration.
        backend: String,
        /// The function of the contract.
        call: &'static str,
        /// What was expected and what came.
        message: String,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Who draws the frames between utterances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// The host plays the avatar's own frames and asks for nothing.
    Host,
    /// The backend draws every frame (Live2D, 3D).
    Backend,
}

/// How the mouth comes to rest when speech ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// The backend leads the mouth back to the avatar's own frame.
    Backend,
    /// The host blends the patch in and out over a few frames.
    HostBlend,
}

/// What a loaded avatar is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvatarInfo {
    /// Canvas width in pixels, even.
    pub canvas_width: u32,
    /// Canvas height in pixels, even.
    pub canvas_height: u32,
    /// Frames per second of the avatar's own frames.
    pub fps: FrameRate,
    /// Distinct frames; 0: the backend draws on its own canvas.
    pub frame_count: u32,
    /// No result is larger than this.
    pub max_rect: (u32, u32),
    /// Who draws idle frames.
    pub idle: Idle,
    /// Who leads the mouth to rest.
    pub rest: Rest,
}

impl AvatarInfo {
    /// Whether it is the same avatar that the host shows: `size` in pixels, and `frame_count` distinct frames.
    ///
    /// # Errors
    /// In a sentence what differs.
    pub fn fits(&self, size: (usize, usize), frame_count: usize) -> Result<(), String> {
        if (self.canvas_width as usize, self.canvas_height as usize) != size {
            let (width, height) = size;
            return Err(format!(
                "its canvas has {}x{} pixels, the avatar {width}x{height}",
                self.canvas_width, self.canvas_height
            ));
        }
        if self.frame_count != 0 && self.frame_count as usize != frame_count {
            return Err(format!("it knows {} frames, the avatar has {frame_count}", self.frame_count));
        }
        Ok(())
    }
}

/// What a session fixes when it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionParams {
    /// Frames per second of the session.
    pub fps: FrameRate,
    /// The whole utterance is pushed before the first request.
    pub whole: bool,
}

/// Flags of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestFlags {
    /// First frame of a run, or after a reset.
    pub first: bool,
    /// No later frame of this run has audio.
    pub last: bool,
    /// The result will not be shown; a sequential backend still has to advance, others are not asked.
    pub discard_ok: bool,
    /// A backend broke while this frame was in its batch: it shares its next batch with nobody.
    pub alone: bool,
}

/// An avatar that is loaded into an instance.
pub trait LoadedAvatar: Send + Sync {
    /// Canvas, rate and who draws what.
    fn info(&self) -> AvatarInfo;
    /// The static mask of avatar frame `index`.
    fn mask(&self, index: u32) -> Option<FrameMask<'_>>;
    /// For the instance, which has to know its own again.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// One loaded backend with its weights.
///
/// All calls may come from any thread; long ones (`prepare_avatar`, `load_avatar`) block their caller.
pub trait Instance: Send + Sync {
    /// The backend's name in the configuration.
    fn name(&self) -> &str;
    /// What was loaded, in a line: version, device, precision.
    fn summary(&self) -> String;
    /// The id and version that its blobs are filed under.
    fn blob_key(&self) -> (&str, u32);
    /// Future audio a frame needs, in 16 kHz samples.
    fn lookahead_samples(&self) -> u64;
    /// Past audio a frame needs, in 16 kHz samples: what a session that comes over in mid-sentence pushes first.
    fn lookbehind_samples(&self) -> u64;
    /// 99th percentile of a batch so far: how early a frame must be asked for.
    fn batch_p99(&self) -> std::time::Duration;
    /// Why it is of no more use, once its device is lost, it calls itself broken or its thread ended.
    /// Sessions that it serves get [`Outcome::Gone`](super::Outcome::Gone), new ones are refused.
    fn lost(&self) -> Option<String> {
        None
    }
    /// Whether a batch is out past the time that its first frame leaves.
    fn is_late(&self) -> bool {
        false
    }
    /// What it can draw, once it has drawn enough to tell, or was [blamed](Self::blame) before it had.
    fn capacity(&self) -> Option<Capacity> {
        None
    }
    /// A session leaves it because it is late. Unless it is known to draw in time, others are to stay away for a while.
    fn blame(&self) {}
    /// Its counters, where nobody else keeps them.
    fn meter(&self) -> Option<Arc<BackendMeter>> {
        None
    }
    /// Streams the avatar's blob to `sink`.
    ///
    /// # Errors
    /// When the backend refuses the source, breaks, or `job` is cancelled.
    fn prepare_avatar(
        &self,
        source: &mut dyn AvatarSource,
        sink: &mut (dyn Write + Send),
        job: &Job,
    ) -> Result<(), BackendError>;
    /// Loads a blob.
    ///
    /// # Errors
    /// When the blob is damaged or of another version.
    fn load_avatar(&self, blob: &[u8]) -> Result<Arc<dyn LoadedAvatar>, BackendError>;
    /// Opens a session on an avatar that this instance loaded; replies arrive at `replies`, in any order.
    ///
    /// # Errors
    /// When the instance is full, or `avatar` is another instance's.
    fn open_session(
        &self,
        avatar: &Arc<dyn LoadedAvatar>,
        params: SessionParams,
        replies: Sender<FrameReply>,
    ) -> Result<Box<dyn SessionPort>, BackendError>;
}

/// One session's line into an instance; closing is dropping it. Nothing here waits for the backend.
///
/// Each request gets one reply. When the instance is gone, the channel of replies hangs up.
pub trait SessionPort: Send {
    /// Appends 16 kHz mono PCM, -1 to 1; `first_sample` counts from frame 0 of the session's clock. A push beyond
    /// the last one's end begins a new run. With `end`, nothing else is queued: what follows reads as zero.
    fn push_audio(&mut self, first_sample: u64, pcm: Vec<f32>, end: bool);
    /// Asks for a frame.
    fn request(&mut self, request: FrameRequest);
    /// Barge-in: drops queued audio; requests that wait are answered as expired, later ones carry `epoch`.
    fn reset(&mut self, epoch: u32);
}
