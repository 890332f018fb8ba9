//! What is kept and what goes, and files that are no recordings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::backend::{Alpha, PixelFormat, Rect, RequestFlags};
use crate::time::FrameRate;

const SECOND: Duration = Duration::from_secs(1);
/// Samples of a frame at 25 frames a second.
const FRAME: u64 = 640;

fn subject() -> Subject {
    Subject {
        session: "anna \"1\"".into(),
        program: "lipcast 0".into(),
        avatar: AvatarMark {
            id: "linh".into(),
            frames_blake3: "00".repeat(32),
            frame_count: 10,
            width: 64,
            height: 32,
        },
        fps: FrameRate::FPS_25,
        settings: BTreeMap::from([("probe".into(), "11".repeat(32))]),
    }
}

fn backend(name: &str) -> BackendMark {
    BackendMark {
        name: name.into(),
        id: "lipcast.probe".into(),
        blob_version: 1,
        summary: "lipcast.probe 0".into(),
        lookahead: 0,
        lookbehind: 2 * FRAME,
    }
}

/// A recorder that is told of frames of speech, forty milliseconds apart.
struct Session {
    recorder: Recorder,
    now: Duration,
    line: u32,
    seq: u64,
    epoch: u32,
}

impl Session {
    fn new(window: u32, bytes: usize) -> Self {
        let mut recorder = Recorder::new(Limits { window: window * SECOND, bytes });
        let line = recorder.open(Duration::ZERO, backend("probe"));
        Self { recorder, now: Duration::ZERO, line, seq: 0, epoch: 0 }
    }

    fn note(&mut self, frame: Option<u64>, event: Event) {
        self.recorder.note(self.now, frame, event);
    }

    /// A run of frames; the last one ends it.
    fn speak(&mut self, frames: std::ops::Range<u64>) {
        for frame in frames.clone() {
            self.ask(frame, frame + 1 == frames.end);
            self.answer(frame);
        }
    }

    fn ask(&mut self, frame: u64, end: bool) {
        self.now = FrameRate::FPS_25.start_of(frame);
        let pcm: Arc<[f32]> = vec![frame as f32 / 1e3; FRAME as usize].into();
        self.note(None, Event::Audio { line: self.line, first_sample: frame * FRAME, end, pcm });
        let flags = RequestFlags { last: end, ..RequestFlags::default() };
        let (seq, epoch, leaves_in) = (self.seq, self.epoch, Some(Duration::from_micros(1_500)));
        let asked = Asked { seq, epoch, avatar_frame: frame as u32, leaves_in, flags };
        self.note(Some(frame), Event::Request { line: self.line, asked });
        self.seq += 1;
    }

    fn answer(&mut self, frame: u64) {
        let outcome = Answered::Patch {
            rect: Rect::new(2, 4, 8, 6),
            format: PixelFormat::I420,
            alpha: Alpha::Static,
            blake3: blake3::hash(&frame.to_le_bytes()),
        };
        self.reply(self.seq - 1, outcome);
        self.recorder.left(self.now, frame, UnitKind::Speech);
    }

    fn reply(&mut self, seq: u64, outcome: Answered) {
        let answer = Answer { outcome, at_rest: false, avatar_frame: 0 };
        self.note(None, Event::Reply { line: self.line, seq, epoch: self.epoch, answer });
    }

    fn reset(&mut self) {
        self.epoch += 1;
        self.note(None, Event::Reset { line: self.line, epoch: self.epoch });
    }

    fn recording(&self) -> Recording {
        let (lines, entries) = self.recorder.snapshot();
        Recording { subject: subject(), lines, entries }
    }

    /// First frame that was asked for, of those that are kept, and how its line begins.
    fn begins(&self) -> (u64, Begins) {
        let recording = self.recording();
        let is_request = |entry: &&Entry| matches!(entry.event, Event::Request { .. });
        let first = recording.entries.iter().find(is_request).expect("a request is kept");
        (first.frame, recording.lines[0].begins)
    }
}

#[test]
fn idle_frames_cost_nothing() {
    let mut session = Session::new(60, usize::MAX);
    let before = session.recorder.bytes();
    (0..10_000).for_each(|frame| session.recorder.left(frame as u32 * SECOND / 25, frame, UnitKind::Idle));
    let entries = session.recording().entries;
    assert!(matches!(entries[..], [_, Entry { event: Event::Shown { kind: UnitKind::Idle }, .. }]));
    assert!(session.recorder.bytes() < before + 1_000);
}

#[test]
fn a_run_that_is_over_goes_as_a_whole() {
    let mut session = Session::new(10, usize::MAX);
    session.speak(0..50);
    session.speak(50..200);
    assert_eq!(session.begins(), (0, Begins::Opened));
    session.speak(200..252);
    // The first run began ten seconds ago; most of it would fit, and would be of no use.
    assert_eq!(session.begins(), (50, Begins::Run));
    let script = session.recording().script(0).unwrap();
    assert_eq!((script.comparable_from, script.requests().next().unwrap().frame), (52, 50));
    assert!(script.requests().next().unwrap().flags.first, "a backend has to know that a run begins");
}

#[test]
fn a_long_run_is_cut_in_the_middle_and_says_so() {
    let mut session = Session::new(10, usize::MAX);
    session.speak(0..600);
    let (first, begins) = session.begins();
    assert_eq!(begins, Begins::Middle);
    assert!((349..=351).contains(&first), "ten seconds are kept, from frame {first} on");
    let oldest = session.recording().entries[0].at;
    assert!(session.now - oldest <= 10 * SECOND);
    // It begins with audio, and the pictures of the look-behind are not compared.
    let script = session.recording().script(0).unwrap();
    assert!(matches!(script.steps[0], Step::Audio { .. }));
    let first = script.requests().next().unwrap();
    assert!(first.flags.first && script.comparable_from == first.frame + 2, "{script:?}");
    // Once the next run has lasted for a while, the little that is left of it goes.
    session.speak(600..650);
    assert_eq!(session.begins().1, Begins::Middle);
    session.speak(650..800);
    assert_eq!(session.begins(), (600, Begins::Run));
}

#[test]
fn a_reset_is_where_a_backend_begins() {
    let mut session = Session::new(10, usize::MAX);
    session.ask(0, false);
    session.answer(0);
    session.ask(1, false);
    session.reset();
    // The answer to what was asked before belongs to what is forgotten.
    session.epoch -= 1;
    session.reply(1, Answered::Expired);
    session.epoch += 1;
    session.speak(2..252);
    assert_eq!(session.begins(), (2, Begins::Reset));
    let script = session.recording().script(0).unwrap();
    assert_eq!(script.comparable_from, 0, "nothing before a reset matters");
    assert!(script.steps.iter().all(|step| !matches!(step, Step::Reset { .. })));
    assert!(script.requests().all(|request| request.epoch == 0), "the epoch that it begins in counts as 0");
}

#[test]
fn bytes_are_bounded_too() {
    let most = 100_000;
    let mut session = Session::new(3_600, most);
    for run in 0..40 {
        session.speak(run * 10..run * 10 + 10);
        assert!(session.recorder.bytes() <= most);
    }
    let (first, begins) = session.begins();
    assert_eq!((first % 10, begins), (0, Begins::Run), "whole runs went");
    session.speak(400..900);
    assert!(session.recorder.bytes() <= most);
    assert_eq!(session.begins().1, Begins::Middle);
}

#[test]
fn a_line_is_forgotten_with_its_last_event() {
    let mut session = Session::new(10, usize::MAX);
    session.speak(0..20);
    session.note(None, Event::Closed { line: 0 });
    session.line = session.recorder.open(session.now, backend("other"));
    // Nothing is heard of a line that is closed.
    let late = Answer { outcome: Answered::AvatarFrame, at_rest: false, avatar_frame: 0 };
    session.note(None, Event::Reply { line: 0, seq: 19, epoch: 0, answer: late });
    session.speak(20..100);
    assert_eq!(session.recording().lines.len(), 2);
    session.speak(100..400);
    let lines = session.recording().lines;
    assert_eq!((lines.len(), lines[0].line, &*lines[0].backend.name), (1, 1, "other"));
}

#[test]
fn the_end_is_the_end() {
    let mut session = Session::new(10, usize::MAX);
    session.note(None, Event::Ended { reason: "first".into() });
    session.note(None, Event::Ended { reason: "second".into() });
    session.note(None, Event::Interrupted);
    let ends: Vec<_> = session.recording().entries.into_iter().map(|entry| entry.event).collect();
    assert_eq!(ends[1..], [Event::Ended { reason: "first".into() }]);
}

#[test]
fn what_expired_is_not_asked_again_but_its_marks_are() {
    let mut session = Session::new(10, usize::MAX);
    let mut first = Asked {
        seq: 0,
        epoch: 0,
        avatar_frame: 0,
        leaves_in: None,
        flags: RequestFlags { first: true, ..RequestFlags::default() },
    };
    let pcm = vec![0.0; FRAME as usize].into();
    session.note(None, Event::Audio { line: 0, first_sample: 0, end: false, pcm });
    session.note(Some(0), Event::Request { line: 0, asked: first.clone() });
    session.reply(0, Answered::Expired);
    (first.seq, first.flags) = (1, RequestFlags { last: true, ..RequestFlags::default() });
    session.note(Some(1), Event::Request { line: 0, asked: first });
    session.reply(1, Answered::SamePatch);
    let script = session.recording().script(0).unwrap();
    let [Step::Audio { .. }, Step::Ask(asked), Step::Await { seq: 1 }] = &script.steps[..] else {
        panic!("{:?}", script.steps)
    };
    assert_eq!((asked.seq, script.expired), (1, 1));
    assert!(asked.flags.first && asked.flags.last);
}

/// A recording with an event of every kind.
fn everything() -> Recording {
    let mut session = Session::new(10, usize::MAX);
    session.speak(0..5);
    session.reset();
    session.ask(5, true);
    let reason = "killed by SIGSEGV (signal 11)".to_owned();
    session.reply(5, Answered::Gone { reason: reason.clone(), in_flight: true });
    session.ask(6, true);
    session.reply(6, Answered::Failed { reason: "NaN\n".into() });
    session.ask(7, true);
    session.reply(7, Answered::Expired);
    for outcome in [Answered::AvatarFrame, Answered::SamePatch] {
        session.ask(8, true);
        session.reply(session.seq - 1, outcome);
    }
    for event in [
        Event::Closed { line: 0 },
        Event::Lost { backend: "probe".into(), reason, in_flight: vec![5] },
        Event::Moved { from: Some("probe".into()), to: None, reason: "lost".into() },
        Event::Held { reason: "no answer in time".into() },
        Event::Utterance { id: 3, step: UtteranceStep::BrokeOff },
        Event::Interrupted,
        Event::Ended { reason: "it was stopped".into() },
    ] {
        session.note(Some(9), event);
    }
    session.recording()
}

fn file(recording: &Recording) -> Vec<u8> {
    recording.clone().into_chunks().flatten().collect()
}

#[test]
fn a_file_gives_back_every_event_bit_for_bit() {
    let mut recording = everything();
    let odd = [f32::MIN_POSITIVE / 2.0, -0.0, 1.0 + f32::EPSILON, f32::NEG_INFINITY];
    recording.entries.insert(
        1,
        Entry {
            at: Duration::ZERO,
            frame: 0,
            event: Event::Audio { line: 0, first_sample: 0, end: false, pcm: odd.as_slice().into() },
        },
    );
    let bytes = file(&recording);
    let read = Recording::read(&*bytes).unwrap();
    assert_eq!(read, recording);
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    assert!(text.starts_with("{\"lipcast_black_box\":1,"));
}

#[test]
fn a_long_recording_comes_in_pieces() {
    let mut session = Session::new(3_600, usize::MAX);
    session.speak(0..500);
    let recording = session.recording();
    let pieces: Vec<_> = recording.clone().into_chunks().collect();
    assert!(pieces.len() > 10 && pieces.iter().all(|piece| piece.len() < 100_000));
    assert_eq!(Recording::read(&*pieces.concat()).unwrap(), recording);
}

/// Why a file is refused.
fn refusal(bytes: &[u8]) -> String {
    match Recording::read(bytes) {
        Ok(_) => panic!("it was taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_file_that_was_altered_is_refused_with_line_and_reason() {
    let text = String::from_utf8(file(&everything())).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let with = |line: usize, now: &str| {
        let mut lines = lines.clone();
        lines[line - 1] = now;
        refusal((lines.join("\n") + "\n").as_bytes())
    };
    let edited = |line: usize, from: &str, to: &str| {
        assert!(lines[line - 1].contains(from), "{}", lines[line - 1]);
        with(line, &lines[line - 1].replacen(from, to, 1))
    };
    for (refused, reason) in [
        (refusal(b""), "line 1: the file is empty"),
        (refusal(b"\x7fELF\x02\x01\x01\x00\x00\x00"), "line 1: this is no file of `lipcast session dump`"),
        (refusal(b"{\"a\": 1}\n"), "line 1: this is no file of `lipcast session dump`"),
        (edited(1, "_box\":1,", "_box\":2,"), "line 1: format 2, and this version reads format 1"),
        (edited(1, "\"num\":25", "\"num\":0"), "line 1: 0/1 is no frame rate"),
        (edited(1, "\"begins\":\"opened\"", "\"begins\":\"later\""), "line 1: it is no event"),
        (edited(3, "\"pcm\":\"", "\"pcm\":\"?"), "line 3: it is no event of a recording: pcm is no base64"),
        (edited(3, "\"pcm\":\"", "\"pcm\":\"AAAA"), "line 3: it is no event of a recording: pcm has"),
        (edited(3, "\"line\":0", "\"line\":7"), "line 3: the head knows no line 7"),
        (
            edited(4, "\"event\":\"request\"", "\"event\":\"requst\""),
            "line 4: it is no event of a recording: unknown variant",
        ),
        (edited(5, "\"blake3\":\"", "\"blake3\":\"x"), "line 5: it is no event of a recording: \"x"),
        (
            edited(5, "\"i420\"", "\"i421\""),
            "line 5: it is no event of a recording: \"i421\" is no pixel format",
        ),
        (edited(5, "\"ms\":0.0", "\"ms\":-1.0"), "line 5: it is no event of a recording: -1 is no number"),
        (edited(8, "\"ms\":40.0", "\"ms\":39.0"), "line 8: it is earlier than the line before it"),
        (
            edited(3, "\"first_sample\":0", "\"first_sample\":9999999999999999"),
            "line 3: 9999999999999999 frames",
        ),
        // A digit that is still a digit is seen at the end.
        (
            edited(4, "\"avatar_frame\":0", "\"avatar_frame\":1"),
            "the lines before it are not what was written",
        ),
        (with(6, ""), "line 6: it is no event of a recording: EOF"),
        (with(6, lines[5].split_at(20).0), "line 6: it is no event of a recording: EOF"),
        (refusal((lines[..9].join("\n") + "\n").as_bytes()), "line 10: the last line is missing"),
        (refusal(lines[..9].join("\n").split_at(900).0.as_bytes()), "line 3: it is no event"),
        (refusal(format!("{text}{}\n", lines[2]).as_bytes()), "something follows the last line"),
        (
            refusal(format!("{}\n{}", lines[0], "x".repeat(2 << 20)).as_bytes()),
            "line 2: it has more than 1024 KiB",
        ),
    ] {
        assert!(refused.contains(reason), "\"{refused}\" says not \"{reason}\"");
    }
    let mut without = lines.clone();
    without.remove(4);
    let count = without.len() - 2;
    let refused = refusal((without.join("\n") + "\n").as_bytes());
    assert!(refused.contains(&format!("{count} events are here of the {}", count + 1)), "{refused}");
}

#[test]
fn no_flipped_byte_is_taken() {
    let bytes = file(&everything());
    for place in (0..bytes.len()).step_by(37) {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1;
        assert!(Recording::read(&*flipped).is_err(), "byte {place} of {}", bytes.len());
    }
    for length in (0..bytes.len()).step_by(411) {
        assert!(Recording::read(&bytes[..length]).is_err(), "{length} bytes of {}", bytes.len());
    }
}

#[test]
fn the_line_that_broke_tells_most() {
    let mut session = Session::new(60, usize::MAX);
    assert_eq!(session.recording().telling_line(), None);
    session.speak(0..5);
    session.ask(5, false);
    let gone = Answered::Gone { reason: "killed".into(), in_flight: true };
    session.reply(5, gone);
    session.note(None, Event::Closed { line: 0 });
    session.line = session.recorder.open(session.now, backend("other"));
    session.speak(5..50);
    let mut recording = session.recording();
    assert_eq!(recording.telling_line(), Some(0));
    recording.entries.retain(|entry| entry.event.line() == Some(1));
    assert_eq!(recording.telling_line(), Some(1));
    assert_eq!(recording.script(3), Err(ScriptError::NoLine { line: 3, known: "0, 1".into() }));
    assert_eq!(recording.script(0), Err(ScriptError::Nothing));
}
