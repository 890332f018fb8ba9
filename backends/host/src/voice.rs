//! What this process says: answers, which wait for room, and notices, which do not.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lipcast_plugins_api::loader::HostServices;
use lipcast_plugins_api::types::{LogLevel, MetricKind};
use lipcast_wire::control::{Control, Packet};
use lipcast_wire::lines::cleaned;
use lipcast_wire::message::FromChild;
use serde_json::Value;

/// The socket. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Voice {
    control: Arc<Control>,
    /// Lines of log for which there was no room, and that no later one has told of.
    unheard: Arc<AtomicU64>,
}

/// A parent that reads nothing for so long has lost interest.
const PATIENCE: Duration = Duration::from_secs(30);

impl Voice {
    pub(crate) fn new(control: Control) -> Self {
        Self { control: Arc::new(control), unheard: Arc::default() }
    }

    /// Says something that has to be heard.
    pub(crate) fn say(&self, message: &FromChild) {
        if let Err(error) = self.say_with(message, &[]) {
            // The other end will see that something is missing; this is for whoever reads the log.
            eprintln!("a message could not be sent: {error}");
        }
    }

    /// Says it with descriptors beside it.
    ///
    /// # Errors
    /// When it is larger than a packet, or the parent reads nothing.
    pub(crate) fn say_with(&self, message: &FromChild, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.control.send(&serde_json::to_vec(message)?, descriptors, PATIENCE)
    }

    /// The parent's next message; `None` when it is gone.
    pub(crate) fn listen(&self) -> Option<Packet> {
        self.control.receive(None).ok().flatten()
    }

    /// Says something that may go unheard: nobody waits for a parent that does not read. Whether it was heard.
    fn mention(&self, message: &FromChild) -> bool {
        serde_json::to_vec(message).is_ok_and(|bytes| self.control.send(&bytes, &[], Duration::ZERO).is_ok())
    }
}

impl HostServices for Voice {
    fn log(&self, level: LogLevel, target: &str, message: &str, fields_json: &str) {
        let missed = self.unheard.swap(0, Ordering::Relaxed);
        let heard = self.mention(&FromChild::Log {
            log: level.into(),
            target: cleaned(target),
            message: cleaned(message),
            fields: object(fields_json),
            missed,
        });
        if !heard {
            self.unheard.fetch_add(missed + 1, Ordering::Relaxed);
        }
    }

    fn metric(&self, name: &str, kind: MetricKind, value: f64, labels_json: &str) {
        self.mention(&FromChild::Metric {
            metric: name.to_owned(),
            kind: kind.into(),
            value,
            labels: object(labels_json),
        });
    }

    /// CLOCK_MONOTONIC, which the parent's deadlines are in.
    fn now_ns(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }
}

fn object(json: &str) -> Value {
    if json.is_empty() || json.len() > lipcast_wire::lines::LINE_BYTES {
        return Value::Null;
    }
    serde_json::from_str(json).unwrap_or(Value::Null)
}
