//! The main job over real connections: the program, its plugins, a real browser and an independent client.
//!
//! Asserts counts and order, and media time, never how long something took.

use std::path::Path;

use lipcast_server::bench::rig::{Client, Rig};
use lipcast_server::bench::sync;
use serde_json::Value;

/// The checkout, where the clients' scripts lie and `cargo xtask test` puts their tools.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_lipcast"))
}

/// Speech of that many seconds: only its length matters to the barcode.
fn tone(seconds: u32) -> Vec<u8> {
    let mut wav = sync::clicks(seconds);
    for (index, sample) in wav[44..].chunks_exact_mut(2).enumerate() {
        let value = ((index as f32 * 0.2).sin() * 8_000.0) as i16;
        sample.copy_from_slice(&value.to_le_bytes());
    }
    wav
}

/// A server whose pictures carry their frame numbers. It may run a second ahead: these tests count frames, also on a
/// machine that has other things to do.
fn barcode_server() -> Rig {
    let settings = "[session]\nrender_ahead = \"1s\"\n[engine]\nbackends = [\"probe\"]\n\
         [backend.probe]\nlibrary = \"liblipcast_probe.so\"\nrequired = true\n";
    Rig::start(program(), settings, &[("tone.wav", &tone(40))]).unwrap()
}

fn ids(report: &Value, name: &str) -> i64 {
    report["ids"][name].as_i64().unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[test]
fn an_independent_client_gets_every_frame_number_once() {
    let rig = barcode_server();
    let report =
        Client::Aiortc.watch(root(), &rig, &["--seconds", "32", "--start", "audio_path=tone.wav"]).unwrap();
    assert!(ids(&report, "read") >= 25 * 29, "{report}");
    assert_eq!(ids(&report, "missed"), 0, "{report}");
    assert_eq!(ids(&report, "backwards"), 0, "{report}");
    assert_eq!(ids(&report, "repeated"), 0, "{report}");
    let steps = report["rtp_steps"].as_object().unwrap();
    assert_eq!(steps.keys().collect::<Vec<_>>(), ["3600"], "{report}");
    assert!(!rig.log().contains("panicked"), "{}", rig.log());
}

#[test]
fn a_browser_shows_frame_numbers_in_order() {
    let rig = barcode_server();
    let report =
        Client::Browser.watch(root(), &rig, &["--seconds", "30", "--start", "audio_path=tone.wav"]).unwrap();
    // The page reads what is presented; on a busy machine it may come too late for a frame, and says so.
    let late =
        report["skipped_by_the_page"].as_i64().unwrap() + report["video"]["framesDropped"].as_i64().unwrap();
    assert!(ids(&report, "read") > 100, "{report}");
    assert!(ids(&report, "missed") <= late, "{report}");
    assert_eq!(ids(&report, "backwards"), 0, "{report}");
    assert!(ids(&report, "last") - ids(&report, "first") > 25 * 20, "{report}");
    assert!(report["video"]["framesDecoded"].as_i64().unwrap() > 25 * 24, "{report}");
    assert_eq!(report["video"]["packetsLost"], 0, "{report}");
}

#[test]
fn a_browser_without_h264_gets_vp8() {
    let rig = barcode_server();
    let arguments = ["--seconds", "6", "--codec", "VP8", "--start", "audio_path=tone.wav"];
    let report = Client::Browser.watch(root(), &rig, &arguments).unwrap();
    assert!(report["codec"].as_str().unwrap().starts_with("video/VP8"), "{report}");
    assert!(report["video"]["framesDecoded"].as_i64().unwrap() > 25, "{report}");
    assert_eq!(ids(&report, "backwards"), 0, "{report}");
}

#[test]
fn sound_and_picture_carry_the_same_media_time() {
    let plain = sync::measure(program(), root(), Client::Aiortc, 20, 0).unwrap();
    assert!(plain.mean_ms.abs() < 20.0 && plain.worst_ms < 45.0, "{plain:?}");
    // The meter reads an error that was put in: a flash two frames late.
    let late = sync::measure(program(), root(), Client::Aiortc, 20, 2).unwrap();
    assert!((plain.mean_ms - late.mean_ms - 80.0).abs() <= 10.0, "{plain:?} {late:?}");
}
