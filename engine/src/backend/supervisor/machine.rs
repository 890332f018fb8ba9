//! Life and desk together: events in, actions out.

use std::time::Duration;

use lipcast_plugins_api::author::{Code, Error};

use super::desk::{Desk, Verdict};
use super::life::{Life, Order, State};
use super::{Action, Cargo, Cause, Event, LinkEvent, Note, Policy, Rules, Sound, Warning};

/// One configured backend, supervised.
///
/// Feed it every event with [`handle`](Self::handle), do the actions that come out in their order, and give it an
/// [`Event::Tick`] when [`next_deadline`](Self::next_deadline) has come. Time must not go backwards.
#[derive(Debug)]
pub struct Supervisor<C: Cargo, R: Rules = Sound> {
    policy: Policy,
    life: Life,
    desk: Desk<C, R>,
    /// The memory warning of this incarnation was given.
    warned: bool,
}

impl<C: Cargo, R: Rules> Supervisor<C, R> {
    /// An idle one; `seed` sets the jitter of its back-off.
    pub fn new(policy: Policy, seed: u64) -> Self {
        let (life, desk) = (Life::new(policy.clone(), seed), Desk::new(policy.clone()));
        Self { policy, life, desk, warned: false }
    }

    /// Where the backend is.
    pub fn state(&self) -> State {
        self.life.state()
    }

    /// Why it is there, for people.
    pub fn reason(&self) -> &str {
        self.life.reason()
    }

    /// 99th percentile of the last 256 batches; zero before the first.
    pub fn batch_p99(&self) -> Duration {
        self.desk.watch.batch_p99()
    }

    /// Frames per second that the living incarnation draws at its best batch size; `None` until enough was seen.
    pub fn capacity(&self) -> Option<f64> {
        self.desk.capacity()
    }

    /// When an [`Event::Tick`] is due, since the origin. After that tick it lies in its future.
    pub fn next_deadline(&self) -> Option<Duration> {
        let late = self.desk.soft_deadline().filter(|_| self.life.state() == State::Ready);
        let stuck = self.desk.watch.next_deadline::<R>(&self.policy);
        [self.life.next_deadline(), late, stuck].into_iter().flatten().min()
    }

    /// Takes in what happened at `now`, since the origin, and appends what is to be done to `out`.
    pub fn handle(&mut self, event: Event<C>, now: Duration, out: &mut Vec<Action<C>>) {
        match event {
            Event::Start => self.life.start(now),
            Event::Open { session, opening } if self.life.welcomes() => self.desk.open(session, opening),
            Event::Open { session, .. } => {
                let reason = format!("{:?}: {}", self.life.state(), self.life.reason());
                out.push(Action::Opened { session, result: Err(Error::new(Code::NotReady, reason)) });
            }
            Event::Push { session, audio } => self.desk.push(session, audio, out),
            Event::Request { session, request } => self.desk.request(session, request, now, out),
            Event::Reset { session, epoch } => self.desk.reset(session, epoch, now, out),
            Event::Close { session } => self.desk.close(session, now, out),
            Event::Retire { again } => self.life.retire(again, now),
            Event::Retry => self.life.retry(now),
            Event::Tick => self.tick(now, out),
            Event::Link { incarnation, event } => {
                if R::is_current(incarnation, self.life.incarnation()) {
                    self.listen(event, now, out);
                }
            }
        }
        self.settle(now, out);
    }

    fn listen(&mut self, event: LinkEvent<C>, now: Duration, out: &mut Vec<Action<C>>) {
        let verdict = match event {
            LinkEvent::Started(abilities) => {
                if self.life.state() == State::Starting {
                    self.desk.begin(abilities);
                    self.warned = false;
                    self.life.started(now);
                }
                return;
            }
            LinkEvent::StartFailed { reason, retryable } => {
                return self.life.start_failed(&reason, retryable);
            }
            LinkEvent::Died { reason, barred } => return self.life.died::<R>(&reason, barred, now),
            LinkEvent::Broken(reason) => Verdict::Lost(Cause::Broken, reason),
            LinkEvent::Memory(resident) => self.weigh(resident, out),
            LinkEvent::Beat(beat) => {
                self.desk.watch.beat::<R>(beat, &self.policy, now);
                Verdict::Unknown
            }
            _ if !self.life.serves() => return,
            LinkEvent::OpDone { op, result } => self.desk.call_done(op, result, now, out),
            LinkEvent::BatchDone { op, results } => self.desk.batch_done(op, results, now, out),
        };
        if self.desk.answered {
            self.life.prove();
        }
        match verdict {
            Verdict::Unknown => {}
            Verdict::Lost(cause, reason) => self.life.lose(cause, &reason, now),
            Verdict::Worn(cause, reason) => self.life.recycle(cause, &reason, now),
        }
    }

    fn weigh(&mut self, resident: u64, out: &mut Vec<Action<C>>) -> Verdict {
        let Some(limit) = self.policy.memory_limit else { return Verdict::Unknown };
        if resident >= limit {
            let reason = format!("it holds {resident} bytes of the {limit} that it may");
            return Verdict::Worn(Cause::Memory, reason);
        }
        let near =
            u128::from(resident) * 100 >= u128::from(limit) * u128::from(self.policy.memory_warn_percent);
        if near && !self.warned && self.life.welcomes() {
            self.warned = true;
            out.push(Action::Warn(Warning::Memory { resident, limit }));
        }
        Verdict::Unknown
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<Action<C>>) {
        if self.desk.watch.is_stuck::<R>(&self.policy, now) {
            out.push(Action::Note(Note::HardKill));
            self.life.lose(Cause::Hang, "a call does not come back", now);
        }
        self.life.tick(now);
    }

    /// Brings desk and life into line, whatever happened.
    fn settle(&mut self, now: Duration, out: &mut Vec<Action<C>>) {
        let is_idle = self.desk.watch.len() == 0;
        if self.life.is_draining() && is_idle && (self.desk.is_empty() || self.life.drain_is_over(now)) {
            self.life.drained(now);
        }
        if self.life.serves() && !self.life.drain_is_over(now) {
            self.desk.pump(now, out);
            self.life.set_late(self.desk.soft_deadline().is_some_and(|soft| soft <= now));
        }
        // Before anybody can see that it is lost, its sessions hear which of their frames were in the batch that broke
        // it: no other backend is asked for such a frame unknowingly.
        if !self.life.serves() {
            let reason = self.life.reason();
            self.desk.abandon(if reason.is_empty() { "it was started anew" } else { reason }, now, out);
        }
        out.extend(self.life.take_orders().map(Action::from));
    }
}

impl<C: Cargo> From<Order> for Action<C> {
    fn from(order: Order) -> Self {
        match order {
            Order::Spawn { incarnation } => Self::Spawn { incarnation },
            Order::Kill { incarnation, reason } => Self::Kill { incarnation, reason },
            Order::End { incarnation } => Self::End { incarnation },
            Order::Announce { state, reason } => Self::Announce { state, reason },
            Order::Note(note) => Self::Note(note),
        }
    }
}
