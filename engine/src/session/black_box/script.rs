//! What one line of a recording told its backend, and what it heard back, ready to be repeated.
//!
//! Requests that expired are left out: the backend never saw them. Their marks go to the next one, as they did then.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::event::{Answer, Answered, Asked, Begins, Entry, Event, LineMark, Recording};
use crate::backend::RequestFlags;
use crate::time::FrameRate;

/// One line's part.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// Which line, and of which backend.
    pub line: LineMark,
    /// Frames per second.
    pub fps: FrameRate,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// Requests that expired and are not asked again.
    pub expired: usize,
    /// Pictures of frames before this one depend on audio that is not kept.
    pub comparable_from: u64,
}

/// One thing to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Audio is given.
    Audio {
        /// Counted at 16 kHz from frame 0.
        first_sample: u64,
        /// 16 kHz mono.
        pcm: Arc<[f32]>,
        /// Nothing else was queued.
        end: bool,
    },
    /// A frame is asked for.
    Ask(Request),
    /// What was heard is forgotten.
    Reset {
        /// The epoch that begins, counted from 0 at the first step.
        epoch: u32,
    },
    /// The answer to this request was there.
    Await {
        /// Its number.
        seq: u64,
    },
}

/// A request, and what came of it then.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Counts the session's requests.
    pub seq: u64,
    /// Counted from 0 at the first step.
    pub epoch: u32,
    /// Frame k of the session.
    pub frame: u64,
    /// Which of the avatar's frames lies under it.
    pub avatar_frame: u32,
    /// Marks.
    pub flags: RequestFlags,
    /// `None`: the recording has no answer, or it came after a reset and was not looked at.
    pub then: Option<Then>,
}

/// An answer of the recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Then {
    /// What came.
    pub answer: Answer,
    /// How long after the request.
    pub took: Duration,
}

/// Why a recording has nothing to repeat.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScriptError {
    /// It has no such line.
    #[error("the recording has no line {line}; it has {known}")]
    NoLine {
        /// Which.
        line: u32,
        /// Which there are.
        known: String,
    },
    /// Nobody was asked for anything.
    #[error("nothing was asked of a backend in the time that is kept")]
    Nothing,
}

impl Recording {
    /// The line that most is to be learned from: one whose backend broke in a request, the last of them; otherwise the
    /// one with the most requests.
    pub fn telling_line(&self) -> Option<u32> {
        let broke = |entry: &Entry| match &entry.event {
            Event::Reply { line, answer, .. } => {
                matches!(answer.outcome, Answered::Gone { in_flight: true, .. }).then_some(*line)
            }
            _ => None,
        };
        let asked = |line: u32| {
            let of_line =
                |entry: &&Entry| matches!(&entry.event, Event::Request { line: of, .. } if *of == line);
            self.entries.iter().filter(of_line).count()
        };
        let busiest = || {
            let counts = self.lines.iter().map(|mark| (asked(mark.line), mark.line));
            counts.filter(|(count, _)| *count > 0).max_by_key(|(count, line)| (*count, u32::MAX - line))
        };
        self.entries.iter().rev().find_map(broke).or_else(|| busiest().map(|(_, line)| line))
    }

    /// The part of `line`.
    ///
    /// # Errors
    /// When there is no such line, or nothing was asked of it.
    pub fn script(&self, line: u32) -> Result<Script, ScriptError> {
        let Some(mark) = self.lines.iter().find(|mark| mark.line == line) else {
            let known: Vec<_> = self.lines.iter().map(|mark| mark.line.to_string()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(ScriptError::NoLine { line, known });
        };
        let of_line: Vec<&Entry> =
            self.entries.iter().filter(|entry| entry.event.line() == Some(line)).collect();
        let of_line = from_audio(&of_line, mark.begins);
        let mut writer = Writer::new(of_line, mark.begins);
        of_line.iter().for_each(|entry| writer.add(entry));
        let script = writer.finish(mark.clone(), self.subject.fps);
        if script.steps.iter().any(|step| matches!(step, Step::Ask(_))) {
            Ok(script)
        } else {
            Err(ScriptError::Nothing)
        }
    }
}

impl Script {
    /// The requests, in order.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.steps.iter().filter_map(|step| match step {
            Step::Ask(request) => Some(request),
            _ => None,
        })
    }
}

/// A line that begins in the middle begins with its first audio: what was asked before that wanted audio that is gone.
fn from_audio<'a, 'e>(entries: &'a [&'e Entry], begins: Begins) -> &'a [&'e Entry] {
    let is_audio = |entry: &&Entry| matches!(entry.event, Event::Audio { .. });
    match begins {
        Begins::Middle => {
            let first = entries.iter().position(is_audio).unwrap_or(entries.len());
            &entries[first..]
        }
        _ => entries,
    }
}

struct Writer {
    answers: HashMap<u64, Then>,
    expired: HashSet<u64>,
    begins: Begins,
    steps: Vec<Step>,
    /// Epoch of the recording that counts as 0.
    base: Option<u32>,
    /// Marks of requests that are left out.
    carried: RequestFlags,
    asked: HashSet<u64>,
    /// The first sample, where a look-behind is missing.
    first_sample: Option<u64>,
    left_out: usize,
}

impl Writer {
    fn new(entries: &[&Entry], begins: Begins) -> Self {
        let (mut answers, mut expired) = (HashMap::new(), HashSet::new());
        let mut asked_at = HashMap::new();
        let mut epoch = None;
        for entry in entries {
            match &entry.event {
                Event::Request { asked, .. } => drop(asked_at.insert(asked.seq, entry.at)),
                Event::Reset { epoch: next, .. } => epoch = Some(*next),
                Event::Reply { answer: Answer { outcome: Answered::Expired, .. }, seq, .. } => {
                    expired.insert(*seq);
                }
                Event::Reply { seq, epoch: of, answer, .. } if epoch.is_none_or(|epoch| epoch == *of) => {
                    let took = asked_at.get(seq).map(|asked| entry.at.saturating_sub(*asked));
                    let then = Then { answer: answer.clone(), took: took.unwrap_or_default() };
                    answers.insert(*seq, then);
                }
                _ => {}
            }
        }
        Self {
            answers,
            expired,
            begins,
            steps: Vec::new(),
            base: matches!(begins, Begins::Opened).then_some(0),
            carried: RequestFlags::default(),
            asked: HashSet::new(),
            first_sample: None,
            left_out: 0,
        }
    }

    fn add(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Audio { first_sample, pcm, end, .. } => {
                self.first_sample.get_or_insert(*first_sample);
                self.steps.push(Step::Audio { first_sample: *first_sample, pcm: pcm.clone(), end: *end });
            }
            Event::Request { asked, .. } => self.ask(entry.frame, asked),
            Event::Reset { epoch, .. } => {
                self.carried = RequestFlags::default();
                let base = *self.base.get_or_insert(*epoch);
                // A backend that has heard and drawn nothing has nothing to drop.
                if !self.steps.is_empty() {
                    self.steps.push(Step::Reset { epoch: epoch.saturating_sub(base) });
                }
            }
            Event::Reply { seq, .. } if self.asked.contains(seq) => {
                self.steps.push(Step::Await { seq: *seq })
            }
            _ => {}
        }
    }

    fn ask(&mut self, frame: u64, asked: &Asked) {
        let Asked { seq, epoch, avatar_frame, mut flags, .. } = *asked;
        if self.expired.contains(&seq) {
            self.left_out += 1;
            self.carried.first |= flags.first;
            self.carried.last |= flags.last;
            return;
        }
        let carried = std::mem::take(&mut self.carried);
        // Where a new run begins, the end of the last one says nothing any more.
        flags.last |= carried.last && !flags.first;
        flags.first |= carried.first;
        let cut = self.begins != Begins::Opened && self.asked.is_empty();
        flags.first |= cut;
        let base = *self.base.get_or_insert(epoch);
        self.asked.insert(seq);
        let then = self.answers.remove(&seq);
        let epoch = epoch.saturating_sub(base);
        self.steps.push(Step::Ask(Request { seq, epoch, frame, avatar_frame, flags, then }));
    }

    fn finish(self, line: LineMark, fps: FrameRate) -> Script {
        let missing = matches!(self.begins, Begins::Run | Begins::Middle);
        let comparable_from = match self.first_sample.filter(|_| missing) {
            Some(first) => fps.frames_covering(first + line.backend.lookbehind, 16_000),
            None => 0,
        };
        Script { line, fps, steps: self.steps, expired: self.left_out, comparable_from }
    }
}
