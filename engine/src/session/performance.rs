//! Plans frames, asks the backend, composes what comes back: a session without its clock.
//!
//! In: speech and replies. Out: units, in frame order. [`super::live`] and [`super::offline`] drive it; neither
//! knows what a frame is made of, so both give the same pictures.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, unbounded};
use lipcast_codecs::SizeError;

use super::timeline::Ask;
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
    /// Of these, frames that repeat the last picture because the backend was late or failed.
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
    asked: Option<(u64, Ask)>,
    reply: Option<FrameReply>,
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
    last: Option<Picture>,
    last_patch: Option<Patch>,
    stats: PerformanceStats,
}

impl Performance {
    /// Opens a session on `stage`.
    ///
    /// # Errors
    /// When the instance takes no more sessions, or the canvas has an odd size.
    pub fn open(stage: Stage, fps: FrameRate) -> Result<Self, OpenError> {
        let (sender, replies) = unbounded();
        let params = SessionParams { fps, whole: false };
        let port = stage.instance.open_session(&stage.avatar, params, sender)?;
        let info = stage.avatar.info();
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
            last_patch: None,
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

    /// Where replies arrive, for callers that wait; hand what is received to [`accept`](Self::accept).
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
        self.timeline.is_speaking() || self.planned.iter().any(|planned| planned.asked.is_some())
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
        for push in step.pushes {
            self.port.push_audio(push.first_sample, push.pcm, push.end);
        }
        let asked = step.ask.map(|ask| {
            let seq = self.next_seq;
            self.next_seq += 1;
            let request = FrameRequest {
                seq,
                epoch: self.epoch,
                frame: step.frame,
                avatar_frame: index as u32,
                deadline,
                flags: ask.flags,
            };
            self.port.request(request);
            (seq, ask)
        });
        let (frame, playback, pcm_48k) = (step.frame, step.playback, step.pcm_48k);
        self.planned.push_back(Planned { frame, playback, index, pcm_48k, asked, reply: None });
    }

    /// Takes in a reply; one of an older epoch, or for a frame that has left, is dropped.
    pub fn accept(&mut self, reply: FrameReply) {
        if reply.epoch != self.epoch {
            return;
        }
        let waiting =
            self.planned.iter_mut().find(|planned| planned.asked.is_some_and(|(seq, _)| seq == reply.seq));
        if let Some(planned) = waiting {
            self.timeline.note_reply(planned.frame, planned.playback, planned.index as u32, &reply);
            planned.reply = Some(reply);
        }
    }

    /// Takes in every reply that is there.
    pub fn accept_ready(&mut self) {
        while let Ok(reply) = self.replies.try_recv() {
            self.accept(reply);
        }
    }

    /// The next frame is planned and, if the backend was asked, answered.
    pub fn is_ready(&self) -> bool {
        self.planned.front().is_some_and(|planned| planned.asked.is_none() || planned.reply.is_some())
    }

    /// Gives out the next frame as it stands: a frame that is not answered holds the last picture.
    /// `None` when nothing is planned.
    pub fn give(&mut self) -> Option<Unit> {
        let Planned { frame, index, pcm_48k, asked, reply, .. } = self.planned.pop_front()?;
        let (picture, kind) = match (asked, reply) {
            (None, _) => (self.own(index), UnitKind::Idle),
            (Some((_, ask)), Some(reply)) => match self.draw(reply, index, ask.opacity) {
                Ok(picture) => (picture, UnitKind::Speech),
                Err(message) => {
                    tracing::warn!(frame, message, "a frame is held");
                    self.stats.failed += 1;
                    (self.held(index), UnitKind::Held)
                }
            },
            (Some(_), None) => (self.held(index), UnitKind::Held),
        };
        self.stats.frames += 1;
        match kind {
            UnitKind::Idle => {}
            UnitKind::Speech => self.stats.speech += 1,
            UnitKind::Held => self.stats.held += 1,
        }
        self.last = Some(picture.clone());
        Some(Unit { frame, avatar_frame: index, picture, pcm_48k, kind })
    }

    fn own(&self, index: usize) -> Picture {
        Picture::Avatar { canvas: self.stage.canvas.clone(), index }
    }

    fn held(&self, index: usize) -> Picture {
        self.last.clone().unwrap_or_else(|| self.own(index))
    }

    /// What a reply looks like over its frame; the reason when it cannot be shown.
    fn draw(&mut self, reply: FrameReply, index: usize, opacity: u8) -> Result<Picture, String> {
        match reply.outcome {
            Outcome::AvatarFrame => {
                self.last_patch = None;
                return Ok(self.own(index));
            }
            Outcome::Patch(patch) => self.last_patch = Some(patch),
            Outcome::SamePatch => {}
            Outcome::Expired => return Err("it was asked for too late".to_owned()),
            Outcome::Failed(message) => return Err(message),
        }
        let Some(patch) = &self.last_patch else { return Ok(self.own(index)) };
        let mask = self.stage.avatar.mask(reply.avatar_frame_used);
        let source = self.stage.canvas.frame(reply.avatar_frame_used as usize);
        let composer = &mut self.composer;
        let composed =
            self.pool.compose(source, |picture| composer.lay(picture, patch, mask.as_ref(), opacity));
        composed.map(Picture::Composed).map_err(|error| error.to_string())
    }

    /// Barge-in: empties the queue, the backend and every planned frame; idle goes on at the next frame.
    pub fn interrupt(&mut self) {
        self.epoch += 1;
        self.speech.clear();
        self.port.reset(self.epoch);
        self.timeline.interrupt();
        for planned in &mut self.planned {
            planned.asked = None;
            planned.reply = None;
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
