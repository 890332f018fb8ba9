//! How soon a session hears that its backend is gone, and how soon there is another one.
//!
//! In: a way to die inside a call. Out: times from the moment before the backend died, which it notes itself on the
//! clock that processes share, to the reply that says so, and on to an instance that serves again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lipcast_engine::backend::{Instance, Outcome, ReportedState};
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::stand::{Line, Stand, StandError, backend};
use crate::config::{EngineConfig, Isolation};

/// A way to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// A write to an address that is not there: SIGSEGV.
    Crash,
    /// SIGABRT.
    Abort,
    /// The process ends itself with status 0.
    Exit,
    /// SIGKILL from outside while the call is out, as the kernel does when memory runs out.
    Killed,
}

impl Death {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Crash, Self::Abort, Self::Exit, Self::Killed];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "segfault",
            Self::Abort => "abort",
            Self::Exit => "exit(0)",
            Self::Killed => "SIGKILL",
        }
    }

    /// The settings of a chaos backend that dies so at frame [`LAST`], and notes the moment in `note`.
    fn settings(self, note: &Path) -> Value {
        let act = match self {
            Self::Crash => "crash",
            Self::Abort => "abort",
            Self::Exit => "exit",
            Self::Killed => "hang",
        };
        json!({ "faults": [{ "in": "infer_batch", "do": act, "at_frame": LAST, "note": note }] })
    }
}

/// The frame that is not answered any more.
const LAST: u64 = 3;

/// Size of the canvas.
const SIZE: (u32, u32) = (320, 240);

/// The back-off before the first new start; without jitter, so that it can be taken out of the figures.
pub const BACKOFF: Duration = Duration::from_millis(100);

/// How long a new start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Times of one way to die, in milliseconds, one each time.
#[derive(Debug, Clone, Default)]
pub struct Times {
    /// From the moment before the death to the session's hearing of it.
    pub heard: Vec<f64>,
    /// From there until the next incarnation is ready, without the [back-off](BACKOFF).
    pub ready: Vec<f64>,
}

/// Lets a backend die `count` times.
///
/// # Errors
/// When chaos does not come up or does not die as it was told.
pub fn measure(engine: &EngineConfig, death: Death, count: u32) -> Result<Times, StandError> {
    let system = |source| StandError::System { what: "the note of a moment", source };
    let folder = tempfile::tempdir().map_err(system)?;
    let note = folder.path().join("moments");
    let wanted = backend(NAME, "liblipcast_chaos.so", Isolation::Process, death.settings(&note));
    let stand = Stand::open(engine, &[wanted], |policy| {
        // Every death is the first one to its supervisor.
        (policy.circuit_deaths, policy.healthy_after) = (u32::MAX, Duration::ZERO);
        (policy.backoff_base, policy.jitter_percent) = (BACKOFF, 0);
    })?;
    let mut times = Times::default();
    let mut instance = stand.instance(NAME)?;
    for number in 0..count {
        let before = stand.report(NAME)?;
        let mut line = Line::open(&*instance, SIZE)?;
        for _ in 0..LAST {
            line.draw()?;
        }
        line.hear(1);
        line.ask();
        let killed = match (death, before.process) {
            (Death::Killed, Some(process)) => Some(kill(&note, number, process)?),
            _ => None,
        };
        let outcome = line.outcome()?;
        let (heard, at) = (monotonic_ns(), Instant::now());
        match outcome {
            Outcome::Gone { in_flight: true, .. } => {}
            other => return Err(StandError::Reply(format!("{other:?}, where its end was to be heard"))),
        }
        let died = match killed {
            Some(moment) => moment,
            None => *moments(&note)?.get(number as usize).ok_or_else(|| not_noted(&note))?,
        };
        times.heard.push((heard - died) as f64 / 1e6);
        instance = next(&stand, before.restarts)?;
        times.ready.push((at.elapsed().saturating_sub(BACKOFF)).as_secs_f64() * 1e3);
    }
    Ok(times)
}

const NAME: &str = "chaos";

/// Kills `process` once it is inside its call; when that was.
fn kill(note: &Path, number: u32, process: u32) -> Result<i64, StandError> {
    let limit = Instant::now() + PATIENCE;
    while moments(note).map_or(0, |moments| moments.len()) <= number as usize {
        if Instant::now() > limit {
            return Err(not_noted(note));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let now = monotonic_ns();
    let pid = Pid::from_raw(process as i32);
    pid.map(|pid| kill_process(pid, Signal::KILL))
        .transpose()
        .map_err(|error| StandError::System { what: "kill a backend", source: error.into() })?;
    Ok(now)
}

/// The incarnation after `restarts` of them, once it serves.
fn next(stand: &Stand, restarts: u64) -> Result<Arc<dyn Instance>, StandError> {
    let limit = Instant::now() + PATIENCE;
    loop {
        let known = stand.changes();
        let report = stand.report(NAME)?;
        if report.restarts > restarts && report.state == ReportedState::Ready {
            return stand.instance(NAME);
        }
        if Instant::now() > limit {
            return Err(StandError::NotReady { name: NAME.to_owned(), reason: report.detail });
        }
        stand.wait_changed(known, Duration::from_secs(1));
    }
}

/// What chaos wrote, a line each time: nanoseconds of CLOCK_MONOTONIC.
fn moments(note: &Path) -> Result<Vec<i64>, StandError> {
    let text = std::fs::read_to_string(note)
        .map_err(|source| StandError::System { what: "the note of a moment", source })?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

fn not_noted(note: &Path) -> StandError {
    StandError::Reply(format!("no moment in {}", note.display()))
}

fn monotonic_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}
