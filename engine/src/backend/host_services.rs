//! What a backend says, in our log; and the progress of its long calls, for whoever watches the job.

use std::sync::Arc;

use lipcast_plugins_api::author::{LogLevel, MetricKind};
use lipcast_plugins_api::loader::{HostServices, Progress};
use lipcast_wire::client::Events;
use serde_json::Value;

use super::BackendMeter;
use crate::avatar::Job;

/// Progress of a long call.
pub(super) struct JobProgress<'a> {
    pub(super) job: &'a Job,
    pub(super) backend: &'a str,
}

impl Progress for JobProgress<'_> {
    fn is_cancelled(&self) -> bool {
        self.job.is_cancelled()
    }

    fn progress(&self, permille: u32, stage: &str) {
        self.job.set_backend(permille);
        tracing::debug!(backend = self.backend, permille, stage, "progress");
    }
}

/// The host table of a backend in this process.
pub(super) struct TracingHost {
    pub(super) backend: String,
}

impl HostServices for TracingHost {
    fn log(&self, level: LogLevel, target: &str, message: &str, fields_json: &str) {
        say(&self.backend, level, target, message, fields_json);
    }
}

/// What a backend's process says.
pub(super) struct ChildEvents<F> {
    backend: String,
    meter: Arc<BackendMeter>,
    closed: F,
}

impl<F: Fn(&str) + Send + Sync> ChildEvents<F> {
    /// `closed` is told when there is nobody at the other end of the socket any more.
    pub(super) fn new(backend: &str, meter: Arc<BackendMeter>, closed: F) -> Self {
        Self { backend: backend.to_owned(), meter, closed }
    }
}

impl<F: Fn(&str) + Send + Sync> Events for ChildEvents<F> {
    fn log(&self, level: LogLevel, target: &str, message: &str, fields: &Value) {
        let fields = if fields.is_null() { String::new() } else { fields.to_string() };
        say(&self.backend, level, target, message, &fields);
    }

    fn output(&self, line: &str) {
        // How the hook of Rust's standard library begins; the backtrace after it is not as grave.
        if line.contains(" panicked at ") {
            tracing::error!(backend = self.backend, "{line}");
        } else {
            tracing::info!(backend = self.backend, "{line}");
        }
    }

    fn dropped(&self, lines: u64) {
        self.meter.dropped_lines.add(lines);
        tracing::warn!(backend = self.backend, lines, "it says too much: lines were dropped");
    }

    fn metric(&self, name: &str, kind: MetricKind, value: f64, labels: &Value) {
        tracing::trace!(backend = self.backend, name, ?kind, value, %labels, "metric");
    }

    fn closed(&self, reason: &str) {
        (self.closed)(reason);
    }
}

fn say(backend: &str, level: LogLevel, target: &str, message: &str, fields: &str) {
    match level {
        LogLevel::Error => tracing::error!(backend, target, fields, "{message}"),
        LogLevel::Warn => tracing::warn!(backend, target, fields, "{message}"),
        LogLevel::Info => tracing::info!(backend, target, fields, "{message}"),
        LogLevel::Debug => tracing::debug!(backend, target, fields, "{message}"),
        LogLevel::Trace => tracing::trace!(backend, target, fields, "{message}"),
    }
}
