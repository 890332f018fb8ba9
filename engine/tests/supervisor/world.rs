//! Clients and incarnations that a supervisor has to live with, on a clock of their own.

use std::time::Duration;

use lipcast_engine::backend::supervisor::{
    Abilities, Action, Cargo, Event, LinkEvent, Note, Op, Outcome, Policy, Request, Rules, State, Supervisor,
    Ticket, Warning,
};
use lipcast_engine::backend::{Code, RequestFlags};
use lipcast_plugins_api::author::Error;

use crate::child::Child;
use crate::ledger::{Book, Broken, End, Ledger, hold};
use crate::random::Random;

/// What passes through in these tests: names of things.
#[derive(Debug)]
pub(crate) struct Toy;

impl Cargo for Toy {
    type Opening = ();
    type Audio = u64;
    type Picture = Drawing;

    fn is_painted(_: &Drawing) -> bool {
        true
    }
}

/// Says whose picture it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drawing {
    pub(crate) session: u64,
    pub(crate) seq: u64,
    pub(crate) incarnation: u64,
}

macro_rules! tally {
    ($($name:ident),*) => {
        /// What was seen.
        #[derive(Debug, Default)]
        pub(crate) struct Tally { $(pub(crate) $name: u64),* }

        impl Tally {
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

tally!(
    steps,
    drawn,
    expired,
    failed,
    gone,
    gone_in_flight,
    kills,
    spawns,
    quarantines,
    held,
    resets,
    ends,
    refused,
    late,
    batches,
    unseen,
    missed
);

const MS: Duration = Duration::from_millis(1);

pub(crate) struct World<R: Rules> {
    supervisor: Supervisor<Toy, R>,
    policy: Policy,
    abilities: Abilities,
    random: Random,
    now: Duration,
    client_due: Duration,
    /// What is on its way to the supervisor.
    mail: Vec<(Duration, u64, LinkEvent<Toy>)>,
    child: Option<Child>,
    incarnation: u64,
    /// How bad the world is: faults are this many times as likely.
    badness: u64,
    ledger: Ledger,
    next_session: u64,
    /// When the supervisor may next kill without another reason, and how it would count.
    excused: bool,
    refused_politely: bool,
    end: Option<End>,
    end_asked: Option<Duration>,
    pub(crate) tally: Tally,
}

impl<R: Rules> World<R> {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let policy = Policy {
            memory_limit: Some(1000),
            max_waiting: 60,
            init_timeout: Duration::from_secs(5),
            ..Policy::default()
        };
        let abilities = Abilities {
            max_batch: 1 + random.below(8) as usize,
            sequential: random.one_in(2),
            chunk_frames: random.below(3) as u32,
        };
        Self {
            supervisor: Supervisor::new(policy.clone(), seed),
            policy,
            abilities,
            badness: [0, 1, 5, 30][random.below(4) as usize],
            random,
            now: Duration::ZERO,
            client_due: Duration::ZERO,
            mail: Vec::new(),
            child: None,
            incarnation: 0,
            ledger: Ledger::default(),
            next_session: 1,
            excused: false,
            refused_politely: false,
            end: None,
            end_asked: None,
            tally: Tally::default(),
        }
    }

    pub(crate) fn run(&mut self, steps: u64) -> Result<(), Broken> {
        self.tell(Event::Start)?;
        while self.tally.steps < steps {
            self.step(true)?;
        }
        // Left alone and no longer harmed, it answers everything, at the latest when a call that is out counts as
        // stuck: batches that once took long make that late.
        self.badness = 0;
        let stuck = R::hard_deadline(self.supervisor.batch_p99(), &self.policy) * self.policy.starved_factor;
        let patience = self.now + stuck + Duration::from_secs(60);
        while self.now < patience && self.ledger.books.values().any(|book| !book.pending.is_empty()) {
            self.step(false)?;
        }
        for (session, book) in &self.ledger.books {
            hold(book.pending.is_empty(), "no request is lost", || format!("session {session}: {book:?}"))?;
        }
        Ok(())
    }

    fn step(&mut self, clients: bool) -> Result<(), Broken> {
        let mail = self.mail.iter().enumerate().map(|(index, (due, ..))| (*due, index)).min();
        let tick = self.supervisor.next_deadline();
        let client = if clients { self.client_due } else { self.now + Duration::from_secs(1) };
        let next = mail.map_or(client, |(due, _)| due.min(client)).min(tick.unwrap_or(client));
        self.now = self.now.max(next);
        if let Some((_, index)) = mail.filter(|(due, _)| *due <= self.now) {
            let (_, incarnation, event) = self.mail.remove(index);
            return self.deliver(incarnation, event);
        }
        if tick.is_some_and(|tick| tick <= self.now) {
            if let Some(child) = &self.child {
                let beat = (child.alive(self.now).as_millis() / 100) as u32;
                self.tell(Event::Link { incarnation: self.incarnation, event: LinkEvent::Beat(beat) })?;
            }
            self.tell(Event::Tick)?;
            let next = self.supervisor.next_deadline();
            return hold(next.is_none_or(|next| next > self.now), "no busy loop", || format!("{next:?}"));
        }
        if clients { self.client_acts() } else { Ok(()) }
    }

    fn deliver(&mut self, incarnation: u64, event: LinkEvent<Toy>) -> Result<(), Broken> {
        let current =
            incarnation == self.incarnation && self.child.as_ref().is_some_and(|child| !child.killed);
        if current {
            self.foresee(&event);
        }
        let died = matches!(event, LinkEvent::Died { .. }) && incarnation == self.incarnation;
        let born_end = died.then(|| self.end.unwrap_or_else(|| self.death()));
        if died {
            self.child = None;
        }
        self.tell_with(Event::Link { incarnation, event }, born_end)
    }

    /// What the supervisor may do about an event, and what the clients' books say of it.
    fn foresee(&mut self, event: &LinkEvent<Toy>) {
        let now = self.now;
        let Some(child) = &mut self.child else { return };
        match event {
            LinkEvent::Started(_) => child.ready = Some(now),
            LinkEvent::StartFailed { .. } => (self.excused, self.refused_politely) = (true, true),
            LinkEvent::Broken(_) => self.excused = true,
            LinkEvent::OpDone { op, result } if child.is_at(*op) => {
                let call = child.did(*op, now);
                self.ledger.calls_out -= 1;
                self.excused |= result.as_ref().is_err_and(|error| error.code == Code::DeviceLost);
                self.tally.held +=
                    u64::from(result.as_ref().is_err_and(|error| error.code == Code::WouldBlock));
                if let Some((session, push)) = call
                    && let Some(book) = self.ledger.books.get_mut(&session)
                {
                    book.heard(push, result.as_ref().err().map(|error| error.code));
                }
            }
            LinkEvent::BatchDone { op, results } if child.is_at(*op) => {
                child.did(*op, now);
                self.ledger.calls_out -= 1;
                self.ledger.batch_back = true;
                let lost =
                    |result: &Result<_, Error>| result.as_ref().is_err_and(|e| e.code == Code::DeviceLost);
                let complete = results.len() == self.ledger.batch.len();
                self.excused |= !complete || results.iter().any(lost);
                // Also an answer that its session has no more use for shows that the incarnation works.
                let answers = |(ticket, result): (&Ticket, &Result<_, Error>)| {
                    let free = ticket.request.flags.discard_ok;
                    result.as_ref().map_or_else(|error| free && error.code == Code::Deadline, |_| true)
                };
                self.ledger.proven |= complete && self.ledger.batch.iter().zip(results).any(answers);
            }
            _ => {}
        }
    }

    fn death(&self) -> End {
        let ready = self.child.as_ref().and_then(|child| child.ready);
        End {
            was_healthy: ready.is_some_and(|since| self.now - since >= self.policy.healthy_after),
            weight: Some(if self.ledger.proven { 1 } else { 2 }),
        }
    }

    fn tell(&mut self, event: Event<Toy>) -> Result<(), Broken> {
        self.tell_with(event, None)
    }

    fn tell_with(&mut self, event: Event<Toy>, ended: Option<End>) -> Result<(), Broken> {
        self.tally.steps += 1;
        let waits = matches!(
            self.supervisor.state(),
            State::Idle | State::BackingOff | State::Quarantined | State::Refused
        );
        if waits && matches!(event, Event::Retry | Event::Retire { again: true }) {
            self.ledger.forgiven();
        }
        if self.supervisor.state() == State::Starting && matches!(event, Event::Retire { .. }) {
            self.excused = true;
        }
        let mut actions = Vec::new();
        self.supervisor.handle(event, self.now, &mut actions);
        if let Some(end) = ended {
            self.end = None;
            let (state, due) = (self.supervisor.state(), self.supervisor.next_deadline());
            let wait = due.map_or(Duration::ZERO, |due| due - self.now);
            self.ledger.ended(end, state, wait, self.now, &self.policy)?;
        }
        let sees_loss = |action: &Action<Toy>| match action {
            Action::Kill { .. } => true,
            Action::Announce { state, .. } => !matches!(state, State::Ready | State::Late | State::Draining),
            _ => false,
        };
        let seen = actions.iter().position(sees_loss).unwrap_or(actions.len());
        let named = |action: &Action<Toy>| {
            matches!(action, Action::Reply { outcome: Outcome::Gone { in_flight: true, .. }, .. })
        };
        let late = actions[seen..].iter().find(|action| named(action));
        hold(late.is_none(), "suspects are named before the loss is seen", || format!("{late:?}"))?;
        for action in actions {
            self.obey(action)?;
        }
        if self.ledger.batch_back {
            (self.ledger.batch_back, self.ledger.batch_out) = (false, false);
        }
        let state = self.supervisor.state();
        if !matches!(state, State::Ready | State::Late | State::Draining) {
            let left = self.ledger.books.iter().find(|(_, book)| !book.pending.is_empty());
            hold(left.is_none(), "no request is lost", || format!("{state:?}: {left:?}"))?;
        }
        for (session, book) in &self.ledger.books {
            let most = 3 * self.policy.max_waiting;
            hold(book.pending.len() <= most, "queues are bounded", || format!("session {session}"))?;
        }
        Ok(())
    }

    fn obey(&mut self, action: Action<Toy>) -> Result<(), Broken> {
        match action {
            Action::Spawn { incarnation } => self.spawn(incarnation)?,
            Action::Kill { incarnation, reason } => self.kill(incarnation, &reason)?,
            Action::End { .. } => {
                self.tally.ends += 1;
                self.end_asked = Some(self.now);
                let out = self.child.as_ref().map_or(0, Child::calls_out);
                hold(out == 0, "nothing is out at a polite end", || out.to_string())?;
                if !self.fault(20) {
                    self.post(self.now + MS * 3, died("exit 0"));
                }
            }
            Action::Submit { op, session, call } => {
                self.ledger.submitted(op, session, &call)?;
                self.work(op, Work::Call(session, call));
            }
            Action::Infer { op, batch } => {
                self.tally.batches += 1;
                self.ledger.inferred(op, &batch, self.abilities, self.now)?;
                self.work(op, Work::Batch(batch));
            }
            Action::Opened { session, result: Ok(()) } => {
                let known = self.ledger.books.contains_key(&session);
                hold(known, "sessions are told once", || format!("{session}"))?;
            }
            Action::Opened { session, result: Err(_) } | Action::Over { session, .. } => {
                if let Action::Opened { .. } = action {
                    self.tally.refused += 1;
                }
                let book = self.ledger.books.remove(&session);
                let told = book.as_ref().is_some_and(|book| book.pending.is_empty());
                hold(told, "no request is lost", || format!("session {session} is over: {book:?}"))?;
            }
            Action::Reply { session, request, outcome } => {
                match &outcome {
                    Outcome::Drawn(_) => self.tally.drawn += 1,
                    Outcome::Expired => self.tally.expired += 1,
                    Outcome::Failed(_) => self.tally.failed += 1,
                    Outcome::Gone { in_flight, .. } => {
                        self.tally.gone += 1;
                        self.tally.gone_in_flight += u64::from(*in_flight);
                    }
                }
                self.ledger.replied(session, &request, &outcome, self.incarnation)?;
            }
            Action::Announce { state: State::Draining, reason } => {
                let worn = reason.starts_with("it");
                let healthy = self.death().was_healthy;
                let weight = (worn && !healthy).then_some(1);
                self.end = Some(End { was_healthy: worn && healthy, weight });
            }
            Action::Announce { state, .. } => {
                self.tally.quarantines += u64::from(state == State::Quarantined);
                self.tally.late += u64::from(state == State::Late);
            }
            Action::Warn(Warning::Flooded { session }) => {
                if let Some(book) = self.ledger.books.get_mut(&session) {
                    book.next_push = None;
                }
            }
            Action::Warn(Warning::SmallerBatches { max_batch }) => self.abilities.max_batch = max_batch,
            Action::Warn(Warning::Memory { .. }) => {}
            Action::Note(note) => {
                if let Note::Missed(frames) = note {
                    self.tally.missed += frames;
                }
                self.ledger.noted(note)?;
            }
        }
        Ok(())
    }

    fn spawn(&mut self, incarnation: u64) -> Result<(), Broken> {
        hold(self.child.is_none(), "one incarnation at a time", || incarnation.to_string())?;
        self.tally.spawns += 1;
        self.incarnation = incarnation;
        (self.excused, self.refused_politely, self.end, self.end_asked) = (false, false, None, None);
        self.child = Some(Child::new(self.now));
        let ledger = &mut self.ledger;
        // The batch of the one before is over; who was in it is still told in this turn.
        ledger.batch_back = ledger.batch_out;
        (ledger.next_op, ledger.calls_out) = (0, 0);
        ledger.proven = false;
        let due = self.now + MS * self.random.below(300) as u32;
        let event = match self.random.below(100) {
            0 if self.fault(2) => return Ok(()),
            1..5 if self.fault(2) => LinkEvent::StartFailed { reason: "no".into(), retryable: true },
            5 if self.fault(2) => LinkEvent::StartFailed { reason: "never".into(), retryable: false },
            6..10 if self.fault(2) => died("in create"),
            _ => LinkEvent::Started(self.abilities),
        };
        self.post(due, event);
        Ok(())
    }

    fn kill(&mut self, incarnation: u64, reason: &str) -> Result<(), Broken> {
        self.tally.kills += 1;
        let death = self.death();
        let (now, policy) = (self.now, &self.policy);
        let Some(child) =
            self.child.as_mut().filter(|child| !child.killed && incarnation == self.incarnation)
        else {
            return hold(false, "only the living are killed", || format!("{incarnation}: {reason}"));
        };
        child.killed = true;
        let starts_late = child.ready.is_none() && now - child.born >= policy.init_timeout;
        let ends_late = self.end_asked.is_some_and(|asked| now - asked >= policy.end_timeout);
        if !(self.excused || starts_late || ends_late) {
            let (passed, lived) = child.at_its_call_for(now);
            hold(
                child.calls_out() > 0 && passed >= policy.hard_floor,
                "no kill before the hard deadline",
                || format!("{reason}, {passed:?}"),
            )?;
            let starved = lived + 5 * policy.beat_period < policy.hard_floor;
            hold(!starved || passed >= policy.hard_floor * 3, "no kill while the heart stands", || {
                format!("{reason}: lived {lived:?} of {passed:?}")
            })?;
        }
        let polite = self.refused_politely.then_some(End { was_healthy: false, weight: None });
        self.end = polite.or(self.end).or(Some(death));
        let due = now + MS * self.random.below(50) as u32;
        // What it had said before may still come, even after the next one lives.
        let late = self.random.one_in(2);
        let mine = |mail: &(Duration, u64, LinkEvent<Toy>)| mail.1 == incarnation;
        self.mail.retain(|mail| !mine(mail) || (late && !matches!(mail.2, LinkEvent::Died { .. })));
        for mail in self.mail.iter_mut().filter(|mail| mail.1 == incarnation) {
            mail.0 += MS * self.random.below(1500) as u32;
        }
        self.post(due, died("killed"));
        Ok(())
    }

    /// The living incarnation gets work.
    fn work(&mut self, op: u64, work: Work) {
        let slow = self.fault(300);
        let (hangs, dies, stalls) = (self.fault(4000), self.fault(3000), self.fault(1500));
        let took = match (&work, slow) {
            (_, true) => MS * self.random.below(900) as u32,
            (Work::Call(..), _) => MS * self.random.below(100) as u32 / 100,
            (Work::Batch(_), _) => MS * (1 + self.random.below(20) as u32),
        };
        let call = match &work {
            Work::Call(session, Op::Push(serial)) => Some((*session, Some(*serial))),
            Work::Call(session, _) => Some((*session, None)),
            Work::Batch(_) => None,
        };
        let event = match work {
            Work::Call(_, call) => LinkEvent::OpDone { op, result: self.call_result(&call) },
            Work::Batch(batch) => LinkEvent::BatchDone { op, results: self.results(&batch) },
        };
        let stall = MS * self.random.below(4000) as u32;
        let now = self.now;
        let Some(child) = &mut self.child else { return };
        child.given(op, call, now);
        let Some(due) = child.done_at(now, took, stalls.then_some(stall)) else { return };
        if hangs || dies {
            child.hang();
        }
        if hangs {
            return;
        }
        if dies {
            return self.post(due, died("signal 11"));
        }
        if self.fault(500) {
            // A number that is not out, or not yet.
            let (wrong, results) = (op + 1 + self.random.below(70), Vec::new());
            self.post(due, LinkEvent::BatchDone { op: wrong, results });
        }
        self.post(due, event);
    }

    fn call_result(&mut self, call: &Op<Toy>) -> Result<(), Error> {
        let blocks = matches!(call, Op::Push(_)) && self.random.one_in(20);
        let code = match self.random.below(4000) {
            _ if blocks => Code::WouldBlock,
            0..8 if self.badness > 0 => Code::Internal,
            8..10 if self.badness > 0 => Code::BackendPanic,
            10 if self.badness > 0 => Code::DeviceLost,
            _ => return Ok(()),
        };
        Err(Error::new(code, "as it pleases"))
    }

    fn results(&mut self, batch: &[Ticket]) -> Vec<Result<Drawing, Error>> {
        let fate = self.random.below(3000);
        let mut results: Vec<_> = batch
            .iter()
            .map(|ticket| {
                let drawing = Drawing {
                    session: ticket.session,
                    seq: ticket.request.seq,
                    incarnation: self.incarnation,
                };
                let code = match fate {
                    _ if ticket.request.flags.discard_ok && fate.is_multiple_of(2) => Code::Deadline,
                    0..4 if self.badness > 0 => Code::BackendPanic,
                    4 if self.badness > 0 => Code::DeviceLost,
                    5..7 if self.badness > 0 => Code::OomDevice,
                    7..40 if self.badness > 0 && ticket.session % 2 == 0 => Code::BadOutput,
                    _ => return Ok(drawing),
                };
                Err(Error::new(code, "as it pleases"))
            })
            .collect();
        if fate == 41 && self.badness > 0 {
            results.pop();
        }
        results
    }

    fn client_acts(&mut self) -> Result<(), Broken> {
        let serves = matches!(self.supervisor.state(), State::Ready | State::Late | State::Draining);
        let pause = if serves { self.random.below(8) } else { self.random.below(4000) };
        self.client_due = self.now + MS * pause as u32;
        let open: Vec<u64> = self.ledger.books.keys().copied().collect();
        let fate = self.random.below(2000);
        match fate {
            0 if self.badness > 0 => return self.tell(Event::Retire { again: true }),
            1 if self.badness > 0 && self.random.one_in(4) => {
                return self.tell(Event::Retire { again: false });
            }
            2 => return self.tell(Event::Retry),
            3 => return self.tell(Event::Start),
            4 if self.badness > 0 => {
                let resident = 850 + self.random.below(160);
                return self.heard(LinkEvent::Memory(resident));
            }
            5 if self.badness > 4 => return self.heard(LinkEvent::Broken("says so".into())),
            _ => {}
        }
        if open.len() < 2 || (open.len() < 6 && fate < 60) {
            let session = self.next_session;
            self.next_session += 1;
            let book = Book::new();
            self.ledger.books.insert(session, book);
            return self.tell(Event::Open { session, opening: () });
        }
        let session = open[self.random.below(open.len() as u64) as usize];
        match fate {
            60..70 => {
                self.ledger.books.remove(&session);
                self.ledger.closed.insert(session);
                self.tell(Event::Close { session })
            }
            70..110 => {
                self.tally.resets += 1;
                let Some(book) = self.ledger.books.get_mut(&session) else { return Ok(()) };
                // From here on, whatever comes out is measured by the new epoch.
                book.resets();
                let epoch = book.epoch;
                self.tell(Event::Reset { session, epoch })
            }
            110..900 => self.push(session),
            _ => {
                let many = if self.random.one_in(200) { 80 } else { 1 + self.random.below(3) };
                for _ in 0..many {
                    self.ask(session)?;
                }
                Ok(())
            }
        }
    }

    fn heard(&mut self, event: LinkEvent<Toy>) -> Result<(), Broken> {
        self.deliver(self.incarnation, event)
    }

    fn push(&mut self, session: u64) -> Result<(), Broken> {
        let Some(book) = self.ledger.books.get_mut(&session) else { return Ok(()) };
        let audio = book.pushes;
        book.pushes += 1;
        self.tell(Event::Push { session, audio })
    }

    fn ask(&mut self, session: u64) -> Result<(), Broken> {
        let deadline = (!self.random.one_in(5)).then(|| self.now + MS * self.random.below(80) as u32);
        let (last, alone) = (self.random.one_in(10), self.random.one_in(60));
        let discard_ok = self.random.one_in(6);
        self.tally.unseen += u64::from(discard_ok);
        let Some(book) = self.ledger.books.get_mut(&session) else { return Ok(()) };
        let flags = RequestFlags { first: book.begins_run, last, discard_ok, alone };
        let (seq, epoch, frame) = (book.seq, book.epoch, book.frame);
        let request = Request { seq, epoch, frame, avatar_frame: 0, deadline, flags };
        (book.seq, book.frame, book.begins_run) = (seq + 1, frame + 1, last);
        book.asks(request);
        self.tell(Event::Request { session, request })
    }

    fn post(&mut self, due: Duration, event: LinkEvent<Toy>) {
        self.mail.push((due, self.incarnation, event));
    }

    /// Something bad happens once in so many times, in a world that is a little bad.
    fn fault(&mut self, one_in: u64) -> bool {
        self.random.below(one_in) < self.badness
    }
}

/// What an incarnation is given.
enum Work {
    Call(u64, Op<Toy>),
    Batch(Vec<Ticket>),
}

fn died(reason: &str) -> LinkEvent<Toy> {
    LinkEvent::Died { reason: reason.into(), barred: false }
}
