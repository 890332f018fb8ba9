//! One configured backend, from outside: how it stands, and letters to its thread, which is [`desk`]'s.

mod desk;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use lipcast_plugins_api::author::Error;

use self::desk::Desk;
use super::incarnation::Incarnation;
use super::link::{Load, Opening};
use super::mailbox::Mailbox;
use super::program::{BackendSpec, CrashList};
use super::supervisor::{Event, Request, State};
use super::{BackendMeter, FrameReply};
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
    meter: Arc<BackendMeter>,
}

impl Keeper {
    /// Begins to bring `spec` up; returns at once. `meter` counts on.
    pub(super) fn start(
        spec: BackendSpec,
        crashes: CrashList,
        changes: Changes,
        meter: Arc<BackendMeter>,
    ) -> std::io::Result<Self> {
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
        let counts = meter.clone();
        thread::Builder::new().name(format!("backend {name}")).spawn(move || {
            let farewell = Farewell { mailbox: own.clone(), status: shown.clone(), changes: changes.clone() };
            Desk::new(spec, own, shown, crashes, changes, counts).run();
            drop(farewell);
        })?;
        Ok(Self { mailbox, status, meter })
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

    /// What became of it.
    pub(super) fn meter(&self) -> Arc<BackendMeter> {
        self.meter.clone()
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
