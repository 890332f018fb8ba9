//! `backend-host --inspect` by hand: what it cannot look at is told in a line, with exit code 1.

use std::process::Command;

fn inspect(arguments: &[&str]) -> (Option<i32>, String) {
    let host = env!("CARGO_BIN_EXE_backend-host");
    let output = Command::new(host).arg("--inspect").args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

#[test]
fn what_cannot_be_inspected_is_told_in_a_line() {
    let nothing = "/nonexistent/plugin.so";
    for (arguments, words) in [
        (vec!["descriptor"], "--inspect descriptor|tables|cycles PATH CONFIG"),
        (vec!["everything", nothing, "null"], "nothing is known about `everything`"),
        (vec!["descriptor", nothing, "null"], nothing),
        (vec!["cycles", nothing, "null"], nothing),
    ] {
        let (code, said) = inspect(&arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {said}");
        assert!(said.contains(words) && said.lines().count() == 1, "{arguments:?}: {said}");
    }
}
