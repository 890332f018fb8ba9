//! A script told to a backend once more, without deadlines, and its answers beside the recorded ones.
//!
//! Audio, requests and resets come in the recorded order, and each answer that the recording had by then is waited for,
//! so that two replays of a deterministic backend give the same.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use serde::Serialize;

use super::event::{Answer, Answered};
use super::script::{Request, Script, Step};
use crate::backend::{
    BackendError, FrameReply, FrameRequest, Instance, LoadedAvatar, Outcome, SessionParams, SessionPort,
};

/// How a script is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Let requests wait beside each other as they did, so that batches can form again. Otherwise each answer is
    /// waited for before anything else is told, and a crash names one frame.
    pub together: bool,
    /// How long an answer may take.
    pub patience: Duration,
}

/// What came of a replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// One for each request of the script, in order.
    pub frames: Vec<Replay>,
    /// Why it ended before its end.
    pub lost: Option<Lost>,
}

/// One request, then and now.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// What was asked, and what came then.
    pub request: Request,
    /// What comes now, and how long it took; `None`: it was not asked, or the backend was lost.
    pub now: Option<(Answer, Duration)>,
    /// How the two compare.
    pub verdict: Verdict,
}

/// How an answer compares with the recorded one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "detail", rename_all = "snake_case")]
pub enum Verdict {
    /// The same picture, status and marks.
    Same,
    /// In words what differs.
    Different(String),
    /// In words why it is not compared.
    NotCompared(&'static str),
}

/// A backend that broke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// In words: the signal, for a crash.
    pub reason: String,
    /// Frames that were in its batch as it broke, in order.
    pub frames: Vec<u64>,
}

impl Replayed {
    /// Whether nothing differs from the recording, in which the backend was lost as `then` says: it broke in one of the
    /// same frames, or not at all.
    pub fn is_as_recorded(&self, then: Option<&Lost>) -> bool {
        let differs = |replay: &Replay| matches!(replay.verdict, Verdict::Different(_));
        let same_end = match (then, &self.lost) {
            (None, None) => true,
            (Some(then), Some(now)) => now.frames.iter().any(|frame| then.frames.contains(frame)),
            _ => false,
        };
        same_end && !self.frames.iter().any(differs)
    }
}

/// Tells `instance` what `script` says, on `avatar`. With `pictures` false the recorded pictures are another backend's:
/// only whether there is one is compared. `told` is called after each answer.
///
/// # Errors
/// When the backend does not take the session.
pub fn replay(
    script: &Script,
    instance: &dyn Instance,
    avatar: &Arc<dyn LoadedAvatar>,
    options: Options,
    pictures: bool,
    told: &mut dyn FnMut(),
) -> Result<Replayed, BackendError> {
    // Each request gets one reply, and there are as many as the script has.
    let (sender, replies) = unbounded();
    let port = instance.open_session(avatar, SessionParams { fps: script.fps, whole: false }, sender)?;
    let without_frames = avatar.info().frame_count == 0;
    let (out, now, in_flight) = (HashMap::new(), HashMap::new(), BTreeSet::new());
    let mut stage = Stage { port, replies, options, out, now, in_flight, told };
    let lost = script.steps.iter().find_map(|step| stage.perform(step, without_frames).err());
    let lost = lost.or_else(|| stage.settle().err());
    // The reply may only say that the line hung up; the instance knows why.
    let lost = lost.map(|lost| Lost { reason: instance.lost().unwrap_or(lost.reason), ..lost });
    let frames = script.requests().map(|request| {
        let now = stage.now.remove(&request.seq);
        let comparable = pictures && request.frame >= script.comparable_from;
        let verdict = match (&now, &request.then) {
            (None, _) if lost.is_some() => Verdict::NotCompared("the backend was lost before"),
            (None, _) => Verdict::NotCompared("it was not asked"),
            (_, None) => Verdict::NotCompared("the recording has no answer to it"),
            (_, Some(then)) if never_saw(&then.answer) => {
                Verdict::NotCompared("the backend was lost then before it saw it")
            }
            (Some((now, _)), Some(then)) => compare(&then.answer, now, pictures, comparable),
        };
        Replay { request: request.clone(), now, verdict }
    });
    Ok(Replayed { frames: frames.collect(), lost })
}

/// The frames that were in the backend's batch as it broke, and why, as the recording has it.
pub fn lost_then(script: &Script) -> Option<Lost> {
    let broke = script.requests().filter_map(|request| match &request.then.as_ref()?.answer.outcome {
        Answered::Gone { reason, in_flight: true } => Some((request.frame, reason.clone())),
        _ => None,
    });
    let (frames, reasons): (Vec<_>, Vec<_>) = broke.unzip();
    reasons.into_iter().next().map(|reason| Lost { reason, frames })
}

fn compare(then: &Answer, now: &Answer, pictures: bool, comparable: bool) -> Verdict {
    let (was, is) = (status(&then.outcome), status(&now.outcome));
    if was != is {
        return Verdict::Different(format!(
            "{} then, {} now",
            in_words(&then.outcome),
            in_words(&now.outcome)
        ));
    }
    if was != Status::Drawn {
        return Verdict::Same;
    }
    if !pictures {
        return Verdict::NotCompared("the recorded pictures are another backend's");
    }
    if !comparable {
        return Verdict::NotCompared("its picture depends on audio that is not kept");
    }
    let mut differs = Vec::new();
    match (&then.outcome, &now.outcome) {
        (
            Answered::Patch { rect, format, alpha, blake3 },
            Answered::Patch { rect: rect_now, format: format_now, alpha: alpha_now, blake3: blake3_now },
        ) => {
            if rect != rect_now {
                differs.push(format!("it lies at {rect_now:?}, not {rect:?}"));
            }
            if (format, alpha) != (format_now, alpha_now) {
                differs.push(format!("{format_now:?} and {alpha_now:?}, not {format:?} and {alpha:?}"));
            }
            if blake3 != blake3_now {
                differs.push("another picture".to_owned());
            }
        }
        (then, now) if then != now => {
            differs.push(format!("{} then, {} now", in_words(then), in_words(now)));
        }
        _ => {}
    }
    if then.at_rest != now.at_rest {
        let words = |at_rest| if at_rest { "at rest" } else { "moving" };
        differs.push(format!("the mouth is {}, not {}", words(now.at_rest), words(then.at_rest)));
    }
    if then.avatar_frame != now.avatar_frame {
        differs.push(format!("over the avatar's frame {}, not {}", now.avatar_frame, then.avatar_frame));
    }
    if differs.is_empty() { Verdict::Same } else { Verdict::Different(differs.join("; ")) }
}

/// The backend was lost, by another frame or by somebody else, while this one waited.
fn never_saw(answer: &Answer) -> bool {
    matches!(answer.outcome, Answered::Gone { in_flight: false, .. })
}

#[derive(PartialEq, Eq)]
enum Status {
    Drawn,
    Failed,
    Gone,
    Expired,
}

fn status(outcome: &Answered) -> Status {
    match outcome {
        Answered::Patch { .. } | Answered::AvatarFrame | Answered::SamePatch => Status::Drawn,
        Answered::Failed { .. } => Status::Failed,
        Answered::Gone { .. } => Status::Gone,
        Answered::Expired => Status::Expired,
    }
}

fn in_words(outcome: &Answered) -> String {
    match outcome {
        Answered::Patch { .. } => "a picture".to_owned(),
        Answered::AvatarFrame => "the avatar's own frame".to_owned(),
        Answered::SamePatch => "the picture before".to_owned(),
        Answered::Expired => "expired".to_owned(),
        Answered::Failed { reason } => format!("failed ({reason})"),
        Answered::Gone { reason, .. } => format!("lost ({reason})"),
    }
}

/// The replay's own line to the backend.
struct Stage<'a> {
    port: Box<dyn SessionPort>,
    replies: Receiver<FrameReply>,
    options: Options,
    /// Requests without an answer: when they were asked, and for which frame.
    out: HashMap<u64, (Instant, u64)>,
    now: HashMap<u64, (Answer, Duration)>,
    /// Frames that were in the backend's batch as it broke.
    in_flight: BTreeSet<u64>,
    told: &'a mut dyn FnMut(),
}

impl Stage<'_> {
    fn perform(&mut self, step: &Step, without_frames: bool) -> Result<(), Lost> {
        match step {
            Step::Audio { first_sample, pcm, end } => {
                self.port.push_audio(*first_sample, pcm.to_vec(), *end);
            }
            Step::Reset { epoch } => self.port.reset(*epoch),
            Step::Await { seq } => self.wait_for(*seq)?,
            Step::Ask(request) => {
                let Request { seq, epoch, frame, avatar_frame, flags, .. } = *request;
                let avatar_frame = if without_frames { 0 } else { avatar_frame };
                self.out.insert(seq, (Instant::now(), frame));
                self.port.request(FrameRequest { seq, epoch, frame, avatar_frame, deadline: None, flags });
                if !self.options.together {
                    self.wait_for(seq)?;
                }
            }
        }
        Ok(())
    }

    /// Waits for what is out.
    fn settle(&mut self) -> Result<(), Lost> {
        let mut left: Vec<u64> = self.out.keys().copied().collect();
        left.sort_unstable();
        left.into_iter().try_for_each(|seq| self.wait_for(seq))
    }

    fn wait_for(&mut self, seq: u64) -> Result<(), Lost> {
        let patience = Instant::now() + self.options.patience;
        while self.out.contains_key(&seq) {
            match self.replies.recv_deadline(patience) {
                Ok(reply) => self.accept(&reply)?,
                Err(RecvTimeoutError::Timeout) => {
                    let frames = self.out.get(&seq).map(|(_, frame)| *frame).into_iter().collect();
                    let reason = format!("no answer within {:?}", self.options.patience);
                    return Err(Lost { reason, frames });
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Lost { reason: "it hung up".to_owned(), frames: Vec::new() });
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, reply: &FrameReply) -> Result<(), Lost> {
        let lost = matches!(reply.outcome, Outcome::Gone { .. });
        self.note(reply);
        if !lost {
            return Ok(());
        }
        // The other requests of that batch are answered in the same moment.
        let patience = Instant::now() + Duration::from_millis(100);
        while !self.out.is_empty()
            && let Ok(reply) = self.replies.recv_deadline(patience)
        {
            self.note(&reply);
        }
        let frames = self.in_flight.iter().copied().collect();
        let reason = match &reply.outcome {
            Outcome::Gone { reason, .. } => reason.clone(),
            _ => String::new(),
        };
        Err(Lost { reason, frames })
    }

    fn note(&mut self, reply: &FrameReply) {
        let Some((asked, frame)) = self.out.remove(&reply.seq) else { return };
        if matches!(reply.outcome, Outcome::Gone { in_flight: true, .. }) {
            self.in_flight.insert(frame);
        }
        self.now.insert(reply.seq, (Answer::of(reply), asked.elapsed()));
        (self.told)();
    }
}
