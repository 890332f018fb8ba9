//! Rows 1 to 4: backends that do not come up.

use std::fs;
use std::path::Path;
use std::process::Command;

use lipcast_server::bench::rig::Rig;
use rustix::process::Signal;

use crate::row::Row;
use crate::scene::{
    CHAOS, PROBE, assert_alive, assert_continuous, assert_flawless, backend, chaos_before_probe, drawn_by,
    ms, process, restarts, serve, settings, signal, start, until, warnings, watch, watch_as,
};
use crate::whole::{get, program, root};

const FAILS: &str = "{ in = \"create\", do = \"fail\", code = \"MODEL_MISSING\", message = \"no weights\" }";

const HANGS: &str = "{ in = \"create\", do = \"hang\" }";
const SLOW: &str = "{ in = \"create\", do = \"hang\", ms = 8000 }";

#[test]
fn row_01_init_fails() {
    let mut row = Row::begin(
        "a backend's create returns an error: one that stays, then one that passes with the fourth attempt",
        "the next of the chain serves; one line of warning, and /ready lists it with its own words; only where the \
         backend says that it may pass it is tried again, after waits that grow",
    );
    let mut rig = serve(&chaos_before_probe(FAILS));
    assert_flawless(&watch(&rig, 5), PROBE);
    let told = backend(&rig, "chaos");
    assert_eq!((&told["state"], &told["restarts"]), (&"failed".into(), &0.into()), "{told}");
    assert!(told["detail"].as_str().unwrap().contains("no weights"), "{told}");
    assert_eq!(get(&rig, "/ready").json()["status"], "degraded");
    assert_eq!(warnings(&rig, "chaos").len(), 1, "{}", rig.log());
    row.measured("told", told["detail"].clone());
    assert_alive(&mut rig);

    let folder = tempfile::tempdir().unwrap();
    let once = |attempt: usize| {
        let file = folder.path().join(attempt.to_string());
        format!(
            "{{ in = \"create\", do = \"fail\", code = \"OOM_DEVICE\", retryable = true, unless_file = \"{}\" }}",
            file.display()
        )
    };
    let mut rig = start(program(), &chaos_before_probe(&[0, 1, 2].map(once).join(", ")), &[]);
    until("the fourth attempt serves", || backend(&rig, "chaos")["state"] == "ready");
    assert_eq!(restarts(&rig, "chaos"), 3);
    let waits = waits(&rig);
    row.measured("waits_ms", waits.clone());
    assert!(waits.len() == 3 && waits[2] > waits[0], "{waits:?}");
    assert_flawless(&watch_as(&rig, "after", 4, Some("audio_path=tone.wav")), CHAOS);
    assert_alive(&mut rig);
}

/// Milliseconds from each failed attempt of the chaos backend to the next, or to its success.
fn waits(rig: &Rig) -> Vec<u64> {
    let log = rig.log();
    let attempts = log.lines().filter(|line| {
        line.contains("\"chaos\"") && (line.contains("started anew") || line.contains(": ready "))
    });
    // 2026-01-31T23:59:59.123456Z: hours and days do not turn over in a test that fails rarely for it.
    let at = |line: &str| {
        let seconds: f64 = line[17..26].parse().unwrap_or_else(|_| panic!("no time in {line}"));
        60_000 * line[14..16].parse::<u64>().unwrap() + (seconds * 1_000.0) as u64
    };
    let at: Vec<_> = attempts.map(at).collect();
    at.windows(2).map(|pair| (pair[1] + 3_600_000 - pair[0]) % 3_600_000).collect()
}

/// A backend with a library of its own among the media files.
fn with_library(name: &str, library: &str, faults: &str) -> String {
    format!(
        "[backend.{name}]\nlibrary = \"data/media/{library}\"\n[backend.{name}.config]\nfaults = [{faults}]\n"
    )
}

#[test]
fn row_02_init_crashes_or_there_is_no_library() {
    let mut row = Row::begin(
        "a backend crashes in create, another one uses the same library; a library is missing, is a text, is for \
         another machine, is of another version of the contract",
        "as for one that fails; a library that crashed is not opened again, for nobody, and a file that was refused \
         is not tried again, until it changes",
    );
    let folder = tempfile::tempdir().unwrap();
    let chaos = fs::read(program().with_file_name("plugins/liblipcast_chaos.so")).unwrap();
    let mut foreign = chaos.clone();
    foreign[18] = 183;
    let newer = compile(folder.path());
    let once = |name: &str| format!("unless_file = \"{}\"", folder.path().join(name).display());
    let crash = format!("{{ in = \"create\", do = \"crash\", {} }}", once("crashed"));
    let later = format!("{{ in = \"create\", do = \"fail\", retryable = true, {} }}", once("failed"));
    let text = "[session]\nrender_ahead = \"200ms\"\n[engine]\nreturn_after = \"1s\"\n\
         backends = [\"crashes\", \"twin\", \"missing\", \"text\", \"foreign\", \"newer\", \"probe\"]\n\
         [backend.probe]\nlibrary = \"liblipcast_probe.so\"\n"
        .to_owned()
        + &with_library("crashes", "crashes.so", &crash)
        // When it tries for the second time, the library has crashed.
        + &with_library("twin", "crashes.so", &later)
        + &with_library("missing", "missing.so", "")
        + &with_library("text", "text.so", "")
        + &with_library("foreign", "foreign.so", "")
        + &with_library("newer", "newer.so", "");
    let files: [(&str, &[u8]); 4] = [
        ("crashes.so", &chaos),
        ("text.so", b"This is no library, but there is some text in it.\n"),
        ("foreign.so", &foreign),
        ("newer.so", &newer),
    ];
    let mut rig = start(program(), &text, &files);
    let expected = [
        ("crashes", "killed by SIGSEGV"),
        ("twin", "it crashed while it was opened, and has not changed since"),
        ("missing", "missing.so"),
        ("text", "not a shared library"),
        ("foreign", "aarch64"),
        ("newer", "2.0"),
    ];
    for (name, words) in expected {
        until(&format!("{name} is refused: {}", rig.log()), || backend(&rig, name)["state"] == "failed");
        let told = backend(&rig, name);
        row.measured(name, told["detail"].clone());
        assert!(told["detail"].as_str().unwrap().contains(words), "{told}");
    }
    assert_flawless(&watch(&rig, 5), PROBE);
    for (name, _) in expected {
        let told = backend(&rig, name);
        let more = u64::from(name == "twin");
        assert_eq!((&told["state"], restarts(&rig, name)), (&"failed".into(), more), "{told}");
        assert_eq!(warnings(&rig, name).len() as u64, 1 + more, "{}", rig.log());
    }

    let media = rig.folder().join("data/media");
    for library in ["crashes.so", "text.so"] {
        fs::write(media.join("fresh"), &chaos).unwrap();
        fs::rename(media.join("fresh"), media.join(library)).unwrap();
    }
    for name in ["crashes", "twin", "text"] {
        until("the file that has changed is opened", || backend(&rig, name)["state"] == "ready");
    }
    assert_flawless(&watch_as(&rig, "after", 4, Some("audio_path=tone.wav")), CHAOS);
    for name in ["missing", "foreign", "newer"] {
        assert_eq!(restarts(&rig, name), 0);
    }
    assert_alive(&mut rig);
}

/// A plugin in C that says it is of the contract's version 2.0.
fn compile(folder: &Path) -> Vec<u8> {
    let (contract, library) = (root().join("plugins-api"), folder.join("newer.so"));
    let output = Command::new("cc")
        .args([
            "-std=c11",
            "-shared",
            "-fPIC",
            "-fvisibility=hidden",
            "-DVARIANT_MAJOR=2",
            "-DVARIANT_MINOR=0",
        ])
        .arg("-I")
        .arg(contract.join("include"))
        .arg("-I")
        .arg(contract.join("templates"))
        .arg(contract.join("tests/data/variants.c"))
        .arg("-o")
        .arg(&library)
        .output()
        .expect("a C compiler is part of the build tools");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(library).unwrap()
}

#[test]
fn row_03_init_hangs() {
    let mut row = Row::begin(
        "a backend's create hangs for ever, with an init_timeout of one second",
        "the server is up on the next of the chain at once, and says what became of the first",
    );
    let mut rig = start(program(), &settings("\"chaos\", \"probe\"", "init_timeout = \"1s\"", HANGS), &[]);
    row.measured("start_ms", ms(rig.started_in()));
    until("the probe serves", || get(&rig, "/ready").json()["serving"] == "probe");
    assert_flawless(&watch(&rig, 5), PROBE);
    let state = || backend(&rig, "chaos")["state"].as_str().unwrap().to_owned();
    row.measured(
        "told_after_ms",
        ms(until("it is told", || !["opening", "ready"].contains(&state().as_str()))),
    );
    row.measured("told_as", state());
    assert_alive(&mut rig);
}

#[test]
fn row_03_killed_while_it_starts() {
    let mut row = Row::begin(
        "a backend is killed from outside while it starts, as by a system that is out of memory",
        "it is started again: nothing says that its library is at fault",
    );
    let folder = tempfile::tempdir().unwrap();
    let begun = folder.path().join("begun");
    let hangs = format!("{{ in = \"create\", do = \"hang\", unless_file = \"{}\" }}", begun.display());
    let rig = start(program(), &settings("\"chaos\", \"probe\"", "", &hangs), &[]);
    until("it starts", || begun.exists());
    signal(process(&rig, "chaos"), Signal::KILL);
    row.measured("ready_after_ms", ms(until("it serves", || backend(&rig, "chaos")["state"] == "ready")));
    assert_eq!(restarts(&rig, "chaos"), 1);
}

#[test]
fn row_03_init_is_slow() {
    let mut row = Row::begin(
        "a backend's create takes eight seconds",
        "the server is up on the next of the chain at once; the slow one joins later and takes new sessions",
    );
    let mut rig = start(program(), &settings("\"chaos\", \"probe\"", "", SLOW), &[]);
    until("the probe serves", || get(&rig, "/ready").json()["serving"] == "probe");
    let before = watch_as(&rig, "before", 3, Some("audio_path=tone.wav"));
    assert_continuous(&before);
    assert_eq!(drawn_by(&before, CHAOS), 0, "{before}");
    row.measured("joined_after_ms", ms(until("chaos joins", || backend(&rig, "chaos")["state"] == "ready")));
    assert_flawless(&watch_as(&rig, "after", 5, Some("audio_path=tone.wav")), CHAOS);
    assert_alive(&mut rig);
}

#[test]
fn row_04_no_backend_at_all() {
    let mut row = Row::begin(
        "no backend comes up, or none is configured",
        "the copy of demo inside the program serves; a required one that is missing ends the program with a reason and \
         exit code 78",
    );
    for settings in ["[engine]\nbackends = []\n", &settings("\"chaos\"", "", FAILS)] {
        let mut rig = serve(settings);
        let report = watch(&rig, 5);
        assert_continuous(&report);
        assert_eq!(drawn_by(&report, None), report["video_frames"].as_i64().unwrap(), "{report}");
        assert!(report["video_frames"].as_i64().unwrap() > 75, "{report}");
        assert_alive(&mut rig);
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), settings("\"chaos\"", "required = true", FAILS))
        .unwrap();
    let ended = Command::new(program())
        .current_dir(folder.path())
        .args(["serve", "--bind", "127.0.0.1:0"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(78), "{said}");
    assert!(said.contains("required backend chaos did not come up") && said.contains("no weights"), "{said}");
    row.measured("exit_code", 78);
}
