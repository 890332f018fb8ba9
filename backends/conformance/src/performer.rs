//! A session played as Lipcast plays it: audio in step with the frames, requests in order, flags where they belong.

use std::collections::VecDeque;
use std::sync::Arc;

use lipcast_plugins_api::types::{Code, Error, IdleBy, SessionParams};

use crate::bench::{Host, Stage, params_of};
use crate::compare::Shot;
use crate::outcome::{Trouble, fails, skipped, unexpected};
use crate::subject::{Ask, Drawn, Fault};

/// Frames that an avatar which draws its own idle is asked for before a run of speech.
pub(crate) const LEAD_IN: u64 = 2;

/// One session on its timeline.
pub(crate) struct Performer {
    pub(crate) session: u64,
    params: SessionParams,
    lookahead: u64,
    avatar_frames: u64,
    draws_idle: bool,
    epoch: u32,
    seq: u64,
    /// Nothing was asked since it was opened or reset.
    fresh: bool,
    first: bool,
    run: Run,
    previous: Option<Shot>,
    /// What was asked of it last, in words, for those that want it told.
    recent: Option<VecDeque<String>>,
}

/// Calls of a session that are told when one fails.
const RECENT: usize = 10;

/// A run of speech.
#[derive(Default)]
struct Run {
    pcm: Arc<[f32]>,
    /// Its first sample on the timeline.
    start: u64,
    pushed: u64,
    ended: bool,
    last_asked: bool,
}

impl Performer {
    /// Opens a live session over the stage's avatar.
    pub(crate) fn open(stage: &Stage<'_>) -> Result<Self, Trouble> {
        let session = stage.host.open(&stage.avatar)?;
        Ok(Self::of(stage, session, params_of(&stage.avatar.info)))
    }

    /// Plays a session that is open already.
    pub(crate) fn of(stage: &Stage<'_>, session: u64, params: SessionParams) -> Self {
        let info = &stage.avatar.info;
        Self {
            session,
            params,
            lookahead: stage.host.lookahead(),
            avatar_frames: u64::from(info.frame_count.max(1)),
            draws_idle: info.idle == IdleBy::Backend,
            epoch: 0,
            seq: 0,
            fresh: true,
            first: false,
            run: Run { ended: true, last_asked: true, ..Run::default() },
            previous: None,
            recent: None,
        }
    }

    /// Tells the calls before one that fails.
    pub(crate) fn telling(mut self) -> Self {
        self.recent = Some(VecDeque::from(["open_session".to_owned()]));
        self
    }

    fn note(&mut self, call: impl FnOnce() -> String) {
        if let Some(recent) = &mut self.recent {
            if recent.len() == RECENT {
                recent.pop_front();
            }
            recent.push_back(call());
        }
    }

    fn with_recent(&self, trouble: Trouble) -> Trouble {
        match (trouble, &self.recent) {
            (Trouble::Fails(failure), Some(recent)) => {
                let recent: Vec<&str> = recent.iter().map(String::as_str).collect();
                fails(format!("{}; this session before: {}", failure.what, recent.join(", ")), failure.look)
            }
            (trouble, _) => trouble,
        }
    }

    /// First sample of frame `k`.
    pub(crate) fn sample(&self, k: u64) -> u64 {
        self.params.first_sample(k)
    }

    /// Samples that frame `k` needs on the timeline.
    pub(crate) fn needed(&self, k: u64) -> u64 {
        self.sample(k + 1) + self.lookahead
    }

    /// The next run of speech begins at frame `k`; an avatar that draws its own idle is asked for some of it before.
    pub(crate) fn say(&mut self, host: &Host<'_>, k: u64, pcm: &[f32]) -> Result<Vec<Shot>, Trouble> {
        let mut before = Vec::new();
        if self.draws_idle && self.fresh {
            let from = k.saturating_sub(LEAD_IN);
            host.push(self.session, self.sample(from), &[], true)?;
            self.first = true;
            for frame in from..k {
                before.extend(draw(host, &mut [(self, frame)])?);
            }
        }
        self.run = Run { pcm: pcm.into(), start: self.sample(k), ..Run::default() };
        self.first = true;
        Ok(before)
    }

    /// Frame `k` is wanted over an avatar whose idle it draws, before it ever spoke.
    pub(crate) fn stay_quiet(&mut self, host: &Host<'_>, k: u64) -> Result<(), Trouble> {
        host.push(self.session, self.sample(k), &[], true)?;
        self.first = true;
        Ok(())
    }

    /// Pushes the audio that frame `k` needs.
    pub(crate) fn feed(&mut self, host: &Host<'_>, k: u64) -> Result<(), Trouble> {
        let before = self.run.pushed;
        if self.offer(host, k)? {
            return Ok(());
        }
        let samples = self.needed(k).saturating_sub(self.run.start + before);
        Err(self.with_recent(fails(
            format!("push_audio answered WOULD_BLOCK to {samples} samples for frame {k}"),
            "a frame and the look-ahead beyond the last frame asked for must find room; AudioTimeline (in Python: \
             Session) keeps what lies behind the last `window`: call `release` where a frame is drawn without one",
        )))
    }

    /// As [`feed`](Self::feed), but whether there was room for it.
    pub(crate) fn offer(&mut self, host: &Host<'_>, k: u64) -> Result<bool, Trouble> {
        if self.run.ended {
            return Ok(true);
        }
        let pushed = self.run.start + self.run.pushed;
        let total = self.run.pcm.len() as u64;
        let until = self.needed(k).saturating_sub(self.run.start).min(total);
        let end = until == total;
        if until < self.run.pushed || (until == self.run.pushed && !end) {
            return Ok(true);
        }
        let pcm = &self.run.pcm[self.run.pushed as usize..until as usize];
        match host.subject.push(self.session, pushed, pcm, end) {
            Ok(()) => {}
            Err(Fault::Said(error)) if error.code == Code::WouldBlock => return Ok(false),
            Err(fault) => {
                return Err(
                    self.with_recent(unexpected(&format!("push_audio of {} samples", pcm.len()), fault))
                );
            }
        }
        let samples = pcm.len();
        (self.run.pushed, self.run.ended) = (until, end);
        self.note(|| format!("push {samples} from {pushed}{}", if end { " with END" } else { "" }));
        Ok(true)
    }

    /// The request for frame `k`.
    pub(crate) fn ask(&mut self, k: u64) -> Ask {
        let over = self.run.ended && self.sample(k + 1) >= self.run.start + self.run.pushed;
        let last = over && !self.run.last_asked;
        self.run.last_asked |= last;
        let ask = Ask {
            session: self.session,
            epoch: self.epoch,
            seq: self.seq,
            frame: k,
            avatar_frame: (k % self.avatar_frames) as u32,
            deadline_ns: 0,
            first: std::mem::take(&mut self.first),
            last,
            discard_ok: false,
            blank: None,
        };
        self.seq += 1;
        self.fresh = false;
        ask
    }

    /// Takes the answer to a request; what shows is kept for a later UNCHANGED.
    pub(crate) fn take(&mut self, ask: &Ask, answer: Result<Drawn, Error>) -> Result<Shot, Trouble> {
        let drawn = answer.map_err(|error| self.with_recent(refused(ask.frame, &error)))?;
        self.note(|| format!("frame {}", ask.frame));
        let shot = Shot::of(ask.frame, drawn, self.previous.as_ref());
        self.previous = Some(shot.clone());
        Ok(shot)
    }

    /// Barge-in.
    pub(crate) fn reset(&mut self, host: &Host<'_>) -> Result<(), Trouble> {
        self.epoch += 1;
        host.reset(self.session, self.epoch)?;
        self.note(|| "reset".to_owned());
        self.run = Run { ended: true, last_asked: true, ..Run::default() };
        (self.previous, self.fresh) = (None, true);
        Ok(())
    }

    /// Frames `frames`, one request a batch.
    pub(crate) fn play(
        &mut self,
        host: &Host<'_>,
        frames: impl IntoIterator<Item = u64>,
    ) -> Result<Vec<Shot>, Trouble> {
        let mut shots = Vec::new();
        for k in frames {
            shots.extend(draw(host, &mut [(self, k)])?);
        }
        Ok(shots)
    }
}

/// Frames of several sessions in one batch, each with the audio it needs.
pub(crate) fn draw(host: &Host<'_>, wanted: &mut [(&mut Performer, u64)]) -> Result<Vec<Shot>, Trouble> {
    for (performer, k) in wanted.iter_mut() {
        performer.feed(host, *k)?;
    }
    let asks: Vec<Ask> = wanted.iter_mut().map(|(performer, k)| performer.ask(*k)).collect();
    let answers = host.infer(&asks)?;
    wanted.iter_mut().zip(&asks).zip(answers).map(|(((p, _), ask), answer)| p.take(ask, answer)).collect()
}

/// Whether a result was refused because bytes behind its slot were changed.
pub(crate) fn is_canary(error: &Error) -> bool {
    error.code == Code::BadOutput && error.message.contains("behind the end")
}

/// A request that failed. A write behind a slot is told by the check that looks for it, once.
fn refused(frame: u64, error: &Error) -> Trouble {
    if is_canary(error) {
        return skipped("it writes behind its slots: see infer.canary");
    }
    fails(format!("frame {frame} failed: {error}"), "the request and its audio are within the contract")
}
