//! What is recorded: one event each time something passes between a session and its backends, or happens to it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::codec;
use crate::avatar::Avatar;
use crate::backend::{Alpha, FrameReply, Instance, Outcome, PixelFormat, Rect, RequestFlags};
use crate::session::{Move, UnitKind};
use crate::time::FrameRate;

/// Whose session it is, and over which avatar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The session's name.
    pub session: String,
    /// The program that recorded it, with its version.
    pub program: String,
    /// Whom it shows.
    pub avatar: AvatarMark,
    /// Frames per second of the session.
    pub fps: FrameRate,
    /// BLAKE3 of each configured backend's own settings, by the backend's name.
    pub settings: std::collections::BTreeMap<String, String>,
}

/// What an avatar is known again by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvatarMark {
    /// Its name in the store.
    pub id: String,
    /// BLAKE3 of its frames.
    pub frames_blake3: String,
    /// Distinct frames.
    pub frame_count: usize,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
}

impl AvatarMark {
    /// The mark of `avatar`.
    pub fn of(avatar: &Avatar) -> Self {
        let (width, height) = avatar.size();
        Self {
            id: avatar.id().as_str().to_owned(),
            frames_blake3: avatar.frames_blake3().to_owned(),
            frame_count: avatar.frame_count(),
            width,
            height,
        }
    }
}

/// What a backend is known again by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendMark {
    /// Its name in the settings.
    pub name: String,
    /// The id in its descriptor.
    pub id: String,
    /// Version of its blobs.
    pub blob_version: u32,
    /// What was loaded, in a line: version, origin.
    pub summary: String,
    /// Future audio a frame needs, in 16 kHz samples.
    pub lookahead: u64,
    /// Past audio a frame needs, in 16 kHz samples.
    pub lookbehind: u64,
}

impl BackendMark {
    /// The mark of `instance`.
    pub fn of(instance: &dyn Instance) -> Self {
        let (id, blob_version) = instance.blob_key();
        Self {
            name: instance.name().to_owned(),
            id: id.to_owned(),
            blob_version,
            summary: instance.summary(),
            lookahead: instance.lookahead_samples(),
            lookbehind: instance.lookbehind_samples(),
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Since the session was opened.
    #[serde(rename = "ms", with = "codec::milliseconds")]
    pub at: Duration,
    /// The frame that it is about; where it is about none, the next one that leaves.
    pub frame: u64,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened. A *line* is a session's line into one backend; they are counted from 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A backend draws from here on.
    Opened {
        /// The line.
        line: u32,
        /// The backend's name.
        backend: String,
    },
    /// The backend was given audio.
    Audio {
        /// The line.
        line: u32,
        /// Counted at 16 kHz from frame 0.
        first_sample: u64,
        /// Nothing else was queued.
        end: bool,
        /// 16 kHz mono, -1 to 1, exactly as it was given; in a file as base64 of little-endian f32.
        #[serde(with = "codec::pcm")]
        pcm: Arc<[f32]>,
    },
    /// The backend was asked for the frame.
    Request {
        /// The line.
        line: u32,
        /// What was asked.
        #[serde(flatten)]
        asked: Asked,
    },
    /// Barge-in, or the same frames are asked for again.
    Reset {
        /// The line.
        line: u32,
        /// The epoch of the requests that follow.
        epoch: u32,
    },
    /// The backend answered, or somebody did for it.
    Reply {
        /// The line.
        line: u32,
        /// The request's number.
        seq: u64,
        /// The request's epoch.
        epoch: u32,
        /// What came of it.
        #[serde(flatten)]
        answer: Answer,
    },
    /// The session has left the backend.
    Closed {
        /// The line.
        line: u32,
    },
    /// The backend is of no more use to the session.
    Lost {
        /// Its name.
        backend: String,
        /// In words.
        reason: String,
        /// Frames that were in its batch as it broke.
        in_flight: Vec<u64>,
    },
    /// Another backend draws; the frame is the first that is asked of it.
    Moved {
        /// Who drew.
        from: Option<String>,
        /// Who draws.
        to: Option<String>,
        /// `lost`, `late`, `failing`, `return` or `replaced`.
        reason: String,
    },
    /// From this frame on the pictures are of another kind than before.
    Shown {
        /// Which.
        #[serde(with = "codec::unit_kind")]
        kind: UnitKind,
    },
    /// The frame's own picture was not there as it left.
    Held {
        /// Why.
        reason: String,
    },
    /// An utterance was queued, begins with this frame, ends with it, or breaks off.
    Utterance {
        /// Counts the session's utterances from 0.
        id: u64,
        /// Which of these.
        step: UtteranceStep,
    },
    /// Barge-in.
    Interrupted,
    /// The session is over.
    Ended {
        /// In words.
        reason: String,
    },
}

impl Event {
    /// The change of backend as an event.
    pub(crate) fn moved(change: &Move) -> Self {
        let Move { from, to, reason, .. } = change;
        Self::Moved { from: from.clone(), to: to.clone(), reason: reason.as_str().to_owned() }
    }

    /// The line that it belongs to.
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::Opened { line, .. }
            | Self::Audio { line, .. }
            | Self::Request { line, .. }
            | Self::Reset { line, .. }
            | Self::Reply { line, .. }
            | Self::Closed { line } => Some(*line),
            _ => None,
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Audio { pcm, .. } => size_of_val(&**pcm),
            Self::Reply { answer, .. } => answer.outcome.reason().map_or(0, str::len),
            Self::Lost { backend, reason, in_flight } => {
                backend.len() + reason.len() + size_of_val(&**in_flight)
            }
            Self::Held { reason } | Self::Ended { reason } => reason.len(),
            _ => 0,
        }
    }
}

/// Where an utterance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UtteranceStep {
    /// It waits.
    Queued,
    /// Its first sample is heard.
    Began,
    /// Its last sample is heard.
    Ended,
    /// The rest of it could not be read.
    BrokeOff,
}

/// A request as a backend saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Counts the session's requests.
    pub seq: u64,
    /// Bumped by every reset.
    pub epoch: u32,
    /// Which of the avatar's frames lies under it.
    pub avatar_frame: u32,
    /// Time left until the frame leaves; 0 when it should have left.
    #[serde(rename = "leaves_in_ms", with = "codec::maybe_milliseconds", default)]
    pub leaves_in: Option<Duration>,
    /// First or last of a run, and so on.
    #[serde(flatten, with = "codec::Flags")]
    pub flags: RequestFlags,
}

/// What came of a request. Pictures are kept as their hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// In a word, and what belongs to it.
    #[serde(flatten)]
    pub outcome: Answered,
    /// The mouth is at rest.
    pub at_rest: bool,
    /// The avatar frame that was really used.
    pub avatar_frame: u32,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Answered {
    /// A patch.
    Patch {
        /// Where it goes.
        #[serde(with = "codec::rect")]
        rect: Rect,
        /// How the pixels lie.
        #[serde(with = "codec::format")]
        format: PixelFormat,
        /// Where its transparency comes from.
        #[serde(with = "codec::alpha")]
        alpha: Alpha,
        /// BLAKE3 of its pixels.
        #[serde(with = "codec::hash")]
        blake3: blake3::Hash,
    },
    /// The avatar's frame as it is.
    AvatarFrame,
    /// The picture before once more.
    SamePatch,
    /// There is no picture: the deadline had passed, or a reset came between.
    Expired,
    /// The backend refused or broke.
    Failed {
        /// Its own words.
        reason: String,
    },
    /// The backend is of no more use to this session.
    Gone {
        /// In words.
        reason: String,
        /// The request was in the batch during which it broke.
        in_flight: bool,
    },
}

impl Answered {
    /// The words of one that is no picture.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed { reason } | Self::Gone { reason, .. } => Some(reason),
            _ => None,
        }
    }
}

impl Answer {
    /// Reads a patch once, to hash it: the costliest part of recording a frame.
    pub fn of(reply: &FrameReply) -> Self {
        let outcome = match &reply.outcome {
            Outcome::Patch(patch) => Answered::Patch {
                rect: patch.rect,
                format: patch.format,
                alpha: patch.alpha,
                blake3: blake3::hash(&patch.pixels),
            },
            Outcome::AvatarFrame => Answered::AvatarFrame,
            Outcome::SamePatch => Answered::SamePatch,
            Outcome::Expired => Answered::Expired,
            Outcome::Failed(reason) => Answered::Failed { reason: reason.clone() },
            Outcome::Gone { reason, in_flight } => {
                Answered::Gone { reason: reason.clone(), in_flight: *in_flight }
            }
        };
        Self { outcome, at_rest: reply.at_rest, avatar_frame: reply.avatar_frame_used }
    }
}

/// One line of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineMark {
    /// Its number.
    pub line: u32,
    /// Whom it leads to.
    pub backend: BackendMark,
    /// How what is kept of it begins.
    pub begins: Begins,
}

/// How what is kept of a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Begins {
    /// As it was opened: nothing is missing.
    Opened,
    /// With a reset, before which a backend remembers nothing.
    Reset,
    /// With a run of speech; what was said before it is not kept.
    Run,
    /// In the middle of a run, which did not fit.
    Middle,
}

/// What is known of a session's last minutes.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Whose.
    pub subject: Subject,
    /// Its lines, by number.
    pub lines: Vec<LineMark>,
    /// What happened, in order.
    pub entries: Vec<Entry>,
}
