//! MuseTalk in front of a viewer: networks of random weights, on a CPU, in a real browser.
//!
//! The mouth is noise; what is looked at is who drew it, and that nothing was missing.

mod whole;

use lipcast_server::bench::rig::{Client, Rig};
use whole::{clips, program, root};

/// Seconds of speech.
const SPEECH: u32 = 12;

/// The small bundle: fast enough for 25 frames a second on a core.
fn nano() -> String {
    root().join("backends/musetalk/tests/data/nano").display().to_string()
}

/// A backend of each runtime and demo, in the order `backends`. libtorch is there where it was built.
fn settings(backends: &str) -> String {
    let config = |name: &str| {
        format!("[backend.{name}.config]\nbundle = \"{}\"\ndevice = \"cpu\"\nthreads = 1\n", nano())
    };
    format!(
        "max_frames = 12\n[engine]\nbackends = {backends}\n\
         [backend.onnx]\nlibrary = \"liblipcast_onnx.so\"\n{}[backend.torch]\nplugin = \"torch\"\n{}",
        config("onnx"),
        config("torch")
    )
}

fn has_torch() -> bool {
    let there = program().with_file_name("plugins/torch/plugin.toml").exists();
    if !there {
        println!("libtorch was not built: onnx and demo alone are watched");
    }
    there
}

/// The value of a line of `/metrics`.
fn metric(rig: &Rig, line: &str) -> f64 {
    let text = whole::get(rig, "/metrics").body;
    let found = text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or(0.0)
}

/// Lets a browser watch a session whose first backend is `serving`, and asserts that all of the speech was drawn.
fn assert_drawn_by(serving: &str, backends: &str) {
    let folder = tempfile::tempdir().unwrap();
    let face = std::fs::read(clips::face(folder.path())).unwrap();
    let speech = clips::speech(folder.path(), SPEECH);
    let rig = whole::serve(&settings(backends), &[("face.mp4", &face), ("speech.wav", &speech)]);
    whole::prepare(&rig, "face", "face.mp4");
    let seconds = (SPEECH + 4).to_string();
    let arguments = ["--seconds", &seconds, "--start", "avatar_id=face&audio_path=speech.wav"];
    let mut report = whole::watch(Client::Browser, &rig, &arguments);
    let pictures = report["pictures"].take();
    let clocks: Vec<i64> =
        pictures.as_array().unwrap().iter().filter_map(|picture| picture[0].as_i64()).collect();
    assert!(clocks.len() > 25 * SPEECH as usize, "{} pictures: {report}", clocks.len());
    assert!(clocks.is_sorted_by(|a, b| a < b), "in order, each once: {report}");
    let steps = report["rtp_steps"].as_object().unwrap();
    assert_eq!(steps.keys().collect::<Vec<_>>(), ["3600"], "{report}");

    let log = rig.log();
    assert!(!log.contains("panicked"), "{log}");
    let frames = |source: &str| metric(&rig, &format!("lipcast_frames_total{{source=\"{source}\"}}"));
    let (own, standby, held) = (frames("backend"), frames("standby"), frames("hold"));
    // On a machine with other work a session leaves a backend that is late; then somebody else draws.
    println!("{serving} drew {own}, who stood by {standby}; {held} pictures were held");
    assert!(own + standby >= 24.0 * f64::from(SPEECH), "{own} and {standby} drawn, {held} held; {log}");
    let moves = metric(&rig, "lipcast_failovers_total{reason=\"late\"}");
    let batches = metric(&rig, &format!("lipcast_batch_size_frames_count{{backend=\"{serving}\"}}"));
    assert!(batches > 0.0, "{serving} was asked for nothing; {log}");
    // Whatever else took the session from it, it was not.
    assert!(standby == 0.0 || moves > 0.0, "{serving} was left, and not for being late; {log}");
}

#[test]
fn a_browser_watches_each_runtime_and_a_line_of_settings_swaps_them() {
    let _heavy = whole::alone();
    assert_drawn_by("onnx", "[\"onnx\", \"demo\"]");
    assert_drawn_by("demo", "[\"demo\", \"onnx\"]");
    if has_torch() {
        assert_drawn_by("torch", "[\"torch\", \"demo\"]");
    }
}

/// A bundle that is wrong is refused by the file's name before anybody speaks, and the next backend serves.
#[test]
fn a_wrong_bundle_is_named_and_the_next_backend_serves() {
    let _light = whole::beside_others();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("bundle");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(nano()).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let mut unet = std::fs::read(copy.join("unet.onnx")).unwrap();
    let middle = unet.len() / 2;
    unet[middle] ^= 0x40;
    std::fs::write(copy.join("unet.onnx"), unet).unwrap();
    let settings = settings("[\"onnx\", \"demo\"]").replace(&nano(), &copy.display().to_string());
    let rig = whole::serve(&settings, &[]);
    let ready = whole::get(&rig, "/ready").json();
    let onnx =
        ready["backends"].as_array().unwrap().iter().find(|backend| backend["name"] == "onnx").unwrap();
    let reason = onnx["detail"].as_str().unwrap_or_default();
    assert!(reason.contains("unet.onnx") && reason.contains("sha256"), "{ready}");
    let reply = whole::post(&rig, "/api/webrtc/realtime/start?session_id=s&audio_path=", "");
    assert_eq!((reply.status, &reply.json()["backend"]), (200, &"demo".into()), "{reply:?}");
}
