//! Every number that a supervisor goes by.

use std::time::Duration;

/// How patient a supervisor is, and what it gives up over. Durations unless a unit is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// An incarnation that has not started by then is killed.
    pub init_timeout: Duration,
    /// A call that is out for less than this never costs the incarnation its life.
    pub hard_floor: Duration,
    /// Nor does one that is out for less than this many times the 99th percentile of a batch.
    pub hard_factor: u32,
    /// While the heartbeat stands, the machine is starved rather than the call stuck: the hard deadline is stretched,
    /// but by no more than this factor.
    pub starved_factor: u32,
    /// How often a living host bumps its heartbeat.
    pub beat_period: Duration,
    /// How often the heartbeat is looked at while a call is out.
    pub beat_sample: Duration,
    /// The first back-off; it doubles with every loss.
    pub backoff_base: Duration,
    /// The longest back-off, before jitter.
    pub backoff_cap: Duration,
    /// Jitter of a back-off in per cent, either way.
    pub jitter_percent: u32,
    /// An incarnation that served this long was healthy: the back-off begins anew.
    pub healthy_after: Duration,
    /// Deaths within [`circuit_window`](Self::circuit_window) that open the circuit. One during the start, or before
    /// the first answered frame, counts double.
    pub circuit_deaths: u32,
    /// How long a death is remembered.
    pub circuit_window: Duration,
    /// How long an open circuit waits until it tries once more.
    pub quarantine: Duration,
    /// How long sessions have to leave an incarnation that is to be replaced.
    pub drain_timeout: Duration,
    /// The same for one that ran out of memory.
    pub recycle_timeout: Duration,
    /// How long a polite end may take before it is a kill.
    pub end_timeout: Duration,
    /// Resident bytes at which the incarnation is replaced; `None`: no limit.
    pub memory_limit: Option<u64>,
    /// Per cent of [`memory_limit`](Self::memory_limit) at which a warning is given.
    pub memory_warn_percent: u32,
    /// Calls that may be out at once: the cells of the ring.
    pub window: usize,
    /// Calls and requests that one session may have waiting. Enough for a whole utterance of an hour in one-second
    /// pieces; a session that asks for more than it takes answers for has gone mad.
    pub max_waiting: usize,
}

impl Default for Policy {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            init_timeout: seconds(120),
            hard_floor: seconds(2),
            hard_factor: 20,
            starved_factor: 3,
            beat_period: Duration::from_millis(100),
            beat_sample: Duration::from_millis(200),
            backoff_base: Duration::from_millis(100),
            backoff_cap: seconds(30),
            jitter_percent: 20,
            healthy_after: seconds(60),
            circuit_deaths: 5,
            circuit_window: seconds(60),
            quarantine: seconds(300),
            drain_timeout: seconds(10),
            recycle_timeout: seconds(2),
            end_timeout: seconds(2),
            memory_limit: None,
            memory_warn_percent: 80,
            window: 64,
            max_waiting: 4096,
        }
    }
}
