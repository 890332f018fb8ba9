//! What is checked, as the checks see it: one running backend, whatever door it came through.
//!
//! In: calls in the words of the contract. Out: what the backend said, or that it is gone. Handles are plain numbers,
//! so that every check can ask for the wrong thing without breaking a type.

mod inspect;

mod local;

mod remote;

pub use local::{Linked, LocalLauncher};
pub use remote::ProcessLauncher;

use std::path::Path;
use std::time::Duration;

use lipcast_plugins_api::loader::{FrameResult, Progress, Source};
use lipcast_plugins_api::types::{AvatarInfo, Descriptor, Error, Health, SessionParams};
use serde_json::Value;

/// Starts subjects, each fresh.
pub trait Launcher: Send + Sync {
    /// Starts one and waits until it has said who it is. Its session calls and batches may each take `patience`.
    ///
    /// # Errors
    /// Why there is none, with what it said before it went.
    fn launch(&self, patience: Duration) -> Result<Box<dyn Subject>, Refused>;

    /// What is checked, for the head of the report: a path or a command.
    fn origin(&self) -> String;

    /// The shared library, where there is one: its symbols are looked at.
    fn library(&self) -> Option<&Path> {
        None
    }

    /// Looks at a library from inside a process of its own; `None` where there is no library.
    ///
    /// # Errors
    /// Why it came to no end: a line like "ended by SIGSEGV".
    fn inspect(&self, what: Inspect, config: &Value) -> Option<Result<Value, Refused>> {
        let _ = (what, config);
        None
    }
}

/// What a process that opens a library by hand finds out; each in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inspect {
    /// What opening it and asking for its descriptor cost.
    Descriptor,
    /// How `create` takes host tables of other versions, and a config that is no JSON.
    Tables,
    /// What is left after `create` and `destroy`, again and again.
    Cycles,
}

impl Inspect {
    /// The word for it on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Descriptor => "descriptor",
            Self::Tables => "tables",
            Self::Cycles => "cycles",
        }
    }
}

/// Why there is no subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// One line.
    pub reason: String,
    /// What it wrote to its log and to stderr.
    pub lines: Vec<String>,
}

/// One running backend. Calls may come from several threads; those of one thread answer in order.
pub trait Subject: Send + Sync {
    /// What it says about itself.
    fn descriptor(&self) -> &Descriptor;

    /// The process it runs in; `None`: this one.
    fn process(&self) -> Option<u32>;

    /// Loads the backend with its settings.
    fn create(&self, config: &Value, progress: &dyn Progress) -> Reply<()>;

    /// Its effective device, precision, batch sizes.
    fn describe(&self) -> Reply<Value>;

    /// How it feels; also while another thread is in [`infer`](Self::infer).
    fn health(&self) -> Reply<Health>;

    /// Its counters; `None`: it has none. Also while another thread is in [`infer`](Self::infer).
    fn stats(&self) -> Reply<Option<Value>>;

    /// A blob of `source`.
    fn prepare(&self, source: &mut dyn Source, params: &Value, progress: &dyn Progress) -> Reply<Vec<u8>>;

    /// Loads a blob and reads all masks.
    fn load(&self, blob: &[u8]) -> Reply<LoadedAvatar>;

    /// Unloads an avatar after its sessions are closed.
    fn unload(&self, avatar: u64) -> Reply<()>;

    /// Begins a performance; gives its number.
    fn open(&self, avatar: u64, params: &SessionParams) -> Reply<u64>;

    /// Appends 16 kHz mono PCM.
    fn push(&self, session: u64, first_sample: u64, pcm: &[f32], end: bool) -> Reply<()>;

    /// Barge-in.
    fn reset(&self, session: u64, epoch: u32) -> Reply<()>;

    /// Ends a performance.
    fn close(&self, session: u64) -> Reply<()>;

    /// Draws a batch; one answer for each request, in their order.
    fn infer(&self, requests: &[Ask]) -> Reply<Vec<Result<Drawn, Error>>>;

    /// Now, in the clock of the deadlines: nanoseconds.
    fn now_ns(&self) -> u64;

    /// Ends it politely: everything is closed, unloaded and destroyed.
    fn end(&self) -> Reply<()>;

    /// Ends it at once; calls that wait come back as [`Fault::Lost`]. Where it runs in this process nothing can be
    /// done.
    fn kill(&self);

    /// The last lines of its log and of stderr, oldest first.
    fn lines(&self) -> Vec<String>;

    /// How many lines it has said so far, as far as they were heard: a host hears a hundred a second.
    fn said(&self) -> usize;
}

/// What comes back of a call.
pub type Reply<T> = Result<T, Fault>;

/// How a call failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The backend answered with an error.
    Said(Error),
    /// The backend is gone or breaks the protocol: why, in one line.
    Lost(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Said(error) => write!(f, "{error}"),
            Self::Lost(reason) => f.write_str(reason),
        }
    }
}

/// An avatar that is loaded.
#[derive(Clone, Debug)]
pub struct LoadedAvatar {
    /// Its number.
    pub id: u64,
    /// Canvas, rate, frames; checked.
    pub info: AvatarInfo,
}

/// One frame to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whose.
    pub session: u64,
    /// The session's, since its last reset.
    pub epoch: u32,
    /// Counts the session's requests.
    pub seq: u64,
    /// Video frame k.
    pub frame: u64,
    /// Avatar frame j.
    pub avatar_frame: u32,
    /// In the clock of [`Subject::now_ns`]; 0: never.
    pub deadline_ns: u64,
    /// First of a run of speech, or after a reset.
    pub first: bool,
    /// No later frame of this run has audio.
    pub last: bool,
    /// Late: the picture may be left out.
    pub discard_ok: bool,
    /// What every byte of its slot is before; none: whatever was there last.
    pub blank: Option<u8>,
}

/// A drawn frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Where and how; checked against the contract.
    pub result: FrameResult,
    /// The picture's bytes as [`FrameResult::format`] lays them out; empty when unchanged.
    pub picture: Vec<u8>,
}

/// The longest a subject may take to say who it is.
pub const HELLO_LIMIT: Duration = Duration::from_secs(20);
