//! A performance on the clock: frame k leaves at `start + k / fps`, whatever the backend does.
//!
//! Blocking work owns a thread: each session has one, and everybody else talks to it over a channel.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select_biased, unbounded};

use super::black_box::{BlackBox, Event, UtteranceStep};
use super::{
    Cast, Move, OpenError, Performance, PerformanceStats, SessionMeter, SpeechEvent, Stage, Unit, UtteranceId,
};
use crate::audio::SpeechDecoder;
use crate::time::FrameRate;

/// What a live session is opened with.
#[derive(Debug, Clone)]
pub struct LiveConfig {
    /// Frames per second.
    pub fps: FrameRate,
    /// How long the session waits for its first viewer before it ends.
    pub first_viewer_wait: Duration,
    /// How far frames of speech are asked for before they leave; more rides out slower moments of the backend.
    pub render_ahead: Duration,
    /// Utterances that may wait behind the one being said.
    pub max_queued: usize,
    /// Where the session's last minutes are recorded, if anywhere.
    pub black_box: Option<BlackBox>,
    /// Where its frames are counted.
    pub meter: Arc<SessionMeter>,
}

/// Where a live session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveState {
    /// Open, its clock not started: nobody watches yet.
    Waiting,
    /// The clock runs.
    Running,
    /// Over.
    Ended,
}

/// Something that happened to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveEvent {
    /// Another backend draws.
    Moved(Move),
    /// It is over.
    Ended {
        /// What went wrong; `None`: it was ended.
        error: Option<String>,
    },
}

/// Who is told of a session's events, on the session's thread: it must not wait.
pub type Observer = Box<dyn Fn(LiveEvent) + Send>;

/// A session as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveStatus {
    /// Where it is.
    pub state: LiveState,
    /// Speech is queued or being played.
    pub speaking: bool,
    /// Frames planned ahead of the clock.
    pub planned_frames: usize,
    /// Speech that is decoded and not played, at 48 kHz.
    pub queued_samples: usize,
    /// Utterances that are not over: the one being said and those that wait.
    pub utterances: usize,
    /// The backend that draws; `None`: nobody does.
    pub backend: Option<String>,
    /// The id in its descriptor, such as `lipcast.demo`.
    pub backend_id: Option<String>,
    /// Once it has ended: what went wrong, if anything did.
    pub error: Option<String>,
    /// Counters.
    pub stats: PerformanceStats,
}

/// An utterance in a session's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// Counts the session's utterances from 0.
    pub id: UtteranceId,
    /// Utterances that are heard before it, the one being said included.
    pub ahead: usize,
}

/// Why an utterance was not queued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpeakError {
    /// As many wait as may.
    #[error("{most} utterances wait already, the most a session may have")]
    Full {
        /// [`LiveConfig::max_queued`].
        most: usize,
    },
    /// There is nobody to say it.
    #[error("the session is over")]
    Ended,
    /// The system has no thread to decode it on; its own words.
    #[error("no thread to decode it: {0}")]
    Thread(String),
}

enum Command {
    Speak(UtteranceId, Receiver<SpeechEvent>),
    Interrupt,
    Begin,
    Recast,
    End,
}

/// A running session; dropping the last handle ends it.
pub struct LiveSession {
    commands: Sender<Command>,
    shared: Arc<Shared>,
    utterances: AtomicU64,
    max_queued: usize,
    black_box: Option<BlackBox>,
}

struct Shared {
    /// Utterances that were handed over and are not over, counted when they are handed over, so that two callers at
    /// once cannot both take the last place.
    unfinished: AtomicUsize,
    status: Mutex<LiveStatus>,
    started: Mutex<Option<Instant>>,
}

/// Units between the session and its encoder: two, so that a slow moment of either does not stop the other.
const UNITS_AHEAD: usize = 2;

impl LiveSession {
    /// Opens a session; its units arrive at the receiver once [`begin`](Self::begin) was called. The channel hangs
    /// up when the session is over.
    ///
    /// # Errors
    /// When the stage cannot be opened, or the system has no thread left.
    pub fn open(
        name: &str,
        stage: Stage,
        config: LiveConfig,
    ) -> Result<(Arc<Self>, Receiver<Unit>), OpenError> {
        let performance = Performance::open(stage, config.fps)?;
        Self::perform(name, performance, config, Box::new(|_| {}))
    }

    /// As [`open`](Self::open), with others who take over when `stage` fails; `observer` is told when one does.
    ///
    /// # Errors
    /// When the stage cannot be opened, or the system has no thread left.
    pub fn open_with(
        name: &str,
        stage: Stage,
        config: LiveConfig,
        cast: Cast,
        observer: Observer,
    ) -> Result<(Arc<Self>, Receiver<Unit>), OpenError> {
        let performance = Performance::open_with(stage, config.fps, cast)?;
        Self::perform(name, performance, config, observer)
    }

    fn perform(
        name: &str,
        mut performance: Performance,
        config: LiveConfig,
        observer: Observer,
    ) -> Result<(Arc<Self>, Receiver<Unit>), OpenError> {
        if let Some(black_box) = &config.black_box {
            performance.record(black_box.clone());
        }
        // A command is a few words, and the session takes all that are there before every frame: only as many wait as
        // people give within one.
        let (commands, inbox) = unbounded();
        let (units, outlet) = bounded(UNITS_AHEAD);
        let status = LiveStatus {
            state: LiveState::Waiting,
            speaking: false,
            planned_frames: 0,
            queued_samples: 0,
            utterances: 0,
            backend: performance.backend().map(|instance| instance.name().to_owned()),
            backend_id: performance.backend().map(|instance| instance.blob_key().0.to_owned()),
            error: None,
            stats: PerformanceStats::default(),
        };
        let unfinished = AtomicUsize::new(0);
        let shared = Arc::new(Shared { unfinished, status: Mutex::new(status), started: Mutex::new(None) });
        let (max_queued, black_box) = (config.max_queued, config.black_box.clone());
        let shown = shared.clone();
        let counted = PerformanceStats::default();
        let run = Run {
            performance,
            config,
            inbox,
            units,
            shared: shown,
            observer,
            counted,
            known: 0,
            over: false,
        };
        let span = tracing::Span::current();
        thread::Builder::new()
            .name(format!("session {name}"))
            .spawn(move || span.in_scope(|| run.guarded()))
            .map_err(OpenError::Thread)?;
        let utterances = AtomicU64::new(0);
        Ok((Arc::new(Self { commands, shared, utterances, max_queued, black_box }), outlet))
    }

    /// Queues speech behind what is being said; it is decoded as it is played.
    ///
    /// # Errors
    /// When as many utterances wait as may, the session is over, or the system has no thread left.
    pub fn speak(&self, mut decoder: SpeechDecoder) -> Result<Queued, SpeakError> {
        let room = |unfinished: usize| (unfinished <= self.max_queued).then_some(unfinished + 1);
        let ahead = self.shared.unfinished.fetch_update(Ordering::AcqRel, Ordering::Acquire, room);
        let ahead = ahead.map_err(|_| SpeakError::Full { most: self.max_queued })?;
        // Chunks decoded ahead of the queue, a few hundred milliseconds each.
        let (chunks, receiver) = bounded(4);
        let id = UtteranceId(self.utterances.fetch_add(1, Ordering::Relaxed));
        let decoding = thread::Builder::new().name(format!("decode {}", id.0)).spawn(move || {
            loop {
                let event = match decoder.read() {
                    Ok(Some(chunk)) => SpeechEvent::Chunk(chunk),
                    Ok(None) => return,
                    Err(error) => SpeechEvent::Failed(error.to_string()),
                };
                let failed = matches!(event, SpeechEvent::Failed(_));
                // The session is gone, or was interrupted: nobody wants the rest.
                if chunks.send(event).is_err() || failed {
                    return;
                }
            }
        });
        if let Err(error) = decoding {
            self.shared.unfinished.fetch_sub(1, Ordering::AcqRel);
            return Err(SpeakError::Thread(error.to_string()));
        }
        self.commands.send(Command::Speak(id, receiver)).map_err(|_| SpeakError::Ended)?;
        Ok(Queued { id, ahead })
    }

    /// Barge-in: what is being said stops, everything queued is forgotten.
    pub fn interrupt(&self) {
        let _ = self.commands.send(Command::Interrupt);
    }

    /// The first viewer is there: the clock starts. Later calls do nothing.
    pub fn begin(&self) {
        let _ = self.commands.send(Command::Begin);
    }

    /// Who could draw has changed, as after a reload: the session looks at once and moves where it has to, without a
    /// frame held for it.
    pub fn recast(&self) {
        let _ = self.commands.send(Command::Recast);
    }

    /// Ends the session.
    pub fn end(&self) {
        let _ = self.commands.send(Command::End);
    }

    /// Where its last minutes are recorded.
    pub fn black_box(&self) -> Option<&BlackBox> {
        self.black_box.as_ref()
    }

    /// When frame 0 left, once the clock runs: the origin of both tracks' media time.
    pub fn started_at(&self) -> Option<Instant> {
        *self.shared.started.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The session as it stands.
    pub fn status(&self) -> LiveStatus {
        let mut status = self.shared.status.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        if status.state != LiveState::Ended {
            // What was handed over a moment ago counts before the session's thread has looked at it.
            status.utterances = self.shared.unfinished.load(Ordering::Acquire);
            status.speaking |= status.utterances > 0;
        }
        status
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        self.end();
    }
}

/// The session's thread.
struct Run {
    performance: Performance,
    config: LiveConfig,
    inbox: Receiver<Command>,
    units: Sender<Unit>,
    shared: Arc<Shared>,
    observer: Observer,
    /// The counters as they were counted last.
    counted: PerformanceStats,
    /// Utterances in the queue when it was last looked at.
    known: usize,
    over: bool,
}

impl Run {
    /// A panic ends this session and no other, and whoever watches is told.
    fn guarded(mut self) {
        if catch_unwind(AssertUnwindSafe(|| self.perform())).is_ok() {
            return;
        }
        let error = "its thread panicked, which is a bug of this server";
        tracing::error!("the session ends: {error}");
        let mut status = self.shared.status.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        (status.state, status.error) = (LiveState::Ended, Some(error.to_owned()));
        drop(status);
        (self.observer)(LiveEvent::Ended { error: Some(error.to_owned()) });
    }

    fn perform(&mut self) {
        if self.wait_for_viewer() {
            self.publish(LiveState::Running);
            self.play();
        }
        self.tell_moves();
        if let Some(black_box) = &self.config.black_box {
            black_box.end(self.performance.over().unwrap_or("it was ended"));
        }
        self.publish(LiveState::Ended);
        (self.observer)(LiveEvent::Ended { error: self.performance.over().map(str::to_owned) });
    }

    fn tell_moves(&mut self) {
        for change in self.performance.take_moves() {
            (self.observer)(LiveEvent::Moved(change));
        }
    }

    /// Whether somebody came in time.
    fn wait_for_viewer(&mut self) -> bool {
        let patience = Instant::now() + self.config.first_viewer_wait;
        loop {
            match self.inbox.recv_deadline(patience) {
                Ok(Command::Begin) => return true,
                Ok(command) => self.obey(command),
                Err(_) => {
                    tracing::info!("no viewer came, the session ends");
                    return false;
                }
            }
            if self.over {
                return false;
            }
            self.performance.speech_mut().pump();
            self.publish(LiveState::Waiting);
        }
    }

    fn play(&mut self) {
        // The first frame has to be asked for before it leaves, like every other one.
        let start = Instant::now() + self.performance_batch() + self.config.fps.period();
        *self.shared.started.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(start);
        let fps = self.config.fps;
        for frame in 0.. {
            let leaves = start + fps.start_of(frame);
            while !self.over && (self.performance.planned_until() <= frame || Instant::now() < leaves) {
                self.plan_ahead(start, frame);
                self.wait(start, frame, leaves);
            }
            if self.over {
                return;
            }
            self.performance.accept_ready();
            if self.performance.over().is_some() {
                return;
            }
            let unit = self.performance.give().expect("frame `frame` was planned above");
            let stats = self.performance.stats();
            self.config.meter.count(&unit, &std::mem::replace(&mut self.counted, stats), &stats);
            for (utterance, message) in self.performance.speech_mut().take_failures() {
                tracing::warn!(utterance = utterance.0, message, "an utterance broke off");
            }
            if self.units.send(unit).is_err() {
                return;
            }
            self.tell_moves();
            self.publish(LiveState::Running);
        }
    }

    /// Plans as far ahead as is due: idle frames as late as the backend allows, so that speech that arrives is heard
    /// soon; frames of speech further ahead, so that a slow batch is not seen, but not ahead of the decoder.
    fn plan_ahead(&mut self, start: Instant, frame: u64) {
        loop {
            let next = self.performance.planned_until();
            if next > frame && !self.is_due(start, next, Instant::now()) {
                return;
            }
            self.performance.plan(Some(start + self.config.fps.start_of(next)));
        }
    }

    fn is_due(&mut self, start: Instant, frame: u64, now: Instant) -> bool {
        now + self.ahead() >= start + self.config.fps.start_of(frame)
    }

    fn ahead(&mut self) -> Duration {
        let batch = self.performance_batch();
        let further = self.performance.is_speaking() && !self.performance.lacks_speech();
        if further { batch + self.config.render_ahead } else { batch }
    }

    /// How early a frame must be asked for: the 99th percentile of a batch, and a margin for the scheduler.
    fn performance_batch(&self) -> Duration {
        const MARGIN: Duration = Duration::from_millis(10);
        // Past a quarter of a second the backend is no live one; waiting longer would only make idle sluggish.
        const LIMIT: Duration = Duration::from_millis(250);
        self.performance.batch_p99().min(LIMIT) + MARGIN
    }

    /// Sleeps until a frame leaves, a frame must be planned, a reply comes or a command does.
    fn wait(&mut self, start: Instant, frame: u64, leaves: Instant) {
        let plan_at = (start + self.config.fps.start_of(self.performance.planned_until().max(frame)))
            .checked_sub(self.ahead())
            .unwrap_or(start);
        let until = leaves.min(plan_at);
        let command = {
            let (replies, farewell) = (self.performance.replies(), self.performance.farewell());
            select_biased! {
                recv(self.inbox) -> command => Some(command.unwrap_or(Command::End)),
                recv(replies) -> arrived => {
                    self.performance.accept(arrived);
                    None
                }
                recv(farewell) -> arrived => {
                    self.performance.accept_farewell(arrived);
                    None
                }
                default(until.saturating_duration_since(Instant::now())) => None,
            }
        };
        if let Some(command) = command {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Speak(id, chunks) => {
                if let Some(black_box) = &self.config.black_box {
                    black_box.note(None, Event::Utterance { id: id.0, step: UtteranceStep::Queued });
                }
                self.performance.speech_mut().enqueue(id, chunks);
                self.known += 1;
            }
            Command::Interrupt => self.performance.interrupt(),
            Command::Begin => {}
            Command::Recast => self.performance.recast(),
            Command::End => self.over = true,
        }
    }

    fn publish(&mut self, state: LiveState) {
        let speech = self.performance.speech();
        let queued_samples = speech.buffered_48k();
        let over = self.known - speech.utterances();
        self.shared.unfinished.fetch_sub(over, Ordering::AcqRel);
        self.known -= over;
        let status = LiveStatus {
            state,
            speaking: self.performance.is_speaking() || queued_samples > 0 || self.known > 0,
            planned_frames: self.performance.planned_frames(),
            queued_samples,
            utterances: self.known,
            backend: self.performance.backend().map(|instance| instance.name().to_owned()),
            backend_id: self.performance.backend().map(|instance| instance.blob_key().0.to_owned()),
            error: self.performance.over().map(str::to_owned),
            stats: self.performance.stats(),
        };
        *self.shared.status.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = status;
    }
}
