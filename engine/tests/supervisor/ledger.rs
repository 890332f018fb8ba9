//! What must hold, kept book of from outside: the requests, calls, incarnations and waits that were seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use lipcast_engine::backend::Code;
use lipcast_engine::backend::supervisor::{Abilities, Note, Op, Outcome, Policy, Request, State, Ticket};

use crate::world::{Drawing, Toy};

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) invariant: &'static str,
    pub(crate) detail: String,
}

impl Broken {
    pub(crate) fn at(mut self, seed: u64) -> Self {
        self.detail = format!("seed {seed}: {}", self.detail);
        self
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

pub(crate) fn hold(
    holds: bool,
    invariant: &'static str,
    detail: impl FnOnce() -> String,
) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken { invariant, detail: detail() }) }
}

/// One session as its client knows it.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) epoch: u32,
    pub(crate) frame: u64,
    pub(crate) seq: u64,
    pub(crate) pushes: u64,
    pub(crate) begins_run: bool,
    /// Unanswered requests, and how many pushes came before each.
    pub(crate) pending: BTreeMap<u64, (Request, u64)>,
    /// The push that the backend has to get next; none after a failed one.
    pub(crate) next_push: Option<u64>,
    pub(crate) calls_out: usize,
    /// A push came back for want of room and did not go well since.
    held: bool,
    /// Requests of this epoch that were not in a batch yet, in order.
    unseen: VecDeque<Request>,
}

impl Book {
    pub(crate) fn new() -> Self {
        Self { begins_run: true, next_push: Some(0), ..Self::default() }
    }

    pub(crate) fn asks(&mut self, request: Request) {
        self.pending.insert(request.seq, (request, self.pushes));
        self.unseen.push_back(request);
    }

    /// A call came back: a push, where it has a number, and how it failed, if it did.
    pub(crate) fn heard(&mut self, push: Option<u64>, failed: Option<Code>) {
        self.calls_out = self.calls_out.saturating_sub(1);
        let is_next = push.is_some() && push == self.next_push;
        match failed {
            None if is_next => {
                self.next_push = push.map(|serial| serial + 1);
                self.held = false;
            }
            Some(Code::WouldBlock) => self.held = true,
            None => {}
            Some(_) if is_next => self.next_push = None,
            Some(_) => {}
        }
    }

    pub(crate) fn resets(&mut self) {
        self.epoch += 1;
        self.frame = 0;
        self.begins_run = true;
        self.next_push = Some(self.pushes);
        self.held = false;
        self.unseen.clear();
    }
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) books: BTreeMap<u64, Book>,
    pub(crate) closed: BTreeSet<u64>,
    pub(crate) batch: Vec<Ticket>,
    pub(crate) batch_out: bool,
    /// It came back with the event that is being handled.
    pub(crate) batch_back: bool,
    batch_counted: bool,
    pub(crate) calls_out: usize,
    pub(crate) next_op: u64,
    /// The living incarnation has answered a request.
    pub(crate) proven: bool,
    pub(crate) level: u32,
    pub(crate) probation: bool,
    deaths: Vec<(Duration, u32)>,
}

impl Ledger {
    pub(crate) fn submitted(&mut self, op: u64, session: u64, call: &Op<Toy>) -> Result<(), Broken> {
        self.numbered(op)?;
        let in_batch =
            self.batch_out && !self.batch_back && self.batch.iter().any(|ticket| ticket.session == session);
        hold(!in_batch, "no call beside the session's own batch", || format!("session {session}: {call:?}"))?;
        let Some(book) = self.books.get_mut(&session) else {
            let closes = self.closed.contains(&session) && matches!(call, Op::Close);
            return hold(closes, "calls in order", || {
                format!("{call:?} of session {session}, which is over")
            });
        };
        hold(book.calls_out == 0, "one call of a session at a time", || format!("{session}: {call:?}"))?;
        book.calls_out += 1;
        let in_order = match call {
            Op::Push(serial) => book.next_push == Some(*serial),
            Op::Reset { epoch } => *epoch == book.epoch,
            Op::Open(()) | Op::Close => true,
        };
        hold(in_order, "calls in order", || format!("session {session}: {call:?}, {book:?}"))
    }

    pub(crate) fn inferred(
        &mut self,
        op: u64,
        batch: &[Ticket],
        can: Abilities,
        now: Duration,
    ) -> Result<(), Broken> {
        self.numbered(op)?;
        hold(!self.batch_out || self.batch_back, "one batch at a time", || format!("{batch:?}"))?;
        let fits = !batch.is_empty() && batch.len() <= can.max_batch;
        hold(fits, "batches of the right size", || format!("{} of {}", batch.len(), can.max_batch))?;
        let alone = batch.len() == 1 || batch.iter().all(|ticket| !ticket.request.flags.alone);
        hold(alone, "a suspect is alone", || format!("{batch:?}"))?;
        let mut sessions = BTreeSet::new();
        for Ticket { session, request, .. } in batch {
            let twice = !sessions.insert(*session) && can.sequential && can.chunk_frames <= 1;
            hold(!twice, "every frame in order", || format!("session {session} twice in a batch"))?;
            let Some(book) = self.books.get_mut(session) else { continue };
            hold(book.calls_out == 0, "no call beside the session's own batch", || format!("{session}"))?;
            let needs = book.pending.get(&request.seq).map_or(u64::MAX, |(_, pushes)| *pushes);
            let heard = book.next_push.is_some_and(|next| next >= needs);
            hold(heard, "a request waits for its audio", || format!("{request:?} of {session}"))?;
            let asked_unseen =
                book.pending.get(&request.seq).is_some_and(|(asked, _)| asked.flags.discard_ok);
            hold(!asked_unseen || can.sequential || book.held, "what nobody sees costs no place", || {
                format!("{request:?} of {session}")
            })?;
            seen(book, request, can.sequential)?;
            let late = request.deadline.is_some_and(|deadline| deadline <= now);
            hold(!late || request.flags.discard_ok, "what expired costs no place", || {
                format!("{request:?}")
            })?;
        }
        self.batch_out = true;
        self.batch_back = false;
        self.batch_counted = false;
        self.batch = batch.to_vec();
        Ok(())
    }

    pub(crate) fn replied(
        &mut self,
        session: u64,
        request: &Request,
        outcome: &Outcome<Drawing>,
        living: u64,
    ) -> Result<(), Broken> {
        let answer = || format!("session {session}, {request:?}: {outcome:?}");
        let Some(book) = self.books.get_mut(&session) else {
            return hold(false, "one answer to a request", answer);
        };
        hold(book.pending.remove(&request.seq).is_some(), "one answer to a request", answer)?;
        let in_batch = self.batch_out
            && self.batch.iter().any(|ticket| ticket.session == session && ticket.request.seq == request.seq);
        match outcome {
            Outcome::Drawn(drawing) => {
                hold(request.epoch == book.epoch, "no frame of an old epoch", answer)?;
                let own = *drawing == Drawing { session, seq: request.seq, incarnation: living };
                hold(own, "no picture of another incarnation or request", answer)
            }
            Outcome::Gone { in_flight, .. } => hold(*in_flight == in_batch, "the suspect is named", answer),
            _ => Ok(()),
        }
    }

    /// Something is to be counted. A batch is, once and at its size.
    pub(crate) fn noted(&mut self, note: Note) -> Result<(), Broken> {
        let Note::Batch { size, .. } = note else { return Ok(()) };
        let due = self.batch_out && self.batch_back && !std::mem::replace(&mut self.batch_counted, true);
        hold(due && size == self.batch.len(), "a batch is counted once", || {
            format!("{size} of {}", self.batch.len())
        })
    }

    /// The living incarnation is no more; the state that the backend is in next, and its wait.
    pub(crate) fn ended(
        &mut self,
        end: End,
        state: State,
        wait: Duration,
        now: Duration,
        policy: &Policy,
    ) -> Result<(), Broken> {
        if end.was_healthy {
            self.level = 0;
            self.probation = false;
        }
        if !matches!(state, State::BackingOff | State::Quarantined) {
            return Ok(());
        }
        if let Some(weight) = end.weight {
            self.deaths.push((now, weight));
            self.deaths.retain(|(at, _)| now - *at <= policy.circuit_window);
        }
        let counted: u32 = self.deaths.iter().map(|(_, weight)| weight).sum();
        let opens = end.weight.is_some() && (counted >= policy.circuit_deaths || self.probation);
        hold(opens == (state == State::Quarantined), "the circuit opens by its rule", || {
            format!("{counted} deaths, probation {}: {state:?}", self.probation)
        })?;
        if opens {
            self.deaths.clear();
            self.probation = true;
            return hold(wait == policy.quarantine, "the circuit opens by its rule", || format!("{wait:?}"));
        }
        let middle = policy.backoff_base.saturating_mul(1 << self.level.min(20)).min(policy.backoff_cap);
        self.level += 1;
        hold(wait >= middle * 79 / 100 && wait <= middle * 121 / 100, "the back-off grows", || {
            format!("{wait:?} instead of about {middle:?}")
        })
    }

    pub(crate) fn forgiven(&mut self) {
        self.level = 0;
        self.probation = false;
        self.deaths.clear();
    }

    fn numbered(&mut self, op: u64) -> Result<(), Broken> {
        hold(op == self.next_op, "numbers count up", || format!("{op} instead of {}", self.next_op))?;
        self.next_op += 1;
        self.calls_out += 1;
        hold(self.calls_out <= 64, "no more calls out than the ring has cells", || self.calls_out.to_string())
    }
}

/// How an incarnation ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) was_healthy: bool,
    /// What its death counts; none when it only said that it cannot start now.
    pub(crate) weight: Option<u32>,
}

/// A request reached the backend: those before it either did, or expired and passed on their marks.
fn seen(book: &mut Book, request: &Request, sequential: bool) -> Result<(), Broken> {
    if request.epoch != book.epoch {
        return hold(false, "no frame of an old epoch", || format!("asked for: {request:?}"));
    }
    let (mut first, mut last) = (false, false);
    while let Some(asked) = book.unseen.pop_front() {
        if asked.seq == request.seq {
            let marks = (asked.flags.first || first, asked.flags.last || (last && !asked.flags.first));
            return hold(marks == (request.flags.first, request.flags.last), "marks are carried on", || {
                format!("{request:?} instead of {marks:?}")
            });
        }
        hold(!sequential, "every frame in order", || format!("{request:?} before {asked:?}"))?;
        first |= asked.flags.first;
        last |= asked.flags.last;
    }
    hold(false, "every frame in order", || format!("{request:?} after a later one"))
}
