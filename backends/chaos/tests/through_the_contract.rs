//! Faults and lies that a process survives, as a host meets them through the table.

#[path = "common.rs"]
mod common;

use std::sync::Arc;
use std::time::Instant;

use common::{Listener, PARAMS, Stage, blob, create, fault, read, speech};
use lipcast_plugins_api::loader::{FrameRequest, Slot};
use lipcast_plugins_api::serde_json::{Value, json};
use lipcast_plugins_api::types::{Code, HealthState};
use lipcast_probe::barcode::Barcode;

#[test]
fn without_faults_it_draws_every_frame_with_its_own_number() {
    let mut stage = Stage::new(&json!({"id": 5}));
    let drawn = stage.draw(&speech(3_200), 0..8);
    for (frame, (bytes, result)) in drawn.iter().enumerate() {
        let result = result.as_ref().unwrap();
        assert_eq!(read(bytes, result), Some(Barcode::new(frame as u64, 5 << 12 | 7)), "frame {frame}");
        assert_eq!(result.at_rest, frame >= 5, "frame {frame}");
    }
    assert_ne!(drawn[1].0, drawn[2].0);
    assert_eq!(drawn, Stage::new(&json!({"id": 5})).draw(&speech(3_200), 0..8), "it is deterministic");
    assert_eq!(stage.instance.health().state, HealthState::Ok);
}

#[test]
fn a_call_fails_with_the_status_it_was_told() {
    let failing = |call: &str| {
        fault(json!({"in": call, "do": "fail", "code": "DEVICE_LOST", "retryable": true, "message": call}))
    };
    let expect = |error: lipcast_plugins_api::types::Error, call: &str| {
        assert_eq!((error.code, error.retryable, error.message.as_str()), (Code::DeviceLost, true, call));
    };
    expect(create(&failing("create"), Arc::default()).err().unwrap(), "create");
    expect(blob(&create(&failing("prepare_avatar"), Arc::default()).unwrap()).unwrap_err(), "prepare_avatar");
    let instance = create(&failing("load_avatar"), Arc::default()).unwrap();
    expect(instance.load_avatar(&blob(&instance).unwrap()).err().unwrap(), "load_avatar");
    let stage = Stage::new(&failing("open_session"));
    expect(stage.inferer.open_session(&stage.avatar, &PARAMS).err().unwrap(), "open_session");
    for (call, at) in [("push_audio", 0), ("reset", 1)] {
        let stage = Stage::new(&failing(call));
        let mut session = stage.inferer.open_session(&stage.avatar, &PARAMS).unwrap();
        let results = [session.push_audio(0, &[0.0; 640], false), session.reset(1)];
        expect(results.into_iter().nth(at).unwrap().unwrap_err(), call);
    }
    expect(Stage::new(&failing("infer_batch")).draw(&[], 0..1).remove(0).1.unwrap_err(), "infer_batch");
    let health = Stage::new(&failing("health")).instance.health();
    assert_eq!((health.state, health.message.as_str()), (HealthState::Degraded, "health"));
    let broken = Stage::new(&fault(json!({"in": "health", "do": "fail"})));
    assert_eq!(broken.instance.health().state, HealthState::Broken);
}

#[test]
fn every_call_can_panic_and_the_process_lives() {
    for call in [
        "describe",
        "unload_avatar",
        "close_session",
        "destroy",
        "open_session",
        "push_audio",
        "reset",
        "infer_batch",
        "health",
    ] {
        let stage = Stage::new(&fault(json!({"in": call, "do": "panic"})));
        assert_eq!(stage.instance.describe().is_err(), call == "describe");
        if let Ok(mut session) = stage.inferer.open_session(&stage.avatar, &PARAMS) {
            assert_eq!(session.push_audio(0, &[0.0; 640], true).is_err(), call == "push_audio");
            assert_eq!(session.reset(1).is_err(), call == "reset");
        } else {
            assert_eq!(call, "open_session");
        }
        let _ = stage.instance.health();
    }
    let panicked = create(&fault(json!({"in": "create", "do": "panic"})), Arc::default()).err().unwrap();
    assert_eq!(panicked.code, Code::BackendPanic);
}

/// How frame 2 of four goes, with a fault of that one request.
fn frame_2(act: Value) -> (Vec<u8>, Result<lipcast_plugins_api::loader::FrameResult, Code>) {
    let mut fault = act;
    fault["in"] = "infer_batch".into();
    fault["at_frame"] = 2.into();
    fault["times"] = 1.into();
    let mut drawn = Stage::new(&common::fault(fault)).draw(&speech(9_000), 0..4);
    for (frame, (bytes, result)) in drawn.iter().enumerate().filter(|(frame, _)| *frame != 2) {
        let code = read(bytes, result.as_ref().unwrap()).unwrap();
        assert_eq!(code.frame, frame as u32, "its neighbours are as they should be");
    }
    let (bytes, result) = drawn.remove(2);
    (bytes, result.map_err(|error| error.code))
}

#[test]
fn pictures_are_wrong_in_the_way_they_were_told() {
    for (act, code) in [
        ("nan", Code::BadOutput),
        ("no_result", Code::Internal),
        ("overrun", Code::BadOutput),
        ("outside_rect", Code::BadOutput),
        ("odd_rect", Code::BadOutput),
        ("unknown_format", Code::BadOutput),
        ("wrong_frame", Code::BadOutput),
        ("wild_status", Code::Internal),
    ] {
        assert_eq!(frame_2(json!({"do": act})).1, Err(code), "{act}");
    }
    let picture = |act: &str| {
        let (bytes, result) = frame_2(json!({ "do": act }));
        let result = result.unwrap();
        assert_eq!(read(&bytes, &result), None, "{act} has no barcode");
        bytes[..result.rect.area() as usize * 3 / 2].to_vec()
    };
    assert!(picture("flat").iter().all(|byte| *byte == 128));
    let black = picture("black");
    assert!(black[..black.len() * 2 / 3].iter().all(|luma| *luma == 16));
    let distinct: std::collections::BTreeSet<u8> = picture("garbage").into_iter().collect();
    assert!(distinct.len() > 200, "{}", distinct.len());
    let short = picture("short_write");
    assert!(short[..1000].contains(&235) && short[short.len() / 2..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_whole_batch_can_fail_and_a_slow_call_takes_its_time() {
    let whole = fault(json!({"in": "infer_batch", "do": "fail", "whole": true, "times": 1}));
    let mut stage = Stage::new(&whole);
    let session = stage.inferer.open_session(&stage.avatar, &PARAMS).unwrap();
    let mut slots: Vec<Slot> = (0..2).map(|_| Slot::new(stage.avatar.slot_len())).collect();
    let mut batch: Vec<_> = slots.iter_mut().map(|slot| FrameRequest::new(&session, 0, 0, slot)).collect();
    stage.inferer.infer_batch(&mut batch);
    assert!(batch.iter().all(|request| request.result.is_err()));

    let begun = Instant::now();
    Stage::new(&fault(json!({"in": "infer_batch", "do": "hang", "ms": 60}))).draw(&[], 0..3);
    assert!(begun.elapsed().as_millis() >= 180);
}

#[test]
fn it_talks_too_much_and_leaks_on_command() {
    let listener = Arc::<Listener>::default();
    create(
        &fault(json!({"in": "create", "do": "log", "lines": 200, "bytes": 100_000})),
        Arc::clone(&listener),
    )
    .unwrap();
    let lines = listener.0.lock().unwrap();
    assert!(lines.len() == 200 && lines.iter().all(|line| line.len() >= 100_000), "{}", lines.len());

    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() / 256
    };
    let before = resident();
    // Far more than what the tests beside this one may give back meanwhile.
    Stage::new(&fault(json!({"in": "infer_batch", "do": "leak", "mb": 64}))).draw(&[], 0..4);
    assert!(resident() >= before + 200, "{before} MiB before, {} MiB after", resident());
}

#[test]
fn magic_audio_sets_a_fault_off_in_its_own_frame() {
    let config = fault(json!({"in": "infer_batch", "do": "fail", "on_audio": 0.77}));
    let mut pcm = speech(6_400);
    pcm[2_000..2_100].fill(0.77);
    let failed: Vec<bool> =
        Stage::new(&config).draw(&pcm, 0..10).iter().map(|drawn| drawn.1.is_err()).collect();
    assert_eq!(failed.iter().position(|failed| *failed), Some(3));
    assert_eq!(failed.iter().filter(|failed| **failed).count(), 1);
    let mut deaf = Stage::new(&fault(json!({"in": "push_audio", "do": "fail", "code": "WOULD_BLOCK",
        "retryable": true, "on_audio": 0.77})));
    assert!(deaf.draw(&speech(640), 0..1)[0].1.is_ok());
    let mut session = deaf.inferer.open_session(&deaf.avatar, &PARAMS).unwrap();
    assert_eq!(session.push_audio(0, &pcm, true).unwrap_err().code, Code::WouldBlock);
}

/// The pictures of frames 0 to 4 of a session with a neighbour in its batches that hears something else. `heard` is the
/// audio of the first, `reset` whether it has heard something before, `other` the neighbour's.
fn together(lie: Option<&str>, heard: &[f32], reset: bool, other: &[f32]) -> Vec<Vec<u8>> {
    let mut stage = Stage::new(&json!({ "lies": Vec::from_iter(lie) }));
    let mut sessions = [(); 2].map(|()| stage.inferer.open_session(&stage.avatar, &PARAMS).unwrap());
    if reset {
        sessions[0].push_audio(0, &speech(4_000)[1_000..], true).unwrap();
        sessions[0].reset(1).unwrap();
    }
    sessions[0].push_audio(0, heard, true).unwrap();
    sessions[1].push_audio(0, other, true).unwrap();
    let draw = |frame| {
        let mut slots: Vec<Slot> = (0..2).map(|_| Slot::new(stage.avatar.slot_len())).collect();
        let mut batch: Vec<_> = std::iter::zip(&sessions, &mut slots)
            .map(|(session, slot)| FrameRequest::new(session, frame, 0, slot))
            .collect();
        // A neighbour only where there is one to hear.
        if other.is_empty() {
            batch.truncate(1);
        }
        stage.inferer.infer_batch(&mut batch);
        assert!(batch.iter().all(|request| request.result.is_ok()));
        slots[0].bytes().to_vec()
    };
    (0..5).map(draw).collect()
}

#[test]
fn lies_show_where_they_should_and_nowhere_else() {
    let (speech, other) = (speech(4_000), [0.3; 4_000]);
    let mut changed = speech.clone();
    changed[3_500..].fill(0.1);
    let show = |lie: Option<&str>| {
        let alone = together(lie, &speech, false, &[]);
        [
            together(lie, &speech, false, &[]) != alone,
            together(lie, &speech, false, &other) != alone,
            together(lie, &speech, true, &[]) != alone,
            together(lie, &changed, false, &[]) != alone,
        ]
    };
    assert_eq!(show(None), [false, false, false, false]);
    assert_eq!(show(Some("cross_talk")), [false, true, false, false]);
    assert_eq!(show(Some("neighbours")), [false, true, false, false]);
    assert_eq!(show(Some("ignores_reset")), [false, false, true, false]);
    assert_eq!(show(Some("peeks")), [false, false, false, true]);
    // The counter goes on in a new instance from the start, so it shows where two sessions draw.
    let mut stage = Stage::new(&json!({"lies": ["nondeterministic"]}));
    assert_ne!(stage.draw(&speech, 0..3), stage.draw(&speech, 0..3));
    let blobs = |lies: Value| {
        let instance = create(&json!({ "lies": lies }), Arc::default()).unwrap();
        (blob(&instance).unwrap(), blob(&instance).unwrap())
    };
    let ((honest, again), (first, second)) = (blobs(json!([])), blobs(json!(["random_blob"])));
    assert!(honest == again && first != second);
    let restless = Stage::new(&json!({"lies": ["never_at_rest"]})).draw(&[], 0..60);
    assert!(restless.iter().all(|(_, result)| !result.as_ref().unwrap().at_rest));
}

#[test]
fn a_blob_that_was_changed_is_refused() {
    let stage = Stage::new(&Value::Null);
    let good = blob(&stage.instance).unwrap();
    for cut in 0..good.len() {
        let error = stage.instance.load_avatar(&good[..cut]).err().unwrap();
        assert_eq!(error.code, Code::BlobIncompatible);
    }
    let mut huge = good.clone();
    huge[8..16].fill(0xFF);
    assert_eq!(stage.instance.load_avatar(&huge).err().unwrap().code, Code::BlobIncompatible);
}
