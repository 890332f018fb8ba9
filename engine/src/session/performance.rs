//! Plans frames, asks the backend, composes what comes back: a session without its clock.
//!
//! In: speech and replies. Out: units, in frame order. [`super::live`] and [`super::offline`] drive it; neither
//! knows what a frame is made of, so both give the same pictures.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvError, TryRecvError, never};
use lipcast_codecs::SizeError;

use super::black_box::{BlackBox, Event};
use super::cast::{Cast, Move};
use super::history::History;
use super::line::{Asking, Line};
use super::moves::Trouble;
use super::painter::{Answer, Painter};
use super::shedding::Shedding;
use super::timeline::{Ask, Moment, Step};
use super::troupe::Troupe;
use super::{Canvas, SpeechQueue, Timeline, Unit, UnitKind};
use crate::backend::{BackendError, FrameReply, Instance, LoadedAvatar, Outcome};
use crate::time::FrameRate;

/// Who performs: an avatar's frames, and the instance in which the same avatar is loaded.
#[derive(Clone)]
pub struct Stage {
    /// The avatar's own frames.
    pub canvas: Arc<dyn Canvas>,
    /// The backend that moves the lips.
    pub instance: Arc<dyn Instance>,
    /// The avatar as that backend loaded it.
    pub avatar: Arc<dyn LoadedAvatar>,
}

/// What a performance has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerformanceStats {
    /// Frames given out.
    pub frames: u64,
    /// Of these, frames that a backend drew.
    pub speech: u64,
    /// Of these again, frames given out while another backend than the preferred one drew.
    pub standby: u64,
    /// Frames that the backend was to draw and did not: it was late, failed, is gone, or was not asked.
    pub held: u64,
    /// Of these, frames that it was not asked for, because it is slower than real time and nobody else can draw.
    pub shed: u64,
    /// Replies that broke the contract or carried an error.
    pub failed: u64,
    /// Times a speech source fell behind.
    pub underruns: u64,
    /// Times another backend took over, or the last one was lost.
    pub moves: u64,
}

/// A frame that is planned and not given out.
pub(super) struct Planned {
    pub(super) frame: u64,
    playback: u64,
    index: usize,
    pcm_48k: Vec<f32>,
    speaking: bool,
    pub(super) moment: Moment,
    deadline: Option<Instant>,
    /// `None`: the avatar's own frame.
    pub(super) wish: Option<Wish>,
}

/// What a backend is to draw.
pub(super) struct Wish {
    pub(super) ask: Ask,
    /// The number of the request, once it was asked for.
    pub(super) asked: Option<u64>,
    pub(super) answer: Option<Result<Answer, Refused>>,
}

/// Why a frame has no picture.
pub(super) enum Refused {
    /// It was asked for too late.
    Expired,
    /// The backend's own words.
    Failed(String),
}

/// One session's work, frame by frame.
pub struct Performance {
    pub(super) timeline: Timeline,
    pub(super) speech: SpeechQueue,
    pub(super) history: History,
    pub(super) planned: VecDeque<Planned>,
    painter: Painter,
    /// Who draws; `None` once nobody is left.
    pub(super) lead: Option<Line>,
    /// Who drew before, and still owes answers.
    pub(super) leaving: Option<Line>,
    pub(super) troupe: Option<Troupe>,
    pub(super) trouble: Trouble,
    pub(super) shedding: Shedding,
    /// Who draws took over from one that is preferred.
    pub(super) stands_in: bool,
    pub(super) moves: Vec<Move>,
    next_seq: u64,
    fps: FrameRate,
    pub(super) unanswered_limit: u64,
    /// Why nobody draws any more.
    pub(super) gone: Option<String>,
    /// Why the session must end.
    pub(super) over: Option<String>,
    /// The first of the frames held in a row just now.
    held_since: Option<u64>,
    pub(super) stats: PerformanceStats,
    pub(super) black_box: Option<BlackBox>,
}

impl Performance {
    /// A backend that leaves so much speech unanswered, in seconds, hangs.
    const PATIENCE_SECONDS: u64 = 10;

    /// Opens a session on `stage`, which plays alone: nobody takes over from it.
    ///
    /// # Errors
    /// When the instance takes no more sessions, it loaded another avatar than the canvas shows, or the canvas has an
    /// odd size.
    pub fn open(stage: Stage, fps: FrameRate) -> Result<Self, OpenError> {
        let painter = Painter::new(stage.canvas.clone())?;
        let lead = Line::open(stage, fps)?;
        Ok(Self {
            timeline: Timeline::new(lead.config()),
            speech: SpeechQueue::default(),
            history: History::new(),
            planned: VecDeque::new(),
            painter,
            lead: Some(lead),
            leaving: None,
            troupe: None,
            trouble: Trouble::default(),
            shedding: Shedding::new(fps.as_f64()),
            stands_in: false,
            moves: Vec::new(),
            next_seq: 0,
            fps,
            unanswered_limit: fps.frames_covering(Self::PATIENCE_SECONDS, 1),
            gone: None,
            over: None,
            held_since: None,
            stats: PerformanceStats::default(),
            black_box: None,
        })
    }

    /// Records from here on what passes; to be called before anything is planned.
    pub fn record(&mut self, black_box: BlackBox) {
        if let Some(lead) = &mut self.lead {
            lead.record(&black_box);
        }
        self.black_box = Some(black_box);
    }

    /// As [`open`](Self::open), with others who take over when `stage` fails.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(stage: Stage, fps: FrameRate, cast: Cast) -> Result<Self, OpenError> {
        let mut performance = Self::open(stage, fps)?;
        performance.troupe = Some(Troupe::new(cast, fps));
        performance.attend();
        Ok(performance)
    }

    /// The speech queue, to add to.
    pub fn speech_mut(&mut self) -> &mut SpeechQueue {
        &mut self.speech
    }

    /// The speech queue.
    pub fn speech(&self) -> &SpeechQueue {
        &self.speech
    }

    /// Where the replies of the backend that draws arrive, for callers that wait; hand what is received to
    /// [`accept`](Self::accept). While there is none nothing arrives.
    pub fn replies(&self) -> Receiver<FrameReply> {
        self.lead.as_ref().map_or_else(never, |lead| lead.replies().clone())
    }

    /// As [`replies`](Self::replies) for the backend that drew before, while it owes answers; hand them to
    /// [`accept_farewell`](Self::accept_farewell).
    pub fn farewell(&self) -> Receiver<FrameReply> {
        self.leaving.as_ref().map_or_else(never, |leaving| leaving.replies().clone())
    }

    /// The first frame that is not planned yet.
    pub fn planned_until(&self) -> u64 {
        self.timeline.next_frame()
    }

    /// Frames that are planned and not given out.
    pub fn planned_frames(&self) -> usize {
        self.planned.len()
    }

    /// Something is being said, is about to be, or the mouth is still moving.
    pub fn is_speaking(&self) -> bool {
        self.timeline.is_speaking() || self.planned.iter().any(|planned| planned.speaking)
    }

    /// The backend that draws now.
    pub fn backend(&self) -> Option<&Arc<dyn Instance>> {
        self.lead.as_ref().map(Line::instance)
    }

    /// The backend that would take over now, if one is open already.
    pub fn understudy(&self) -> Option<&str> {
        self.troupe.as_ref().and_then(|troupe| troupe.next(self.timeline.next_frame()))
    }

    /// Why no backend draws now; the frames are then the avatar's own, the speech goes on.
    pub fn backend_gone(&self) -> Option<&str> {
        self.gone.as_deref()
    }

    /// Why the session has to end: a frame of it broke two backends.
    pub fn over(&self) -> Option<&str> {
        self.over.as_deref()
    }

    /// The changes of backend since the last call.
    pub fn take_moves(&mut self) -> Vec<Move> {
        std::mem::take(&mut self.moves)
    }

    /// Who is there has changed: looked at before the next frame.
    pub fn recast(&mut self) {
        if let Some(troupe) = &mut self.troupe {
            troupe.look_again();
        }
    }

    /// Whether the next frame needs speech that is queued and not decoded yet.
    pub fn lacks_speech(&mut self) -> bool {
        self.speech.pump();
        self.timeline.lacks_speech(&self.speech)
    }

    /// 99th percentile of the backend's batches so far.
    pub fn batch_p99(&self) -> std::time::Duration {
        self.backend().map(|instance| instance.batch_p99()).unwrap_or_default()
    }

    /// What was done so far.
    pub fn stats(&self) -> PerformanceStats {
        PerformanceStats { underruns: self.timeline.underruns(), ..self.stats }
    }

    /// Plans the next frame and asks for it; `deadline` is when it leaves.
    pub fn plan(&mut self, deadline: Option<Instant>) {
        self.attend();
        let step = self.timeline.step(&mut self.speech);
        let index = self.painter.canvas().playback_index(step.playback);
        step.pushes.iter().for_each(|push| self.history.add(push));
        let Step { frame, playback, pcm_48k, speaking, ask, moment, .. } = step;
        for (utterance, step) in self.speech.take_steps() {
            self.record_event(Some(frame), || Event::Utterance { id: utterance.0, step });
        }
        let mut wish = ask.map(|ask| Wish { ask, asked: None, answer: None });
        if let Some(wish) = wish.as_mut().filter(|_| deadline.is_some()) {
            wish.ask.flags.discard_ok |= !self.shedding.asks(frame);
        }
        self.planned.push_back(Planned { frame, playback, index, pcm_48k, speaking, moment, deadline, wish });
        self.ask_due();
    }

    /// Asks for what is planned and was not asked for, as far as the audio is there.
    pub(super) fn ask_due(&mut self) {
        let (Some(lead), None) = (&mut self.lead, &self.over) else { return };
        for planned in &mut self.planned {
            let Some(wish) = planned.wish.as_mut().filter(|wish| wish.asked.is_none()) else { continue };
            if !lead.can_ask(planned.frame, &self.history) {
                return;
            }
            let asking = Asking {
                seq: self.next_seq,
                frame: planned.frame,
                index: planned.index,
                deadline: planned.deadline,
                ask: wish.ask,
                settling: planned.moment.is_settling(),
                alone: self.trouble.is_suspect(planned.frame),
            };
            lead.ask(&asking, &self.history);
            wish.asked = Some(self.next_seq);
            self.next_seq += 1;
        }
    }

    /// Takes in what arrived at [`replies`](Self::replies); its hanging up means that the backend is gone.
    /// The reply to a frame that has left is not shown, but the backend's next "same picture" may mean it.
    /// One of an older epoch is dropped.
    pub fn accept(&mut self, arrived: Result<FrameReply, RecvError>) {
        match arrived {
            Ok(reply) => match &reply.outcome {
                Outcome::Gone { reason, in_flight } => {
                    let frame = self.lead.as_mut().and_then(|lead| lead.received(&reply));
                    self.bid_farewell(reason.clone(), frame.filter(|_| *in_flight));
                }
                _ => self.note(reply),
            },
            Err(RecvError) => self.lose("its thread has ended".to_owned(), &[]),
        }
    }

    /// Takes in every reply that is there.
    pub fn accept_ready(&mut self) {
        loop {
            match self.replies().try_recv() {
                Ok(reply) => self.accept(Ok(reply)),
                Err(TryRecvError::Disconnected) => self.accept(Err(RecvError)),
                Err(TryRecvError::Empty) => break,
            }
        }
        loop {
            match self.farewell().try_recv() {
                Ok(reply) => self.accept_farewell(Ok(reply)),
                Err(TryRecvError::Disconnected) => self.accept_farewell(Err(RecvError)),
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    /// A reply of the lead that is none of its last.
    pub(super) fn note(&mut self, reply: FrameReply) {
        let Some(mut lead) = self.lead.take() else { return };
        lead.received(&reply);
        if !lead.is_of_old(&reply) {
            self.answer(&mut lead, reply);
        }
        self.lead = Some(lead);
    }

    /// What `line` replies to a frame.
    pub(super) fn answer(&mut self, line: &mut Line, reply: FrameReply) {
        let of_reply =
            |planned: &Planned| planned.wish.as_ref().is_some_and(|wish| wish.asked == Some(reply.seq));
        let place = self.planned.iter().position(of_reply);
        if let Some(planned) = place.map(|place| &self.planned[place]) {
            let requested = line.numbered(planned.index);
            self.timeline.note_reply(planned.frame, planned.playback, requested, &reply);
        }
        let answer = match reply.outcome {
            Outcome::Expired => Err(Refused::Expired),
            outcome => line.read(outcome, reply.avatar_frame_used).map_err(Refused::Failed),
        };
        if answer.is_ok() {
            self.trouble.settle_in();
        }
        if let Some(wish) = place.and_then(|place| self.planned[place].wish.as_mut()) {
            wish.answer = Some(answer);
        }
    }

    /// The next frame is planned and, if the backend was asked, answered or never will be.
    pub fn is_ready(&self) -> bool {
        let settled = |wish: &Wish| wish.answer.is_some() || self.gone.is_some();
        self.planned.front().is_some_and(|planned| planned.wish.as_ref().is_none_or(settled))
    }

    /// Gives out the next frame as it stands: a frame that is not answered holds the last picture.
    /// `None` when nothing is planned.
    pub fn give(&mut self) -> Option<Unit> {
        let Planned { frame, index, pcm_48k, wish, .. } = self.planned.pop_front()?;
        let begun = Instant::now();
        let mut shed = false;
        let (picture, kind) = match wish {
            None => (self.painter.idle(index), UnitKind::Idle),
            Some(Wish { ask, .. }) if ask.flags.discard_ok => {
                shed = true;
                (self.held(index), UnitKind::Held)
            }
            Some(Wish { answer: None, .. }) => {
                self.trouble.late += 1;
                self.record_event(Some(frame), || Event::Held { reason: "no answer in time".to_owned() });
                (self.held(index), UnitKind::Held)
            }
            Some(Wish { ask, answer: Some(answer), .. }) => {
                let shown = answer.and_then(|answer| {
                    self.painter.draw(&answer, index, ask.opacity).map_err(Refused::Failed)
                });
                match shown {
                    Ok(picture) => {
                        self.trouble.late = 0;
                        self.ask_more(frame);
                        (picture, UnitKind::Speech)
                    }
                    Err(refused) => {
                        self.refused(frame, refused);
                        (self.held(index), UnitKind::Held)
                    }
                }
            }
        };
        let composing = begun.elapsed();
        self.stats.frames += 1;
        match kind {
            UnitKind::Idle => {}
            UnitKind::Speech => {
                self.stats.speech += 1;
                self.stats.standby += u64::from(self.stands_in);
            }
            UnitKind::Held => {
                self.stats.held += 1;
                self.stats.shed += u64::from(shed);
            }
        }
        if !shed {
            self.note_holding(frame, kind);
        }
        if let Some(black_box) = &self.black_box {
            black_box.left(frame, kind);
        }
        self.painter.show(&picture);
        let kept_from = frame.saturating_sub(self.fps.frames_covering(History::LOOKBEHIND_LIMIT, 16_000));
        self.history.forget_before(self.fps.first_sample(kept_from, 16_000));
        self.judge(frame);
        Some(Unit { frame, avatar_frame: index, picture, pcm_48k, kind, composing })
    }

    fn refused(&mut self, frame: u64, refused: Refused) {
        self.stats.failed += 1;
        let message = match refused {
            Refused::Expired => {
                self.trouble.late += 1;
                "it was asked for too late".to_owned()
            }
            Refused::Failed(message) => {
                self.trouble.failed.push(frame);
                message
            }
        };
        if self.held_since.is_none() {
            tracing::warn!(frame, message, "the last picture is held");
        }
        self.record_event(Some(frame), || Event::Held { reason: message });
    }

    /// Costs nothing where nothing is recorded.
    pub(super) fn record_event(&self, frame: Option<u64>, event: impl FnOnce() -> Event) {
        if let Some(black_box) = &self.black_box {
            black_box.note(frame, event());
        }
    }

    /// Two lines for frames held in a row, however many they are.
    fn note_holding(&mut self, frame: u64, kind: UnitKind) {
        if kind == UnitKind::Held {
            self.held_since.get_or_insert(frame);
        } else if let Some(since) = self.held_since.take() {
            tracing::info!(since, frames = frame - since, "pictures move again");
        }
    }

    /// The last picture; without a backend the avatar's own frame.
    fn held(&mut self, index: usize) -> super::Picture {
        if self.gone.is_none() { self.painter.held(index) } else { self.painter.own(index) }
    }

    /// Barge-in: empties the queue, the backend and every planned frame; idle goes on at the next frame.
    pub fn interrupt(&mut self) {
        self.record_event(None, || Event::Interrupted);
        self.speech.clear();
        self.history.cut();
        self.leaving = None;
        let moving = self.planned.iter().any(|planned| planned.wish.is_some()) || self.timeline.is_speaking();
        if let Some(lead) = &mut self.lead {
            lead.reset();
            let latest = lead.take_latest();
            self.painter.fade(latest.filter(|_| moving));
        }
        self.timeline.interrupt();
        for planned in &mut self.planned {
            planned.wish = None;
            planned.speaking = false;
            planned.pcm_48k.fill(0.0);
        }
    }
}

/// Why a performance cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The backend refused.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The canvas cannot be encoded.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The system has no thread for it.
    #[error("no thread for the session: {0}")]
    Thread(#[source] std::io::Error),
}
