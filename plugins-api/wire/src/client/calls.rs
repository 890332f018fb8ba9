//! Control calls by number: many may be under way, each waited for by its own caller.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use lipcast_plugins_api::loader::{NoProgress, Progress, Source, checks};
use lipcast_plugins_api::types::{Code, Error, Health};
use serde_json::{Value, json};

use super::Events;
use super::avatar::RemoteAvatar;
use crate::control::{Control, Packet};
use crate::lines::{Limiter, cleaned};
use crate::memory::SharedMemory;
use crate::message::{AnswerOutcome, Call, FromChild, FromParent, Hello, SourceMessage, Want};

/// How a call ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The backend's own failure.
    #[error("{0}")]
    Failed(#[from] Error),
    /// The child is gone, or broke the protocol.
    #[error("its process is gone: {0}")]
    Gone(String),
    /// No answer in time.
    #[error("no answer to {call} within {after:?}")]
    TimedOut {
        /// Which call.
        call: &'static str,
        /// For how long was waited.
        after: Duration,
    },
}

/// How often a caller who waits looks whether it still shall.
const LOOK: Duration = Duration::from_millis(50);

/// How long the other side may take to read a message before it counts as stuck.
const SEND_PATIENCE: Duration = Duration::from_secs(5);

/// How long a cancelled call may take to notice it; the contract says 100 ms.
const CANCEL_PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of transfer memory at least: blobs are written in pieces of it.
const TRANSFER_LEN: usize = 1 << 20;

/// What [`Events::closed`] is told of a child that closed its end, as every child does that ends.
pub const HUNG_UP: &str = "it closed its control socket";

/// A child's control socket. Its calls may come from any thread.
pub struct Calls {
    control: Control,
    next: AtomicU64,
    state: Mutex<State>,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    waiting: HashMap<u64, Caller>,
    closed: Option<String>,
}

/// Who waits for the end of a call.
#[derive(Clone)]
struct Caller {
    letters: mpsc::Sender<Incoming>,
    /// Letters that it has not read yet.
    unread: Arc<AtomicUsize>,
}

/// A caller that reads source frames may be slow, and progress is worth nothing once there is more of it.
const UNREAD_PROGRESS: usize = 16;

/// A call asks one thing at a time, so beside progress there is one question at most.
const UNREAD: usize = UNREAD_PROGRESS + 1;

/// What comes in for one call.
enum Incoming {
    End(Result<(Value, Vec<OwnedFd>), Error>),
    Ask(u64, Want),
    Progress(u32, String),
}

/// What a call needs while it runs.
struct Helpers<'a> {
    progress: &'a dyn Progress,
    /// Answers a question: an object, and a descriptor.
    answer: &'a mut dyn FnMut(Want) -> Result<(Value, Option<OwnedFd>), Error>,
    patience: Option<Duration>,
}

/// What a child says first.
#[derive(Debug)]
pub struct Greeting(mpsc::Receiver<Result<Hello, String>>);

impl Greeting {
    /// Waits for it, for ever or for `patience`. The inner error is the child's reason to refuse its plugin.
    ///
    /// # Errors
    /// `Disconnected` when the child is gone, or said something else.
    pub fn wait(&self, patience: Option<Duration>) -> Result<Result<Hello, String>, mpsc::RecvTimeoutError> {
        match patience {
            Some(patience) => self.0.recv_timeout(patience),
            None => self.0.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
        }
    }
}

impl Calls {
    /// Begins to listen to a child that was just started; `limiter` counts its lines.
    ///
    /// # Errors
    /// When there is no thread left.
    pub fn open(
        control: Control,
        events: Arc<dyn Events>,
        limiter: Limiter,
    ) -> std::io::Result<(Arc<Self>, Greeting)> {
        let (greeting, greeted) = mpsc::sync_channel(1);
        let calls = Arc::new(Self { control, next: AtomicU64::new(1), state: Mutex::default() });
        let reader = calls.clone();
        thread::Builder::new()
            .name("backend control".to_owned())
            .spawn(move || reader.read(&*events, &limiter, Some(greeting)))?;
        Ok((calls, Greeting(greeted)))
    }

    /// Why there is nobody at the other end any more.
    pub fn closed(&self) -> Option<String> {
        self.lock().closed.clone()
    }

    /// Loads weights. `patience` ends it; none: as long as it takes.
    ///
    /// # Errors
    /// The backend's own, or the child's end.
    pub fn create(
        &self,
        config: &Value,
        progress: &dyn Progress,
        patience: Option<Duration>,
    ) -> Result<(), CallError> {
        let mut answer = no_questions;
        let helpers = Helpers { progress, answer: &mut answer, patience };
        self.call(Call::Create { config: config.clone() }, &[], helpers).map(drop)
    }

    /// Effective device, precision, batch sizes, memory.
    ///
    /// # Errors
    /// The backend's own, or the child's end.
    pub fn describe(&self, patience: Duration) -> Result<Value, CallError> {
        self.short(Call::Describe {}, &[], patience).map(|(value, _)| value)
    }

    /// Counters and memory.
    ///
    /// # Errors
    /// The backend's own, or the child's end.
    pub fn stats(&self, patience: Duration) -> Result<Value, CallError> {
        self.short(Call::Stats {}, &[], patience).map(|(value, _)| value)
    }

    /// How it feels.
    ///
    /// # Errors
    /// The backend's own, or the child's end.
    pub fn health(&self, patience: Duration) -> Result<Health, CallError> {
        let (value, _) = self.short(Call::Health {}, &[], patience)?;
        let message: crate::message::HealthMessage = read(value, "health")?;
        Ok(message.into())
    }

    /// Turns an avatar's source into a blob, written to `sink`. May take minutes.
    ///
    /// # Errors
    /// The backend's own, the sink's, or the child's end.
    pub fn prepare_avatar(
        &self,
        source: &mut dyn Source,
        params: &Value,
        sink: &mut dyn Write,
        progress: &dyn Progress,
    ) -> Result<(), CallError> {
        let (width, height) = source.size();
        let frame_len = width as usize * height as usize * 3;
        let transfer = SharedMemory::create("lipcast-transfer", frame_len.max(TRANSFER_LEN))
            .map_err(|error| Error::new(Code::OomHost, error.to_string()))?;
        let message = SourceMessage {
            frame_count: source.frame_count(),
            width,
            height,
            fps: source.fps(),
            assets: source.assets(),
        };
        let call = Call::PrepareAvatar {
            source: message,
            params: params.clone(),
            transfer_len: transfer.len() as u64,
        };
        let (mut rgb, mut piece, mut lost) = (Vec::new(), Vec::new(), None);
        let mut answer = |want: Want| match want {
            Want::Frame { index } => {
                checks::source_frame(source, index, &mut rgb)?;
                transfer.write(0, &rgb);
                Ok((json!({ "len": rgb.len() }), None))
            }
            Want::Landmarks { index } => {
                let points = source.landmarks(index).ok_or_else(no_face)?;
                Ok((json!({ "points": points.as_flattened() }), None))
            }
            Want::FaceBox { index } => {
                let corners = source.face_box(index).ok_or_else(no_face)?;
                Ok((json!({ "box": corners }), None))
            }
            Want::Asset { name } => {
                let asset = source
                    .asset(&name)
                    .ok_or_else(|| Error::not_found(format!("the avatar has no asset `{name}`")))?;
                let file = memory_file(&asset)?;
                Ok((json!({ "len": asset.len() }), Some(file)))
            }
            Want::Blob { len } => {
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                if len > transfer.len() {
                    return Err(Error::invalid_arg(format!(
                        "a piece of {len} bytes, {} fit",
                        transfer.len()
                    )));
                }
                piece.resize(len, 0);
                transfer.read(0, &mut piece);
                sink.write_all(&piece).map_err(|error| {
                    let text = format!("the avatar's blob could not be stored: {error}");
                    lost = Some(Error::internal(text));
                    Error::internal("the blob could not be stored")
                })?;
                Ok((json!({}), None))
            }
        };
        let helpers = Helpers { progress, answer: &mut answer, patience: None };
        let prepared = self.call(call, &[transfer.file()], helpers);
        match lost {
            Some(error) => Err(error.into()),
            None => prepared.map(drop),
        }
    }

    /// Loads a blob, with `slots` places for pictures. `patience` ends it.
    ///
    /// # Errors
    /// The backend's own, what it gives that cannot be, or the child's end.
    pub fn load_avatar(
        self: &Arc<Self>,
        blob: &[u8],
        slots: u32,
        patience: Option<Duration>,
    ) -> Result<RemoteAvatar, CallError> {
        RemoteAvatar::load(self, blob, slots, patience)
    }

    /// Asks the child to end; it is gone when its process is.
    pub fn end(&self) {
        self.post(Call::End {});
    }

    /// Ends the conversation, and with it the thread that listens; what the child said before is still heard. To be
    /// called when the child has ended: a process that it left behind may hold its end of the socket open for ever.
    pub fn hang_up(&self) {
        self.control.shut_down();
    }

    /// A call that asks for nothing while it runs.
    pub(super) fn short(
        &self,
        call: Call,
        descriptors: &[BorrowedFd<'_>],
        patience: impl Into<Option<Duration>>,
    ) -> Result<(Value, Vec<OwnedFd>), CallError> {
        let mut answer = no_questions;
        let helpers = Helpers { progress: &NoProgress, answer: &mut answer, patience: patience.into() };
        self.call(call, descriptors, helpers)
    }

    /// A call whose answer nobody waits for, nor for room in the socket: a child that reads nothing is stuck, and is
    /// ended anyway.
    pub(super) fn post(&self, call: Call) {
        let message = FromParent::Call { number: self.fresh_number(), call };
        if let Ok(bytes) = serde_json::to_vec(&message) {
            let _ = self.control.send(&bytes, &[], Duration::ZERO);
        }
    }

    pub(super) fn fresh_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn call(
        &self,
        call: Call,
        descriptors: &[BorrowedFd<'_>],
        helpers: Helpers<'_>,
    ) -> Result<(Value, Vec<OwnedFd>), CallError> {
        let (name, number) = (call.name(), self.fresh_number());
        let (letters, incoming) = mpsc::channel();
        let unread = Arc::new(AtomicUsize::new(0));
        {
            let mut state = self.lock();
            if let Some(reason) = &state.closed {
                return Err(CallError::Gone(reason.clone()));
            }
            state.waiting.insert(number, Caller { letters, unread: unread.clone() });
        }
        let _forget = Forget { calls: self, number };
        self.send(&FromParent::Call { number, call }, descriptors)?;
        let started = Instant::now();
        let mut cancelled = None;
        loop {
            let letter = incoming.recv_timeout(LOOK);
            if letter.is_ok() {
                unread.fetch_sub(1, Ordering::Relaxed);
            }
            match letter {
                Ok(Incoming::End(end)) => return end.map_err(CallError::Failed),
                Ok(Incoming::Progress(permille, stage)) => {
                    helpers.progress.progress(permille.min(1000), &stage);
                }
                Ok(Incoming::Ask(question, want)) => {
                    let (outcome, file) = match (helpers.answer)(want) {
                        Ok((value, file)) => (AnswerOutcome::Ok(value), file),
                        Err(error) => (AnswerOutcome::Error((&error).into()), None),
                    };
                    let beside: Vec<_> = file.iter().map(AsFd::as_fd).collect();
                    self.send(&FromParent::Answer { answer: question, outcome }, &beside)?;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(CallError::Gone(self.closed().unwrap_or_default()));
                }
            }
            if cancelled.is_none() && helpers.progress.is_cancelled() {
                cancelled = Some(Instant::now());
                self.send(&FromParent::Cancel { cancel: number }, &[])?;
            }
            let ignored =
                cancelled.filter(|since| since.elapsed() > CANCEL_PATIENCE).map(|_| CANCEL_PATIENCE);
            let over = helpers.patience.filter(|patience| started.elapsed() > *patience);
            if let Some(after) = over.or(ignored) {
                return Err(CallError::TimedOut { call: name, after });
            }
        }
    }

    fn send(&self, message: &FromParent, descriptors: &[BorrowedFd<'_>]) -> Result<(), CallError> {
        let bytes = serde_json::to_vec(message).map_err(|error| Error::invalid_arg(error.to_string()))?;
        self.control.send(&bytes, descriptors, SEND_PATIENCE).map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidInput => CallError::Failed(Error::invalid_arg(error.to_string())),
            _ => CallError::Gone(self.closed().unwrap_or_else(|| error.to_string())),
        })
    }

    /// The reading thread.
    fn read(
        &self,
        events: &dyn Events,
        limiter: &Limiter,
        mut greeting: Option<mpsc::SyncSender<Result<Hello, String>>>,
    ) {
        let reason = loop {
            let packet = match self.control.receive(None) {
                Ok(Some(packet)) => packet,
                Ok(None) => continue,
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    break HUNG_UP.to_owned();
                }
                Err(error) => break format!("its control socket: {error}"),
            };
            let Packet { bytes, descriptors } = packet;
            let message = match serde_json::from_slice::<FromChild>(&bytes) {
                Ok(message) => message,
                Err(error) => break format!("it sent something that is no message: {error}"),
            };
            match message {
                FromChild::Hello { hello } => {
                    if let Some(greeting) = greeting.take() {
                        let _ = greeting.send(Ok(*hello));
                    }
                }
                FromChild::Refused { refused } => {
                    if let Some(greeting) = greeting.take() {
                        let _ = greeting.send(Err(cleaned(&refused)));
                    }
                }
                FromChild::Done { reply, ok } => {
                    self.hand_on(reply, Incoming::End(Ok((ok, descriptors))));
                }
                FromChild::Failed { reply, error } => {
                    self.hand_on(reply, Incoming::End(Err(error.into())));
                }
                FromChild::Ask { ask, number, want } => {
                    if !self.hand_on(ask, Incoming::Ask(number, want)) {
                        break "it asked for more before it had its answer".to_owned();
                    }
                }
                FromChild::Progress { progress, permille, stage } => {
                    // What is too much of it is left out.
                    self.hand_on(progress, Incoming::Progress(permille, cleaned(&stage)));
                }
                FromChild::Log { log, target, message, fields, missed } => {
                    limiter.miss(missed);
                    let (admitted, dropped) = limiter.admit(Instant::now());
                    if dropped > 0 {
                        events.dropped(dropped);
                    }
                    if admitted {
                        events.log(log.into(), &cleaned(&target), &cleaned(&message), &fields);
                    }
                }
                FromChild::Metric { metric, kind, value, labels } => {
                    events.metric(&metric, kind.into(), value, &labels);
                }
            }
        };
        {
            let mut state = self.lock();
            state.closed = Some(reason.clone());
            // Their callers see that nothing comes any more.
            state.waiting.clear();
        }
        drop(greeting);
        // First: a child that finds the socket shut ends itself, and then that is all that is seen.
        events.closed(&reason);
        self.control.shut_down();
    }

    /// Gives a letter to the caller of call `number`; `false` when it has too many unread.
    fn hand_on(&self, number: u64, incoming: Incoming) -> bool {
        let most = match incoming {
            Incoming::End(_) => usize::MAX,
            Incoming::Ask(..) => UNREAD,
            Incoming::Progress(..) => UNREAD_PROGRESS,
        };
        let mut state = self.lock();
        let caller = match incoming {
            Incoming::End(_) => state.waiting.remove(&number),
            _ => state.waiting.get(&number).cloned(),
        };
        drop(state);
        // A caller who lost patience is gone, and so is what it would have got.
        let Some(caller) = caller else { return true };
        if caller.unread.load(Ordering::Relaxed) >= most {
            return false;
        }
        caller.unread.fetch_add(1, Ordering::Relaxed);
        let _ = caller.letters.send(incoming);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a caller off the list, however its call ends.
struct Forget<'a> {
    calls: &'a Calls,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.calls.lock().waiting.remove(&self.number);
    }
}

/// Bytes as a file that the other side may read.
pub(super) fn memory_file(bytes: &[u8]) -> Result<OwnedFd, Error> {
    if bytes.is_empty() {
        let empty = std::fs::File::open("/dev/null").map_err(|error| Error::internal(error.to_string()))?;
        return Ok(empty.into());
    }
    let memory = SharedMemory::constant("lipcast-bytes", bytes);
    let file = memory.and_then(|memory| Ok(memory.file().try_clone_to_owned()?));
    file.map_err(|error| Error::new(Code::OomHost, error.to_string()))
}

/// A reply's object as what it should be.
pub(super) fn read<T: serde::de::DeserializeOwned>(value: Value, call: &str) -> Result<T, CallError> {
    serde_json::from_value(value).map_err(|error| {
        CallError::Failed(Error::new(Code::BadOutput, format!("the reply to {call}: {error}")))
    })
}

fn no_questions(_: Want) -> Result<(Value, Option<OwnedFd>), Error> {
    Err(Error::new(Code::NotReady, "nothing can be asked for during this call"))
}

fn no_face() -> Error {
    Error::not_found("no face in this frame")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Silent;

    impl Events for Silent {
        fn log(&self, _: lipcast_plugins_api::types::LogLevel, _: &str, _: &str, _: &Value) {}
        fn output(&self, _: &str) {}
        fn dropped(&self, _: u64) {}
        fn metric(&self, _: &str, _: lipcast_plugins_api::types::MetricKind, _: f64, _: &Value) {}
        fn closed(&self, _: &str) {}
    }

    /// Somebody who is busy with the first thing that is told, until the sender of this is gone.
    struct Busy(Mutex<mpsc::Receiver<()>>);

    impl Progress for Busy {
        fn is_cancelled(&self) -> bool {
            false
        }

        fn progress(&self, _: u32, _: &str) {
            let _ = self.0.lock().unwrap().recv();
        }
    }

    #[test]
    fn a_child_that_asks_without_waiting_for_answers_fills_nobody_s_memory() {
        let (ours, theirs) = Control::pair().unwrap();
        let (calls, _greeting) = Calls::open(ours, Arc::new(Silent), Limiter::default()).unwrap();
        let (free, busy) = mpsc::channel();
        let caller = {
            let calls = calls.clone();
            thread::spawn(move || calls.create(&json!({}), &Busy(Mutex::new(busy)), None))
        };
        let packet = theirs.receive(None).unwrap().unwrap();
        let call: Value = serde_json::from_slice(&packet.bytes).unwrap();
        let number = call["number"].as_u64().unwrap_or_else(|| panic!("{call}"));
        let say = |message: Value| theirs.send(message.to_string().as_bytes(), &[], Duration::from_secs(20));
        for _ in 0..1000 {
            say(json!({"progress": number, "permille": 1, "stage": "on it"})).unwrap();
        }
        assert_eq!(calls.closed(), None, "progress is left out, and harms nobody");
        // It ends with the connection: the sender hears of that, too.
        let refused = (0..1000)
            .any(|ask| say(json!({"ask": number, "number": ask, "want": "frame", "index": 0})).is_err());
        drop(free);
        assert!(matches!(caller.join().unwrap(), Err(CallError::Gone(_))));
        assert!(
            refused && calls.closed().unwrap().contains("before it had its answer"),
            "{:?}",
            calls.closed()
        );
    }
}
