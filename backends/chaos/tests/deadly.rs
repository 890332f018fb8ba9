//! Faults that end or stop a process, each in a process of its own.

#[path = "common.rs"]
mod common;

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};

use common::{PARAMS, Stage, create, fault, speech};
use lipcast_plugins_api::serde_json::{Value, json};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

const SETTINGS: &str = "CHAOS_SETTINGS";

/// What the tests run as a child: every call once, and a line on the way out.
#[test]
#[ignore = "the body of the children of the other tests"]
fn victim() {
    let Ok(settings) = std::env::var(SETTINGS) else { return };
    let settings: Value = lipcast_plugins_api::serde_json::from_str(&settings).unwrap();
    let mut stage = Stage::new(&settings);
    stage.instance.describe().unwrap();
    stage.draw(&speech(6_400), 0..10);
    let mut session = stage.inferer.open_session(&stage.avatar, &PARAMS).unwrap();
    session.reset(1).unwrap();
    drop(session);
    stage.instance.health();
    // Dropped on the thread of inference, they would end beside the last line rather than before it.
    let Stage { instance, inferer, avatar, .. } = stage;
    drop(inferer);
    std::thread::spawn(move || drop((avatar, instance))).join().unwrap();
    println!("survived");
}

fn start(settings: &Value) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored", "--nocapture"])
        .env(SETTINGS, settings.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(act: Value) -> Output {
    start(&fault(act)).wait_with_output().unwrap()
}

fn survived(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stdout).contains("survived")
}

#[test]
fn without_faults_the_child_survives() {
    let output = start(&Value::Null).wait_with_output().unwrap();
    assert!(survived(&output) && output.status.success(), "{output:?}");
}

#[test]
fn a_crash_an_abort_and_an_exit_end_the_process_in_any_call() {
    for call in [
        "create",
        "describe",
        "prepare_avatar",
        "load_avatar",
        "open_session",
        "push_audio",
        "reset",
        "close_session",
        "infer_batch",
        "health",
        "unload_avatar",
        "destroy",
    ] {
        for (act, signal, code) in
            [("crash", Some(11), None), ("abort", Some(6), None), ("exit", None, Some(0))]
        {
            let output = run(json!({"in": call, "do": act}));
            assert_eq!((output.status.signal(), output.status.code()), (signal, code), "{act} in {call}");
            assert!(!survived(&output), "{act} in {call}");
        }
    }
}

#[test]
fn it_dies_at_the_frame_it_was_told() {
    let output = run(json!({"in": "infer_batch", "do": "exit", "status": 3, "at_frame": 9}));
    assert_eq!(output.status.code(), Some(3));
    assert!(survived(&run(json!({"in": "infer_batch", "do": "exit", "status": 3, "at_frame": 10}))));
}

#[test]
fn it_notes_when_it_dies() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("moments");
    let now = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        now.tv_sec * 1_000_000_000 + now.tv_nsec
    };
    let times = [(); 2].map(|()| {
        let before = now();
        run(json!({"in": "infer_batch", "do": "abort", "at_frame": 2, "note": file}));
        (before, now())
    });
    let notes = std::fs::read_to_string(&file).unwrap();
    let notes: Vec<i64> = notes.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(notes.len(), 2);
    for (note, (before, after)) in notes.into_iter().zip(times) {
        assert!(before < note && note < after, "{before} < {note} < {after}");
    }
}

#[test]
fn it_stops_until_somebody_continues_it() {
    let child = start(&fault(json!({"in": "infer_batch", "do": "stop_self", "times": 1})));
    let pid = Pid::from_raw(child.id() as i32).unwrap();
    let stopped = waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED).unwrap().unwrap();
    assert!(stopped.stopped());
    kill_process(pid, Signal::CONT).unwrap();
    assert!(survived(&child.wait_with_output().unwrap()));
}

#[test]
fn a_fork_holds_the_descriptors_after_its_parent_has_gone() {
    let mut child = start(&fault(json!({"in": "health", "do": "fork", "ms": 3000})));
    let output = child.stdout.take().unwrap();
    assert!(child.wait().unwrap().success());
    // The end of the pipe comes when its last holder has closed it.
    let mut ends = [PollFd::new(&output, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(poll(&mut ends, Some(&now)).unwrap(), 0, "nobody holds the pipe");
    assert_eq!(poll(&mut ends, None).unwrap(), 1, "somebody held it for a while");
}

#[test]
fn it_closes_descriptors() {
    // In a child of its own, or those of the test would be gone.
    let output = run(json!({"in": "reset", "do": "close_fds"}));
    assert!(survived(&output), "{output:?}");
}

#[test]
fn it_prints_past_the_host() {
    let print = |to| run(json!({"in": "reset", "do": "print", "lines": 3, "bytes": 20_000, "to": to}));
    let (out, err) = (print("stdout"), print("stderr"));
    let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').filter(|line| line.len() == 20_000).count();
    assert_eq!((lines(&out.stdout), lines(&out.stderr)), (3, 0));
    assert_eq!((lines(&err.stdout), lines(&err.stderr)), (0, 3));
}

#[test]
fn nonsense_is_sent_where_descriptor_3_is_a_socket_and_nowhere_else() {
    // Whatever it is in a child of this test, it is no socket.
    assert!(survived(&run(json!({"in": "reset", "do": "bad_talk"}))));
}

#[test]
fn nonsense_goes_only_into_a_ring() {
    // Descriptor 4 of this process is none, whatever it is.
    create(&fault(json!({"in": "create", "do": "bad_ring", "what": "all"})), Default::default()).unwrap();
}
