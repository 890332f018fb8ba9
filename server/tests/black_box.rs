//! What happened in a session: dumped from a running server, and repeated against the backend that it happened in.

mod whole;

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use lipcast_engine::avatar::builtin;
use lipcast_engine::session::black_box::{Entry, Event, Recording};
use lipcast_server::bench::rig::{Client, Rig};
use serde_json::Value;

/// The value that the chaos backend breaks at, where it is told to.
const MAGIC: &str = "0.77";
/// The frame of the speech in which [`breaking_speech`] holds it.
const MAGIC_AT: usize = 40;

/// Settings with two chaos backends and the probe behind them, which break as `faults` say.
fn settings(order: &str, faults: &str) -> String {
    let chaos = |name: &str, id: u32| {
        format!(
            "[backend.{name}]\nlibrary = \"liblipcast_chaos.so\"\n[backend.{name}.config]\nid = {id}\n\
             faults = [{faults}]\n"
        )
    };
    format!(
        "[session]\nrender_ahead = \"1s\"\n[engine]\nbackends = [{order}]\nreturn_after = \"1h\"\n\
         [backend.probe]\nlibrary = \"liblipcast_probe.so\"\n{}{}",
        chaos("chaos", 1),
        chaos("second", 2)
    )
}

fn crash() -> String {
    format!("{{ in = \"infer_batch\", do = \"crash\", on_audio = {MAGIC} }}")
}

/// Half a minute of a tone, with a frame that breaks those that listen for it.
fn breaking_speech() -> Vec<u8> {
    let mut wav = whole::clips::tone(30);
    let rate = u32::from_le_bytes(wav[24..28].try_into().unwrap()) as usize;
    let value = (0.77 * 32_768.0) as i16;
    let samples = wav[44..].chunks_exact_mut(2).skip(MAGIC_AT * rate / 25).take(rate / 25);
    samples.for_each(|sample| sample.copy_from_slice(&value.to_le_bytes()));
    wav
}

/// The program with the settings of `rig`, beside its server.
fn lipcast(rig: &Rig, arguments: &[&str]) -> Output {
    let mut command = Command::new(whole::program());
    command.current_dir(rig.folder()).arg("--config").arg(rig.folder().join("config.toml"));
    command.args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Dumps `session` of `rig` to a file of that name.
fn dump(rig: &Rig, session: &str, name: &str) -> (PathBuf, Recording) {
    let output = lipcast(rig, &["session", "dump", session, "--server", rig.url(), "-o", name]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let path = rig.folder().join(name);
    let recording = Recording::read(BufReader::new(std::fs::File::open(&path).unwrap())).unwrap();
    (path, recording)
}

/// Repeats a file, and gives the exit code and the report.
fn replay(rig: &Rig, file: &Path, more: &[&str]) -> (i32, Value) {
    let arguments = [&["session", "replay", file.to_str().unwrap(), "--json"], more].concat();
    let output = lipcast(rig, &arguments);
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    (output.status.code().unwrap(), report)
}

/// Watches `session`, which is started first and says `speech`.
fn watch(rig: &Rig, session: &str, speech: &str, seconds: &str) {
    let start = format!("audio_path={speech}");
    let arguments = ["--session", session, "--seconds", seconds, "--start", &start];
    whole::watch(Client::Aiortc, rig, &arguments);
}

fn stop(rig: &Rig, session: &str) {
    let reply = whole::request(rig, "DELETE", &format!("/v1/sessions/{session}"), "", b"");
    assert_eq!(reply.status, 204, "{reply:?}");
}

fn lost(recording: &Recording) -> Vec<(&str, &[u64], &str)> {
    fn lost(entry: &Entry) -> Option<(&str, &[u64], &str)> {
        match &entry.event {
            Event::Lost { backend, reason, in_flight } => Some((backend, in_flight, reason)),
            _ => None,
        }
    }
    recording.entries.iter().filter_map(lost).collect()
}

/// Puts other settings in the place of those that the server began with.
fn change_settings(rig: &Rig, settings: &str) {
    let text = format!("[media]\ndata_dir = \"data\"\n{settings}");
    std::fs::write(rig.folder().join("config.toml"), text).unwrap();
}

fn frames(list: &Value) -> Vec<u64> {
    list.as_array().unwrap_or_else(|| panic!("{list}")).iter().filter_map(Value::as_u64).collect()
}

#[test]
fn a_crash_is_dumped_while_it_runs_and_afterwards_and_comes_again() {
    let _alone = whole::alone();
    let before = settings("\"chaos\", \"probe\"", &crash());
    let tone = whole::clips::tone(30);
    let rig = whole::serve(&before, &[("tone.wav", &tone), ("breaks.wav", &breaking_speech())]);

    // A session without a fault.
    watch(&rig, "calm", "tone.wav", "4");
    let (calm, recording) = dump(&rig, "calm", "calm.jsonl");
    assert!(lost(&recording).is_empty());
    let (code, report) = replay(&rig, &calm, &[]);
    assert_eq!((code, &report["as_recorded"]), (0, &true.into()), "{report}");
    assert!(report["same"].as_u64().unwrap() > 50 && report["different"] == Value::Array(vec![]), "{report}");
    stop(&rig, "calm");

    // One with a crash, looked at while it runs.
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&rig, "broken", "breaks.wav", "5"));
        let moved = || whole::get(&rig, "/v1/sessions/broken").json()["moves"].as_u64() >= Some(1);
        for _ in 0..200 {
            if moved() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let (_, running) = dump(&rig, "broken", "running.jsonl");
        assert_eq!(lost(&running).len(), 1, "{}", rig.log());
        assert!(!running.entries.iter().any(|entry| matches!(entry.event, Event::Ended { .. })));
        watching.join().unwrap();
    });
    stop(&rig, "broken");
    let (broken, recording) = dump(&rig, "broken", "broken.jsonl");
    let ended = Event::Ended { reason: "it was stopped".into() };
    assert!(recording.entries.iter().any(|entry| entry.event == ended));
    let [("chaos", in_flight, reason)] = lost(&recording)[..] else { panic!("{:?}", lost(&recording)) };
    assert!(reason.contains("SIGSEGV"), "{reason}");

    // The line that broke is repeated, and breaks in the frame whose audio it cannot bear.
    let (code, report) = replay(&rig, &broken, &[]);
    assert_eq!((code, &report["as_recorded"]), (0, &true.into()), "{report}");
    assert_eq!((&report["line"], &report["then"]["name"]), (&0.into(), &"chaos".into()));
    assert_eq!(frames(&report["lost_then"]["frames"]), in_flight);
    let now = frames(&report["lost_now"]["frames"]);
    assert!(now.len() == 1 && in_flight.contains(&now[0]), "{report}");
    assert!(report["lost_now"]["reason"].as_str().unwrap().contains("SIGSEGV"), "{report}");
    let magic = recording.entries.iter().find_map(|entry| match &entry.event {
        Event::Audio { first_sample, pcm, .. } => {
            let place =
                pcm.windows(16).position(|some| some.iter().all(|value| (value - 0.77).abs() < 0.01))?;
            Some((first_sample + place as u64) / 640)
        }
        _ => None,
    });
    assert!(magic.is_some_and(|frame| frame == now[0] || frame + 1 == now[0]), "{magic:?} {report}");
    // As people read it.
    let output = lipcast(&rig, &["session", "replay", broken.to_str().unwrap()]);
    let shown = text(&output.stdout);
    assert!(shown.contains(&format!("lost now           in frame {}: ", now[0])), "{shown}");
    assert!(shown.ends_with("as recorded\n"), "{shown}");

    // Whoever took over drew the same then and now, the end of the session apart.
    let (code, report) = replay(&rig, &broken, &["--line", "1"]);
    assert_eq!((code, &report["then"]["name"]), (0, &"probe".into()), "{report}");
    assert!(report["same"].as_u64().unwrap() > 20, "{report}");

    // Another backend survives it; no pictures are compared.
    let (code, report) = replay(&rig, &broken, &["--line", "0", "--backend", "probe"]);
    assert_eq!(code, 0, "{report}");
    assert_eq!((&report["lost_now"], &report["same"]), (&Value::Null, &0.into()), "{report}");
    assert!(report["notes"].to_string().contains("no pictures are compared"), "{report}");

    // A backend that draws one frame differently is found there and only there.
    let (_, recording) = dump(&rig, "calm", "calm.jsonl");
    let asked = recording.entries.iter().filter(|entry| matches!(entry.event, Event::Request { .. }));
    let wrong = asked.map(|entry| entry.frame).nth(30).unwrap();
    let garbage = format!("{{ in = \"infer_batch\", do = \"garbage\", at_frame = {wrong}, times = 1 }}");
    change_settings(&rig, &settings("\"chaos\", \"probe\"", &garbage));
    let (code, report) = replay(&rig, &calm, &[]);
    let different = report["different"].as_array().unwrap();
    let different: Vec<_> = different.iter().map(|one| one["frame"].as_u64().unwrap()).collect();
    assert_eq!((code, different), (1, vec![wrong]), "{report}");
    assert!(report["notes"].to_string().contains("settings are not those of then"), "{report}");
    // And one that no longer breaks is not as it was.
    let (code, report) = replay(&rig, &broken, &[]);
    assert_eq!((code, &report["lost_now"]), (1, &Value::Null), "{report}");
}

#[test]
fn a_session_that_ends_by_a_fault_says_how_to_look_at_it() {
    let _alone = whole::alone();
    let rig =
        whole::serve(&settings("\"chaos\", \"second\"", &crash()), &[("breaks.wav", &breaking_speech())]);
    watch(&rig, "unlucky", "breaks.wav", "4");
    assert!(rig.log().contains("`lipcast session dump unlucky`"), "{}", rig.log());
    let (file, recording) = dump(&rig, "unlucky", "unlucky.jsonl");
    let ended = recording.entries.iter().find_map(|entry| match &entry.event {
        Event::Ended { reason } => Some(reason),
        _ => None,
    });
    let reason = ended.expect("it has ended");
    assert!(reason.contains("in the batch of two backends"), "{reason}");
    let [("chaos", ..), ("second", [frame], _)] = lost(&recording)[..] else {
        panic!("{:?}", lost(&recording))
    };
    let (code, report) = replay(&rig, &file, &[]);
    assert_eq!((code, &report["then"]["name"]), (0, &"second".into()), "{report}");
    assert_eq!(frames(&report["lost_now"]["frames"]), [*frame]);
}

#[test]
fn demo_draws_the_same_once_more() {
    let _alone = whole::alone();
    let rig = whole::serve(whole::DEMO, &[]);
    let arguments = ["--session", "talk", "--seconds", "5", "--start", ""];
    whole::watch(Client::Aiortc, &rig, &arguments);
    let (file, recording) = dump(&rig, "talk", "talk.jsonl");
    assert_eq!(recording.subject.avatar.id, builtin::ID);
    for more in [&[][..], &["--together"]] {
        let (code, report) = replay(&rig, &file, more);
        assert_eq!((code, &report["different"]), (0, &Value::Array(vec![])), "{report}");
        assert!(report["same"].as_u64().unwrap() > 75, "{report}");
    }

    // Files that are none, and avatars that are others.
    let refused = |bytes: &[u8]| {
        std::fs::write(rig.folder().join("bad.jsonl"), bytes).unwrap();
        let output = lipcast(&rig, &["session", "replay", "bad.jsonl"]);
        (output.status.code().unwrap(), text(&output.stderr))
    };
    let whole = std::fs::read(&file).unwrap();
    let middle = whole.len() / 2;
    let (code, said) = refused(&whole[..middle]);
    assert!(code == 2 && said.starts_with("bad.jsonl: line "), "{said}");
    let (code, said) = refused(b"RIFF....WAVE");
    assert!(code == 2 && said.contains("line 1: this is no file of `lipcast session dump`"), "{said}");
    let mut other = recording.clone();
    other.subject.avatar.frames_blake3 = "0".repeat(64);
    let (code, said) = refused(&other.into_chunks().flatten().collect::<Vec<_>>());
    assert!(code == 2 && said.contains("is not the one that was recorded"), "{said}");
    let mut other = recording;
    other.subject.avatar.id = "nobody".into();
    let (code, said) = refused(&other.into_chunks().flatten().collect::<Vec<_>>());
    assert!(code == 2 && said.contains("its avatar: there is no avatar"), "{said}");

    // Questions that have no answer.
    let ask = |arguments: &[&str]| {
        let output = lipcast(&rig, &[&["session", "dump"], arguments].concat());
        (output.status.code().unwrap(), text(&output.stderr))
    };
    let (code, said) = ask(&["nobody", "--server", rig.url()]);
    assert!(code == 1 && said.contains("404: there is no such session"), "{said}");
    let (code, said) = ask(&["talk", "--server", "http://127.0.0.1:1"]);
    assert!(code == 69 && said.contains("no server answers at http://127.0.0.1:1"), "{said}");
    let (code, said) = ask(&["talk", "--server", "127.0.0.1:1"]);
    assert!(code == 78 && said.contains("is not the address of a server"), "{said}");
    assert!(!rig.folder().join("session-nobody.jsonl").exists(), "nothing is left of a refusal");
}
