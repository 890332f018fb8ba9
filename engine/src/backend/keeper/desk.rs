//! The thread of one configured backend: it starts its incarnations, carries calls to them and answers back, and does
//! what the [`Supervisor`] says.
//!
//! It lives as long as the backend is configured, because a child process ends with the *thread* that started it
//! (`PR_SET_PDEATHSIG`).

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use lipcast_plugins_api::author::{Code, Error};
use lipcast_plugins_api::loader::{self, Plugin};

use super::{Changes, Letter, Status};
use crate::backend::incarnation::{Condition, Incarnation};
use crate::backend::link::{
    self, Answer, Drawing, Link, Load, LocalLink, NoLink, Origin, ProcessLink, ProcessProgram,
};
use crate::backend::mailbox::Mailbox;
use crate::backend::program::{BackendSpec, Candidate, CrashList, Fingerprint, Program};
use crate::backend::supervisor::{
    Action, Event, LinkEvent, Note, Outcome as Ended, Policy, Request, State, Supervisor, Warning,
};
use crate::backend::{BackendMeter, FrameReply, Outcome};
use crate::sync::lock;

/// What the thread has.
pub(super) struct Desk {
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
    meter: Arc<BackendMeter>,
    actions: Vec<Action<Load>>,
    sample_due: Instant,
    /// The file that was refused, as it was then.
    refused: Option<(std::path::PathBuf, Option<Fingerprint>)>,
    /// Its finder had nothing to start: a folder or a file was missing, or not the one that was pinned.
    unfound: bool,
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
    pub(super) fn new(
        spec: BackendSpec,
        mailbox: Arc<Mailbox<Letter>>,
        status: Arc<Mutex<Status>>,
        crashes: CrashList,
        changes: Changes,
        meter: Arc<BackendMeter>,
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
            meter,
            actions: Vec::new(),
            sample_due: Instant::now(),
            refused: None,
            unfound: false,
            stopping: false,
        }
    }

    pub(super) fn run(mut self) {
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
            Action::Note(note) => {
                self.meter.note(note);
                if let (Note::Batch { .. }, Some(current)) = (note, &self.link) {
                    current.condition.set_capacity(self.supervisor.capacity());
                }
            }
        }
    }

    fn spawn(&mut self, number: u64) {
        let condition = Arc::new(Condition::default());
        let found = self.found.take().unwrap_or_else(|| (self.spec.find)());
        self.unfound = found.is_err();
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
                let (meter, wake) = (self.meter.clone(), Arc::new(wake));
                let started =
                    ProcessLink::start(name, &program, config, expected_id, self.origin, meter, wake);
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
            Program::InProcess { library, preload } => {
                match loader::preload(&preload).and_then(|()| Plugin::open(&library)) {
                    Ok(plugin) => plugin,
                    Err(error) => return Box::new(NoLink::refused(error.to_string())),
                }
            }
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
        if self.supervisor.state() == State::Refused && self.has_changed() {
            tracing::info!(backend = self.spec.name, "its file has changed: it is tried again");
            self.handle(Event::Retry);
        }
    }

    /// Whether what was refused may be another by now.
    fn has_changed(&self) -> bool {
        match &self.refused {
            Some((library, known)) => Fingerprint::of(library) != *known,
            None => self.unfound && (self.spec.find)().is_ok(),
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
                link::sleep(&mut [end], patience);
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
