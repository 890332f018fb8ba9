//! The sessions of the living incarnation: their calls in order, their requests in batches, one answer to each.
//!
//! A session's call goes out when the one before it came back, and never while the session is in the batch; a
//! request joins a batch when all calls before it came back well. Calls of different sessions overtake each other.
//! Before a batch goes out, every call that came before it was thought of goes first, so that sessions that ask in
//! the same tick share the batch.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use lipcast_plugins_api::author::{Code, Error};

use super::pace::Pace;
use super::queue::Queue;
use super::seat::{Item, Out, Seat, Trouble};
use super::watch::Watch;
use super::{Abilities, Action, Cargo, Cause, Note, Op, Outcome, Policy, Request, Rules, Ticket, Warning};

#[derive(Debug)]
pub(super) struct Desk<C: Cargo, R> {
    policy: Policy,
    seats: BTreeMap<u64, Seat<C>>,
    queue: Queue,
    batch: Option<Batch>,
    abilities: Abilities,
    pub(super) watch: Watch,
    pace: Pace,
    next_op: u64,
    /// Whose calls are out.
    owners: BTreeMap<u64, u64>,
    /// Calls so far; tells which came before a batch was thought of.
    arrivals: u64,
    /// This incarnation has answered a request, whether or not its session still wanted it.
    pub(super) answered: bool,
    /// A batch is wanted: only calls that came before this go out until it does.
    cut: Option<u64>,
    rules: PhantomData<R>,
}

#[derive(Debug)]
struct Batch {
    op: u64,
    tickets: Vec<Ticket>,
    /// When the first of its frames leaves.
    soft: Option<Duration>,
    /// How long the request that was asked for first had waited when it went out.
    waited: Duration,
}

/// What a result says about the incarnation itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Unknown,
    /// It is of no more use.
    Lost(Cause, String),
    /// A fresh one would do better.
    Worn(Cause, String),
}

impl<C: Cargo, R: Rules> Desk<C, R> {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            seats: BTreeMap::new(),
            queue: Queue::default(),
            batch: None,
            abilities: Abilities { max_batch: 1, sequential: false, chunk_frames: 0 },
            watch: Watch::default(),
            pace: Pace::default(),
            next_op: 0,
            owners: BTreeMap::new(),
            arrivals: 0,
            answered: false,
            cut: None,
            rules: PhantomData,
        }
    }

    /// An incarnation begins to serve.
    pub(super) fn begin(&mut self, abilities: Abilities) {
        self.abilities = Abilities { max_batch: abilities.max_batch.max(1), ..abilities };
        self.next_op = 0;
        self.answered = false;
        self.watch.forget();
        self.pace.forget();
    }

    /// Frames per second at the best batch size, once enough was seen of one.
    pub(super) fn capacity(&self) -> Option<f64> {
        self.pace.capacity(self.abilities.max_batch)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// When the batch that is out is late.
    pub(super) fn soft_deadline(&self) -> Option<Duration> {
        self.batch.as_ref()?.soft
    }

    pub(super) fn open(&mut self, session: u64, opening: C::Opening) {
        let arrival = self.arrive();
        self.seats.insert(session, Seat::new(arrival, opening));
    }

    pub(super) fn push(&mut self, session: u64, audio: C::Audio, out: &mut Vec<Action<C>>) {
        let arrival = self.arrive();
        let Some(seat) = self.seats.get_mut(&session).filter(|seat| !seat.closing) else { return };
        if seat.trouble.is_none() {
            seat.waiting.push_back(Item::Call(arrival, Op::Push(audio)));
            self.check_flood(session, out);
        }
    }

    pub(super) fn request(
        &mut self,
        session: u64,
        request: Request,
        now: Duration,
        out: &mut Vec<Action<C>>,
    ) {
        let outcome = match self.seats.get_mut(&session) {
            None => Some(Outcome::Gone { reason: "the session is not open".into(), in_flight: false }),
            Some(seat) if seat.closing => return,
            Some(seat) => {
                // A session that came over in the middle begins in the epoch that it is in.
                seat.epoch = seat.epoch.max(request.epoch);
                let stale = R::is_stale(request.epoch, seat.epoch).then_some(Outcome::Expired);
                let outcome = stale.or_else(|| seat.trouble.as_ref().map(Trouble::outcome));
                if outcome.is_none() {
                    seat.waiting.push_back(Item::Ask(request, now));
                }
                outcome
            }
        };
        match outcome {
            Some(outcome) => out.push(Action::Reply { session, request, outcome }),
            None => self.check_flood(session, out),
        }
    }

    pub(super) fn reset(&mut self, session: u64, epoch: u32, now: Duration, out: &mut Vec<Action<C>>) {
        let arrival = self.arrive();
        let Some(seat) = self.seats.get_mut(&session).filter(|seat| !seat.closing) else { return };
        let mut dropped = seat.clear();
        dropped.extend(self.queue.forget(session).into_iter().map(|ticket| ticket.request));
        missed(dropped.iter(), now, out);
        if R::reset_answers_batch() {
            let batch = self.batch.iter().flat_map(|batch| &batch.tickets);
            dropped.extend(batch.filter(|ticket| ticket.session == session).map(|ticket| ticket.request));
        }
        out.extend(dropped.into_iter().map(|request| Action::Reply {
            session,
            request,
            outcome: Outcome::Expired,
        }));
        seat.epoch = epoch;
        if !matches!(seat.trouble, Some(Trouble::Poisoned(_))) {
            seat.trouble = None;
            seat.waiting.push_back(Item::Call(arrival, Op::Reset { epoch }));
        }
    }

    pub(super) fn close(&mut self, session: u64, now: Duration, out: &mut Vec<Action<C>>) {
        let arrival = self.arrive();
        let Some(seat) = self.seats.get_mut(&session).filter(|seat| !seat.closing) else { return };
        let queued = self.queue.forget(session).into_iter().map(|ticket| ticket.request);
        let unknown = seat.is_unknown();
        let dropped: Vec<Request> = queued.chain(seat.clear()).collect();
        // A session that goes because it was left waiting has missed what it waited for.
        missed(dropped.iter(), now, out);
        if unknown {
            self.seats.remove(&session);
            return;
        }
        seat.closing = true;
        seat.waiting.push_back(Item::Call(arrival, Op::Close));
    }

    /// A call came back. One that is not out is not listened to.
    pub(super) fn call_done(
        &mut self,
        op: u64,
        result: Result<(), Error>,
        now: Duration,
        out: &mut Vec<Action<C>>,
    ) -> Verdict {
        let is_batch = self.batch.as_ref().is_some_and(|batch| batch.op == op);
        if is_batch || self.watch.done(op, false, now).is_none() {
            return Verdict::Unknown;
        }
        let Some(session) = self.owners.remove(&op) else { return Verdict::Unknown };
        let Some(seat) = self.seats.get_mut(&session) else { return Verdict::Unknown };
        let Some(call) = seat.out.take() else { return Verdict::Unknown };
        let device_lost = match &result {
            Err(error) if error.code == Code::DeviceLost => Verdict::Lost(Cause::Device, error.to_string()),
            _ => Verdict::Unknown,
        };
        match (call, result) {
            (Out::Close, _) => drop(self.seats.remove(&session)),
            (Out::Open, Ok(())) => {
                seat.opened = true;
                if !seat.closing {
                    out.push(Action::Opened { session, result: Ok(()) });
                }
            }
            (Out::Open, Err(error)) => self.refuse(session, error, out),
            (Out::Push(..), Ok(())) => seat.held = false,
            (Out::Push(arrival, audio), Err(error)) if error.code == Code::WouldBlock => {
                // What a reset has made void need not come again.
                if !seat.awaits_reset() {
                    if self.queue.holds(session) {
                        seat.held = true;
                        seat.blocked = true;
                        seat.waiting.push_front(Item::Call(arrival, Op::Push(audio)));
                    } else {
                        // No batch will come and make room.
                        self.fail(session, "push_audio", &error, out);
                    }
                }
            }
            (Out::Push(..), Err(error)) => self.fail(session, "push_audio", &error, out),
            (Out::Reset, Err(error)) => self.fail(session, "reset", &error, out),
            (Out::Reset, Ok(())) => {}
        }
        device_lost
    }

    /// The batch came back. One that is not out is not listened to.
    pub(super) fn batch_done(
        &mut self,
        op: u64,
        results: Vec<Result<C::Picture, Error>>,
        now: Duration,
        out: &mut Vec<Action<C>>,
    ) -> Verdict {
        let is_ours = self.batch.as_ref().is_some_and(|batch| batch.op == op);
        let Some(taken) = is_ours.then(|| self.watch.done(op, true, now)).flatten() else {
            return Verdict::Unknown;
        };
        if self.batch.as_ref().is_some_and(|batch| batch.tickets.len() != results.len()) {
            let reason = "it answered another number of requests than it was asked";
            return Verdict::Lost(Cause::Broken, reason.into());
        }
        let Some(batch) = self.batch.take() else { return Verdict::Unknown };
        self.count(&batch, &results, taken, now, out);
        for seat in self.seats.values_mut() {
            seat.in_batch = false;
            seat.blocked = false;
        }
        let (mut verdict, mut no_room) = (Verdict::Unknown, false);
        for (ticket, result) in batch.tickets.into_iter().zip(results) {
            self.answered |= result.is_ok() || is_left_out(&ticket.request, &result);
            if let Err(error) = &result {
                no_room |= error.code == Code::OomDevice;
                if error.code == Code::DeviceLost {
                    verdict = Verdict::Lost(Cause::Device, error.to_string());
                }
            }
            self.answer(ticket, result, now, out);
        }
        if no_room && !matches!(verdict, Verdict::Lost(..)) {
            if self.abilities.max_batch == 1 {
                return Verdict::Worn(Cause::Device, "its device has no room for a single request".into());
            }
            self.abilities.max_batch /= 2;
            out.push(Action::Warn(Warning::SmallerBatches { max_batch: self.abilities.max_batch }));
        }
        verdict
    }

    /// What a batch that came back says about the incarnation's pace and its output.
    fn count(
        &mut self,
        batch: &Batch,
        results: &[Result<C::Picture, Error>],
        taken: Duration,
        now: Duration,
        out: &mut Vec<Action<C>>,
    ) {
        let Batch { tickets, waited, .. } = batch;
        out.push(Action::Note(Note::Batch { size: tickets.len(), waited: *waited, taken }));
        missed(tickets.iter().map(|ticket| &ticket.request), now, out);
        let bad = |result: &Result<_, Error>| result.as_ref().is_err_and(|e| e.code == Code::BadOutput);
        match results.iter().filter(|result| bad(result)).count() {
            0 => {}
            bad => out.push(Action::Note(Note::BadOutput(bad as u64))),
        }
        // Frames that nobody was to see may have been left out, one that fails may have failed at once, and one in
        // which nothing moves costs nothing.
        let shown = tickets.iter().filter(|ticket| !ticket.request.flags.discard_ok).count();
        if results.iter().all(|result| result.as_ref().is_ok_and(C::is_painted)) {
            self.pace.note(shown, taken, now);
        }
    }

    /// Everything is over: each request is answered, each session told.
    pub(super) fn abandon(&mut self, reason: &str, now: Duration, out: &mut Vec<Action<C>>) {
        let gone = |in_flight| Outcome::Gone { reason: reason.to_owned(), in_flight };
        let dying = self.batch.take().map(|batch| batch.tickets).unwrap_or_default();
        missed(dying.iter().map(|ticket| &ticket.request), now, out);
        for (session, mut seat) in std::mem::take(&mut self.seats) {
            let (queued, waiting) = (self.queue.forget(session), seat.clear());
            if seat.closing {
                continue;
            }
            let dying = dying.iter().filter(|ticket| ticket.session == session && R::answers_the_dying());
            out.extend(dying.map(|ticket| Action::Reply {
                session,
                request: ticket.request,
                outcome: gone(true),
            }));
            let left = queued.into_iter().map(|ticket| ticket.request).chain(waiting);
            out.extend(left.map(|request| Action::Reply { session, request, outcome: gone(false) }));
            out.push(match seat.opened {
                true => Action::Over { session, reason: reason.to_owned() },
                false => Action::Opened { session, result: Err(Error::new(Code::NotReady, reason)) },
            });
        }
        self.cut = None;
        self.owners.clear();
        self.watch.forget();
        // What it answered says nothing of the next one, of which something may be heard before it has begun.
        self.answered = false;
    }

    /// Hands out what can go.
    pub(super) fn pump(&mut self, now: Duration, out: &mut Vec<Action<C>>) {
        for (session, seat) in &mut self.seats {
            while let Some((request, asked)) = seat.next_ask::<R>() {
                self.queue.push(Ticket { session: *session, request, asked });
            }
        }
        let may_infer = R::may_infer(self.batch.is_some());
        if may_infer {
            self.expire(now, out);
            if self.queue.is_empty() {
                self.cut = None;
            } else if self.cut.is_none() {
                self.cut = Some(self.arrivals);
            }
        }
        let cut = self.cut.filter(|_| may_infer).unwrap_or(u64::MAX);
        self.submit_calls(cut, now, out);
        if may_infer && !self.queue.is_empty() && self.owners.is_empty() {
            self.infer(now, out);
            self.submit_calls(u64::MAX, now, out);
        }
    }

    /// Every session's next call, if it came before `cut`.
    fn submit_calls(&mut self, cut: u64, now: Duration, out: &mut Vec<Action<C>>) {
        for (session, seat) in &mut self.seats {
            if self.watch.len() >= self.policy.window {
                break;
            }
            if let Some(call) = seat.next_call::<R>(cut) {
                let op = self.next_op;
                self.next_op += 1;
                self.watch.submitted(op, now);
                self.owners.insert(op, *session);
                out.push(Action::Submit { op, session: *session, call });
            }
        }
    }

    fn infer(&mut self, now: Duration, out: &mut Vec<Action<C>>) {
        let one_per_session = self.abilities.sequential && self.abilities.chunk_frames <= 1;
        let Abilities { max_batch, chunk_frames, .. } = self.abilities;
        let left = self.queue.soonest().map(|soonest| soonest.saturating_sub(now));
        let max = self.pace.batch(chunk_frames as usize, max_batch, left);
        let mut batch = self.queue.take_batch::<R>(max, one_per_session);
        for ticket in &mut batch {
            if let Some(seat) = self.seats.get_mut(&ticket.session) {
                seat.in_batch = true;
                seat.hand_on(&mut ticket.request);
            }
        }
        let shown = batch.iter().filter(|ticket| !ticket.request.flags.discard_ok);
        let soft = shown.filter_map(|ticket| ticket.request.deadline).min();
        let op = self.next_op;
        self.next_op += 1;
        self.cut = None;
        self.watch.submitted(op, now);
        let first = batch.iter().map(|ticket| ticket.asked).min();
        let waited = first.map_or(Duration::ZERO, |asked| now.saturating_sub(asked));
        self.batch = Some(Batch { op, tickets: batch.clone(), soft, waited });
        out.push(Action::Infer { op, batch });
    }

    fn expire(&mut self, now: Duration, out: &mut Vec<Action<C>>) {
        let (seats, sequential) = (&mut self.seats, self.abilities.sequential);
        let left_out = |session| R::leaves_out(sequential, seats.get(&session).is_some_and(|seat| seat.held));
        let (unseen, missed) = self.queue.take_unseen::<R>(now, left_out);
        if missed > 0 {
            out.push(Action::Note(Note::Missed(missed)));
        }
        for Ticket { session, request, .. } in unseen {
            if let Some(seat) = seats.get_mut(&session)
                && R::carries_marks()
            {
                seat.carry(request);
            }
            if R::answers_expired() {
                out.push(Action::Reply { session, request, outcome: Outcome::Expired });
            }
        }
    }

    /// Answers a request that was in the batch, or tries it once more: an error that may pass, while there is time.
    /// Not where frames are drawn in order: those behind it have been drawn already.
    fn answer(
        &mut self,
        ticket: Ticket,
        result: Result<C::Picture, Error>,
        now: Duration,
        out: &mut Vec<Action<C>>,
    ) {
        let Ticket { session, request, .. } = ticket;
        let Some(seat) = self.seats.get_mut(&session) else { return };
        let (stale, closing) = (R::is_stale(request.epoch, seat.epoch), seat.closing);
        let has_time = request.deadline.is_none_or(|deadline| deadline > now);
        let may_pass = |error: &Error| {
            error.retryable && !matches!(error.code, Code::BackendPanic | Code::DeviceLost | Code::Deadline)
        };
        if result.as_ref().is_err_and(may_pass)
            && !(stale || self.abilities.sequential)
            && has_time
            && seat.may_try_again(request.seq)
        {
            return self.queue.put_back(ticket);
        }
        let left_out = is_left_out(&request, &result);
        let outcome = match result {
            Ok(_) if stale => Outcome::Expired,
            Ok(picture) => Outcome::Drawn(picture),
            Err(error) if error.code == Code::BackendPanic => {
                self.fall_out(session, Trouble::of("infer_batch", &error), out);
                Outcome::Gone { reason: error.to_string(), in_flight: true }
            }
            Err(error) if error.code == Code::DeviceLost => {
                Outcome::Gone { reason: error.to_string(), in_flight: true }
            }
            Err(_) if stale || left_out => Outcome::Expired,
            Err(error) => Outcome::Failed(error.to_string()),
        };
        if !closing {
            out.push(Action::Reply { session, request, outcome });
        }
    }

    /// A session's frames can no more be trusted: all that it waits for is answered so.
    fn fall_out(&mut self, session: u64, trouble: Trouble, out: &mut Vec<Action<C>>) {
        let Some(seat) = self.seats.get_mut(&session).filter(|seat| !seat.closing) else { return };
        let dropped = self.queue.forget(session).into_iter().map(|ticket| ticket.request);
        let dropped: Vec<Request> = dropped.chain(seat.clear()).collect();
        let reply = |request| Action::Reply { session, request, outcome: trouble.outcome() };
        out.extend(dropped.into_iter().map(reply));
        if !matches!(seat.trouble, Some(Trouble::Poisoned(_))) {
            seat.trouble = Some(trouble);
        }
    }

    /// A call failed. What a reset that waits makes void does not matter any more.
    fn fail(&mut self, session: u64, call: &str, error: &Error, out: &mut Vec<Action<C>>) {
        let void = self.seats.get(&session).is_some_and(Seat::awaits_reset);
        if !void || error.code == Code::BackendPanic {
            self.fall_out(session, Trouble::of(call, error), out);
        }
    }

    /// The backend would not open the session.
    fn refuse(&mut self, session: u64, error: Error, out: &mut Vec<Action<C>>) {
        let Some(mut seat) = self.seats.remove(&session).filter(|seat| !seat.closing) else { return };
        let reason = error.to_string();
        out.extend(seat.clear().into_iter().map(|request| Action::Reply {
            session,
            request,
            outcome: Outcome::Gone { reason: reason.clone(), in_flight: false },
        }));
        out.push(Action::Opened { session, result: Err(error) });
    }

    fn check_flood(&mut self, session: u64, out: &mut Vec<Action<C>>) {
        let waits = self.seats.get(&session).is_some_and(|seat| seat.waiting.len() > self.policy.max_waiting);
        if waits || self.queue.count(session) > self.policy.max_waiting {
            let reason = format!("more than {} calls of it wait", self.policy.max_waiting);
            self.fall_out(session, Trouble::Run(reason), out);
            out.push(Action::Warn(Warning::Flooded { session }));
        }
    }

    fn arrive(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals - 1
    }
}

/// A late frame that the backend was free to leave out, and did.
fn is_left_out<P>(request: &Request, result: &Result<P, Error>) -> bool {
    request.flags.discard_ok && result.as_ref().is_err_and(|error| error.code == Code::Deadline)
}

/// Notes how many of these had no picture when their frame left.
fn missed<'a, C: Cargo>(
    requests: impl Iterator<Item = &'a Request>,
    now: Duration,
    out: &mut Vec<Action<C>>,
) {
    match requests.filter(|request| request.is_late(now) && !request.flags.discard_ok).count() {
        0 => {}
        late => out.push(Action::Note(Note::Missed(late as u64))),
    }
}
