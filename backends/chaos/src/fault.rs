//! What happens: the faults of an instance, and carrying them out.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lipcast_plugins_api::author::{Code, Error, Host, LogLevel};
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;

use crate::harm;
use crate::trigger::{Circumstance, Trigger};

/// A call of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Call {
    Create,
    Destroy,
    Describe,
    PrepareAvatar,
    LoadAvatar,
    UnloadAvatar,
    OpenSession,
    CloseSession,
    PushAudio,
    Reset,
    InferBatch,
    Health,
}

impl Call {
    /// Whether the SDK lets it answer with an error.
    pub(crate) fn has_status(self) -> bool {
        !matches!(self, Self::Destroy | Self::Describe | Self::UnloadAvatar | Self::CloseSession)
    }
}

/// One fault.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    pub(crate) act: Act,
    pub(crate) trigger: Trigger,
    /// Where the time is written down right before it happens.
    pub(crate) note: Option<PathBuf>,
}

/// What a fault does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Act {
    Fail { error: Error, whole: bool },
    Hang(Option<Duration>),
    Crash,
    Abort,
    Exit(i32),
    Panic,
    Leak { bytes: usize },
    Log { lines: u64, bytes: usize },
    Print { lines: u64, bytes: usize, to: Stream },
    Fork(Duration),
    CloseFds,
    BadRing(Scribble),
    BadTalk,
    StopSelf,
    Picture(Wrong),
}

/// Where to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// What of the shared memory is overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scribble {
    Counter,
    Cells,
    All,
}

/// What is wrong with a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Garbage,
    Black,
    Flat,
    ShortWrite,
    NoResult,
    Overrun { bytes: usize },
    OutsideRect,
    OddRect,
    UnknownFormat,
    Frame,
    Status,
}

/// The faults of an instance.
pub(crate) struct Faults {
    host: Host,
    all: Vec<Fault>,
}

/// What a call has still to do after the faults that happen by themselves.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Wrong pictures.
    pub(crate) wrong: Vec<Wrong>,
    /// An error that the whole batch answers with.
    pub(crate) whole: Option<Error>,
}

impl Faults {
    pub(crate) fn new(host: Host, all: Vec<Fault>) -> Self {
        Self { host, all }
    }

    /// Lets happen what is due at `call`, in the order of the settings.
    ///
    /// # Errors
    /// The status that a fault wants; the faults behind it do not happen.
    pub(crate) fn at(&self, call: Call, now: Circumstance<'_>) -> Result<Left, Error> {
        let mut left = Left::default();
        for fault in self.all.iter().filter(|fault| fault.call == call) {
            if !fault.trigger.fires(now) {
                continue;
            }
            if let Some(file) = &fault.note {
                note_time(file);
            }
            match &fault.act {
                Act::Fail { error, whole: false } => return Err(error.clone()),
                Act::Fail { error, whole: true } => left.whole = Some(error.clone()),
                Act::Picture(wrong) => left.wrong.push(*wrong),
                act => self.happen(act),
            }
        }
        Ok(left)
    }

    /// For a call without a status and without samples.
    pub(crate) fn quietly(&self, call: Call) {
        // Settings refuse `fail` in a call without a status, so there is no error.
        let _ = self.at(call, Circumstance::default());
    }

    fn happen(&self, act: &Act) {
        match act {
            Act::Fail { .. } | Act::Picture(_) => {}
            Act::Hang(Some(time)) => std::thread::sleep(*time),
            Act::Hang(None) => loop {
                std::thread::park();
            },
            Act::Crash => harm::segfault(),
            Act::Abort => std::process::abort(),
            Act::Exit(status) => std::process::exit(*status),
            Act::Panic => panic!("chaos panics, as it was told"),
            Act::Leak { bytes } => {
                std::hint::black_box(vec![0xA5_u8; *bytes].leak());
            }
            Act::Log { lines, bytes } => {
                for line in 0..*lines {
                    self.host.log(LogLevel::Info, "chaos", &text(line, *bytes));
                }
            }
            Act::Print { lines, bytes, to } => print(*lines, *bytes, *to),
            Act::Fork(time) => harm::fork_for(*time),
            Act::CloseFds => harm::close_descriptors(),
            Act::BadRing(what) => harm::scribble(*what),
            Act::BadTalk => harm::talk_nonsense(),
            Act::StopSelf => harm::stop(),
        }
    }
}

/// Appends nanoseconds of CLOCK_MONOTONIC to `file`, a line. The file is opened first, so that little comes after the
/// clock was read.
fn note_time(file: &Path) {
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(file) {
        let now = clock_gettime(ClockId::Monotonic);
        let line = format!("{}\n", now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64);
        // A fault happens whether or not anybody can read when.
        let _ = file.write_all(line.as_bytes());
    }
}

/// A line that tells its number, filled up to `bytes`.
fn text(line: u64, bytes: usize) -> String {
    let mut text = format!("chaos line {line} ");
    while text.len() < bytes {
        text.push('.');
    }
    text
}

/// Past the host. A closed pipe is the host's answer, not an error.
fn print(lines: u64, bytes: usize, to: Stream) {
    for line in 0..lines {
        let text = text(line, bytes) + "\n";
        let _ = match to {
            Stream::Stdout => std::io::stdout().write_all(text.as_bytes()),
            Stream::Stderr => std::io::stderr().write_all(text.as_bytes()),
        };
    }
    let _ = std::io::stdout().flush();
}

/// A float model's finding.
pub(crate) fn nan() -> Act {
    Act::Fail { error: Error::new(Code::BadOutput, "NaN in the output"), whole: false }
}
