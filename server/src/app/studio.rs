//! What the HTTP dialects ask for, in their common words: avatars, backends, sessions.
//!
//! One trait between the routes and the engine, so that every dialect is a thin translation onto the same calls.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lipcast_engine::avatar::{AvatarId, Job};
use lipcast_engine::backend::BackendFigures;
use lipcast_engine::session::black_box::Recording;
use serde::Serialize;

use super::Rejection;
use super::events::{BackendChange, SessionEvents};
use crate::files::OpenedMedia;
use crate::metrics::Metrics;

/// Avatars, backends and sessions. Calls that may take long are async or say that they block.
#[async_trait]
pub trait Studio: Send + Sync + 'static {
    /// Every configured backend, in order of preference.
    fn backends(&self) -> Vec<BackendReport>;

    /// Opens the backends that are not ready, again if need be, and returns when each is ready or has failed.
    async fn initialize(&self) -> Vec<BackendReport>;

    /// Reads a backend's settings again and replaces it; sessions move to the new one without a missing frame. Returns
    /// when it serves; when it does not come up, the one before serves on.
    async fn reload(&self, backend: &str) -> Result<BackendReport, StudioError>;

    /// The avatar used last.
    fn current_avatar(&self) -> Option<AvatarId>;

    /// All avatars that can be shown, the built-in one among them.
    fn avatars(&self) -> Result<Vec<AvatarSummary>, StudioError>;

    /// A JPEG of the avatar. Blocks for as long as a file is read.
    fn poster(&self, id: &AvatarId) -> Result<Vec<u8>, StudioError>;

    /// Deletes an avatar; sessions that show it go on.
    fn delete_avatar(&self, id: &AvatarId) -> Result<(), StudioError>;

    /// Prepares an avatar from a video, an image or a folder of images; blocks until done.
    fn prepare(&self, id: &AvatarId, source: &OpenedMedia, job: &Job) -> Result<AvatarSummary, StudioError>;

    /// Starts a session; it waits for its first viewer before anything is lost.
    async fn start(&self, request: StartRequest) -> Result<Started, StudioError>;

    /// Queues speech in a running session, behind what it is saying.
    async fn speak(&self, session: &str, speech: SpeechSource) -> Result<QueuedSpeech, StudioError>;

    /// How long speech is, seconds; `None` when only playing it would tell. Blocks for as long as a file's head is
    /// read. Refuses what is not speech, or too long.
    fn speech_seconds(&self, speech: &SpeechSource) -> Result<Option<f64>, StudioError>;

    /// As [`Studio::speech_seconds`], but reads the whole file where its head does not tell: for files that are new
    /// here. Blocks.
    fn check_speech(&self, file: &OpenedMedia) -> Result<f64, StudioError>;

    /// Ends a session and its viewers' connections.
    async fn stop(&self, session: &str) -> Result<(), StudioError>;

    /// One running session.
    fn session(&self, session: &str) -> Option<SessionReport>;

    /// What happens to a running session.
    fn events(&self, session: &str) -> Option<Arc<SessionEvents>>;

    /// The last minutes of a session that runs, or that ended a while ago.
    fn recording(&self, session: &str) -> Result<Recording, StudioError>;

    /// All running sessions.
    fn sessions(&self) -> Vec<SessionReport>;

    /// Connects a viewer: its SDP offer in, our SDP answer out.
    async fn offer(&self, request: OfferRequest) -> Result<String, StudioError>;

    /// The server ends in `patience` at the latest: nothing new starts, running sessions are told, and it returns when
    /// all of them have finished speaking or lost their viewers, or the time is over.
    async fn drain(&self, patience: Duration);

    /// Whether the server is about to end.
    fn is_draining(&self) -> bool;

    /// The server's counters.
    fn metrics(&self) -> Arc<Metrics>;

    /// What there is just now, for the figures. Reads a file for each backend's process.
    fn census(&self) -> Census;

    /// Ends all sessions; called once, before the server ends.
    async fn shut_down(&self);
}

/// What there is just now.
#[derive(Debug, Clone, Default)]
pub struct Census {
    /// The backends in numbers, the last resort among them.
    pub backends: Vec<BackendFigures>,
    /// Sessions that are being opened.
    pub starting: usize,
    /// Sessions that wait for their first viewer.
    pub waiting: usize,
    /// Sessions whose clock runs.
    pub running: usize,
    /// Connected viewers of all sessions.
    pub viewers: usize,
}

/// What a session should show and say first.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// The client's name for it.
    pub session: String,
    /// Whom to show; `None`: the avatar used last, or the built-in one.
    pub avatar: Option<AvatarId>,
    /// What to say first.
    pub speech: SpeechSource,
}

/// Where an utterance comes from.
#[derive(Debug, Clone)]
pub enum SpeechSource {
    /// A file; kept open by this value.
    File(OpenedMedia),
    /// The clip built into the program.
    Builtin,
    /// Nothing yet.
    Nothing,
}

/// Speech that a session will say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct QueuedSpeech {
    /// Counts the session's utterances from 0.
    pub utterance_id: u64,
    /// Utterances that are heard before it, the one being said included; 0: it is heard at once.
    pub position: usize,
    /// Its length, seconds, where its file tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// A viewer's offer.
#[derive(Debug, Clone)]
pub struct OfferRequest {
    /// The session to watch.
    pub session: String,
    /// The SDP as it came.
    pub sdp: String,
}

/// What was started.
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    /// Whom it shows.
    pub avatar: AvatarId,
    /// Name of the backend that serves it.
    pub backend: String,
    /// What kind of backend that is.
    pub mode: Mode,
    /// Frames per second.
    pub fps: f64,
}

/// Whether a face is moved by a trained model or by `demo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A backend with a model.
    Model,
    /// The demo backend, from the sound alone.
    Demo,
}

/// A running session.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionReport {
    /// The client's name for it.
    pub session_id: String,
    /// Whom it shows.
    pub avatar_id: AvatarId,
    /// Name of the backend that draws now; `None`: none is left, the avatar's own frames play.
    pub backend: Option<String>,
    /// What kind of backend that is, or was.
    pub mode: Mode,
    /// Times another backend took over.
    pub moves: u64,
    /// The last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_move: Option<BackendChange>,
    /// Frames per second.
    pub fps: f64,
    /// Samples per second of what the backend is given.
    pub sample_rate: u32,
    /// Rendered frames that are not sent yet.
    pub video_queue: usize,
    /// Speech that waits to be heard, samples at 48 kHz.
    pub audio_queue: usize,
    /// Whether something is being said.
    pub is_generating: bool,
    /// Utterances that are not over: the one being said and those that wait.
    pub utterances: usize,
    /// Connected viewers.
    pub viewers: usize,
    /// Frames that were late, so that the one before was shown again.
    pub held_frames: u64,
}

/// An avatar that can be shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AvatarSummary {
    /// Its name.
    pub id: AvatarId,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Frames per second.
    pub fps: f64,
    /// Distinct frames.
    pub frame_count: usize,
    /// Whether it comes with the program and cannot be deleted.
    pub builtin: bool,
    /// What preparing noticed about the source as a whole, in sentences.
    pub notes: Vec<String>,
}

/// One configured backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackendReport {
    /// Its name in the settings.
    pub name: String,
    /// Whether it can serve.
    pub state: BackendState,
    /// What kind of backend it is; known once it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Why it is not ready, or what was loaded.
    pub detail: String,
    /// Whether the server insists on it.
    pub required: bool,
    /// How often it was started again since the server began.
    pub restarts: u64,
    /// Its process, if it has one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
    /// Frames per second that it can draw, once it has drawn enough to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_fps: Option<u32>,
    /// Frames per second that its sessions want while they speak.
    pub load_fps: u32,
    /// How its last reload went, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_reload: Option<LastReload>,
}

/// How a reload went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastReload {
    /// Whether the new one serves.
    pub ok: bool,
    /// Why the one before serves on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether a backend can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendState {
    /// It loads.
    Opening,
    /// It still loads, after its `init_timeout`; it joins when it is ready.
    Late,
    /// It serves.
    Ready,
    /// It was lost, and is on its way back by itself.
    Restarting,
    /// It died too often; it is tried again after a while, or when somebody asks.
    Quarantined,
    /// It cannot; `detail` says why.
    Failed,
}

impl BackendState {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 6] =
        [Self::Opening, Self::Late, Self::Ready, Self::Restarting, Self::Quarantined, Self::Failed];

    /// It in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Late => "late",
            Self::Ready => "ready",
            Self::Restarting => "restarting",
            Self::Quarantined => "quarantined",
            Self::Failed => "failed",
        }
    }
}

/// Why a call did not do what was asked. The texts are for the client.
#[derive(Debug, thiserror::Error)]
pub enum StudioError {
    /// The client asked for something that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// There is no such avatar or session.
    #[error("{0}")]
    Unknown(String),
    /// It is in the way of something that exists, such as a running session.
    #[error("{0}")]
    Conflict(String),
    /// The server has no room now.
    #[error("{detail}")]
    Busy {
        /// What there is no room for.
        detail: String,
        /// Seconds after which to ask again.
        retry_after: u32,
        /// The same for the counters.
        reason: Rejection,
    },
    /// The work was stopped because somebody asked for it.
    #[error("cancelled")]
    Cancelled,
    /// Trouble of the server's own; the cause is logged and not told.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StudioError {
    /// An internal error with its cause.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }
}
