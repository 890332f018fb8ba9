//! Sessions: audio in, patches out, batched over sessions.

mod pipeline;

use std::collections::HashSet;

use lipcast_plugins_api::loader::Session;
use lipcast_plugins_api::types::{Code, Error, HealthState, SessionMode};
use pipeline::bundle::{self, FOUR};
use pipeline::clip::{Clip, babble};
use pipeline::stage::{Drawn, FRAME, Stage, create, refusal};
use serde_json::json;

/// Speech in a session from frame 0 on, all of it and its end.
fn speaking(stage: &Stage, seconds: f32) -> Session {
    let mut session = stage.session();
    session.push_audio(0, &babble(seconds, 120.0), true).unwrap();
    session
}

fn pictures(drawn: Vec<Drawn>) -> Vec<Vec<u8>> {
    drawn.into_iter().map(|drawn| drawn.unwrap().1).collect()
}

fn codes(drawn: &[Drawn]) -> Vec<Option<Code>> {
    drawn.iter().map(|drawn| drawn.as_ref().err().map(|error| error.code)).collect()
}

#[test]
fn speech_moves_the_mouth_and_silence_after_it_shows_the_avatar() {
    let mut stage = Stage::new();
    let session = speaking(&stage, 1.0);
    let speech = stage.draw(&session, 0..25);
    let mask = stage.avatar.frame_mask(2).unwrap();
    for (result, picture) in &speech {
        assert_eq!(result.rect, mask.rect);
        assert_eq!(picture.len() as u64, 3 * mask.rect.area());
        assert!(!result.at_rest);
    }
    let different: HashSet<&Vec<u8>> = speech.iter().map(|(_, picture)| picture).collect();
    assert!(different.len() > 20, "{} different pictures", different.len());
    // The last rows that a frame hears end 120 ms after its start, the first begin 80 ms before it.
    let after = stage.draw(&session, 25..32);
    let rest = after.iter().position(|(result, _)| result.at_rest).unwrap();
    assert_eq!(rest, 2);
    assert!(after[rest..].iter().all(|(result, _)| result.at_rest && result.rect.is_empty()));
    // Nobody spoke yet.
    let silent = stage.session();
    assert!(stage.draw(&silent, [0, 7]).iter().all(|(result, _)| result.at_rest && result.rect.is_empty()));
}

#[test]
fn order_batches_and_neighbours_make_no_difference() {
    let clip = Clip::default();
    let expected = {
        let mut stage = Stage::new();
        let session = speaking(&stage, 1.0);
        let one =
            |frame: u64| stage.ask(&[(&session, frame, frame as u32 % 6)], |_, _| ()).remove(0).unwrap().1;
        (0..24).map(one).collect::<Vec<_>>()
    };
    for batches in [json!([1]), json!([1, 4]), json!([3, 16])] {
        let mut stage = Stage::with(json!({"batches": batches}), &clip);
        let (session, mut other) = (speaking(&stage, 1.0), stage.session());
        other.push_audio(0, &babble(1.0, 190.0), true).unwrap();
        // Backwards, in fours, and among frames of another session.
        for first in [20, 16, 12, 8, 4, 0] {
            let mut asked = vec![(&other, first + 3, 5)];
            for frame in first..first + 4 {
                asked.push((&session, frame, frame as u32 % 6));
            }
            asked.push((&other, first + 4, 1));
            let drawn = pictures(stage.ask(&asked, |_, _| ()));
            assert!(drawn[1..5] == expected[first as usize..first as usize + 4], "{batches} from {first}");
            assert!(drawn[0] != drawn[1]);
        }
    }
}

#[test]
fn windows_are_shared_and_places_that_are_left_over_are_counted() {
    let mut stage = Stage::with(json!({"batches": [1, 4]}), &Clip::default());
    let session = speaking(&stage, 1.0);
    stage.draw(&session, 4..10);
    // Three windows for six frames; six frames in batches of four.
    let counts = ["frames", "encoder_windows", "batches", "filled_places"].map(|key| stage.count(key));
    assert_eq!(counts, [6, 3, 2, 2]);
}

#[test]
fn audio_beyond_the_lookahead_does_not_matter_and_the_cut_of_pushes_neither() {
    let mut stage = Stage::new();
    let lookahead = 140 * 16;
    let speech = babble(2.0, 120.0);
    let (mut short, mut long, mut cut) = (stage.session(), stage.session(), stage.session());
    long.push_audio(0, &speech, true).unwrap();
    let last = 24;
    let needed = (last as usize + 1) * FRAME + lookahead;
    short.push_audio(0, &speech[..needed], false).unwrap();
    let mut at = 0;
    for piece in [1, 7, 333, 640, 5_000].into_iter().cycle() {
        let piece = piece.min(needed - at);
        cut.push_audio(at as u64, &speech[at..at + piece], false).unwrap();
        at += piece;
        if at == needed {
            break;
        }
    }
    let [a, b, c] = [&short, &long, &cut].map(|session| stage.draw(session, 0..=last));
    assert!(a.iter().zip(&b).zip(&c).all(|((a, b), c)| a.1 == b.1 && a.1 == c.1));
    // A frame that is asked for too soon is told so, and harms nobody.
    let drawn = stage.ask(&[(&short, last + 20, 2), (&long, last + 1, 2)], |_, _| ());
    assert_eq!(codes(&drawn), [Some(Code::NotReady), None]);
}

#[test]
fn late_frames_and_frames_without_a_face_cost_nothing() {
    let mut stage = Stage::with(json!({}), &Clip::without(&[3]));
    let session = speaking(&stage, 1.0);
    let expected = stage.draw(&session, [9]).remove(0).1;
    let before = stage.count("batches");
    let asked = [(&session, 6, 3), (&session, 7, 2), (&session, 8, 2), (&session, 9, 2)];
    let mut drawn = stage.ask(&asked, |at, request| request.discard_ok = at == 1 || at == 2);
    assert_eq!(codes(&drawn), [None, Some(Code::Deadline), Some(Code::Deadline), None]);
    let faceless = drawn[0].as_ref().unwrap().0;
    assert!(faceless.rect.is_empty() && !faceless.at_rest);
    assert!(drawn.pop().unwrap().unwrap().1 == expected);
    assert_eq!(stage.count("batches") - before, 1);
    assert_eq!((stage.count("left_out_frames"), stage.count("plain_frames")), (2, 1));
}

#[test]
fn a_reset_forgets_and_a_second_run_is_like_the_first() {
    let mut stage = Stage::new();
    let mut session = stage.session();
    let speech = babble(1.0, 120.0);
    session.push_audio(0, &speech, true).unwrap();
    let first: Vec<_> = stage.draw(&session, 0..25).into_iter().map(|(_, picture)| picture).collect();
    session.reset(1).unwrap();
    assert!(stage.draw(&session, 25..28).iter().all(|(result, _)| result.at_rest));
    for start in [100, 140] {
        session.push_audio(start * FRAME as u64, &speech, true).unwrap();
        let again: Vec<_> = stage.draw(&session, start..start + 25).into_iter().map(|(_, p)| p).collect();
        assert!(first == again, "from frame {start}");
    }
    assert_eq!(refusal(session.push_audio(0, &speech, true)).0, Code::InvalidArg);
}

#[test]
fn audio_that_nobody_asks_for_is_refused_when_there_is_too_much() {
    let stage = Stage::new();
    let mut session = stage.session();
    let second = babble(1.0, 120.0);
    let refused = (0..60).map(|at| session.push_audio(at * 16_000, &second, false)).find_map(Result::err);
    let error = refused.expect("a minute is too much");
    assert!(error.code == Code::WouldBlock && error.retryable, "{error}");
}

#[test]
fn a_frame_that_fails_leaves_its_neighbours_as_they_are() {
    // Frame 4 of this avatar is so bright that the networks overflow on it.
    let clip = Clip { light: |frame| if frame == 4 { 3.0 } else { 1.0 }, ..Clip::default() };
    let mut stage = Stage::with(json!({"batches": [4], "options": {"overflow": 0.97}}), &clip);
    let session = speaking(&stage, 1.0);
    let alone =
        pictures((0..3).map(|frame| stage.ask(&[(&session, frame, 2)], |_, _| ()).remove(0)).collect());
    let asked = [(&session, 0, 2), (&session, 1, 2), (&session, 1, 4), (&session, 2, 2), (&session, 2, 9)];
    let mut drawn = stage.ask(&asked, |_, _| ());
    assert_eq!(codes(&drawn), [None, None, Some(Code::BadOutput), None, Some(Code::InvalidArg)]);
    let neighbours = [0, 1, 3].map(|at| std::mem::replace(&mut drawn[at], Err(Error::cancelled())));
    assert!(pictures(neighbours.into()) == alone);
    assert_eq!(stage.instance.health().state, HealthState::Ok);
}

#[test]
fn networks_that_panic_or_lose_their_device_are_broken_for_good_and_hold_up_nobody() {
    // The first call of each batch size is the warm-up.
    for (option, code, words) in [
        ("panic_at", Code::BackendPanic, "asked for by `panic_at`"),
        ("lose_at", Code::DeviceLost, "the device fell off the bus"),
    ] {
        let mut stage = Stage::with(json!({"options": {option: 4}}), &Clip::default());
        let session = speaking(&stage, 1.0);
        assert_eq!(codes(&stage.ask(&[(&session, 0, 2), (&session, 1, 2)], |_, _| ())), [None, None]);
        let drawn = stage.ask(&[(&session, 2, 2), (&session, 3, 2)], |_, _| ());
        assert_eq!(codes(&drawn), [Some(code), Some(Code::Internal)]);
        assert!(drawn[0].as_ref().unwrap_err().message.contains(words));
        let health = stage.instance.health();
        assert!(health.state == HealthState::Broken && health.message.contains(words), "{}", health.message);
        // Sessions and avatars come and go even so, and preparing is refused.
        let other = speaking(&stage, 0.5);
        assert_eq!(codes(&stage.ask(&[(&other, 0, 2)], |_, _| ())), [Some(Code::Internal)]);
        let told = refusal(pipeline::stage::prepare(&stage.instance, &Clip::default()));
        assert!(told.1.contains(words), "{}", told.1);
    }
}

#[test]
fn sessions_that_do_not_fit_are_refused() {
    let stage = Stage::new();
    for fps in [(30, 1), (24_000, 1_001), (50, 1), (12, 1)] {
        assert!(stage.open(SessionMode::Live, fps).is_ok(), "{fps:?}");
    }
    assert_eq!(refusal(stage.open(SessionMode::Live, (1, 2))).0, Code::Unsupported);
    let reference = Stage::with(json!({"compat": {"reference_window": true}}), &Clip::default());
    assert!(reference.open(SessionMode::Live, (25, 1)).is_ok());
    assert_eq!(refusal(reference.open(SessionMode::Live, (50, 1))).0, Code::Unsupported);
}

#[test]
fn compat_settings_of_speech_change_what_they_say() {
    let drawn = |compat: serde_json::Value| {
        let mut stage = Stage::with(json!({"compat": compat}), &Clip::default());
        let session = speaking(&stage, 1.0);
        pictures(stage.ask(&[(&session, 9, 2), (&session, 10, 2)], |at, request| request.last = at == 1))
    };
    let ours = drawn(json!({}));
    assert!(drawn(json!({"no_positions": true})) != ours);
    assert!(drawn(json!({"window_maximum": true})) != ours);
    let dropped = drawn(json!({"drop_last_frame": true}));
    assert!(dropped[0] == ours[0] && dropped[1].is_empty() && !ours[1].is_empty());
}

#[test]
fn preparation_waits_for_speech_and_both_come_out_right() {
    let folder = bundle::of(&FOUR);
    let instance = create(&bundle::settings(folder.path(), json!({}))).unwrap();
    let expected = pipeline::stage::prepare(&instance, &Clip::default()).unwrap();
    let mut stage = Stage::new();
    let session = speaking(&stage, 2.0);
    let alone = stage.draw(&session, 0..50);
    let preparing = stage.instance.clone();
    std::thread::scope(|scope| {
        let blob = scope.spawn(|| pipeline::stage::prepare(&preparing, &Clip::default()).unwrap());
        for _ in 0..4 {
            let beside = stage.draw(&session, 0..50);
            assert!(beside.iter().zip(&alone).all(|(a, b)| a.1 == b.1));
        }
        // Another folder has another path and the same content.
        assert!(blob.join().unwrap() == expected);
    });
}
