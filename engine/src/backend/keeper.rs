//! The thread of one configured backend: it starts its incarnations, carries calls to them and answers back, and does
//! what the [`Supervisor`] says.
//!
//! It lives as long as the backend is configured, because a child process ends with the *thread* that started it
//! (`PR_SET_PDEATHSIG`).

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use lipcast_plugins_api::author::{Code, Error};
use lipcast_plugins_api::loader::Plugin;

use super::incarnation::{Condition, Incarnation};
use super::link::{
    Answer, Drawing, Link, Load, LocalLink, NoLink, Opening, Origin, ProcessLink, ProcessProgram,
};
use super::mailbox::Mailbox;
use super::program::{BackendSpec, Candidate, CrashList, Fingerprint, Program};
use super::supervisor::{
    Action, Event, LinkEvent, Outcome as Ended, Policy, Request, State, Supervisor, Warning,
};
use super::{FrameReply, Outcome};
use crate::sync::lock;

/// What other threads ask of a keeper.
pub(super) enum Letter {
    /// A session begins, in this incarnation and no other.
    Open {
        incarnation: u64,
        session: u64,
        opening: Opening,
        replies: Sender<FrameReply>,
        opened: Sender<Result<(), Error>>,
    },
    /// A session asks for a frame, which leaves at `deadline`.
    Ask { session: u64, request: Request, deadline: Option<Instant> },
    /// Something of a session, or for the backend as a whole.
    Event(Event<Load>),
    /// Nobody wants the backend any more.
    Stop,
    /// Look: something happened.
    Wake,
}

/// A backend as others see it.
#[derive(Clone)]
pub(super) struct Status {
    pub(super) state: State,
    pub(super) reason: String,
    /// When it came into that state, but for [`State::Late`], which is [`State::Ready`] here.
    pub(super) since: Instant,
    /// The one that lives, once it is ready.
    pub(super) incarnation: Option<Arc<Incarnation>>,
    /// Incarnations so far.
    pub(super) incarnations: u64,
    /// Its process.
    pub(super) process: Option<u32>,
}

/// Something about some backend changed. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Changes(Arc<(Mutex<u64>, Condvar)>);

impl Changes {
    /// Nobody who waits without a limit sleeps longer before looking again.
    const A_WHILE: Duration = Duration::from_secs(60);

    fn tell(&self) {
        *self.lock() += 1;
        self.0.1.notify_all();
    }

    /// Counts changes.
    pub(super) fn count(&self) -> u64 {
        *self.lock()
    }

    /// Waits for a change after `known`, at most for `patience`.
    pub(super) fn wait(&self, known: u64, patience: Duration) {
        let waited = self.0.1.wait_timeout_while(self.lock(), patience, |count| *count == known);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        lock(&self.0.0)
    }
}

/// A keeper, from outside. When the last one goes, the backend is drained and ended.
pub(super) struct Keeper {
    mailbox: Arc<Mailbox<Letter>>,
    status: Arc<Mutex<Status>>,
}

impl Keeper {
    /// Begins to bring `spec` up; returns at once.
    pub(super) fn start(spec: BackendSpec, crashes: CrashList, changes: Changes) -> std::io::Result<Self> {
        let mailbox = Arc::new(Mailbox::new()?);
        let status = Arc::new(Mutex::new(Status {
            state: State::Starting,
            reason: String::new(),
            since: Instant::now(),
            incarnation: None,
            incarnations: 0,
            process: None,
        }));
        let (name, own, shown) = (spec.name.clone(), mailbox.clone(), status.clone());
        thread::Builder::new().name(format!("backend {name}")).spawn(move || {
            let farewell = Farewell { mailbox: own.clone(), status: shown.clone(), changes: changes.clone() };
            Desk::new(spec, own, shown, crashes, changes).run();
            drop(farewell);
        })?;
        Ok(Self { mailbox, status })
    }

    /// The backend as it stands.
    pub(super) fn status(&self) -> Status {
        lock(&self.status).clone()
    }

    /// Waits until it is ready, or its first attempt has failed; in the end, when `limit` is over.
    ///
    /// # Errors
    /// Why it is not ready, in a line.
    pub(super) fn wait_ready(
        &self,
        changes: &Changes,
        limit: Option<Duration>,
    ) -> Result<Arc<Incarnation>, String> {
        let started = Instant::now();
        loop {
            let known = changes.count();
            let status = self.status();
            if let Some(incarnation) = status.incarnation {
                return Ok(incarnation);
            }
            if !matches!(status.state, State::Starting | State::Ready | State::Late | State::Dead) {
                return Err(status.reason);
            }
            let left = limit.map_or(Changes::A_WHILE, |limit| limit.saturating_sub(started.elapsed()));
            if left.is_zero() {
                let limit = limit.unwrap_or_default().as_secs_f64();
                return Err(format!("it was not ready within {limit:.0} s"));
            }
            changes.wait(known, left);
        }
    }

    /// Tries it now, whatever happened.
    pub(super) fn retry(&self) {
        let _ = self.mailbox.put(Letter::Event(Event::Retry));
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.mailbox.put(Letter::Stop);
    }
}

/// However the thread ends, nobody goes on writing to it, and everybody sees it.
struct Farewell {
    mailbox: Arc<Mailbox<Letter>>,
    status: Arc<Mutex<Status>>,
    changes: Changes,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // With the letters go the channels that their writers wait at.
        drop(self.mailbox.close());
        let reason = if thread::panicking() { "its thread panicked" } else { "it is not wanted any more" };
        let mut status = lock(&self.status);
        if let Some(incarnation) = status.incarnation.take() {
            incarnation.condition().lose(reason);
        }
        (status.state, status.reason) = (State::Idle, reason.to_owned());
        drop(status);
        self.changes.tell();
    }
}

struct Desk {
    spec: BackendSpec,
    /// What the finder said for the first start: it may have read gigabytes to say it.
    found: Option<Result<Candidate, String>>,
    policy: Policy,
    supervisor: Supervisor<Load>,
    origin: Origin,
    mailbox: Arc<Mailbox<Letter>>,
    link: Option<Current>,
    /// Where the answers of open sessions go.
    sessions: HashMap<u64, Sender<FrameReply>>,
    /// Who waits to hear whether a session could be opened.
    opening: HashMap<u64, Sender<Result<(), Error>>>,
    numbers: Arc<AtomicU64>,
    status: Arc<Mutex<Status>>,
    changes: Changes,
    crashes: CrashList,
    actions: Vec<Action<Load>>,
    sample_due: Instant,
    /// The file that was refused, as it was then.
    refused: Option<(std::path::PathBuf, Option<Fingerprint>)>,
    stopping: bool,
}

/// The incarnation that lives.
struct Current {
    number: u64,
    link: Box<dyn Link>,
    library: Option<std::path::PathBuf>,
    condition: Arc<Condition>,
}

/// How often memory is looked at, and whether a refused file has changed.
const SAMPLE_PERIOD: Duration = Duration::from_secs(1);

/// Nobody ends code in this process, so nobody shall try.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl Desk {
    fn new(
        spec: BackendSpec,
        mailbox: Arc<Mailbox<Letter>>,
        status: Arc<Mutex<Status>>,
        crashes: CrashList,
        changes: Changes,
    ) -> Self {
        // A process that takes too long is ended; see the field's own text for the others.
        let found = (spec.find)();
        let is_process = matches!(&found, Ok(Candidate { program: Program::Process { .. }, .. }));
        let init_timeout = if is_process { spec.init_timeout } else { FOR_EVER };
        let policy = Policy { init_timeout, ..spec.policy.clone() };
        // Jitter keeps the backends of several servers apart; it need not be unguessable.
        let seed = u64::from(std::process::id()) ^ (Arc::as_ptr(&mailbox) as u64);
        Self {
            supervisor: Supervisor::new(policy.clone(), seed),
            policy,
            spec,
            found: Some(found),
            origin: Origin::now(),
            mailbox,
            link: None,
            sessions: HashMap::new(),
            opening: HashMap::new(),
            numbers: Arc::default(),
            status,
            changes,
            crashes,
            actions: Vec::new(),
            sample_due: Instant::now(),
            refused: None,
            stopping: false,
        }
    }

    fn run(mut self) {
        self.handle(Event::Start);
        loop {
            for letter in self.mailbox.take() {
                self.read(letter);
            }
            while let Some((incarnation, event)) = self.news() {
                self.handle(Event::Link { incarnation, event });
            }
            self.sample();
            if self.supervisor.next_deadline().is_some_and(|due| due <= self.now()) {
                self.feel_pulse();
                self.handle(Event::Tick);
            }
            if self.stopping && self.link.is_none() {
                return;
            }
            self.wait();
        }
    }

    fn now(&self) -> Duration {
        self.origin.instant.elapsed()
    }

    fn read(&mut self, letter: Letter) {
        match letter {
            Letter::Open { incarnation, session, opening, replies, opened } => {
                if self.link.as_ref().is_some_and(|current| current.number == incarnation) {
                    self.sessions.insert(session, replies);
                    self.opening.insert(session, opened);
                    self.handle(Event::Open { session, opening });
                } else {
                    let _ = opened.send(Err(Error::new(Code::NotReady, "it was started anew meanwhile")));
                }
            }
            Letter::Ask { session, request, deadline } => {
                let since_origin = |at: Instant| at.saturating_duration_since(self.origin.instant);
                let request = Request { deadline: deadline.map(since_origin), ..request };
                self.handle(Event::Request { session, request });
            }
            Letter::Event(event) => {
                if let Event::Close { session } = &event {
                    self.sessions.remove(session);
                }
                if let (Event::Retry, Some((library, _))) = (&event, &self.refused) {
                    self.crashes.forgive(library);
                }
                self.handle(event);
            }
            Letter::Stop => {
                self.stopping = true;
                self.handle(Event::Retire { again: false });
            }
            Letter::Wake => {}
        }
    }

    /// The next thing that the incarnation has to tell. Its end is the last.
    fn news(&mut self) -> Option<(u64, LinkEvent<Load>)> {
        let current = self.link.as_mut()?;
        let mut event = current.link.take()?;
        let number = current.number;
        if let LinkEvent::Died { barred, .. } = &mut event {
            if *barred && let Some(library) = &current.library {
                self.crashes.add(library);
            }
            self.link = None;
        }
        Some((number, event))
    }

    fn handle(&mut self, event: Event<Load>) {
        let mut actions = std::mem::take(&mut self.actions);
        self.supervisor.handle(event, self.now(), &mut actions);
        for action in actions.drain(..) {
            self.act(action);
        }
        self.actions = actions;
    }

    fn act(&mut self, action: Action<Load>) {
        match action {
            Action::Spawn { incarnation } => self.spawn(incarnation),
            Action::Kill { incarnation, reason } => {
                tracing::debug!(backend = self.spec.name, incarnation, reason, "it is ended");
                self.lose(&reason);
                self.with_link(incarnation, |link| link.kill());
            }
            Action::End { incarnation } => self.with_link(incarnation, |link| link.end()),
            Action::Submit { op, session, call } => {
                if let Some(current) = &mut self.link {
                    current.link.submit(op, session, call);
                }
            }
            Action::Infer { op, batch } => {
                if let Some(current) = &mut self.link {
                    current.link.infer(op, &batch);
                }
            }
            Action::Opened { session, result } => {
                if result.is_err() {
                    self.sessions.remove(&session);
                }
                if let Some(opened) = self.opening.remove(&session) {
                    let _ = opened.send(result);
                }
            }
            Action::Reply { session, request, outcome } => {
                if let Some(replies) = self.sessions.get(&session) {
                    // The session may be gone already; its `Close` is on the way.
                    let _ = replies.send(reply(&request, outcome));
                }
                if let Some(current) = &self.link {
                    current.condition.set_batch_p99(self.supervisor.batch_p99());
                }
            }
            Action::Over { session, .. } => {
                // The channel hangs up: that is what the session hears.
                self.sessions.remove(&session);
            }
            Action::Announce { state, reason } => self.announce(state, reason),
            Action::Warn(warning) => self.warn(&warning),
        }
    }

    fn spawn(&mut self, number: u64) {
        let condition = Arc::new(Condition::default());
        let found = self.found.take().unwrap_or_else(|| (self.spec.find)());
        let library = found.as_ref().ok().and_then(|found| found.program.file().map(ToOwned::to_owned));
        self.refused = library.clone().map(|library| {
            let fingerprint = Fingerprint::of(&library);
            (library, fingerprint)
        });
        let link = match found {
            Ok(_) if library.as_ref().is_some_and(|library| self.crashes.holds(library)) => Box::new(
                NoLink::refused("it crashed while it was opened, and has not changed since".to_owned()),
            ),
            Ok(found) => self.link(found.program, found.expected_id),
            Err(reason) => Box::new(NoLink::refused(reason)),
        };
        self.link = Some(Current { number, link, library, condition });
    }

    fn link(&mut self, program: Program, expected_id: Option<String>) -> Box<dyn Link> {
        // Asked to start in a folder that is not there, the system would blame the host.
        if let Some(library) = program.file().filter(|library| !library.exists()) {
            let reason = format!("{}: there is no such file; has it been built?", library.display());
            return Box::new(NoLink::refused(reason));
        }
        let (name, config, mailbox) = (&self.spec.name, self.spec.config.clone(), self.mailbox.clone());
        let wake = move || drop(mailbox.put(Letter::Wake));
        let plugin = match program {
            Program::Process { command, library } => {
                let program = ProcessProgram { command, library };
                let started =
                    ProcessLink::start(name, &program, config, expected_id, self.origin, Arc::new(wake));
                return match started {
                    Ok(link) => Box::new(link),
                    Err(error) => {
                        let reason =
                            format!("{} cannot be started: {error}", program.command.program.display());
                        match error.kind() {
                            ErrorKind::NotFound | ErrorKind::PermissionDenied => {
                                Box::new(NoLink::refused(reason))
                            }
                            _ => Box::new(NoLink::failed(reason)),
                        }
                    }
                };
            }
            Program::Linked(plugin) => plugin,
            Program::InProcess(library) => match Plugin::open(&library) {
                Ok(plugin) => plugin,
                Err(error) => return Box::new(NoLink::refused(error.to_string())),
            },
        };
        let found = &plugin.descriptor().id;
        if let Some(expected) = expected_id.filter(|expected| expected != found) {
            let reason = format!("plugin.toml says id {expected}, the plugin itself says {found}");
            return Box::new(NoLink::refused(reason));
        }
        match LocalLink::start(name, plugin, config, self.origin, wake) {
            Ok(link) => Box::new(link),
            Err(error) => Box::new(NoLink::failed(format!("no thread for it: {error}"))),
        }
    }

    fn announce(&mut self, state: State, reason: String) {
        let name = self.spec.name.clone();
        match state {
            State::Ready if lock(&self.status).state != State::Late => {
                let summary = self.ready();
                tracing::info!(backend = name, detail = summary, "ready");
            }
            // One line for each loss: what follows tells it.
            State::BackingOff => tracing::warn!(backend = name, reason, "lost; it is started anew"),
            State::Quarantined => tracing::error!(backend = name, reason, "it died too often: in quarantine"),
            State::Refused => tracing::warn!(backend = name, reason, "refused"),
            State::Draining => tracing::info!(backend = name, reason, "draining"),
            State::Dead | State::Idle | State::Starting | State::Ready | State::Late => {}
        }
        let serves = matches!(state, State::Ready | State::Late | State::Draining);
        // A fresh one that starts has nothing to do with what was lost before it.
        if !serves && state != State::Starting {
            self.lose(&reason);
        }
        if let Some(current) = &self.link {
            current.condition.set_late(state == State::Late);
        }
        let mut status = lock(&self.status);
        let same = |state| if state == State::Late { State::Ready } else { state };
        if same(status.state) != same(state) {
            status.since = Instant::now();
        }
        status.state = state;
        status.reason = reason;
        status.process = self.link.as_ref().and_then(|current| current.link.process());
        status.incarnations = self.link.as_ref().map_or(status.incarnations, |current| current.number);
        if !serves {
            status.incarnation = None;
        }
        drop(status);
        self.changes.tell();
    }

    /// Shows the incarnation that has become ready; its summary.
    fn ready(&mut self) -> String {
        let Some(current) = &self.link else { return String::new() };
        let Some(opened) = current.link.opened() else { return String::new() };
        let incarnation = Incarnation::new(
            self.spec.name.clone(),
            current.number,
            opened,
            self.mailbox.clone(),
            current.condition.clone(),
            self.numbers.clone(),
        );
        let summary = incarnation.summary_line();
        lock(&self.status).incarnation = Some(Arc::new(incarnation));
        summary
    }

    /// The incarnation is of no more use; the first reason stays, since those that follow come of it.
    fn lose(&self, reason: &str) {
        if let Some(current) = &self.link {
            current.condition.lose(reason);
        }
        if let Some(incarnation) = &lock(&self.status).incarnation {
            incarnation.condition().lose(reason);
        }
    }

    fn with_link(&mut self, incarnation: u64, act: impl FnOnce(&mut dyn Link)) {
        if let Some(current) = self.link.as_mut().filter(|current| current.number == incarnation) {
            act(&mut *current.link);
        }
    }

    fn warn(&self, warning: &Warning) {
        let backend = self.spec.name.as_str();
        match warning {
            Warning::Memory { resident, limit } => {
                tracing::warn!(backend, resident, limit, "it comes near its memory limit");
            }
            Warning::SmallerBatches { max_batch } => {
                tracing::warn!(backend, max_batch, "its device has no room: batches are made smaller");
            }
            Warning::Flooded { session } => {
                tracing::warn!(backend, session, "a session has more waiting than it may");
            }
        }
    }

    /// Memory, and a refused file that has changed.
    fn sample(&mut self) {
        let now = Instant::now();
        if now < self.sample_due {
            return;
        }
        self.sample_due = now + SAMPLE_PERIOD;
        if self.policy.memory_limit.is_some()
            && let Some(current) = &self.link
            && let Some(resident) = current.link.memory()
        {
            let incarnation = current.number;
            self.handle(Event::Link { incarnation, event: LinkEvent::Memory(resident) });
        }
        let changed =
            |(library, known): &(std::path::PathBuf, Option<Fingerprint>)| Fingerprint::of(library) != *known;
        if self.supervisor.state() == State::Refused && self.refused.as_ref().is_some_and(changed) {
            tracing::info!(backend = self.spec.name, "its file has changed: it is tried again");
            self.handle(Event::Retry);
        }
    }

    fn feel_pulse(&mut self) {
        if let Some(current) = &self.link
            && let Some(beat) = current.link.beat()
        {
            let incarnation = current.number;
            self.handle(Event::Link { incarnation, event: LinkEvent::Beat(beat) });
        }
    }

    fn wait(&mut self) {
        let due = self.supervisor.next_deadline().map(|due| due.saturating_sub(self.now()));
        let watches = self.supervisor.state() == State::Refused || self.policy.memory_limit.is_some();
        let sample = watches.then(|| self.sample_due.saturating_duration_since(Instant::now()));
        let patience = [due, sample].into_iter().flatten().min();
        match &mut self.link {
            Some(current) => current.link.wait(self.mailbox.as_fd(), patience),
            None => {
                let bell = self.mailbox.as_fd();
                let end = rustix::event::PollFd::from_borrowed_fd(bell, rustix::event::PollFlags::IN);
                super::link::sleep(&mut [end], patience);
            }
        }
    }
}

fn reply(request: &Request, outcome: Ended<Answer>) -> FrameReply {
    let (mut at_rest, mut avatar_frame_used) = (false, request.avatar_frame);
    let outcome = match outcome {
        Ended::Drawn(answer) => {
            (at_rest, avatar_frame_used) = (answer.at_rest, answer.avatar_frame_used);
            match answer.drawing {
                Drawing::Patch(patch) => Outcome::Patch(patch),
                Drawing::AvatarFrame => Outcome::AvatarFrame,
                Drawing::SamePatch => Outcome::SamePatch,
            }
        }
        Ended::Expired => Outcome::Expired,
        Ended::Failed(reason) => Outcome::Failed(reason),
        Ended::Gone { reason, in_flight } => Outcome::Gone { reason, in_flight },
    };
    FrameReply { seq: request.seq, epoch: request.epoch, outcome, at_rest, avatar_frame_used }
}
