//! Rows 30 and 31: the server as a process.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::time::Instant;

use rustix::process::Signal;

use crate::row::Row;
use crate::scene::{
    CHAOS, assert_alive, assert_flawless, chaos_before_probe, descendants, ms, serve, signal, until, watch,
    watch_as,
};
use crate::whole::{get, program};

#[test]
fn row_30_the_server_is_killed() {
    let mut row = Row::begin(
        "SIGKILL of the server in mid-speech",
        "no process it started outlives it; its port is free, it starts again in the same folder, what it had \
         prepared is whole and a new session speaks",
    );
    let mut rig = serve(&chaos_before_probe(""));
    let first = rig.started_in();
    std::thread::scope(|scope| {
        let watched = scope.spawn(|| watch_as(&rig, "cut", 3, Some("audio_path=tone.wav")));
        watched.join().unwrap();
    });
    let before = descendants(rig.process_id());
    row.measured("processes_it_had_started", before.len());
    signal(rig.process_id(), Signal::KILL);
    let begun = Instant::now();
    assert_eq!(rig.wait().unwrap().signal(), Some(9));
    let lives = |pid: &u32| std::path::Path::new(&format!("/proc/{pid}/exe")).read_link().is_ok();
    until("all that it started has ended", || !before.iter().any(lives));
    row.measured("orphans_gone_after_ms", ms(begun.elapsed()));
    rig.restart(program()).unwrap();
    row.measured("first_start_ms", ms(first));
    row.measured("second_start_ms", ms(rig.started_in()));
    until("it is ready", || get(&rig, "/ready").json()["serving"] == "chaos");
    assert_flawless(&watch(&rig, 5), CHAOS);
    assert_alive(&mut rig);
}

/// `lipcast config check` over `text`.
fn check(text: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), text).unwrap();
    let output =
        Command::new(program()).current_dir(folder.path()).args(["config", "check"]).output().unwrap();
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["config.toml"], "something was started");
    output
}

#[test]
fn row_31_settings_that_are_wrong() {
    let mut row = Row::begin(
        "settings with errors: syntax, unknown key, wrong type, out of range, missing library, backend twice, port in \
         use",
        "exit code 78 with file, line and column of each and what was meant; nothing is started",
    );
    let shipped = Command::new(program()).args(["config", "default"]).output().unwrap();
    let shipped = String::from_utf8(shipped.stdout).unwrap();
    assert_eq!(check(&shipped).status.code(), Some(0));
    let mut wrong = 0;
    let mut refused = |text: &str, words: &[&str]| {
        let output = check(text);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{text}: {said}");
        for words in words {
            assert!(said.contains(words), "{text}\nhas no `{words}` in\n{said}");
        }
        wrong += 1;
    };
    // Every key that there is, misspelt, and given something that no key takes.
    let mut section = "";
    for line in shipped.lines() {
        if line.starts_with('[') {
            section = line;
            continue;
        }
        let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else { continue };
        let path = section.trim_matches(['[', ']']);
        refused(
            &format!("{section}\n{key}q = 1\n"),
            &[
                &format!("config.toml:2:1: {path}.{key}q: unknown key"),
                &format!("help: did you mean `{key}`?"),
            ],
        );
        refused(
            &format!("{section}\n{key} = {{ x = 1 }}\n"),
            &[&format!("config.toml:2:{}: {path}.{key}", key.len() + 4)],
        );
    }
    for (text, words) in [
        ("[server\nopen = true\n", "config.toml:1:8"),
        ("[server]\nopen = yes\n", "config.toml:2:8"),
        ("[server]\nopen = true\nopen = false\n", "config.toml:3:1"),
        ("[server]\nmax_sessions = 0\n", "config.toml:2:16: server.max_sessions"),
        ("[server]\ndrain_timeout = \"5\"\n", "config.toml:2:17: server.drain_timeout"),
        ("[server]\nmax_body = \"1TB\"\n", "config.toml:2:12: server.max_body"),
        ("[sever]\n", "did you mean `server`?"),
        ("[engine]\nbackends = [\"demo\", \"demo\"]\n", "\"demo\" is named twice"),
        ("[engine]\nbackends = [\"dmo\"]\n", "did you mean \"demo\"?"),
        ("[engine]\nbackends = [\"x\"]\n[backend.x]\n", "`library` is missing"),
        ("[webrtc]\ncodecs = [\"h265\"]\n", "config.toml:2:11: webrtc.codecs"),
        ("[log]\nformat = \"xml\"\n", "config.toml:2:10: log.format"),
    ] {
        refused(text, &[words]);
    }
    row.measured("wrong_files", wrong);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let served = Command::new(program())
        .current_dir(folder.path())
        .args(["serve", "--bind", &address])
        .output()
        .unwrap();
    assert_eq!(served.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&served.stderr).contains("another program has this port"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was started");
}
