//! The calls that are out, and whether the first of them is stuck.
//!
//! Patience is counted in the host's own heartbeats: a host that was stopped or starved did not have the time that
//! passed, so it is not blamed for it. A host that never beats is measured by the clock alone.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Policy, Rules};

#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Calls in the order that the host does them.
    out: VecDeque<u64>,
    /// Since when the host can have been at the first one.
    since: Duration,
    /// How much of that it lived through.
    lived: Duration,
    /// The heartbeat when it last moved.
    beat: Option<(u32, Duration)>,
    looked: Duration,
    /// The last batches' durations: as they came, and in order of length.
    durations: VecDeque<Duration>,
    sorted: Vec<Duration>,
}

impl Watch {
    /// Batches that the 99th percentile is taken over.
    const MEASURED: usize = 256;

    pub(super) fn submitted(&mut self, op: u64, now: Duration) {
        if self.out.is_empty() {
            self.begin(now);
        }
        self.out.push_back(op);
    }

    /// How long `op` took if it is the one that was to be done next, which then is done.
    pub(super) fn done(&mut self, op: u64, is_batch: bool, now: Duration) -> Option<Duration> {
        if self.out.front() != Some(&op) {
            return None;
        }
        self.out.pop_front();
        let taken = now.saturating_sub(self.since);
        if is_batch {
            self.measure(taken);
        }
        self.begin(now);
        Some(taken)
    }

    pub(super) fn beat<R: Rules>(&mut self, beat: u32, policy: &Policy, now: Duration) {
        let passed = |since| now.saturating_sub(since);
        match self.beat {
            Some((before, _)) if before == beat => return,
            Some((before, at)) if at >= self.since => {
                let beats = policy.beat_period.saturating_mul(beat.wrapping_sub(before));
                self.lived += R::lived(passed(at), beats);
            }
            // It was not looked at since the call began, so which of the beats fell into that time is not known.
            _ => self.lived = R::lived(passed(self.since), policy.beat_sample),
        }
        self.beat = Some((beat, now));
    }

    /// Calls that are out.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// The first call has been out for longer than any that works.
    pub(super) fn is_stuck<R: Rules>(&mut self, policy: &Policy, now: Duration) -> bool {
        self.looked = now;
        let (hard, passed) = (self.hard::<R>(policy), now.saturating_sub(self.since));
        let lived = if self.beat.is_some() { self.lived } else { passed };
        !self.out.is_empty() && (lived >= hard || passed >= hard * policy.starved_factor)
    }

    pub(super) fn next_deadline<R: Rules>(&self, policy: &Policy) -> Option<Duration> {
        if self.out.is_empty() {
            return None;
        }
        // Also before the first beat was heard: the host may stand still already.
        let look = self.looked.max(self.since) + policy.beat_sample;
        let patience = if self.beat.is_some() { policy.starved_factor } else { 1 };
        Some(look.min(self.since + self.hard::<R>(policy) * patience))
    }

    /// The 99th percentile of the last batches.
    pub(super) fn batch_p99(&self) -> Duration {
        let rank = (self.sorted.len() * 99).div_ceil(100);
        rank.checked_sub(1).map_or(Duration::ZERO, |rank| self.sorted[rank])
    }

    /// Another incarnation: nothing is out, and its heart is another.
    pub(super) fn forget(&mut self) {
        self.out.clear();
        self.beat = None;
    }

    fn hard<R: Rules>(&self, policy: &Policy) -> Duration {
        R::hard_deadline(self.batch_p99(), policy)
    }

    fn begin(&mut self, now: Duration) {
        self.since = now;
        self.lived = Duration::ZERO;
    }

    fn measure(&mut self, taken: Duration) {
        if self.durations.len() == Self::MEASURED
            && let Some(oldest) = self.durations.pop_front()
        {
            // It is in there: both hold the same values.
            self.sorted.remove(self.sorted.partition_point(|known| *known < oldest));
        }
        self.durations.push_back(taken);
        self.sorted.insert(self.sorted.partition_point(|known| *known < taken), taken);
    }
}
