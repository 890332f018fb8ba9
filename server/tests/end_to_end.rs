//! The main job over real connections: the program, its plugins, a real browser and an independent client.
//!
//! Asserts counts and order, and media time, never how long something took.

mod whole;

use lipcast_engine::avatar::LoopMode;
use lipcast_server::bench::rig::{Client, Rig};
use lipcast_server::bench::sync;
use serde_json::Value;
use whole::relay::Relay;
use whole::{clips, program, root};

fn barcode_server() -> Rig {
    whole::serve(whole::PROBE, &[("tone.wav", &clips::tone(40))])
}

fn ids(report: &Value, name: &str) -> i64 {
    report["ids"][name].as_i64().unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[test]
fn an_independent_client_gets_every_frame_number_once() {
    let _light = whole::beside_others();
    let rig = barcode_server();
    let report = whole::watch(Client::Aiortc, &rig, &["--seconds", "32", "--start", "audio_path=tone.wav"]);
    assert!(ids(&report, "read") >= 25 * 29, "{report}");
    assert_eq!(ids(&report, "missed"), 0, "{report}");
    assert_eq!(ids(&report, "backwards"), 0, "{report}");
    assert_eq!(ids(&report, "repeated"), 0, "{report}");
    let steps = report["rtp_steps"].as_object().unwrap();
    assert_eq!(steps.keys().collect::<Vec<_>>(), ["3600"], "{report}");
    assert!(!rig.log().contains("panicked"), "{}", rig.log());
}

/// One picture as the browser decoded it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Frames on the media clock since the first picture.
    clock: i64,
    /// Number of the frame and of the avatar's frame as the backend had them; none where it was not asked.
    asked: Option<(i64, i64)>,
    /// Which of the avatar's own frames it is, by the mark in it.
    avatar_frame: Option<i64>,
}

/// Takes the list of pictures out of the report, which is for people when a test fails.
fn seen(report: &mut Value) -> Vec<Seen> {
    let one = |picture: &Value| Seen {
        clock: picture[0].as_i64().expect("whole frames on the media clock"),
        asked: picture[1].as_i64().zip(picture[2].as_i64()),
        avatar_frame: picture[3].as_i64(),
    };
    report["pictures"].take().as_array().unwrap().iter().map(one).collect()
}

#[test]
fn a_browser_gets_every_frame_of_a_filmed_face_and_the_face_never_jumps() {
    let _heavy = whole::alone();
    const SPEECH: u32 = 31;
    let folder = tempfile::tempdir().unwrap();
    let (face, marked) = (clips::face(folder.path()), folder.path().join("marked.mp4"));
    let (width, frames) = clips::width_and_frames(&face);
    clips::marked(&face, width, &marked);
    let speech = clips::speech(folder.path(), SPEECH);
    let rig = whole::serve(
        whole::PROBE,
        &[("face.mp4", &std::fs::read(&marked).unwrap()), ("speech.wav", &speech)],
    );
    whole::prepare(&rig, "face", "face.mp4");

    let (left, top) = clips::marks_at(width);
    let marks = format!("{left},{top}");
    // Idle, speech, and idle again.
    let arguments = [
        "--seconds",
        "39",
        "--marks",
        &marks,
        "--start",
        "avatar_id=face&audio_path=",
        "--say",
        "speech.wav@3",
    ];
    let mut report = whole::watch(Client::Browser, &rig, &arguments);
    let seen = seen(&mut report);
    // Complete, each once and in order: all of the speech, and what the mouth takes to come to rest.
    assert!(ids(&report, "read") >= 25 * i64::from(SPEECH), "{report}");
    for wrong in ["missed", "repeated", "backwards"] {
        assert_eq!(ids(&report, wrong), 0, "{wrong}: {report}");
    }
    assert_eq!(report["reordered"], 0, "{report}");
    assert_eq!(report["video"]["packetsLost"], 0, "{report}");
    let steps = report["rtp_steps"].as_object().unwrap();
    assert_eq!(steps.keys().collect::<Vec<_>>(), ["3600"], "{report}");

    // Before, in and after speech and across its borders the avatar's frames follow each other as if nobody had spoken.
    let first = seen.iter().find_map(|seen| Some(seen.asked?.0 - seen.clock)).unwrap();
    for picture in &seen {
        let frame = first + picture.clock;
        let expected = LoopMode::PingPong.index(frame as u64, frames as usize) as i64;
        assert_eq!(picture.avatar_frame, Some(expected), "frame {frame}: {picture:?}");
        assert!(picture.asked.is_none_or(|asked| asked == (frame, expected)), "frame {frame}: {picture:?}");
    }
    let idle = |picture: &&Seen| picture.asked.is_none();
    let (before, after) = (seen.iter().take_while(idle).count(), seen.iter().rev().take_while(idle).count());
    assert!(before > 25 && after > 25, "{before} idle pictures before the speech, {after} after it");
    assert_eq!(seen.iter().filter(idle).count(), before + after, "the speech is one run");
}

#[test]
fn every_frame_arrives_over_a_link_that_loses_packets() {
    let _light = whole::beside_others();
    let rig = barcode_server();
    let relay = Relay::start(30);
    let arguments = ["--seconds", "20", "--relay", &relay.url(), "--start", "audio_path=tone.wav"];
    let mut report = whole::watch(Client::Browser, &rig, &arguments);
    seen(&mut report);
    let (passed, lost) = relay.counts();
    println!("{lost} packets were lost and {passed} passed");
    assert!(lost > 30 && passed > 1_000, "{lost} lost, {passed} passed: {report}");
    assert!(report["video"]["retransmittedPacketsReceived"].as_i64().unwrap() > 10, "{report}");
    assert!(ids(&report, "read") > 25 * 17, "{report}");
    for wrong in ["missed", "repeated", "backwards", "without"] {
        assert_eq!(ids(&report, wrong), 0, "{wrong}: {report}");
    }
}

#[test]
fn a_browser_without_h264_gets_vp8() {
    let _light = whole::beside_others();
    let rig = barcode_server();
    let arguments = ["--seconds", "6", "--codec", "VP8", "--start", "audio_path=tone.wav"];
    let mut report = whole::watch(Client::Browser, &rig, &arguments);
    seen(&mut report);
    assert!(report["codec"].as_str().unwrap().starts_with("video/VP8"), "{report}");
    assert!(ids(&report, "read") > 25 * 4, "{report}");
    for wrong in ["missed", "repeated", "backwards", "without"] {
        assert_eq!(ids(&report, wrong), 0, "{wrong}: {report}");
    }
}

#[test]
fn sound_and_picture_carry_the_same_media_time() {
    let _light = whole::beside_others();
    let plain = sync::measure(program(), root(), Client::Aiortc, 20, 0).unwrap();
    assert!(plain.mean_ms.abs() < 20.0 && plain.worst_ms < 45.0, "{plain:?}");
    // The meter reads an error that was put in: a flash two frames late.
    let late = sync::measure(program(), root(), Client::Aiortc, 20, 2).unwrap();
    assert!((plain.mean_ms - late.mean_ms - 80.0).abs() <= 10.0, "{plain:?} {late:?}");
}
