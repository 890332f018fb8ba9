//! What each frame of a session is: idle or speech, with which audio, over which of the avatar's frames.
//!
//! A pure state machine on the session's clock: no threads, no time of day. One frame a step, none skipped, so the
//! avatar's head moves on through idle and speech alike.

use super::SpeechQueue;
use crate::backend::{FrameReply, Idle, RequestFlags, Rest};
use crate::time::FrameRate;

/// What a timeline is opened with.
#[derive(Debug, Clone, Copy)]
pub struct TimelineConfig {
    /// Frames per second of the session.
    pub fps: FrameRate,
    /// Future audio a frame needs, in 16 kHz samples.
    pub lookahead: u64,
    /// Who draws between utterances.
    pub idle: Idle,
    /// Who leads the mouth to rest.
    pub rest: Rest,
}

/// Audio for the backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    /// Counted at 16 kHz from frame 0.
    pub first_sample: u64,
    /// 16 kHz mono.
    pub pcm: Vec<f32>,
    /// Nothing else is queued: the run ends with this block.
    pub end: bool,
}

/// One planned frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Frame k.
    pub frame: u64,
    /// Counts the avatar's frames; `Canvas::playback_index` turns it into one.
    pub playback: u64,
    /// What is heard with it, 48 kHz mono.
    pub pcm_48k: Vec<f32>,
    /// It belongs to speech, or the mouth is still on its way to rest.
    pub speaking: bool,
    /// Audio to push before asking.
    pub pushes: Vec<Push>,
    /// `None`: the backend is not asked.
    pub ask: Option<Ask>,
    /// Where in the speech it lies, for [`Timeline::ask_again`].
    pub moment: Moment,
}

/// Where in the speech a frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(State);

impl Moment {
    /// The speech is over, the mouth on its way to rest.
    pub fn is_settling(self) -> bool {
        matches!(self.0, State::Settling { .. })
    }
}

/// How the backend is asked for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// First of a run, or the last with audio.
    pub flags: RequestFlags,
    /// Scales the patch's alpha: 255 but where the host blends in or out.
    pub opacity: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody speaks, the mouth is at rest.
    Idle,
    /// Audio is pushed up to `pushed`; `end` is known once nothing else is queued.
    Speaking { start: u64, pushed: u64, end: Option<u64> },
    /// The speech is over, the mouth on its way to rest since frame `since`.
    Settling { since: u64 },
}

/// The state machine.
#[derive(Debug)]
pub struct Timeline {
    config: TimelineConfig,
    state: State,
    next: u64,
    playback: u64,
    underruns: u64,
    /// Nothing was asked since the session opened or was reset.
    fresh: bool,
}

impl Timeline {
    /// Frames that a backend may take to bring the mouth to rest before the host goes back to the avatar's own.
    pub const SETTLE_FRAMES: u64 = 25;
    /// Frames over which the host blends a patch in and out.
    pub const BLEND_FRAMES: u64 = 4;

    /// A timeline at frame 0, idle.
    pub fn new(config: TimelineConfig) -> Self {
        Self { config, state: State::Idle, next: 0, playback: 0, underruns: 0, fresh: true }
    }

    /// The frame that the next [`step`](Self::step) plans.
    pub fn next_frame(&self) -> u64 {
        self.next
    }

    /// Speech is being played, or the mouth is still moving.
    pub fn is_speaking(&self) -> bool {
        self.state != State::Idle
    }

    /// How often a source fell behind and silence was put in.
    pub fn underruns(&self) -> u64 {
        self.underruns
    }

    /// Frames in a second, rounded up.
    pub fn second(&self) -> u64 {
        self.config.fps.frames_covering(1, 1)
    }

    /// Whether the next frame needs speech that is queued and not decoded yet: planned now, it would get silence.
    pub fn lacks_speech(&self, speech: &SpeechQueue) -> bool {
        let State::Speaking { pushed, end: None, .. } = self.state else { return false };
        let missing = self.needed(self.next).saturating_sub(pushed);
        (speech.buffered_16k() as u64) < missing && !speech.is_exhausted()
    }

    /// Barge-in: whatever was being said is over at the next frame. The caller clears the queue and resets the port.
    pub fn interrupt(&mut self) {
        self.state = State::Idle;
        self.fresh = true;
    }

    /// Another backend draws from the next frame on.
    pub fn recast(&mut self, config: TimelineConfig) {
        // It has not heard yet that nobody speaks.
        self.fresh |= config.idle == Idle::Backend && self.config.idle == Idle::Host;
        self.config = config;
    }

    /// How another backend is asked for frame `frame`, which was planned at `moment` for the one before it.
    pub fn ask_again(&self, frame: u64, moment: Moment) -> Option<Ask> {
        let moment = match (moment.0, self.state) {
            // With a longer look-ahead the end may be known by now.
            (State::Speaking { start, .. }, State::Speaking { start: now, .. }) if start == now => self.state,
            (state, _) => state,
        };
        self.ask(frame, Moment(moment), false)
    }

    /// Takes what is there of the audio that the frames planned so far need: for a backend that looks further ahead
    /// than the one they were planned for. Unlike [`step`](Self::step) it puts in no silence.
    pub fn top_up(&mut self, speech: &mut SpeechQueue) -> Option<Push> {
        let State::Speaking { start, pushed, end: None } = self.state else { return None };
        speech.pump();
        let missing = self.needed(self.next.saturating_sub(1)).saturating_sub(pushed) as usize;
        let pcm = speech.take_16k(missing);
        let over = speech.buffered_16k() == 0 && speech.is_exhausted();
        if pcm.is_empty() && !(over && missing > 0) {
            return None;
        }
        let until = pushed + pcm.len() as u64;
        self.state = State::Speaking { start, pushed: until, end: over.then_some(until) };
        Some(Push { first_sample: pushed, pcm, end: over })
    }

    /// Plans one frame.
    pub fn step(&mut self, speech: &mut SpeechQueue) -> Step {
        speech.pump();
        let frame = self.next;
        let mut pushes = Vec::new();
        let mut first = false;
        if !matches!(self.state, State::Speaking { .. }) {
            if self.can_start(frame, speech) {
                self.state = State::Speaking { start: frame, pushed: self.first_sample(frame), end: None };
                first = true;
            } else if self.fresh && self.config.idle == Idle::Backend {
                // A backend that draws its own idle hears that nobody speaks, by an empty run.
                pushes.push(Push { first_sample: self.first_sample(frame), pcm: Vec::new(), end: true });
                first = true;
            }
        }
        if let State::Speaking { start, pushed, end } = self.state {
            let (pushed, end) = self.feed(frame, pushed, end, speech, &mut pushes);
            self.state = State::Speaking { start, pushed, end };
        }
        let samples =
            self.config.fps.first_sample(frame + 1, 48_000) - self.config.fps.first_sample(frame, 48_000);
        let samples = samples as usize;
        let runs_on = matches!(self.state, State::Speaking { end: None, .. });
        let pcm_48k = if runs_on { speech.take_48k(samples) } else { speech.take_rest_48k(samples) };
        let moment = Moment(self.state);
        let ask = self.ask(frame, moment, first);
        self.fresh &= ask.is_none();
        let (playback, speaking) = (self.playback, self.is_speaking());
        self.advance(frame);
        Step { frame, playback, pcm_48k, speaking, pushes, ask, moment }
    }

    /// Takes note of an answer to frame `frame`, which lay over playback position `playback`.
    pub fn note_reply(&mut self, frame: u64, playback: u64, requested: u32, reply: &FrameReply) {
        let State::Settling { since } = self.state else { return };
        if reply.at_rest && frame >= since {
            self.state = State::Idle;
            if reply.avatar_frame_used != requested && self.config.idle == Idle::Host {
                // The backend chose its own frame: idle goes on from there, so that the head does not jump.
                let moved = u64::from(reply.avatar_frame_used) + (self.playback - playback);
                self.playback = moved;
            }
        }
    }

    fn can_start(&self, frame: u64, speech: &SpeechQueue) -> bool {
        let needed = self.needed(frame) - self.first_sample(frame);
        let buffered = speech.buffered_16k() as u64;
        buffered >= needed || (buffered > 0 && speech.is_exhausted())
    }

    /// Pushes audio up to what `frame` needs; returns the new `pushed` and `end`.
    fn feed(
        &mut self,
        frame: u64,
        mut pushed: u64,
        mut end: Option<u64>,
        speech: &mut SpeechQueue,
        pushes: &mut Vec<Push>,
    ) -> (u64, Option<u64>) {
        let needed = self.needed(frame);
        if end.is_some() || pushed >= needed {
            return (pushed, end);
        }
        let missing = (needed - pushed) as usize;
        if speech.buffered_16k() < missing && !speech.is_exhausted() {
            speech.insert_silence(missing - speech.buffered_16k());
            self.underruns += 1;
        }
        let pcm = speech.take_16k(missing);
        let first_sample = pushed;
        pushed += pcm.len() as u64;
        if speech.buffered_16k() == 0 && speech.is_exhausted() {
            end = Some(pushed);
        }
        pushes.push(Push { first_sample, pcm, end: end.is_some() });
        (pushed, end)
    }

    fn ask(&self, frame: u64, moment: Moment, first: bool) -> Option<Ask> {
        let over = |end: u64| self.first_sample(frame + 1) >= end;
        let last = matches!(moment.0, State::Speaking { end: Some(end), .. } if over(end));
        let flags = RequestFlags { first, last, ..RequestFlags::default() };
        let ramp = |done: u64| (done.min(Self::BLEND_FRAMES) * 255 / Self::BLEND_FRAMES) as u8;
        let opacity = match (moment.0, self.config.rest) {
            _ if self.config.idle == Idle::Backend => 255,
            (State::Idle, _) => return None,
            (_, Rest::Backend) => 255,
            (State::Speaking { start, .. }, Rest::HostBlend) => ramp(frame - start + 1),
            (State::Settling { since }, Rest::HostBlend) => {
                ramp(Self::BLEND_FRAMES.saturating_sub(frame - since + 1))
            }
        };
        Some(Ask { flags, opacity })
    }

    /// Leaves frame `frame` behind.
    fn advance(&mut self, frame: u64) {
        self.next = frame + 1;
        self.playback += 1;
        match self.state {
            State::Speaking { end: Some(end), .. } if self.first_sample(frame + 1) >= end => {
                self.state = State::Settling { since: frame + 1 };
            }
            State::Settling { since } => {
                let limit = match self.config.rest {
                    Rest::Backend => Self::SETTLE_FRAMES,
                    Rest::HostBlend => Self::BLEND_FRAMES,
                };
                if frame + 1 - since >= limit {
                    self.state = State::Idle;
                }
            }
            _ => {}
        }
    }

    fn first_sample(&self, frame: u64) -> u64 {
        self.config.fps.first_sample(frame, 16_000)
    }

    fn needed(&self, frame: u64) -> u64 {
        self.first_sample(frame + 1) + self.config.lookahead
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
