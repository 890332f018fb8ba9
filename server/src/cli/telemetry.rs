//! Where log lines go: standard error, as text or JSON.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Libraries that tell at `INFO` what only their authors want to know; and readers of files, all of which begin with
/// that name, to whom a client's bad file is an `ERROR`: whoever sent it is told.
const QUIET_TARGETS: &[&str] = &["rtc=warn", "symphonia=off"];

/// Begins to log as `config` says: for the server. Called once.
pub(super) fn start(config: &LogConfig) {
    begin(&config.level, config.format);
}

/// Begins to tell what goes wrong, and nothing else: for commands whose output is their answer. Called once.
pub(super) fn start_quietly() {
    begin("warn", LogFormat::Text);
}

fn begin(level: &str, format: LogFormat) {
    // Checked while the settings were read.
    let mut filter = EnvFilter::new(level);
    for quiet in crate::webrtc::QUIET_TARGETS.iter().chain(QUIET_TARGETS) {
        if let Ok(directive) = quiet.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        // It would tell of a full disk by printing to the same place, which panics.
        .log_internal_errors(false)
        .with_ansi(stderr().is_terminal());
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}
