//! Rows 3 and 4: backends that do not come up.

use std::process::Command;

use crate::row::Row;
use crate::scene::{
    CHAOS, PROBE, assert_alive, assert_continuous, assert_flawless, backend, drawn_by, ms, serve, settings,
    start, until, watch, watch_as,
};
use crate::whole::{get, program};

const FAILS: &str = "{ in = \"create\", do = \"fail\", code = \"MODEL_MISSING\", message = \"no weights\" }";

const HANGS: &str = "{ in = \"create\", do = \"hang\" }";
const SLOW: &str = "{ in = \"create\", do = \"hang\", ms = 8000 }";

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
        "the copy of demo inside the program serves; a required one that is missing ends the program with a reason",
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
    assert_eq!(ended.status.code(), Some(69), "{said}");
    assert!(said.contains("required backend chaos did not come up") && said.contains("no weights"), "{said}");
    row.measured("exit_code", 69);
    row.open("the exit code is 69 (unavailable); 78 is kept for settings that are wrong");
}
