//! Each fault and each lie of the chaos backend is found by the checks that look for it, and by no others of the groups
//! that were asked for; what is told names the fault.

mod common;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use common::{check_library, failure, named};
use lipcast_conformance::{Format, Options, Report, Verdict};
use serde_json::{Value, json};

/// The plugin beside the `backend-host` of these tests.
fn chaos() -> PathBuf {
    let library = common::backend_host().with_file_name("liblipcast_chaos.so");
    assert!(library.is_file(), "{} is built with the workspace: cargo build --workspace", library.display());
    library
}

fn run(config: &Value, only: &str, patience: u64) -> Report {
    check_library(
        &chaos(),
        Options {
            config: config.clone(),
            only: Some(only.to_owned()),
            patience: Duration::from_secs(patience),
            strict: true,
            ..Options::default()
        },
    )
}

/// Checks chaos with `config`, as far as `only` says; exactly `expected` fail, and `words` are in what each tells.
fn finds(config: &Value, only: &str, expected: &[&str], words: &str) {
    finds_within(config, only, expected, words, 60);
}

fn finds_within(config: &Value, only: &str, expected: &[&str], words: &str, patience: u64) {
    let report = run(config, only, patience);
    let text = report.write(Format::Text);
    println!("{config}, {:.1} s\n{text}", report.seconds);
    assert_eq!(named(&report, Verdict::Failed), expected, "{config}:\n{text}");
    for name in expected {
        let told = failure(&report, name).failure.as_ref().unwrap();
        assert!(told.what.contains(words), "{config}: {words:?} is not in\n{text}");
        assert!(!told.look.is_empty(), "{config}:\n{text}");
    }
    assert_eq!(report.exit_code(), u8::from(!expected.is_empty()), "{text}");
}

fn fault(fault: Value) -> Value {
    json!({ "faults": [fault] })
}

/// A fault of one act in one call, without more.
fn act(call: &str, act: &str) -> Value {
    fault(json!({ "in": call, "do": act }))
}

#[test]
fn without_faults_it_passes_every_check() {
    let report = check_library(&chaos(), Options { soak: Duration::from_secs(1), ..Options::default() });
    let text = report.write(Format::Text);
    println!("{text}");
    assert_eq!(report.exit_code(), 0, "{text}");
    // There are no settings, it draws no idle.
    assert_eq!(named(&report, Verdict::Skipped), ["create.missing_model", "infer.idle"], "{text}");
    let names: BTreeSet<String> = named(&report, Verdict::Passed).into_iter().collect();
    assert_eq!(names.len(), 45, "{text}");
}

/// The call, the checks that are run, and those of them that fail when the process dies there.
const DEATHS: [(&str, &str, &[&str]); 12] = [
    ("create", "create", &["create.settings"]),
    ("describe", "create", &["create.settings"]),
    ("health", "create", &["create.settings"]),
    ("destroy", "create.ends", &["create.ends"]),
    ("prepare_avatar", "avatar.prepare", &["avatar.prepare"]),
    ("load_avatar", "avatar.prepare", &["avatar.prepare"]),
    ("unload_avatar", "avatar.prepare", &["avatar.prepare"]),
    ("open_session", "infer.results", &["infer.results"]),
    ("push_audio", "infer.results", &["infer.results"]),
    ("infer_batch", "infer.results", &["infer.results"]),
    ("close_session", "infer.results", &["infer.results"]),
    ("reset", "session.reset", &["session.reset"]),
];

#[test]
fn a_crash_in_any_call_is_told_with_its_signal_and_its_call() {
    for (call, only, expected) in DEATHS {
        let config = act(call, "crash");
        finds(&config, only, expected, "killed by SIGSEGV (signal 11)");
        let report = run(&config, only, 60);
        let told = failure(&report, expected[0]).failure.as_ref().unwrap();
        assert!(told.what.contains(&format!("during: {call}")), "{call}: {}", told.what);
    }
}

#[test]
fn the_last_words_before_a_crash_are_told() {
    let faults = json!([
        { "in": "infer_batch", "do": "log", "at_frame": 5 },
        { "in": "infer_batch", "do": "print", "at_frame": 5 },
        { "in": "infer_batch", "do": "abort", "at_frame": 5 },
    ]);
    let report = run(&json!({ "faults": faults }), "infer.results", 60);
    let told = failure(&report, "infer.results").failure.as_ref().unwrap();
    assert!(told.what.contains("SIGABRT (signal 6), during: infer_batch of 1 (frames [5])"), "{}", told.what);
    let lines = told.lines.iter().filter(|line| line.contains("chaos line 0")).count();
    assert_eq!(lines, 2, "{:?}", told.lines);
}

#[test]
fn other_ends_of_the_process_are_told_as_what_they_are() {
    finds(&act("infer_batch", "abort"), "infer.results", &["infer.results"], "killed by SIGABRT (signal 6)");
    finds(&act("create", "abort"), "create", &["create.settings"], "killed by SIGABRT (signal 6)");
    finds(&act("infer_batch", "exit"), "infer.results", &["infer.results"], "exited with 0");
    let status = fault(json!({ "in": "push_audio", "do": "exit", "status": 3 }));
    finds(&status, "infer.results", &["infer.results"], "exited with 3, during: push_audio");
    finds(&act("destroy", "abort"), "create.ends", &["create.ends"], "killed by SIGABRT (signal 6)");
}

#[test]
fn a_status_that_is_no_success_is_told_in_the_backends_own_words() {
    for (call, only, expected) in DEATHS {
        // Calls without a status cannot fail.
        if ["destroy", "describe", "unload_avatar", "close_session"].contains(&call) {
            continue;
        }
        let config = fault(json!({ "in": call, "do": "fail", "code": "OOM_HOST", "message": "no room" }));
        finds(&config, only, expected, "no room");
    }
    let whole = fault(json!({ "in": "infer_batch", "do": "fail", "whole": true, "message": "all of it" }));
    finds(&whole, "infer.results", &["infer.results"], "all of it");
    // Feeling less than well is allowed.
    let degraded = fault(json!({ "in": "health", "do": "fail", "retryable": true }));
    finds(&degraded, "create.settings", &[], "");
}

#[test]
fn a_panic_is_told_where_there_is_a_status_for_it() {
    finds(&act("infer_batch", "panic"), "infer.results", &["infer.results"], "BACKEND_PANIC");
    finds(&act("create", "panic"), "create", &["create.settings"], "BACKEND_PANIC");
    finds(&act("push_audio", "panic"), "infer.results", &["infer.results"], "BACKEND_PANIC");
    finds(&act("reset", "panic"), "session.reset", &["session.reset"], "BACKEND_PANIC");
}

#[test]
fn a_call_that_hangs_is_told_as_such() {
    let hang = |call| act(call, "hang");
    let words = "no answer to an operation within 1 s";
    finds_within(&hang("infer_batch"), "infer.results", &["infer.results"], words, 1);
    finds_within(&hang("push_audio"), "infer.results", &["infer.results"], words, 1);
    let words = "no end after 10 s, during: create";
    finds_within(&hang("create"), "create.settings", &["create.settings"], words, 1);
    let words = "its process was stopped by a signal";
    finds_within(&act("infer_batch", "stop_self"), "infer.results", &["infer.results"], words, 1);
}

#[test]
fn slowness_is_told_with_its_figures() {
    let slow = |call, ms| fault(json!({ "in": call, "do": "hang", "ms": ms }));
    finds(&slow("infer_batch", 60), "speed", &["speed.ladder"], "frames a second at most");
    finds(&slow("health", 30), "threads.health", &["threads.health"], "with nothing else to do");
}

#[test]
fn what_a_picture_may_not_be_is_told_with_its_frame() {
    for (act, words) in [
        ("nan", "NaN in the output"),
        ("no_result", "frame 5"),
        ("outside_rect", "frame 5"),
        ("odd_rect", "is odd"),
        ("unknown_format", "unknown format 77"),
        ("wrong_frame", "avatar frame 4294967295 used"),
        ("wild_status", "!!!!"),
    ] {
        let config = fault(json!({ "in": "infer_batch", "do": act, "at_frame": 5 }));
        finds(&config, "infer.results", &["infer.results"], words);
        finds(&config, "infer.results", &["infer.results"], "frame 5");
    }
    let overrun = fault(json!({ "in": "infer_batch", "do": "overrun", "bytes": 1 }));
    finds(&overrun, "infer", &["infer.canary"], "behind the end");
}

#[test]
fn pictures_that_show_nothing_are_told() {
    finds(&act("infer_batch", "short_write"), "infer.unwritten", &["infer.unwritten"], "what the slot held");
    finds(&act("infer_batch", "black"), "infer.moves", &["infer.moves"], "2 different byte values");
    finds(&act("infer_batch", "flat"), "infer.moves", &["infer.moves"], "1 different byte values");
}

#[test]
fn what_is_left_behind_is_told_with_its_size() {
    for (call, every, check) in [
        ("infer_batch", 10, "threads.steady"),
        ("push_audio", 50, "session.open_close"),
        ("close_session", 50, "session.open_close"),
        ("unload_avatar", 1, "avatar.reload"),
        ("destroy", 1, "create.again"),
    ] {
        let leak = fault(json!({ "in": call, "do": "leak", "mb": 1, "every": every }));
        finds(&leak, check, &[check], "more memory");
    }
    let forks = fault(json!({ "in": "infer_batch", "do": "fork", "every": 50, "ms": 60_000 }));
    finds(&forks, "threads.steady", &["threads.steady"], "more processes");
}

#[test]
fn a_flood_of_lines_is_told() {
    for act in ["log", "print"] {
        let config = fault(json!({ "in": "infer_batch", "do": act, "lines": 20 }));
        finds(&config, "infer.quiet", &["infer.quiet"], "lines or more during 20 frames");
    }
    // A line a frame is no flood.
    finds(&act("infer_batch", "log"), "infer.quiet", &[], "");
}

#[test]
fn a_broken_line_to_the_host_is_told() {
    // The counter is put right when the next operation is done, so that one takes its time.
    let counter = json!({ "faults": [
        { "in": "load_avatar", "do": "bad_ring", "what": "counter" },
        { "in": "open_session", "do": "hang", "ms": 500 },
    ] });
    finds(&counter, "infer.results", &["infer.results"], "it broke the ring");
    let cells = fault(json!({ "in": "infer_batch", "do": "bad_ring", "what": "cells" }));
    finds(&cells, "infer.results", &["infer.results"], "infer_batch of 1 (frames [2])");
    finds(&act("infer_batch", "close_fds"), "infer.results", &["infer.results"], "did not ring");
}

#[test]
fn lies_are_told_by_what_is_not_true() {
    for (lie, only, expected, words) in [
        ("cross_talk", "session", &["session.cross_talk"][..], "two sessions that take turns"),
        ("neighbours", "infer", &["infer.batch_neighbours", "infer.one_session_batches"], "frames differ"),
        ("peeks", "infer", &["infer.lookahead"], "beyond its look-ahead of 0 ms"),
        ("nondeterministic", "infer.repeatable", &["infer.repeatable"], "in another session"),
        ("ignores_reset", "session", &["session.reset"], "a session that was reset"),
        ("random_blob", "avatar", &["avatar.repeatable"], "gave another blob"),
        ("never_at_rest", "infer", &["infer.end"], "AT_REST"),
    ] {
        finds(&json!({ "lies": [lie] }), only, expected, words);
    }
}
