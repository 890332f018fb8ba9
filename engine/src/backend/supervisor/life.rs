//! The life of one backend: when an incarnation is started, ended, killed and started again.
//!
//! ```text
//!          Start                  Started              a batch past its soft deadline
//! Idle ───────────► Starting ───────────────► Ready ◄──────────────────────────────► Late
//!                    │   ▲                      │  Retire, memory                      │
//!                    │   │ the wait is over     ├──────────────────► Draining ◄────────┤
//!     killed or died │   │                      │ killed or died        │              │
//!                    ▼   │                      ▼                       │ ended        │
//!                   Dead ◄──────────────────────┴───────────────────────┴──────────────┘
//!                    │ its end is certain
//!                    └──► BackingOff, Quarantined, Refused, Idle, or Starting at once
//! ```
//!
//! In: what was heard of the incarnation, and the time. Out: [`Order`]s. It knows nothing of sessions.

use std::time::Duration;

use super::setback::{Setback, Setbacks};
use super::{Cause, Note, Policy, Rules};

/// Where a backend is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Not wanted now.
    Idle,
    /// An incarnation is being loaded.
    Starting,
    /// Serves.
    Ready,
    /// Serves, but a batch is out past its soft deadline.
    Late,
    /// Serves the sessions that it has until they have gone elsewhere.
    Draining,
    /// The incarnation is lost; that it is gone is not certain yet.
    Dead,
    /// Waits until it is tried again.
    BackingOff,
    /// It died too often: waits for long.
    Quarantined,
    /// It cannot be started; trying again by itself would not help.
    Refused,
}

/// What a life wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Spawn { incarnation: u64 },
    Kill { incarnation: u64, reason: String },
    End { incarnation: u64 },
    Announce { state: State, reason: String },
    Note(Note),
}

/// What follows once the incarnation is certainly gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It died; how much that counts.
    Death(u32),
    /// It could not start now.
    LaterMaybe,
    /// It cannot start.
    Refused,
    /// It is not wanted any more.
    Idle,
    /// It is wanted anew.
    Again,
}

#[derive(Debug)]
pub(super) struct Life {
    policy: Policy,
    state: State,
    /// Why it is in this state.
    reason: String,
    incarnation: u64,
    /// Spawned and not yet certainly gone.
    lives: bool,
    /// When the state ends by itself.
    until: Option<Duration>,
    next: Next,
    /// Why the last incarnation had to be replaced.
    cause: Cause,
    ready_since: Option<Duration>,
    /// It has answered a request.
    proven: bool,
    /// It was asked to end.
    ending: bool,
    setbacks: Setbacks,
    orders: Vec<Order>,
}

impl Life {
    pub(super) fn new(policy: Policy, seed: u64) -> Self {
        Self {
            policy,
            state: State::Idle,
            reason: String::new(),
            incarnation: 0,
            lives: false,
            until: None,
            next: Next::Idle,
            cause: Cause::Start,
            ready_since: None,
            proven: false,
            ending: false,
            setbacks: Setbacks::new(seed),
            orders: Vec::new(),
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    /// The number of the incarnation that lives, or of the last one.
    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Calls may be handed to the incarnation.
    pub(super) fn serves(&self) -> bool {
        matches!(self.state, State::Ready | State::Late | State::Draining) && !self.ending
    }

    /// Sessions may be opened.
    pub(super) fn welcomes(&self) -> bool {
        matches!(self.state, State::Ready | State::Late)
    }

    /// Asked to end, or to be ended when the sessions are gone.
    pub(super) fn is_draining(&self) -> bool {
        self.state == State::Draining && !self.ending
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.until
    }

    pub(super) fn take_orders(&mut self) -> std::vec::Drain<'_, Order> {
        self.orders.drain(..)
    }

    pub(super) fn start(&mut self, now: Duration) {
        if self.state == State::Idle {
            self.spawn(now);
        }
    }

    pub(super) fn started(&mut self, now: Duration) {
        if self.state == State::Starting {
            self.ready_since = Some(now);
            self.enter(State::Ready, "", None);
        }
    }

    pub(super) fn start_failed(&mut self, reason: &str, retryable: bool) {
        if self.state == State::Starting {
            self.cause = Cause::Start;
            self.kill(reason, if retryable { Next::LaterMaybe } else { Next::Refused });
        }
    }

    /// A batch is out past its soft deadline, or none is any more.
    pub(super) fn set_late(&mut self, late: bool) {
        match (self.state, late) {
            (State::Ready, true) => self.enter(State::Late, "a batch is past its deadline", None),
            (State::Late, false) => self.enter(State::Ready, "", None),
            _ => {}
        }
    }

    /// A request was answered with a picture.
    pub(super) fn prove(&mut self) {
        self.proven = true;
    }

    /// The incarnation is of no more use.
    pub(super) fn lose(&mut self, cause: Cause, reason: &str, now: Duration) {
        if self.lives && self.state != State::Dead {
            if self.state != State::Draining {
                self.cause = cause;
            }
            let next = if self.state == State::Draining { self.next } else { self.death(now) };
            self.kill(reason, next);
        }
    }

    /// The incarnation is certainly gone.
    pub(super) fn died<R: Rules>(&mut self, reason: &str, barred: bool, now: Duration) {
        if !self.lives {
            return;
        }
        self.lives = false;
        match self.state {
            State::Dead | State::Draining => {}
            State::Starting => self.cause = Cause::Start,
            _ => self.cause = Cause::Crash,
        }
        let (next, reason) = match self.state {
            // It was to go anyway.
            State::Dead | State::Draining => (self.next, self.reason.clone()),
            State::Starting if barred => (Next::Refused, format!("died while it started: {reason}")),
            _ => (self.death(now), format!("died: {reason}")),
        };
        self.ready_since = None;
        self.ending = false;
        match next {
            Next::Death(weight) => {
                let setback = self.setbacks.death::<R>(weight, now, &self.policy);
                self.wait(setback, &reason, now);
            }
            Next::LaterMaybe => {
                let setback = self.setbacks.refusal::<R>(&self.policy);
                self.wait(setback, &reason, now);
            }
            Next::Refused => self.enter(State::Refused, &reason, None),
            Next::Idle => self.enter(State::Idle, "", None),
            Next::Again => self.spawn(now),
        }
    }

    /// It is not wanted any more, or wanted anew.
    pub(super) fn retire(&mut self, again: bool, now: Duration) {
        let next = if again { Next::Again } else { Next::Idle };
        self.cause = Cause::Operator;
        match self.state {
            State::Ready | State::Late => {
                self.next = next;
                let until = now + self.policy.drain_timeout;
                self.enter(
                    State::Draining,
                    if again { "to be started anew" } else { "retired" },
                    Some(until),
                );
            }
            State::Starting => self.kill("retired while it started", next),
            State::Draining | State::Dead => self.next = next,
            _ if again => self.retry(now),
            State::Idle => {}
            _ => self.enter(State::Idle, "", None),
        }
    }

    /// It is to be replaced by a fresh one, between two batches.
    pub(super) fn recycle(&mut self, cause: Cause, reason: &str, now: Duration) {
        if self.welcomes() {
            self.cause = cause;
            // One that does not even last is no better than one that dies: nobody would ever be served.
            self.next = if self.is_healthy(now) {
                self.setbacks.healthy();
                Next::Again
            } else {
                Next::Death(1)
            };
            self.enter(State::Draining, reason, Some(now + self.policy.recycle_timeout));
        }
    }

    /// The last session has gone, or had long enough; nothing is out.
    pub(super) fn drained(&mut self, now: Duration) {
        if self.is_draining() {
            self.ending = true;
            self.until = Some(now + self.policy.end_timeout);
            self.orders.push(Order::End { incarnation: self.incarnation });
        }
    }

    /// Sessions that have not left by now are left behind.
    pub(super) fn drain_is_over(&self, now: Duration) -> bool {
        self.is_draining() && self.until.is_none_or(|until| until <= now)
    }

    /// Forgives everything and tries it now.
    pub(super) fn retry(&mut self, now: Duration) {
        if matches!(self.state, State::Idle | State::BackingOff | State::Quarantined | State::Refused) {
            self.setbacks.forgive();
            self.cause = Cause::Operator;
            self.spawn(now);
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Duration) {
        if self.until.is_none_or(|until| until > now) {
            return;
        }
        self.until = None;
        match self.state {
            State::Starting => {
                let reason = format!("not started after {:?}", self.policy.init_timeout);
                self.lose(Cause::Start, &reason, now);
            }
            State::Draining if self.ending => {
                self.kill("it did not end when it was asked to", self.next);
            }
            State::BackingOff => self.spawn(now),
            State::Quarantined => {
                self.setbacks.probe();
                self.spawn(now);
            }
            _ => {}
        }
    }

    fn spawn(&mut self, now: Duration) {
        if self.lives {
            return;
        }
        self.incarnation += 1;
        self.lives = true;
        self.proven = false;
        self.ending = false;
        self.ready_since = None;
        if self.incarnation > 1 {
            self.orders.push(Order::Note(Note::Restart(self.cause)));
        }
        self.orders.push(Order::Spawn { incarnation: self.incarnation });
        self.enter(State::Starting, "", Some(now + self.policy.init_timeout));
    }

    fn kill(&mut self, reason: &str, next: Next) {
        self.next = next;
        self.orders.push(Order::Kill { incarnation: self.incarnation, reason: reason.to_owned() });
        self.enter(State::Dead, reason, None);
    }

    /// What a death now counts for; one that comes after a healthy life has no past.
    fn death(&mut self, now: Duration) -> Next {
        if self.is_healthy(now) {
            self.setbacks.healthy();
        }
        Next::Death(if self.proven { 1 } else { 2 })
    }

    fn is_healthy(&self, now: Duration) -> bool {
        self.ready_since.is_some_and(|since| now.saturating_sub(since) >= self.policy.healthy_after)
    }

    fn wait(&mut self, setback: Setback, reason: &str, now: Duration) {
        match setback {
            Setback::Wait(wait) => self.enter(State::BackingOff, reason, Some(now + wait)),
            Setback::Quarantine => {
                self.enter(State::Quarantined, reason, Some(now + self.policy.quarantine));
            }
        }
    }

    fn enter(&mut self, state: State, reason: &str, until: Option<Duration>) {
        self.state = state;
        self.until = until;
        reason.clone_into(&mut self.reason);
        self.orders.push(Order::Announce { state, reason: reason.to_owned() });
    }
}

#[cfg(test)]
mod tests;
