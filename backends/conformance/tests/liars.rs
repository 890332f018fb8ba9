//! Each fault of the liar is found by the one check that looks for it, and the other checks of its group pass.

mod common;

use common::{check_library, failure, liar, named};
use lipcast_conformance::{Format, Options, Verdict};

/// Checks the liar with `fault` and expects exactly `expected` to fail, with `words` in what it tells.
fn finds(fault: &str, expected: &str, words: &str) {
    let folder = tempfile::tempdir().unwrap();
    let library = liar(folder.path(), fault);
    let group = expected.split_once('.').unwrap().0;
    let report = check_library(&library, Options { only: Some(group.to_owned()), ..Options::default() });
    let text = report.write(Format::Text);
    assert_eq!(named(&report, Verdict::Failed), [expected], "{fault}:\n{text}");
    let told = failure(&report, expected).failure.as_ref().unwrap();
    assert!(told.what.contains(words), "{fault}: {words:?} is not in\n{text}");
    assert!(!told.look.is_empty(), "{fault}:\n{text}");
    assert_eq!(report.exit_code(), 1);
    println!("{text}");
}

#[test]
fn before_anything_is_created() {
    finds("EAGER", "load.instant", "files open");
    finds("TALKATIVE", "load.symbols", "helper_of_the_liar");
    finds("GREEDY_HOST", "load.tables", "SIG");
}

#[test]
fn of_create_and_destroy() {
    finds("LOOSE_THREADS", "create.again", "more threads");
    finds("BACKWARDS", "create.settings", "went back from 1000 to 400");
}

#[test]
fn of_avatars() {
    finds("ONE_AVATAR", "avatar.neighbours", "another avatar");
    finds("TRUSTING", "avatar.damaged_blobs", "SIG");
    finds("DEAF_CANCEL", "avatar.cancel", "after it was cancelled");
    finds("STAMPED_BLOB", "avatar.repeatable", "another blob");
}

#[test]
fn of_batches() {
    finds("BATCH_MEAN", "infer.batch_neighbours", "in batches of up to 4 sessions");
    finds("OVERRUNS", "infer.canary", "behind the end");
    finds("LATE_SLIP", "infer.late_frames", "late");
}

#[test]
fn of_audio() {
    finds("PEEKS", "infer.lookahead", "beyond its look-ahead of 80 ms");
    finds("HATES_NAN", "infer.odd_audio", "SIGSEGV (signal 11)");
    finds("RESTLESS", "infer.end", "AT_REST");
}

#[test]
fn of_sessions() {
    finds("CROSS_TALK", "session.cross_talk", "two sessions that take turns");
    finds("DEAF_RESET", "session.reset", "reset");
    finds("STALE_RING", "session.reset", "speaks again at once");
    finds("LEAKS_SESSIONS", "session.open_close", "more memory");
    finds("STICKY_AUDIO", "session.close_busy", "queued audio");
    finds("FILLS_UP", "session.queue", "still full");
    finds("DROPS_AUDIO", "session.queue", "the first frames after 30.1 s of audio were taken at once");
}

#[test]
fn a_session_that_fails_in_the_soak_is_told_with_what_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let library = liar(folder.path(), "FILLS_UP");
    let soak = std::time::Duration::from_secs(20);
    let options = Options { only: Some("soak".to_owned()), soak, ..Options::default() };
    let report = check_library(&library, options);
    let told = failure(&report, "soak.random").failure.as_ref().unwrap();
    let (what, before) = told.what.split_once("; this session before: ").unwrap();
    assert!(what.contains("WOULD_BLOCK"), "{}", told.what);
    let calls: Vec<&str> = before.split(", ").collect();
    assert_eq!(calls.len(), 10, "{}", told.what);
    assert!(calls.iter().all(|call| call.starts_with("push ") || call.starts_with("frame ")), "{calls:?}");
}

#[test]
fn of_threads() {
    finds("LOCKED_HEALTH", "threads.health", "three of four calls");
}

#[test]
fn a_result_outside_the_contract_is_told_once_and_closes_what_needs_frames() {
    let folder = tempfile::tempdir().unwrap();
    let library = liar(folder.path(), "WRONG_RECT");
    let report = check_library(&library, Options { only: Some("infer".to_owned()), ..Options::default() });
    assert_eq!(named(&report, Verdict::Failed), ["infer.results"], "{}", report.write(Format::Text));
    assert!(failure(&report, "infer.results").reason.contains(") that is not inside max_rect ("));
}

#[test]
fn a_death_in_destroy_is_told_with_its_signal_and_the_last_lines() {
    let folder = tempfile::tempdir().unwrap();
    let library = liar(folder.path(), "BROKEN_DESTROY");
    let report = check_library(&library, Options { only: Some("create".to_owned()), ..Options::default() });
    assert_eq!(named(&report, Verdict::Failed), ["create.ends", "create.again"]);
    let told = failure(&report, "create.ends").failure.as_ref().unwrap();
    assert!(told.what.contains("SIGSEGV (signal 11)"), "{}", told.what);
    assert!(told.lines.iter().any(|line| line.contains("the liar is ready")), "{:?}", told.lines);
}
