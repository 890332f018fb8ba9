//! Where log lines go: standard error, as text or JSON.
//!
//! They are written by a thread of their own: a reader that stalls, a terminal that is stopped or a full pipe costs lines
//! and never holds up a session. What is more than [`LINES`] behind is dropped.

use std::io::{IsTerminal, stderr};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Libraries that tell at `INFO` what only their authors want to know; and readers of files, all of which begin with
/// that name, to whom a client's bad file is an `ERROR`: whoever sent it is told.
const QUIET_TARGETS: &[&str] = &["rtc=warn", "symphonia=off"];

/// Lines that may wait to be written: some seconds of a server that has much to tell.
const LINES: usize = 4_096;

/// Begins to log as `config` says: for the server. Called once. What waits is written when the guard is dropped, if
/// somebody reads; that takes a second at most.
pub(super) fn start(config: &LogConfig) -> WorkerGuard {
    begin(&config.level, config.format)
}

/// Begins to tell what goes wrong, and nothing else: for commands whose output is their answer. Called once.
pub(super) fn start_quietly() -> WorkerGuard {
    begin("warn", LogFormat::Text)
}

fn begin(level: &str, format: LogFormat) -> WorkerGuard {
    // Checked while the settings were read.
    let mut filter = EnvFilter::new(level);
    for quiet in crate::webrtc::QUIET_TARGETS.iter().chain(QUIET_TARGETS) {
        if let Ok(directive) = quiet.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES)
        .thread_name("log")
        .finish(stderr());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // It would tell of a full disk by printing to the same place, which panics.
        .log_internal_errors(false)
        .with_ansi(stderr().is_terminal());
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
    guard
}
