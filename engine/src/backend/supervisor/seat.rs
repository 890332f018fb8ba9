//! One session at the desk: what it wants, in order, and what it can no more be trusted with.

use std::collections::VecDeque;
use std::time::Duration;

use lipcast_plugins_api::author::{Code, Error};

use super::{Cargo, Op, Outcome, Request, Rules};

#[derive(Debug)]
pub(super) struct Seat<C: Cargo> {
    pub(super) epoch: u32,
    pub(super) opened: bool,
    /// It hears no more; what is left is to close it.
    pub(super) closing: bool,
    /// Calls and requests in the order they came; the requests wait for the calls before them.
    pub(super) waiting: VecDeque<Item<C>>,
    /// The call that is out, with its audio, which may have to come again.
    pub(super) out: Option<Out<C>>,
    /// The audio at the head came back for want of room.
    pub(super) held: bool,
    /// It is not tried before the next batch has made some.
    pub(super) blocked: bool,
    pub(super) in_batch: bool,
    pub(super) trouble: Option<Trouble>,
    /// Requests that the backend never saw, for their marks.
    carried: Vec<Request>,
    /// Numbers of requests that are asked for the second time.
    again: VecDeque<u64>,
}

#[derive(Debug)]
pub(super) enum Item<C: Cargo> {
    /// A call, and its place among all that came.
    Call(u64, Op<C>),
    /// A request, and when it came.
    Ask(Request, Duration),
}

#[derive(Debug)]
pub(super) enum Out<C: Cargo> {
    Open,
    Push(u64, C::Audio),
    Reset,
    Close,
}

/// Why a seat's frames are not asked for.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A push or a reset failed: no picture can be trusted until the next reset.
    Run(String),
    /// The backend panicked in a call of this session, which is over for it.
    Poisoned(String),
}

impl Trouble {
    pub(super) fn of(call: &str, error: &Error) -> Self {
        let reason = format!("{call}: {error}");
        if error.code == Code::BackendPanic { Self::Poisoned(reason) } else { Self::Run(reason) }
    }

    pub(super) fn outcome<P>(&self) -> Outcome<P> {
        match self {
            Self::Run(reason) => Outcome::Failed(reason.clone()),
            Self::Poisoned(reason) => Outcome::Gone { reason: reason.clone(), in_flight: false },
        }
    }
}

impl<C: Cargo> Seat<C> {
    pub(super) fn new(arrival: u64, opening: C::Opening) -> Self {
        Self {
            epoch: 0,
            opened: false,
            closing: false,
            waiting: VecDeque::from([Item::Call(arrival, Op::Open(opening))]),
            out: None,
            held: false,
            blocked: false,
            in_batch: false,
            trouble: None,
            carried: Vec::new(),
            again: VecDeque::new(),
        }
    }

    /// The next request that waits for nothing any more, and when it came.
    pub(super) fn next_ask<R: Rules>(&mut self) -> Option<(Request, Duration)> {
        let stands_behind = |item: &Item<C>| matches!(item, Item::Call(..));
        let behind = self.out.is_some() || self.waiting.front().is_some_and(stands_behind);
        if R::waits(behind) {
            return None;
        }
        let place = self.waiting.iter().position(|item| matches!(item, Item::Ask(..)))?;
        match self.waiting.remove(place)? {
            Item::Ask(request, asked) => Some((request, asked)),
            Item::Call(..) => None,
        }
    }

    /// The next call that may go out, if it came before `cut`.
    pub(super) fn next_call<R: Rules>(&mut self, cut: u64) -> Option<Op<C>> {
        if self.out.is_some() || self.blocked || !R::may_call(self.in_batch) {
            return None;
        }
        if !matches!(self.waiting.front(), Some(Item::Call(arrival, _)) if *arrival < cut) {
            return None;
        }
        let Some(Item::Call(arrival, call)) = self.waiting.pop_front() else { return None };
        self.out = Some(match &call {
            Op::Open(_) => Out::Open,
            Op::Push(audio) => Out::Push(arrival, audio.clone()),
            Op::Reset { .. } => Out::Reset,
            Op::Close => Out::Close,
        });
        Some(call)
    }

    /// A reset waits: what a call before it came to says nothing any more.
    pub(super) fn awaits_reset(&self) -> bool {
        self.waiting.iter().any(|item| matches!(item, Item::Call(_, Op::Reset { .. } | Op::Close)))
    }

    /// The backend has not heard of it.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.waiting.front(), Some(Item::Call(_, Op::Open(_))))
    }

    /// Drops the calls that wait, but for opening; gives the requests that do.
    pub(super) fn clear(&mut self) -> Vec<Request> {
        self.held = false;
        self.blocked = false;
        self.carried.clear();
        self.again.clear();
        let mut asked = Vec::new();
        self.waiting.retain(|item| {
            if let Item::Ask(request, _) = item {
                asked.push(*request);
            }
            matches!(item, Item::Call(_, Op::Open(_)))
        });
        asked
    }

    /// Whether a request that failed may be tried again: once. Counts it.
    pub(super) fn may_try_again(&mut self, seq: u64) -> bool {
        if self.trouble.is_some() || self.closing || self.again.contains(&seq) {
            return false;
        }
        self.again.push_back(seq);
        if self.again.len() > Self::REMEMBERED {
            self.again.pop_front();
        }
        true
    }

    /// Second attempts that are remembered: those of some batches.
    const REMEMBERED: usize = 256;

    /// Remembers the marks of a request that the backend did not see.
    pub(super) fn carry(&mut self, request: Request) {
        if request.flags.first || request.flags.last {
            self.carried.push(request);
        }
    }

    /// Adds what was carried to a request that the backend will see. What expired behind it is not its own: that
    /// waits for a later one.
    pub(super) fn hand_on(&mut self, request: &mut Request) {
        let begins = request.flags.first;
        for carried in self.carried.extract_if(.., |carried| carried.seq < request.seq) {
            // Where a new run begins, the end of the last one says nothing any more.
            request.flags.last |= carried.flags.last && !begins;
            request.flags.first |= carried.flags.first;
        }
    }
}
