//! An incarnation as the world plays it: how long its work takes, and how long its heart has really beaten.

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) struct Child {
    pub(crate) born: Duration,
    pub(crate) ready: Option<Duration>,
    pub(crate) killed: bool,
    /// When it has done all it was given; none: it hangs.
    free_at: Option<Duration>,
    /// It stands still from when to when.
    stall: (Duration, Duration),
    stood: Duration,
    /// What is out, and since when the first of it is being done.
    out: Vec<u64>,
    /// Whose calls they are, and the number of the push where it is one.
    calls: BTreeMap<u64, Whose>,
    head: Duration,
    /// How long its heart had beaten by then.
    head_alive: Duration,
}

/// A call's session, and the number of the push where it is one.
pub(crate) type Whose = (u64, Option<u64>);

impl Child {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            born: now,
            ready: None,
            killed: false,
            free_at: Some(now),
            stall: (Duration::MAX, Duration::MAX),
            stood: Duration::ZERO,
            out: Vec::new(),
            calls: BTreeMap::new(),
            head: now,
            head_alive: Duration::ZERO,
        }
    }

    /// How long it has really run.
    pub(crate) fn alive(&self, now: Duration) -> Duration {
        let standing = now.min(self.stall.1).saturating_sub(self.stall.0);
        now.saturating_sub(self.born + self.stood + standing)
    }

    pub(crate) fn calls_out(&self) -> usize {
        self.out.len()
    }

    /// Whether `op` is what it does just now.
    pub(crate) fn is_at(&self, op: u64) -> bool {
        self.out.first() == Some(&op)
    }

    /// How long it has been at its first call, by the clock and by its heart.
    pub(crate) fn at_its_call_for(&self, now: Duration) -> (Duration, Duration) {
        (now - self.head, self.alive(now).saturating_sub(self.head_alive))
    }

    /// It is given something to do.
    pub(crate) fn given(&mut self, op: u64, whose: Option<Whose>, now: Duration) {
        if self.out.is_empty() {
            (self.head, self.head_alive) = (now, self.alive(now));
        }
        self.out.push(op);
        self.calls.extend(whose.map(|whose| (op, whose)));
    }

    /// It did its first call, `op`; whose that was, unless it was a batch.
    pub(crate) fn did(&mut self, op: u64, now: Duration) -> Option<Whose> {
        self.out.remove(0);
        (self.head, self.head_alive) = (now, self.alive(now));
        self.calls.remove(&op)
    }

    /// When it is through with what takes so long, after a standstill where there is one; `None`: it hangs already.
    pub(crate) fn done_at(
        &mut self,
        now: Duration,
        took: Duration,
        stall: Option<Duration>,
    ) -> Option<Duration> {
        let mut due = self.free_at?.max(now) + took;
        // One standstill after another; the first begins never.
        let stood = self.stall.1 <= now;
        if let Some(stall) = stall
            && (stood || self.stall.0 > now)
        {
            if stood {
                self.stood += self.stall.1 - self.stall.0;
            }
            self.stall = (now, now + stall);
            due += stall;
        }
        self.free_at = Some(due);
        Some(due)
    }

    /// It does nothing more.
    pub(crate) fn hang(&mut self) {
        self.free_at = None;
    }
}
