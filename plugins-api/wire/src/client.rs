//! The parent's calls: a child that is started, greeted, and asked one thing or several at a time, from any thread.
//!
//! In: control calls. Out: what they gave. Batches and session calls go over the ring, which has one owner;
//! [`Blocking`] is for owners that want to wait.

mod avatar;
pub use avatar::RemoteAvatar;

mod picture;
pub use picture::Picture;

mod blocking;
pub use blocking::Blocking;

mod calls;
pub use calls::{CallError, Calls, Greeting, HUNG_UP};

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use lipcast_plugins_api::types::{Descriptor, LogLevel, MetricKind};
use serde_json::Value;

use crate::lines::{LINE_BYTES, Limiter, cleaned};
use crate::ring::Submissions;
use crate::spawn::{Child, ChildCommand, Ends};

/// What a child says without being asked. Called from threads of its own.
pub trait Events: Send + Sync {
    /// A line of log of the plugin; within the limits of [`lines`](crate::lines).
    fn log(&self, level: LogLevel, target: &str, message: &str, fields: &Value);
    /// A line that the process printed; within the same limits.
    fn output(&self, line: &str);
    /// Lines that were more than it may say.
    fn dropped(&self, lines: u64);
    /// A measurement.
    fn metric(&self, name: &str, kind: MetricKind, value: f64, labels: &Value);
    /// The socket is closed, or something else than a message came over it: the child is of no more use.
    fn closed(&self, reason: &str);
}

/// Why a child could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The system's reason.
    #[error("{program} cannot be started: {reason}")]
    Spawn {
        /// What was to be started.
        program: String,
        /// Why it was not.
        reason: String,
    },
    /// The child opened its plugin and did not want it.
    #[error("{0}")]
    Refused(String),
    /// The child ended before it greeted.
    #[error("its process ended while the plugin was opened: {0}")]
    Died(String),
    /// It did not greet.
    #[error("its process said nothing for {0:?}")]
    Silent(Duration),
}

/// A child that has greeted.
#[derive(Debug)]
pub struct Host {
    /// The process.
    pub child: Child,
    /// Its calls.
    pub calls: Arc<Calls>,
    /// The parent's end of the ring.
    pub ring: Submissions,
    /// Who it is.
    pub descriptor: Descriptor,
    /// What was opened, for people.
    pub origin: String,
}

impl Host {
    /// Starts a child and waits for its greeting, at most for `patience`. See [`Child::start`] for the thread.
    ///
    /// # Errors
    /// When it cannot be started, does not greet, or refuses its plugin.
    pub fn start(
        command: &ChildCommand,
        events: Arc<dyn Events>,
        patience: Duration,
    ) -> Result<Self, StartError> {
        let failed =
            |reason: String| StartError::Spawn { program: command.program.display().to_string(), reason };
        let Ends { mut child, control, ring, output } =
            Child::start(command).map_err(|error| failed(error.to_string()))?;
        let limiter = Limiter::default();
        let (calls, greeting) = Calls::open(control, events.clone(), limiter.clone())
            .map_err(|error| failed(error.to_string()))?;
        print_lines(output, events, limiter).map_err(|error| failed(error.to_string()))?;
        let hello = match greeting.wait(Some(patience)) {
            Ok(Ok(hello)) => hello,
            Ok(Err(refusal)) => return Err(StartError::Refused(refusal)),
            Err(mpsc::RecvTimeoutError::Timeout) => return Err(StartError::Silent(patience)),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                // It closed its socket, or sent nonsense. If it is ending, how it ends says more.
                let end = Instant::now() + Duration::from_millis(500);
                while child.ended().is_none() && Instant::now() < end {
                    thread::sleep(Duration::from_millis(5));
                }
                let how = child.ended().unwrap_or_else(|| calls.closed().unwrap_or_default());
                return Err(StartError::Died(how));
            }
        };
        let descriptor = hello.descriptor().map_err(StartError::Refused)?;
        Ok(Self { child, calls, ring, descriptor, origin: hello.origin })
    }

    /// Its calls over the ring, each waited for. Takes the ring.
    pub fn into_blocking(self) -> Blocking {
        Blocking::new(self)
    }
}

/// Reads what a child prints, on a thread of its own, to its end. `limiter` is the one of its [`Calls`].
///
/// # Errors
/// When there is no thread left.
pub fn print_lines(output: std::fs::File, events: Arc<dyn Events>, limiter: Limiter) -> std::io::Result<()> {
    let read = move || {
        let mut lines = BufReader::new(output);
        let mut line = Vec::new();
        loop {
            line.clear();
            match lines.by_ref().take(LINE_BYTES as u64).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            // The rest of a longer one is not kept, however long it is. The end shows at the next look.
            if !line.ends_with(b"\n") {
                let _ = lines.skip_until(b'\n');
            }
            let (admitted, dropped) = limiter.admit(Instant::now());
            if dropped > 0 {
                events.dropped(dropped);
            }
            if admitted {
                let text = String::from_utf8_lossy(&line);
                events.output(&cleaned(text.trim_end()));
            }
        }
        let dropped = limiter.take_dropped();
        if dropped > 0 {
            events.dropped(dropped);
        }
    };
    thread::Builder::new().name("backend output".to_owned()).spawn(read).map(drop)
}
