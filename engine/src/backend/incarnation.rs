//! One loaded backend as the rest of the engine sees it, wherever it lives.

use std::any::Any;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use lipcast_plugins_api::author::{Error, IdleBy, RestPolicy};
use lipcast_wire::client::CallError;
use lipcast_wire::layout::PUSH_SAMPLES;
use serde_json::Value;

use super::host_services::JobProgress;
use super::keeper::Letter;
use super::link::{Audio, Control, Opened, Opening, Person};
use super::mailbox::Mailbox;
use super::supervisor::{Event, Request};
use super::{
    AvatarInfo, AvatarSource, BackendError, Capacity, FrameMask, FrameReply, FrameRequest, Idle, Instance,
    LoadedAvatar, Rest, SessionParams, SessionPort,
};
use crate::avatar::Job;
use crate::time::FrameRate;

/// How an incarnation is doing, told by its keeper.
#[derive(Debug, Default)]
pub(super) struct Condition {
    batch_p99_ns: AtomicU64,
    late: AtomicBool,
    lost: OnceLock<String>,
    /// Frames in a thousand seconds; 0: not known.
    capacity: AtomicU64,
    /// When the last batch came back, milliseconds since `since`.
    batch_at: AtomicU64,
    /// When a session left because it was late, milliseconds since `since` and one; 0: never.
    blamed_at: AtomicU64,
    since: Since,
}

/// When a condition began to be told.
#[derive(Debug)]
struct Since(Instant);

impl Default for Since {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Condition {
    /// How long one that was left before it could be measured counts as too slow.
    const BLAMED: Duration = Duration::from_secs(30);

    pub(super) fn set_batch_p99(&self, p99: Duration) {
        self.batch_p99_ns.store(p99.as_nanos() as u64, Ordering::Relaxed);
    }

    /// A batch has come back; frames per second, as far as is known.
    pub(super) fn set_capacity(&self, capacity: Option<f64>) {
        // Below one frame in a thousand seconds it is known nevertheless.
        let capacity = capacity.map_or(0, |rate| ((rate * 1_000.0) as u64).max(1));
        self.batch_at.store(self.since.0.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.capacity.store(capacity, Ordering::Relaxed);
    }

    fn capacity(&self) -> Option<Capacity> {
        let ago = |at: &AtomicU64| {
            self.since.0.elapsed().saturating_sub(Duration::from_millis(at.load(Ordering::Relaxed)))
        };
        match self.capacity.load(Ordering::Relaxed) {
            0 if self.blamed_at.load(Ordering::Relaxed) == 0 => None,
            // Left before enough was seen of it: all that is known is that it was not enough. Perhaps it was the machine
            // that stood still, so that is soon forgotten.
            0 => Some(Capacity { frames_per_second: 0.0, age: ago(&self.blamed_at) })
                .filter(|capacity| capacity.age < Self::BLAMED),
            known => Some(Capacity { frames_per_second: known as f64 / 1_000.0, age: ago(&self.batch_at) }),
        }
    }

    fn blame(&self) {
        self.blamed_at.store(self.since.0.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
    }

    pub(super) fn set_late(&self, late: bool) {
        self.late.store(late, Ordering::Relaxed);
    }

    /// The first reason stays: those that follow come of it.
    pub(super) fn lose(&self, reason: &str) {
        let _ = self.lost.set(reason.to_owned());
    }
}

/// How long loading a prepared avatar may take: reading a blob, not making one. A backend that takes longer hangs in
/// the call, and nobody could ever show an avatar in it again.
const LOAD_PATIENCE: Duration = Duration::from_secs(60);

/// How long opening a session may take, which is cheap by contract. A backend in a process that takes longer is ended
/// by its hard deadline; one in this process holds its keeper.
const OPEN_PATIENCE: Duration = Duration::from_secs(15);

/// One loaded backend.
pub(super) struct Incarnation {
    name: String,
    number: u64,
    opened: Opened,
    mailbox: Arc<Mailbox<Letter>>,
    condition: Arc<Condition>,
    /// Numbers of sessions, never used again while the backend is configured.
    numbers: Arc<AtomicU64>,
}

impl Incarnation {
    pub(super) fn new(
        name: String,
        number: u64,
        opened: Opened,
        mailbox: Arc<Mailbox<Letter>>,
        condition: Arc<Condition>,
        numbers: Arc<AtomicU64>,
    ) -> Self {
        Self { name, number, opened, mailbox, condition, numbers }
    }

    pub(super) fn condition(&self) -> &Condition {
        &self.condition
    }

    pub(super) fn summary_line(&self) -> String {
        let (descriptor, origin) = (&self.opened.descriptor, &self.opened.origin);
        format!("{} {}, {origin}", descriptor.id, descriptor.version)
    }

    fn failed(&self, call: &'static str, error: Error) -> BackendError {
        let (backend, code, message) = (self.name.clone(), error.code, error.to_string());
        BackendError::Call { backend, call, code, message }
    }

    fn call_failed(&self, call: &'static str, error: CallError) -> BackendError {
        match error {
            CallError::Failed(error) => self.failed(call, error),
            CallError::TimedOut { .. } => {
                // Control calls come one at a time, so one that hangs stands before all others. Its sessions move, and
                // a fresh one takes its place.
                tracing::error!(backend = self.name, %error, "it hangs and is started anew");
                let _ = self.mailbox.put(Letter::Event(Event::Retire { again: true }));
                BackendError::NotReady { backend: self.name.clone(), reason: error.to_string() }
            }
            gone => BackendError::NotReady {
                backend: self.name.clone(),
                reason: self.lost().unwrap_or_else(|| gone.to_string()),
            },
        }
    }

    fn gone(&self) -> BackendError {
        let reason = self.lost().unwrap_or_else(|| "it is not there any more".to_owned());
        BackendError::NotReady { backend: self.name.clone(), reason }
    }
}

impl Instance for Incarnation {
    fn name(&self) -> &str {
        &self.name
    }

    fn summary(&self) -> String {
        self.summary_line()
    }

    fn blob_key(&self) -> (&str, u32) {
        (&self.opened.descriptor.id, self.opened.descriptor.capabilities.blob_version)
    }

    fn lookahead_samples(&self) -> u64 {
        u64::from(self.opened.descriptor.capabilities.lookahead_ms) * 16
    }

    fn lookbehind_samples(&self) -> u64 {
        u64::from(self.opened.descriptor.capabilities.lookbehind_ms) * 16
    }

    fn batch_p99(&self) -> Duration {
        Duration::from_nanos(self.condition.batch_p99_ns.load(Ordering::Relaxed))
    }

    fn lost(&self) -> Option<String> {
        self.condition.lost.get().cloned()
    }

    fn is_late(&self) -> bool {
        self.condition.late.load(Ordering::Relaxed)
    }

    fn capacity(&self) -> Option<Capacity> {
        self.condition.capacity()
    }

    fn blame(&self) {
        self.condition.blame();
    }

    fn prepare_avatar(
        &self,
        source: &mut dyn AvatarSource,
        sink: &mut (dyn Write + Send),
        job: &Job,
    ) -> Result<(), BackendError> {
        let progress = JobProgress { job, backend: &self.name };
        job.set_backend(0);
        let mut sink: &mut (dyn Write + Send) = sink;
        let prepared = match &self.opened.control {
            Control::Local(instance) => instance
                .prepare_avatar(source, &Value::Null, &mut sink, &progress)
                .map_err(|error| self.failed("prepare_avatar", error)),
            Control::Remote(calls) => calls
                .prepare_avatar(source, &Value::Null, &mut sink, &progress)
                .map_err(|error| self.call_failed("prepare_avatar", error)),
        };
        if job.is_cancelled() {
            return Err(BackendError::Cancelled);
        }
        prepared
    }

    fn load_avatar(&self, blob: &[u8]) -> Result<Arc<dyn LoadedAvatar>, BackendError> {
        let person = match &self.opened.control {
            Control::Local(instance) => {
                Person::Local(instance.load_avatar(blob).map_err(|error| self.failed("load_avatar", error))?)
            }
            Control::Remote(calls) => {
                let avatar = calls.load_avatar(blob, self.opened.max_batch(), Some(LOAD_PATIENCE));
                Person::Remote(Arc::new(avatar.map_err(|error| self.call_failed("load_avatar", error))?))
            }
        };
        let found = *person.info();
        let fps = FrameRate::new(found.fps.0, found.fps.1).ok_or_else(|| BackendError::Contract {
            backend: self.name.clone(),
            call: "avatar_info",
            message: format!("a frame rate of {}/{}", found.fps.0, found.fps.1),
        })?;
        let info = AvatarInfo {
            canvas_width: found.canvas.0,
            canvas_height: found.canvas.1,
            fps,
            frame_count: found.frame_count,
            max_rect: (found.max_rect.width, found.max_rect.height),
            idle: if found.idle == IdleBy::Host { Idle::Host } else { Idle::Backend },
            rest: if found.rest_policy == RestPolicy::Ask { Rest::Backend } else { Rest::HostBlend },
        };
        let owner = Owner(self.mailbox.clone(), self.number);
        Ok(Arc::new(Loaded { person: Arc::new(person), info, owner }))
    }

    fn open_session(
        &self,
        avatar: &Arc<dyn LoadedAvatar>,
        params: SessionParams,
        replies: Sender<FrameReply>,
    ) -> Result<Box<dyn SessionPort>, BackendError> {
        if self.condition.lost.get().is_some() {
            return Err(self.gone());
        }
        let loaded = avatar.as_any().downcast_ref::<Loaded>().filter(|loaded| loaded.owner.is(self));
        let loaded = loaded.ok_or_else(|| BackendError::Contract {
            backend: self.name.clone(),
            call: "open_session",
            message: "the avatar was loaded by another instance".into(),
        })?;
        let session = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (opened, answer) = bounded(1);
        let opening = Opening { avatar: loaded.person.clone(), params };
        let letter = Letter::Open { incarnation: self.number, session, opening, replies, opened };
        self.mailbox.put(letter).map_err(|_| self.gone())?;
        // From here on the session is closed when nobody wants it.
        let port = Port { session, mailbox: self.mailbox.clone() };
        let answered = answer.recv_timeout(OPEN_PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Disconnected => self.gone(),
            RecvTimeoutError::Timeout => BackendError::NotReady {
                backend: self.name.clone(),
                reason: format!("no answer to open_session within {} s", OPEN_PATIENCE.as_secs()),
            },
        });
        answered?.map_err(|error| self.failed("open_session", error))?;
        Ok(Box::new(port))
    }
}

/// Which incarnation an avatar was loaded by.
struct Owner(Arc<Mailbox<Letter>>, u64);

impl Owner {
    fn is(&self, incarnation: &Incarnation) -> bool {
        Arc::ptr_eq(&self.0, &incarnation.mailbox) && self.1 == incarnation.number
    }
}

struct Loaded {
    person: Arc<Person>,
    info: AvatarInfo,
    owner: Owner,
}

impl LoadedAvatar for Loaded {
    fn info(&self) -> AvatarInfo {
        self.info
    }

    fn mask(&self, index: u32) -> Option<FrameMask<'_>> {
        self.person.mask(index)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The keeper alone holds the sender of replies: when the incarnation ends, whatever the reason, the session's channel
/// hangs up. So a call that finds nobody there has nothing to say.
struct Port {
    session: u64,
    mailbox: Arc<Mailbox<Letter>>,
}

impl Port {
    fn tell(&self, event: Event<super::link::Load>) {
        let _ = self.mailbox.put(Letter::Event(event));
    }
}

impl SessionPort for Port {
    fn push_audio(&mut self, first_sample: u64, pcm: Vec<f32>, end: bool) {
        let session = self.session;
        let mut pieces = pcm.chunks(PUSH_SAMPLES).peekable();
        if pieces.peek().is_none() {
            let audio = Audio { first_sample, pcm: Arc::default(), end };
            return self.tell(Event::Push { session, audio });
        }
        let mut first_sample = first_sample;
        while let Some(piece) = pieces.next() {
            let audio = Audio { first_sample, pcm: piece.into(), end: end && pieces.peek().is_none() };
            first_sample += piece.len() as u64;
            self.tell(Event::Push { session, audio });
        }
    }

    fn request(&mut self, request: FrameRequest) {
        let FrameRequest { seq, epoch, frame, avatar_frame, deadline, flags } = request;
        // The keeper's own clock is put in by it: it knows since when it counts.
        let letter = Letter::Ask {
            session: self.session,
            request: Request { seq, epoch, frame, avatar_frame, deadline: None, flags },
            deadline,
        };
        let _ = self.mailbox.put(letter);
    }

    fn reset(&mut self, epoch: u32) {
        self.tell(Event::Reset { session: self.session, epoch });
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.tell(Event::Close { session: self.session });
    }
}
