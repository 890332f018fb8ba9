//! A session that is recorded, through the real contract, and repeated from its file.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use crossbeam_channel::bounded;
use lipcast_engine::audio::SpeechChunk;
use lipcast_engine::session::black_box::replay::{Options, Replay, Replayed, Verdict, replay};
use lipcast_engine::session::black_box::{
    AvatarMark, BlackBox, Event, Limits, Recording, Subject, UtteranceStep,
};
use lipcast_engine::session::{Performance, SpeechEvent, Stage, UnitKind, UtteranceId};
use lipcast_engine::time::FrameRate;

fn black_box() -> BlackBox {
    let avatar = AvatarMark {
        id: "grey".into(),
        frames_blake3: "00".repeat(32),
        frame_count: 40,
        width: 320,
        height: 240,
    };
    let subject = Subject {
        session: "test".into(),
        program: "test".into(),
        avatar,
        fps: FrameRate::FPS_25,
        settings: BTreeMap::new(),
    };
    BlackBox::new(subject, Limits::of(Duration::from_secs(600)))
}

/// Plans and gives `frames`, each answered in time.
fn play(performance: &mut Performance, frames: u64) -> Vec<UnitKind> {
    let play_one = |_| {
        performance.plan(None);
        while !performance.is_ready() {
            let arrived = performance.replies().recv();
            performance.accept(arrived);
        }
        performance.give().unwrap().kind
    };
    (0..frames).map(play_one).collect()
}

/// Queues so many frames of noise, too weak for the probe to hear clicks in it.
fn say(performance: &mut Performance, id: u64, frames: usize) {
    let noise = |sample: usize| ((sample * 7919 + id as usize) % 1009) as f32 / 3e4;
    let chunk = SpeechChunk {
        at_16k: (0..frames * 640).map(noise).collect(),
        at_48k: (0..frames * 1_920).map(noise).collect(),
    };
    let (sender, receiver) = bounded(1);
    sender.send(SpeechEvent::Chunk(chunk)).unwrap();
    performance.speech_mut().enqueue(UtteranceId(id), receiver);
}

/// Two utterances, a pause, one that is interrupted, and one after it; read back from its file.
fn recorded(stage: Stage) -> Recording {
    let black_box = black_box();
    let mut performance = Performance::open(stage, FrameRate::FPS_25).unwrap();
    performance.record(black_box.clone());
    play(&mut performance, 5);
    say(&mut performance, 0, 20);
    say(&mut performance, 1, 10);
    play(&mut performance, 60);
    say(&mut performance, 2, 40);
    play(&mut performance, 10);
    performance.interrupt();
    play(&mut performance, 5);
    say(&mut performance, 3, 10);
    play(&mut performance, 40);
    drop(performance);
    black_box.end("it was ended");
    let bytes: Vec<u8> = black_box.recording().into_chunks().flatten().collect();
    Recording::read(&*bytes).unwrap()
}

fn repeat(recording: &Recording, line: u32, stage: &Stage, together: bool) -> Replayed {
    let script = recording.script(line).unwrap();
    let options = Options { together, patience: Duration::from_secs(60) };
    replay(&script, &*stage.instance, &stage.avatar, options, true, &mut || {}).unwrap()
}

#[test]
fn a_session_is_recorded_from_its_first_word_to_its_end() {
    let recording = recorded(common::stage("barcode"));
    let steps: Vec<_> = recording
        .entries
        .iter()
        .filter_map(|entry| match entry.event {
            Event::Utterance { id, step } => Some((id, step, entry.frame)),
            _ => None,
        })
        .collect();
    use UtteranceStep::{Began, Ended};
    let ids: Vec<_> = steps.iter().map(|(id, step, _)| (*id, *step)).collect();
    let whole = |id| [(id, Began), (id, Ended)];
    // The third one was interrupted: it has no end.
    assert_eq!(ids, [&whole(0)[..], &whole(1), &[(2, Began)], &whole(3)].concat());
    let first = |wanted| steps.iter().find(|(id, step, _)| (*id, *step) == wanted).unwrap().2;
    assert_eq!(first((1, Began)) - first((0, Began)), 20, "one follows on the other");
    let shown = recording.entries.iter().filter_map(|entry| match entry.event {
        Event::Shown { kind } => Some(kind),
        _ => None,
    });
    use UnitKind::{Idle, Speech};
    assert_eq!(shown.collect::<Vec<_>>(), [Idle, Speech, Idle, Speech, Idle, Speech, Idle]);
    // The backend was told to forget what was interrupted, before anything else was asked of it.
    let after = recording.entries.iter().skip_while(|entry| entry.event != Event::Interrupted).skip(1);
    let told: Vec<_> =
        after.filter(|entry| entry.event.line() == Some(0)).map(|entry| &entry.event).collect();
    assert!(matches!(told[..], [Event::Reset { epoch: 1, .. }, Event::Audio { .. }, ..]), "{told:?}");
    assert!(matches!(recording.entries.last().unwrap().event, Event::Ended { .. }));
}

#[test]
fn a_replay_gives_the_same_pictures_and_so_does_the_next() {
    let recording = recorded(common::stage("flash"));
    let stage = common::stage("flash");
    for together in [false, true] {
        let replayed = repeat(&recording, 0, &stage, together);
        let not_same: Vec<_> =
            replayed.frames.iter().filter(|frame| frame.verdict != Verdict::Same).collect();
        assert!(not_same.is_empty() && replayed.frames.len() > 45, "{not_same:?}");
        assert!(replayed.is_as_recorded(None));
    }
}

#[test]
fn another_picture_is_found_where_it_is_and_nowhere_else() {
    let mut recording = recorded(common::stage("flash"));
    // The flash is drawn where a click is heard.
    let mut whole_frames = recording.entries.iter_mut().filter_map(|entry| match &mut entry.event {
        Event::Audio { first_sample, pcm, .. } if pcm.len() == 640 => Some((*first_sample / 640, pcm)),
        _ => None,
    });
    let (frame, pcm) = whole_frames.nth(8).unwrap();
    let mut samples = pcm.to_vec();
    samples[300] = 1.0;
    *pcm = samples.into();
    let is_different = |replay: &&Replay| matches!(replay.verdict, Verdict::Different(_));
    let frames = |replayed: &Replayed| -> Vec<u64> {
        replayed.frames.iter().filter(is_different).map(|replay| replay.request.frame).collect()
    };
    let replayed = repeat(&recording, 0, &common::stage("flash"), false);
    assert_eq!(frames(&replayed), [frame]);
    assert!(!replayed.is_as_recorded(None));
}
