//! The page and the element in a real browser: what a visitor presses, and what they are told.
//!
//! Asserts words, order and counts, never how long something took.

use std::path::Path;

use lipcast_server::bench::rig::{Rig, run_script};
use lipcast_server::bench::sync;
use serde_json::{Value, json};

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_lipcast"))
}

/// A clip that is not over before the test is, also on a slow machine.
const LONG: &str = "long.wav";

fn rig(settings: &str) -> Rig {
    Rig::start(program(), settings, &[(LONG, &sync::clicks(90))]).unwrap()
}

fn run(rig: &Rig, script: &str, arguments: &[&str]) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    run_script(root, script, rig, arguments).unwrap()
}

#[test]
fn the_page_starts_speaks_again_mends_its_connection_stops_and_starts() {
    let rig = rig("");
    let text = rig.folder().join("notes.wav");
    std::fs::write(&text, "words, and no sound").unwrap();
    let found = run(&rig, "page.mjs", &["--speech", LONG, "--text", text.to_str().unwrap()]);
    assert!(found["clip"].as_str().unwrap().ends_with("1:30"), "the clip tells its length: {found}");
    assert_eq!(found["same"], true, "all of it is one session: {found}");
    assert!(found["changed"].as_i64().unwrap() >= 5, "the picture moves: {found}");
    assert!(found["mended"].as_i64().unwrap() >= 5, "and again after the connection broke: {found}");
    assert_eq!(found["connections"], json!(["closed", "stable"]), "{found}");
    let trouble = found["trouble"].as_str().unwrap();
    assert!(trouble.starts_with("notes.wav is not an audio file"), "{found}");
    let kept = rig.folder().join("data/media/speech");
    assert_eq!(std::fs::read_dir(kept).map_or(0, Iterator::count), 0, "nothing is kept of it");
    assert_eq!((&found["stopped"], &found["started"]), (&json!([]), &json!(1)), "{found}");
    let states: Vec<_> = found["states"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let start = ["Asking the server…", "Starting…", "Connecting…", "Live", "Speaking"];
    let more = ["Speaking · 1 queued", "Speaking · 2 queued", "Reconnecting…", "Live", "Speaking · 2 queued"];
    let all: Vec<_> = ["Ready"].into_iter().chain(start).chain(more).chain(["Ready"]).chain(start).collect();
    assert_eq!(states, all);
    assert_eq!(found["complaints"], json!([]));
    assert!(!rig.log().contains("panicked"), "{}", rig.log());
}

#[test]
fn the_element_shows_a_moving_picture_in_somebody_elses_page() {
    let origin = "http://localhost:1234";
    let rig = rig(&format!("[server]\ncors = [\"{origin}\"]\n"));
    let found = run(&rig, "element.mjs", &["--origin", origin, "--speech", LONG]);
    assert!(found["changed"].as_i64().unwrap() >= 5, "the picture moves: {found}");
    assert_eq!((&found["width"], &found["height"]), (&json!(512), &json!(640)), "{found}");
    assert_eq!((&found["muted"], &found["button"]), (&json!(false), &json!(false)), "{found}");
    assert_eq!((&found["positions"], &found["waiting"]), (&json!([1, 2]), &json!(2)), "{found}");
    assert_eq!((&found["stopped"], &found["failed"]), (&json!("Start"), &json!("Try again")), "{found}");
    let events = [
        json!("checking"),
        json!("starting"),
        json!("connecting"),
        json!("idle"),
        json!("speaking"),
        json!(1),
        json!(2),
        json!(0),
        json!("stopped"),
        json!("checking"),
        json!("starting"),
        json!("failed"),
        json!("there is no avatar \"nobody\""),
    ];
    assert_eq!(found["events"], json!(events));
    assert_eq!(found["complaints"], json!([]));
}
