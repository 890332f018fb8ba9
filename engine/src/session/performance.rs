//! Plans frames, asks the backend, composes what comes back: a session without its clock.
//!
//! In: speech and replies. Out: units, in frame order. [`super::live`] and [`super::offline`] drive it; neither
//! knows what a frame is made of, so both give the same pictures.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvError, TryRecvError, never, unbounded};
use lipcast_codecs::SizeError;

use super::timeline::{Ask, Step};
use super::{Canvas, Picture, SpeechQueue, Timeline, TimelineConfig, Unit, UnitKind};
use crate::backend::{
    BackendError, FrameReply, FrameRequest, Instance, LoadedAvatar, Outcome, Patch, SessionParams,
    SessionPort,
};
use crate::compose::{Composer, PicturePool};
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
    /// Of these, frames that the backend drew.
    pub speech: u64,
    /// Of these, frames that the backend was to draw and did not: it was late, failed, or is gone.
    pub held: u64,
    /// Replies that broke the contract or carried an error.
    pub failed: u64,
    /// Times a speech source fell behind.
    pub underruns: u64,
}

struct Planned {
    frame: u64,
    playback: u64,
    index: usize,
    pcm_48k: Vec<f32>,
    speaking: bool,
    asked: Option<(u64, Ask)>,
    answer: Option<Result<Answer, String>>,
}

/// What a reply comes to, once it is known which patch "the same as before" is.
struct Answer {
    /// `None`: the avatar's own frame.
    drawn: Option<Arc<Drawn>>,
    /// The avatar frame under it.
    over: u32,
}

/// A patch as the backend drew it, and the avatar frame whose static mask belongs to it.
struct Drawn {
    patch: Patch,
    mask_of: u32,
}

/// One session's work, frame by frame.
pub struct Performance {
    stage: Stage,
    timeline: Timeline,
    speech: SpeechQueue,
    port: Box<dyn SessionPort>,
    replies: Receiver<FrameReply>,
    planned: VecDeque<Planned>,
    next_seq: u64,
    epoch: u32,
    composer: Composer,
    pool: PicturePool,
    /// What the frame before looked like.
    last: Option<Picture>,
    /// What the backend drew last, whether it was shown or came too late.
    latest: Option<Arc<Drawn>>,
    /// After a barge-in: what was drawn last, and for how many frames more it fades.
    fading: Option<(Arc<Drawn>, u64)>,
    /// Requests without a reply, of any epoch.
    unanswered: u64,
    unanswered_limit: u64,
    /// Something was asked or pushed since the last reset.
    touched: bool,
    /// Why the backend draws no more for this session.
    gone: Option<String>,
    /// The avatar's frames could not be read the last time; said once.
    unreadable: bool,
    /// The first of the frames held in a row just now.
    held_since: Option<u64>,
    stats: PerformanceStats,
}

impl Performance {
    /// A backend that leaves so much speech unanswered, in seconds, hangs.
    const PATIENCE_SECONDS: u64 = 10;

    /// Opens a session on `stage`.
    ///
    /// # Errors
    /// When the instance takes no more sessions, it loaded another avatar than the canvas shows, or the canvas has an
    /// odd size.
    pub fn open(stage: Stage, fps: FrameRate) -> Result<Self, OpenError> {
        let info = stage.avatar.info();
        info.fits(stage.canvas.size(), stage.canvas.frame_count()).map_err(|message| {
            BackendError::Contract { backend: stage.instance.name().to_owned(), call: "avatar_info", message }
        })?;
        // Each request gets one reply, and no more than `unanswered_limit` are on their way.
        let (sender, replies) = unbounded();
        let params = SessionParams { fps, whole: false };
        let port = stage.instance.open_session(&stage.avatar, params, sender)?;
        let lookahead = stage.instance.lookahead_samples();
        let timeline = Timeline::new(TimelineConfig { fps, lookahead, idle: info.idle, rest: info.rest });
        let (width, height) = stage.canvas.size();
        Ok(Self {
            pool: PicturePool::new(width, height)?,
            stage,
            timeline,
            speech: SpeechQueue::default(),
            port,
            replies,
            planned: VecDeque::new(),
            next_seq: 0,
            epoch: 0,
            composer: Composer::default(),
            last: None,
            latest: None,
            fading: None,
            unanswered: 0,
            unanswered_limit: fps.frames_covering(Self::PATIENCE_SECONDS, 1),
            touched: false,
            gone: None,
            unreadable: false,
            held_since: None,
            stats: PerformanceStats::default(),
        })
    }

    /// The speech queue, to add to.
    pub fn speech_mut(&mut self) -> &mut SpeechQueue {
        &mut self.speech
    }

    /// The speech queue.
    pub fn speech(&self) -> &SpeechQueue {
        &self.speech
    }

    /// Where replies arrive, for callers that wait; hand what is received to [`accept`](Self::accept). Once the
    /// backend is gone nothing arrives there any more.
    pub fn replies(&self) -> &Receiver<FrameReply> {
        &self.replies
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

    /// Why the backend draws no more for this session; the frames are then the avatar's own, the speech goes on.
    pub fn backend_gone(&self) -> Option<&str> {
        self.gone.as_deref()
    }

    /// Whether the next frame needs speech that is queued and not decoded yet.
    pub fn lacks_speech(&mut self) -> bool {
        self.speech.pump();
        self.timeline.lacks_speech(&self.speech)
    }

    /// 99th percentile of the backend's batches so far.
    pub fn batch_p99(&self) -> std::time::Duration {
        self.stage.instance.batch_p99()
    }

    /// What was done so far.
    pub fn stats(&self) -> PerformanceStats {
        PerformanceStats { underruns: self.timeline.underruns(), ..self.stats }
    }

    /// Plans the next frame and asks for it; `deadline` is when it leaves.
    pub fn plan(&mut self, deadline: Option<Instant>) {
        let step = self.timeline.step(&mut self.speech);
        let index = self.stage.canvas.playback_index(step.playback);
        if self.unanswered >= self.unanswered_limit {
            self.lose(format!("it left {} frames unanswered", self.unanswered));
        }
        let asked = step.ask.map(|ask| (self.next_seq, ask));
        if self.gone.is_none() {
            for push in step.pushes {
                self.touched = true;
                self.port.push_audio(push.first_sample, push.pcm, push.end);
            }
            if let Some((seq, ask)) = asked {
                self.touched = true;
                self.unanswered += 1;
                self.port.request(FrameRequest {
                    seq,
                    epoch: self.epoch,
                    frame: step.frame,
                    avatar_frame: self.numbered(index),
                    deadline,
                    flags: ask.flags,
                });
            }
        }
        self.next_seq += u64::from(asked.is_some());
        let Step { frame, playback, pcm_48k, speaking, .. } = step;
        self.planned.push_back(Planned { frame, playback, index, pcm_48k, speaking, asked, answer: None });
    }

    /// Takes in what arrived at [`replies`](Self::replies); its hanging up means that the backend is gone.
    /// The reply to a frame that has left is not shown, but the backend's next "same picture" may mean it.
    /// One of an older epoch is dropped.
    pub fn accept(&mut self, arrived: Result<FrameReply, RecvError>) {
        let Ok(reply) = arrived else { return self.lose("its thread has ended".to_owned()) };
        self.unanswered = self.unanswered.saturating_sub(1);
        if let Outcome::Gone { reason, .. } = reply.outcome {
            return self.lose(reason);
        }
        if reply.epoch != self.epoch {
            return;
        }
        let of_reply = |planned: &Planned| planned.asked.is_some_and(|(seq, _)| seq == reply.seq);
        let place = self.planned.iter().position(of_reply);
        if let Some(planned) = place.map(|place| &self.planned[place]) {
            let requested = self.numbered(planned.index);
            self.timeline.note_reply(planned.frame, planned.playback, requested, &reply);
        }
        let drawn = match reply.outcome {
            Outcome::Patch(patch) => {
                self.latest = Some(Arc::new(Drawn { patch, mask_of: reply.avatar_frame_used }));
                Ok(self.latest.clone())
            }
            Outcome::AvatarFrame => {
                self.latest = None;
                Ok(None)
            }
            Outcome::SamePatch => Ok(self.latest.clone()),
            Outcome::Expired => Err("it was asked for too late".to_owned()),
            Outcome::Failed(message) | Outcome::Gone { reason: message, .. } => Err(message),
        };
        if let Some(place) = place {
            self.planned[place].answer =
                Some(drawn.map(|drawn| Answer { drawn, over: reply.avatar_frame_used }));
        }
    }

    /// Takes in every reply that is there.
    pub fn accept_ready(&mut self) {
        loop {
            match self.replies.try_recv() {
                Ok(reply) => self.accept(Ok(reply)),
                Err(TryRecvError::Disconnected) => self.accept(Err(RecvError)),
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    /// The next frame is planned and, if the backend was asked, answered or never will be.
    pub fn is_ready(&self) -> bool {
        let settled = |planned: &Planned| planned.asked.is_none() || planned.answer.is_some();
        self.planned.front().is_some_and(|planned| settled(planned) || self.gone.is_some())
    }

    /// Gives out the next frame as it stands: a frame that is not answered holds the last picture.
    /// `None` when nothing is planned.
    pub fn give(&mut self) -> Option<Unit> {
        let Planned { frame, index, pcm_48k, asked, answer, .. } = self.planned.pop_front()?;
        let (picture, kind) = match (asked, answer) {
            (None, _) => (self.idle(index), UnitKind::Idle),
            (Some((_, ask)), Some(answer)) => {
                let shown = answer.and_then(|answer| self.draw(&answer, index, ask.opacity));
                match shown {
                    Ok(picture) => (picture, UnitKind::Speech),
                    Err(message) => {
                        if self.held_since.is_none() {
                            tracing::warn!(frame, message, "the last picture is held");
                        }
                        self.stats.failed += 1;
                        (self.held(index), UnitKind::Held)
                    }
                }
            }
            (Some(_), None) => (self.held(index), UnitKind::Held),
        };
        self.stats.frames += 1;
        match kind {
            UnitKind::Idle => {}
            UnitKind::Speech => self.stats.speech += 1,
            UnitKind::Held => self.stats.held += 1,
        }
        self.note_holding(frame, kind);
        self.last = Some(picture.clone());
        Some(Unit { frame, avatar_frame: index, picture, pcm_48k, kind })
    }

    /// Two lines for frames held in a row, however many they are.
    fn note_holding(&mut self, frame: u64, kind: UnitKind) {
        if kind == UnitKind::Held {
            self.held_since.get_or_insert(frame);
        } else if let Some(since) = self.held_since.take() {
            tracing::info!(since, frames = frame - since, "pictures move again");
        }
    }

    /// The number that the backend knows frame `index` by.
    fn numbered(&self, index: usize) -> u32 {
        if self.stage.avatar.info().frame_count == 0 { 0 } else { index as u32 }
    }

    /// The avatar's own frame; where it cannot be read, the last picture.
    fn own(&mut self, index: usize) -> Picture {
        let canvas = &self.stage.canvas;
        match self.pool.compose(|picture| canvas.read(index, picture)) {
            Ok(picture) => {
                self.unreadable = false;
                Picture(picture)
            }
            Err(error) => self.without_canvas(index, &error),
        }
    }

    /// Audio goes on whatever becomes of the pictures.
    fn without_canvas(&mut self, index: usize, error: &io::Error) -> Picture {
        if !std::mem::replace(&mut self.unreadable, true) {
            tracing::error!(index, %error, "the avatar's frames cannot be read; the last picture stays");
        }
        match &self.last {
            Some(last) => last.clone(),
            // Nothing was shown yet.
            None => Picture(self.pool.black()),
        }
    }

    fn held(&mut self, index: usize) -> Picture {
        match &self.last {
            Some(last) if self.gone.is_none() => last.clone(),
            _ => self.own(index),
        }
    }

    /// The avatar's own frame, into which an interrupted patch fades over the frames of a blend.
    fn idle(&mut self, index: usize) -> Picture {
        let Some((drawn, left)) = self.fading.take() else { return self.own(index) };
        let opacity = (left * 255 / (Timeline::BLEND_FRAMES + 1)) as u8;
        let picture = self.lay(&drawn, index, opacity);
        self.fading = (left > 1).then(|| (drawn, left - 1));
        picture.unwrap_or_else(|_| self.own(index))
    }

    /// What an answer looks like; the reason when it cannot be shown.
    fn draw(&mut self, answer: &Answer, index: usize, opacity: u8) -> Result<Picture, String> {
        self.fading = None;
        let frames = self.stage.canvas.frame_count();
        let over = if self.stage.avatar.info().frame_count == 0 { index } else { answer.over as usize };
        if over >= frames {
            return Err(format!("avatar frame {over} was used, of {frames}"));
        }
        match &answer.drawn {
            None => Ok(self.own(over)),
            Some(drawn) => self.lay(drawn, over, opacity),
        }
    }

    fn lay(&mut self, drawn: &Drawn, over: usize, opacity: u8) -> Result<Picture, String> {
        let mask = self.stage.avatar.mask(drawn.mask_of);
        let (canvas, composer) = (&self.stage.canvas, &mut self.composer);
        let composed = self.pool.compose(|picture| {
            canvas.read(over, picture).map_err(|error| format!("the avatar's frame {over}: {error}"))?;
            let laid = composer.lay(picture, &drawn.patch, mask.as_ref(), opacity);
            laid.map_err(|error| error.to_string())
        });
        composed.map(Picture)
    }

    fn lose(&mut self, reason: String) {
        if self.gone.is_none() {
            tracing::error!(reason, "the session's backend is gone; the avatar plays on");
            self.gone = Some(reason);
            self.replies = never();
        }
    }

    /// Barge-in: empties the queue, the backend and every planned frame; idle goes on at the next frame.
    pub fn interrupt(&mut self) {
        self.speech.clear();
        // A backend that has heard and drawn nothing has nothing to drop.
        if std::mem::take(&mut self.touched) && self.gone.is_none() {
            self.epoch += 1;
            self.port.reset(self.epoch);
        }
        let moving =
            self.planned.iter().any(|planned| planned.asked.is_some()) || self.timeline.is_speaking();
        let latest = self.latest.take().filter(|_| moving);
        self.fading = latest.map(|drawn| (drawn, Timeline::BLEND_FRAMES)).or(self.fading.take());
        self.timeline.interrupt();
        for planned in &mut self.planned {
            planned.asked = None;
            planned.answer = None;
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
}
