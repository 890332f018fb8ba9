//! What a replay came to, for people and for machines.

use std::fmt;
use std::time::Duration;

use lipcast_engine::session::black_box::replay::{Lost, Replay, Replayed, Verdict, lost_then};
use lipcast_engine::session::black_box::{Answered, BackendMark, Recording, Script, Step};
use serde::Serialize;
use serde_json::Value;

/// Frames that are named one by one; a machine gets all of them.
const NAMED: usize = 10;

/// What a replay came to.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    session: String,
    line: u32,
    /// Numbers of the recording's other lines.
    other_lines: Vec<u32>,
    then: BackendMark,
    now: BackendMark,
    notes: Vec<String>,
    first_frame: u64,
    last_frame: u64,
    audio_seconds: f64,
    asked: usize,
    same: usize,
    different: Vec<Difference>,
    not_compared: Vec<(String, usize)>,
    /// Requests that had expired, and were not asked again.
    expired_then: usize,
    failed_then: usize,
    failed_now: usize,
    lost_then: Option<Lost>,
    lost_now: Option<Lost>,
    answered_then: Option<Times>,
    answered_now: Option<Times>,
    as_recorded: bool,
    #[serde(skip)]
    /// No frame could be compared.
    compared_nothing: bool,
    pictures: bool,
}

#[derive(Debug, Serialize)]
struct Difference {
    frame: u64,
    seq: u64,
    detail: String,
}

/// From request to answer, milliseconds; then, also what it waited for its batch.
#[derive(Debug, Serialize)]
struct Times {
    median_ms: f64,
    p99_ms: f64,
    longest_ms: f64,
}

impl Report {
    pub(super) fn of(
        recording: &Recording,
        script: &Script,
        now: &BackendMark,
        replayed: &Replayed,
        notes: Vec<String>,
        pictures: bool,
    ) -> Self {
        let frames = &replayed.frames;
        let (then_lost, of_now) = (lost_then(script), |replay: &&Replay| replay.now.is_some());
        let failed = |outcome: &Answered| matches!(outcome, Answered::Failed { .. });
        let failed_now = frames.iter().flat_map(|replay| &replay.now);
        let failed_now = failed_now.filter(|(answer, _)| failed(&answer.outcome)).count();
        let all_answered = frames.iter().all(|replay| replay.now.is_some());
        let as_recorded = match pictures {
            true => replayed.is_as_recorded(then_lost.as_ref()),
            false => all_answered && failed_now == 0 && replayed.lost.is_none(),
        };
        let samples = script.steps.iter().map(|step| match step {
            Step::Audio { pcm, .. } => pcm.len(),
            _ => 0,
        });
        let then = || frames.iter().filter_map(|replay| replay.request.then.as_ref());
        Self {
            session: recording.subject.session.clone(),
            line: script.line.line,
            other_lines: recording
                .lines
                .iter()
                .map(|mark| mark.line)
                .filter(|line| *line != script.line.line)
                .collect(),
            then: script.line.backend.clone(),
            now: now.clone(),
            notes,
            first_frame: frames.iter().map(|replay| replay.request.frame).min().unwrap_or(0),
            last_frame: frames.iter().map(|replay| replay.request.frame).max().unwrap_or(0),
            audio_seconds: samples.sum::<usize>() as f64 / 16e3,
            asked: frames.iter().filter(of_now).count(),
            same: frames.iter().filter(|replay| replay.verdict == Verdict::Same).count(),
            different: frames.iter().filter_map(Difference::of).collect(),
            not_compared: not_compared(frames),
            expired_then: script.expired,
            failed_then: then().filter(|then| failed(&then.answer.outcome)).count(),
            failed_now,
            lost_then: then_lost,
            lost_now: replayed.lost.clone(),
            answered_then: Times::of(then().map(|then| then.took)),
            answered_now: Times::of(frames.iter().filter_map(|replay| Some(replay.now.as_ref()?.1))),
            as_recorded,
            compared_nothing: pictures
                && frames.iter().all(|replay| matches!(replay.verdict, Verdict::NotCompared(_))),
            pictures,
        }
    }

    /// There was nothing in the recording that could be compared, and no backend that was lost.
    pub(super) fn compared_nothing(&self) -> bool {
        self.compared_nothing && self.lost_then.is_none() && self.lost_now.is_none()
    }

    pub(super) fn is_as_recorded(&self) -> bool {
        self.as_recorded
    }

    pub(super) fn json(&self) -> Value {
        // Texts and numbers: there is nothing in them that JSON could not hold.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The whole of it in a line.
    pub(super) fn verdict(&self) -> String {
        if self.compared_nothing() {
            return "nothing of it could be compared".to_owned();
        }
        match (self.pictures, self.as_recorded) {
            (true, true) => "as recorded".to_owned(),
            (true, false) => "not as recorded".to_owned(),
            (false, true) => "it answered every frame".to_owned(),
            (false, false) => "it did not answer every frame".to_owned(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, line, now, first_frame, last_frame, audio_seconds, .. } = self;
        writeln!(
            f,
            "session {session}, line {line}: frames {first_frame} to {last_frame}, {audio_seconds:.1} s of audio"
        )?;
        if !self.other_lines.is_empty() {
            let others: Vec<_> = self.other_lines.iter().map(u32::to_string).collect();
            writeln!(f, "  other lines        {}", others.join(", "))?;
        }
        writeln!(f, "  told to            {}: {}", now.name, now.summary)?;
        for note in &self.notes {
            writeln!(f, "  note               {note}")?;
        }
        writeln!(f, "  answered           {}", self.asked)?;
        writeln!(f, "  the same           {}", self.same)?;
        writeln!(f, "  different          {}", self.different.len())?;
        for (why, count) in &self.not_compared {
            writeln!(f, "  not compared       {count}: {why}")?;
        }
        if self.expired_then > 0 {
            writeln!(f, "  expired then       {}, not asked again", self.expired_then)?;
        }
        if self.failed_then + self.failed_now > 0 {
            writeln!(f, "  failed             {} then, {} now", self.failed_then, self.failed_now)?;
        }
        for (when, lost) in [("then", &self.lost_then), ("now", &self.lost_now)] {
            if let Some(Lost { reason, frames }) = lost {
                writeln!(f, "  {:18} {}{reason}", format!("lost {when}"), in_frames(frames))?;
            }
        }
        for (when, times) in [("then", &self.answered_then), ("now", &self.answered_now)] {
            if let Some(Times { median_ms, p99_ms, longest_ms }) = times {
                let head = format!("answered in, {when}");
                writeln!(
                    f,
                    "  {head:18} {median_ms:.1} / {p99_ms:.1} / {longest_ms:.1} ms (median, 99 %, longest)"
                )?;
            }
        }
        for Difference { frame, detail, .. } in self.different.iter().take(NAMED) {
            writeln!(f, "  {:18} {detail}", format!("frame {frame}"))?;
        }
        if self.different.len() > NAMED {
            writeln!(f, "  and {} frames more, see --json", self.different.len() - NAMED)?;
        }
        // What differs is told on the way out.
        if self.as_recorded { writeln!(f, "{}", self.verdict()) } else { Ok(()) }
    }
}

impl Difference {
    fn of(replay: &Replay) -> Option<Self> {
        let Verdict::Different(detail) = &replay.verdict else { return None };
        Some(Self { frame: replay.request.frame, seq: replay.request.seq, detail: detail.clone() })
    }
}

/// How many were not compared, by their reason.
fn not_compared(frames: &[Replay]) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for replay in frames {
        let Verdict::NotCompared(why) = replay.verdict else { continue };
        match counts.iter_mut().find(|(known, _)| known == why) {
            Some((_, count)) => *count += 1,
            None => counts.push((why.to_owned(), 1)),
        }
    }
    counts
}

fn in_frames(frames: &[u64]) -> String {
    match frames {
        [] => String::new(),
        [frame] => format!("in frame {frame}: "),
        frames => format!("in frames {}: ", frames.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")),
    }
}

impl Times {
    fn of(times: impl Iterator<Item = Duration>) -> Option<Self> {
        let mut all: Vec<f64> = times.map(|time| time.as_secs_f64() * 1e3).collect();
        all.sort_by(f64::total_cmp);
        let at =
            |part: f64| all.get(((all.len() as f64 * part) as usize).min(all.len().checked_sub(1)?)).copied();
        Some(Self { median_ms: at(0.5)?, p99_ms: at(0.99)?, longest_ms: at(1.0)? })
    }
}
