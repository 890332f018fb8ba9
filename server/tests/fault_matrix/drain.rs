//! Row 29: signals, and what those who are connected are told.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use lipcast_server::bench::rig::Rig;
use rustix::process::Signal;

use crate::row::Row;
use crate::scene::{
    assert_continuous, assert_control, assert_survived, chaos_before_probe, descendants, ms, panics, serve,
    signal, start, state_of, turns, until, watch_as,
};
use crate::whole::{get, post, program};

/// The server's events to `session`, in the order they came, until it closed the connection.
pub(crate) fn follow(rig: &Rig, session: &str) -> Vec<String> {
    let address = rig.url().rsplit('/').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /v1/sessions/{session}/events HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    // The server may end in the middle of a line.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.lines().filter_map(|line| line.strip_prefix("event:")).map(|name| name.trim().to_owned()).collect()
}

fn ended(rig: &mut Rig) -> (ExitStatus, Duration) {
    let begun = Instant::now();
    until("the server has ended", || rig.ended().is_some());
    (rig.ended().unwrap(), begun.elapsed())
}

fn draining(seconds: u32) -> String {
    chaos_before_probe("") + &format!("[server]\ndrain_timeout = \"{seconds}s\"\n")
}

const SPEAK: &str = "audio_path=tone.wav";

#[test]
fn row_29_sigterm_drains() {
    let mut row = Row::begin(
        "SIGTERM while four sessions speak",
        "not ready and 503 for new ones at once; sessions are told, speak on until drain_timeout and are ended; no \
         process is left; exit code 0",
    );
    let mut rig = serve(&draining(3));
    for session in ["c", "d"] {
        let started = post(&rig, &format!("/api/webrtc/realtime/start?session_id={session}&{SPEAK}"), "");
        assert_eq!(started.status, 200, "{started:?}");
    }
    let started = descendants(rig.process_id());
    let (reports, events, ready, refused) = std::thread::scope(|scope| {
        let watched = ["a", "b"].map(|session| {
            let rig = &rig;
            scope.spawn(move || watch_as(rig, session, 12, Some(SPEAK)))
        });
        until("both speak", || {
            get(&rig, "/v1/sessions").json()["sessions"].as_array().map_or(0, Vec::len) == 4
        });
        std::thread::sleep(Duration::from_secs(3));
        let events = scope.spawn(|| follow(&rig, "a"));
        std::thread::sleep(Duration::from_millis(200));
        signal(rig.process_id(), Signal::TERM);
        std::thread::sleep(Duration::from_millis(100));
        let ready = get(&rig, "/ready");
        let refused = post(&rig, &format!("/api/webrtc/realtime/start?session_id=late&{SPEAK}"), "");
        (watched.map(|watched| watched.join().unwrap()), events.join().unwrap(), ready, refused)
    });
    assert_eq!((ready.status, &ready.json()["status"]), (503, &"draining".into()), "{ready:?}");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(events.iter().any(|event| event == "draining"), "{events:?}");
    row.measured("events", events.join(", "));
    let (status, _) = ended(&mut rig);
    assert_eq!(status.code(), Some(0), "{}", rig.log());
    for report in &reports {
        assert_continuous(report);
        assert_eq!(report["shown"]["wrong"], 0, "{report}");
        row.measured("seen_until_ms", report["ended_ms"].clone());
    }
    let lives = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok();
    until("its processes have ended", || !started.iter().any(lives));
    assert!(!rig.log().contains("panicked"), "{}", rig.log());
}

#[test]
fn row_29_a_second_signal() {
    let mut row = Row::begin(
        "SIGTERM or SIGINT while a session speaks, and half a second later another one",
        "the first one drains, whichever it is; the second one ends the server within two seconds; no process is left, \
         exit code 0",
    );
    for (name, first, second) in
        [("two_sigterm", Signal::TERM, Signal::TERM), ("two_sigint", Signal::INT, Signal::INT)]
    {
        let mut rig = serve(&draining(30));
        let started = descendants(rig.process_id());
        let took = std::thread::scope(|scope| {
            let watched = scope.spawn(|| watch_as(&rig, "a", 4, Some(SPEAK)));
            until("it speaks", || get(&rig, "/v1/sessions/a").json()["viewers"] == 1);
            std::thread::sleep(Duration::from_secs(1));
            signal(rig.process_id(), first);
            std::thread::sleep(Duration::from_millis(500));
            assert_eq!(get(&rig, "/ready").json()["status"], "draining");
            assert_eq!(get(&rig, "/v1/sessions/a").status, 200, "it speaks on");
            signal(rig.process_id(), second);
            let begun = Instant::now();
            until("the server's process is gone", || state_of(rig.process_id()) == Some('Z'));
            let took = begun.elapsed();
            assert_continuous(&watched.join().unwrap());
            took
        });
        row.measured(&format!("ended_after_{name}_ms"), ms(took));
        let (status, _) = ended(&mut rig);
        assert_eq!(status.code(), Some(0), "{}", rig.log());
        // The half minute of draining was not waited for.
        assert!(took < Duration::from_secs(4), "{took:?}");
        let lives = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok();
        until("its processes have ended", || !started.iter().any(lives));
        assert!(panics(&rig).is_empty(), "{}", rig.log());
    }
}

#[test]
fn row_29_sigterm_during_a_failover() {
    let mut row = Row::begin(
        "SIGTERM in the moment in which the backend that draws has crashed",
        "another one draws on, the session is told, speaks on until drain_timeout and is ended; no process is left; \
         exit code 0",
    );
    let folder = tempfile::tempdir().unwrap();
    let crashed = folder.path().join("crashed");
    let fault = format!(
        "{{ in = \"infer_batch\", do = \"crash\", at_frame = 50, unless_file = \"{}\" }}",
        crashed.display()
    );
    let text = chaos_before_probe(&fault) + "[server]\ndrain_timeout = \"3s\"\n";
    let mut rig = serve(&text);
    let (report, events, started) = std::thread::scope(|scope| {
        let watched = scope.spawn(|| watch_as(&rig, "a", 8, Some(SPEAK)));
        until("it runs", || get(&rig, "/v1/sessions/a").status == 200);
        let events = scope.spawn(|| follow(&rig, "a"));
        let started = descendants(rig.process_id());
        while !crashed.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        signal(rig.process_id(), Signal::TERM);
        (watched.join().unwrap(), events.join().unwrap(), started)
    });
    row.measured("events", events.join(", "));
    for told in ["backend", "draining", "ended"] {
        assert!(events.iter().any(|event| event == told), "{told}: {events:?}");
    }
    let (status, _) = ended(&mut rig);
    assert_eq!(status.code(), Some(0), "{}", rig.log());
    assert_continuous(&report);
    let shown = &report["shown"];
    row.measured("longest_disturbance", shown["longest_disturbance"].clone());
    assert!(shown["wrong"] == 0 && shown["longest_disturbance"].as_i64().unwrap() <= 3, "{report}");
    assert_eq!(turns(&report)[..2], [1, 0], "{report}");
    assert_control();
    let lives = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok();
    until("its processes have ended", || !started.iter().any(lives));
    assert!(panics(&rig).is_empty(), "{}", rig.log());
}

#[test]
fn row_29_sigterm_while_it_starts_or_prepares() {
    let mut row = Row::begin(
        "SIGTERM while a backend is still in create, and while an avatar is prepared",
        "the server ends by itself, exit code 0",
    );
    for (what, call) in [("create", "create"), ("prepare", "prepare_avatar")] {
        let fault = format!("{{ in = \"{call}\", do = \"hang\", ms = 20000 }}");
        let text = chaos_before_probe(&fault) + "[server]\ndrain_timeout = \"2s\"\n";
        let mut rig = start(program(), &text, &[("face.png", &[0; 8])]);
        if call == "create" {
            until("it listens", || get(&rig, "/health").status == 200);
        } else {
            until("it is ready", || get(&rig, "/ready").json()["serving"] == "chaos");
            post(&rig, &format!("/api/webrtc/realtime/start?session_id=a&{SPEAK}"), "");
        }
        signal(rig.process_id(), Signal::TERM);
        let (status, took) = ended(&mut rig);
        assert_eq!(status.code(), Some(0), "{what}: {}", rig.log());
        row.measured(&format!("ended_in_{what}_ms"), ms(took));
    }
}

#[test]
fn row_29_sighup_reloads() {
    let mut row = Row::begin(
        "SIGHUP with other settings of the backend that draws, in mid-sentence",
        "the backend is replaced and sessions move to the new one without a held picture",
    );
    let mut rig = serve(&chaos_before_probe(""));
    let path = rig.folder().join("config.toml");
    let report = std::thread::scope(|scope| {
        let watched = scope.spawn(|| watch_as(&rig, "a", 8, Some(SPEAK)));
        std::thread::sleep(Duration::from_secs(3));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("faults = []", "id = 2\nfaults = []")).unwrap();
        signal(rig.process_id(), Signal::HUP);
        watched.join().unwrap()
    });
    row.measured("held", report["shown"]["held"].clone());
    assert_survived(&report, 0);
    assert_eq!(turns(&report), [1, 2], "{report}");
    crate::scene::assert_alive(&mut rig);
}
