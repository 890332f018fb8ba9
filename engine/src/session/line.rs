//! One session's line into one backend: what it has heard, what it was asked, what it drew last.
//!
//! In: the history's audio and asks for frames, in order. Out: the replies, matched with their frames.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, unbounded};

use super::black_box::{BackendMark, BlackBox, Tape};
use super::history::History;
use super::painter::{Answer, Drawn};
use super::timeline::Ask;
use super::{OpenError, Stage, TimelineConfig};
use crate::backend::{
    BackendError, FrameReply, FrameRequest, Instance, Outcome, RequestFlags, SessionParams, SessionPort,
};
use crate::time::FrameRate;

/// A session that is open in a backend.
pub(super) struct Line {
    stage: Stage,
    fps: FrameRate,
    port: Box<dyn SessionPort>,
    replies: Receiver<FrameReply>,
    epoch: u32,
    /// How far it heard the history; `None`: nothing since it was opened or reset.
    heard: Option<Heard>,
    /// Nothing was asked since it was opened or reset.
    fresh: bool,
    /// Requests without a reply, of any epoch, in order: their numbers and frames.
    waiting: VecDeque<(u64, u64)>,
    /// What it drew last, whether that was shown or came too late.
    latest: Option<Arc<Drawn>>,
    /// Where what passes is recorded, once it draws.
    tape: Option<Tape>,
}

#[derive(Clone, Copy)]
struct Heard {
    run: u64,
    until: u64,
    ended: bool,
}

/// A frame to be asked for.
pub(super) struct Asking {
    /// Counts the session's requests.
    pub(super) seq: u64,
    pub(super) frame: u64,
    /// The canvas's frame under it.
    pub(super) index: usize,
    pub(super) deadline: Option<Instant>,
    pub(super) ask: Ask,
    /// The speech is over, the mouth on its way to rest.
    pub(super) settling: bool,
    /// It may have broken a backend.
    pub(super) alone: bool,
}

impl Line {
    /// Samples in one push at most.
    const BLOCK: usize = 16_000;

    /// Opens a session on `stage`; waits for the backend's thread.
    ///
    /// # Errors
    /// When the instance takes no more sessions, or it loaded another avatar than the canvas shows.
    pub(super) fn open(stage: Stage, fps: FrameRate) -> Result<Self, OpenError> {
        let info = stage.avatar.info();
        info.fits(stage.canvas.size(), stage.canvas.frame_count()).map_err(|message| {
            BackendError::Contract { backend: stage.instance.name().to_owned(), call: "avatar_info", message }
        })?;
        // Each request gets one reply, and the performance leaves no more than so many without.
        let (sender, replies) = unbounded();
        let port = stage.instance.open_session(&stage.avatar, SessionParams { fps, whole: false }, sender)?;
        Ok(Self {
            stage,
            fps,
            port,
            replies,
            epoch: 0,
            heard: None,
            fresh: true,
            waiting: VecDeque::new(),
            latest: None,
            tape: None,
        })
    }

    /// What passes from here on is recorded; nothing has passed yet.
    pub(super) fn record(&mut self, black_box: &BlackBox) {
        self.tape = Some(black_box.open(BackendMark::of(&*self.stage.instance)));
    }

    pub(super) fn instance(&self) -> &Arc<dyn Instance> {
        &self.stage.instance
    }

    /// Where replies arrive.
    pub(super) fn replies(&self) -> &Receiver<FrameReply> {
        &self.replies
    }

    /// Requests without a reply.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What a timeline has to know of the backend.
    pub(super) fn config(&self) -> TimelineConfig {
        let info = self.stage.avatar.info();
        let lookahead = self.stage.instance.lookahead_samples();
        TimelineConfig { fps: self.fps, lookahead, idle: info.idle, rest: info.rest }
    }

    /// The number that the backend knows the canvas's frame `index` by.
    pub(super) fn numbered(&self, index: usize) -> u32 {
        if self.stage.avatar.info().frame_count == 0 { 0 } else { index as u32 }
    }

    /// Whether the history holds all that `frame` needs.
    pub(super) fn can_ask(&self, frame: u64, history: &History) -> bool {
        history.ended() || history.end() >= self.needed(frame)
    }

    /// Lets the backend hear what the frame needs, and asks for it. The first frame after it was opened or reset is
    /// the first of a run to it: it hears the look-behind before that.
    pub(super) fn ask(&mut self, asking: &Asking, history: &History) {
        self.feed(asking.frame, history);
        let Ask { mut flags, .. } = asking.ask;
        if std::mem::take(&mut self.fresh) {
            flags = RequestFlags { first: true, last: flags.last || asking.settling, ..flags };
        }
        self.waiting.push_back((asking.seq, asking.frame));
        let request = FrameRequest {
            seq: asking.seq,
            epoch: self.epoch,
            frame: asking.frame,
            avatar_frame: self.numbered(asking.index),
            deadline: asking.deadline,
            flags: RequestFlags { alone: asking.alone, ..flags },
        };
        if let Some(tape) = &self.tape {
            tape.request(&request);
        }
        self.port.request(request);
    }

    /// Notes that a reply came; the frame it is for, unless it was not asked for.
    pub(super) fn received(&mut self, reply: &FrameReply) -> Option<u64> {
        if let Some(tape) = &self.tape {
            tape.reply(reply);
        }
        let place = self.waiting.iter().position(|(asked, _)| *asked == reply.seq)?;
        self.waiting.remove(place).map(|(_, frame)| frame)
    }

    /// Whether a reply is of the time before the last reset.
    pub(super) fn is_of_old(&self, reply: &FrameReply) -> bool {
        reply.epoch != self.epoch
    }

    /// What a reply shows. To be called with every one that is not of old: "the same picture" means the last of
    /// them, even if that came too late to be seen.
    pub(super) fn read(&mut self, outcome: Outcome, used: u32) -> Result<Answer, String> {
        let drawn = match outcome {
            Outcome::Patch(patch) => {
                let avatar = self.stage.avatar.clone();
                self.latest = Some(Arc::new(Drawn { patch, mask_of: used, avatar }));
                self.latest.clone()
            }
            Outcome::AvatarFrame => {
                self.latest = None;
                None
            }
            Outcome::SamePatch => self.latest.clone(),
            Outcome::Expired => return Err("it was asked for too late".to_owned()),
            Outcome::Failed(message) | Outcome::Gone { reason: message, .. } => return Err(message),
        };
        let over = (self.stage.avatar.info().frame_count > 0).then_some(used);
        Ok(Answer { drawn, over })
    }

    /// What was drawn last, to fade out; the backend's next "same picture" does not mean it any more.
    pub(super) fn take_latest(&mut self) -> Option<Arc<Drawn>> {
        self.latest.take()
    }

    /// Barge-in, or the same frames are asked for again: what the backend heard and drew is forgotten.
    pub(super) fn reset(&mut self) {
        // A backend that has heard and drawn nothing has nothing to drop.
        if self.heard.take().is_some() || !std::mem::replace(&mut self.fresh, true) {
            self.fresh = true;
            self.epoch += 1;
            if let Some(tape) = &self.tape {
                tape.reset(self.epoch);
            }
            self.port.reset(self.epoch);
        }
    }

    fn feed(&mut self, frame: u64, history: &History) {
        let (from, ended) = match self.heard {
            Some(Heard { run, until, ended }) if run == history.run() => (until, ended),
            Some(_) => (history.start(), false),
            None => (self.replay_from(frame, history), false),
        };
        let until = self.needed(frame).min(history.end()).max(from);
        let ends = !ended && history.ended() && until >= history.end();
        let mut samples = history.samples(from, until);
        let mut first_sample = from;
        while first_sample < until {
            let pcm: Vec<f32> = samples.by_ref().take(Self::BLOCK).collect();
            if pcm.is_empty() {
                break;
            }
            let next = first_sample + pcm.len() as u64;
            self.push(first_sample, pcm, ends && next == until);
            first_sample = next;
        }
        if ends && from == until {
            self.push(until, Vec::new(), true);
        }
        self.heard = Some(Heard { run: history.run(), until, ended: ended || ends });
    }

    fn push(&mut self, first_sample: u64, pcm: Vec<f32>, end: bool) {
        if let Some(tape) = &self.tape {
            tape.audio(first_sample, &pcm, end);
        }
        self.port.push_audio(first_sample, pcm, end);
    }

    /// A run begins with the first sample of a frame, so the look-behind is rounded up to whole frames.
    fn replay_from(&self, frame: u64, history: &History) -> u64 {
        let lookbehind = self.stage.instance.lookbehind_samples().min(History::LOOKBEHIND_LIMIT);
        let earliest = frame.saturating_sub(self.fps.frames_covering(lookbehind, 16_000));
        let from = self.first_sample(earliest).max(history.start()).max(history.first());
        // Long after the end of the run there is nothing to hear but that it is over.
        if from > history.end() { self.first_sample(frame) } else { from }
    }

    fn first_sample(&self, frame: u64) -> u64 {
        self.fps.first_sample(frame, 16_000)
    }

    fn needed(&self, frame: u64) -> u64 {
        self.first_sample(frame + 1) + self.stage.instance.lookahead_samples()
    }
}
