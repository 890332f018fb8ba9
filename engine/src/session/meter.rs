//! What became of all sessions together, in numbers.

use super::{PerformanceStats, Unit};
use crate::meter::{Counter, Histogram};

/// Counted by the sessions' threads, read by whoever exports it.
#[derive(Debug)]
pub struct SessionMeter {
    /// Frames that the preferred backend drew.
    pub backend: Counter,
    /// Frames given out while a backend drew that had taken over.
    pub standby: Counter,
    /// Frames that showed the last picture again, or the avatar's own for want of a backend.
    pub held: Counter,
    /// Of these, frames that were not asked for, because the backend is too slow.
    pub shed: Counter,
    /// Frames without speech: the avatar's own.
    pub idle: Counter,
    /// Replies that broke the contract or carried an error.
    pub failed: Counter,
    /// Times a speech source fell behind.
    pub underruns: Counter,
    /// How long a frame took from the backend's answer to the picture.
    pub compose: Histogram,
}

impl Default for SessionMeter {
    fn default() -> Self {
        Self {
            backend: Counter::default(),
            standby: Counter::default(),
            held: Counter::default(),
            shed: Counter::default(),
            idle: Counter::default(),
            failed: Counter::default(),
            underruns: Counter::default(),
            compose: Histogram::of_times(),
        }
    }
}

impl SessionMeter {
    /// A unit was given out; the session's counters as they were and as they are.
    pub(super) fn count(&self, unit: &Unit, was: &PerformanceStats, is: &PerformanceStats) {
        let idle = |stats: &PerformanceStats| stats.frames - stats.speech - stats.held;
        let preferred = |stats: &PerformanceStats| stats.speech - stats.standby;
        for (counter, more) in [
            (&self.backend, preferred(is) - preferred(was)),
            (&self.standby, is.standby - was.standby),
            (&self.held, is.held - was.held),
            (&self.shed, is.shed - was.shed),
            (&self.idle, idle(is) - idle(was)),
            (&self.failed, is.failed - was.failed),
            (&self.underruns, is.underruns - was.underruns),
        ] {
            if more > 0 {
                counter.add(more);
            }
        }
        self.compose.time(unit.composing);
    }
}
