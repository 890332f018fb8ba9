//! Rows 5 to 14: faults in mid-sentence. What a viewer sees of them is read from the pictures.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::row::Row;
use crate::scene::{
    assert_alive, assert_control, assert_survived, backend, chaos_before_probe, ms, process, restarts,
    running, serve, signal, turns, until, until_within, watch,
};
use crate::whole::get;

/// Pictures that a viewer may miss at most when a backend is lost: 120 ms.
pub(crate) const AT_A_LOSS: i64 = 3;

/// Faults that happen once in all incarnations, below `folder`.
pub(crate) fn once(folder: &tempfile::TempDir, faults: &[&str]) -> String {
    let one = |(index, fault): (usize, &&str)| {
        format!("{{ in = \"infer_batch\", unless_file = \"{}/{index}\", {fault} }}", folder.path().display())
    };
    faults.iter().enumerate().map(one).collect::<Vec<_>>().join(", ")
}

/// Records what a viewer saw.
pub(crate) fn record(row: &mut Row, what: &str, report: &Value) {
    for key in ["held", "plain", "wrong", "longest_disturbance"] {
        row.measured(&format!("{what}_{key}"), report["shown"][key].clone());
    }
    row.measured(&format!("{what}_longest_gap_ms"), report["longest_gap_ms"].clone());
}

#[test]
fn row_05_an_error_in_mid_sentence() {
    let mut row = Row::begin(
        "a frame fails with an error that may pass; then every frame fails",
        "one error that may pass is asked about once more before its frame leaves, and is not seen; one that will not \
         pass is one held picture and no change of backend; errors without end make another take over",
    );
    let fault = "{ in = \"infer_batch\", do = \"fail\", retryable = true, at_frame = 50, times = 1 }";
    let mut rig = serve(&chaos_before_probe(fault));
    let report = watch(&rig, 5);
    record(&mut row, "one_that_may_pass", &report);
    assert_survived(&report, 0);
    assert_eq!(turns(&report), [1], "{report}");
    assert_alive(&mut rig);

    let mut rig = serve(&chaos_before_probe(&fault.replace("retryable = true, ", "")));
    let report = watch(&rig, 5);
    record(&mut row, "one", &report);
    assert_survived(&report, 1);
    assert_eq!((&report["shown"]["held"], turns(&report)), (&1.into(), vec![1]), "{report}");
    assert_alive(&mut rig);

    let fault = "{ in = \"infer_batch\", do = \"fail\", at_frame = 50 }";
    let mut rig = serve(&chaos_before_probe(fault));
    let report = watch(&rig, 5);
    record(&mut row, "all", &report);
    assert_survived(&report, 6);
    assert_eq!(turns(&report), [1, 0], "{report}");
    assert_alive(&mut rig);

    assert_control();
}

/// A session of nine seconds with `fault` at its 50th frame, once; the backend comes back and draws again.
fn dies_and_returns(row: &mut Row, what: &str, fault: &str, most: i64) {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = serve(&chaos_before_probe(&once(&folder, &[&format!("at_frame = 50, {fault}")])));
    let report = watch(&rig, 9);
    record(row, what, &report);
    assert_survived(&report, most);
    assert_eq!(turns(&report), [1, 0, 1], "{report}");
    assert_eq!(restarts(&rig, "chaos"), 1, "{}", rig.log());
    assert_alive(&mut rig);
    assert_control();
}

#[test]
fn row_06_a_crash_in_mid_sentence() {
    let mut row = Row::begin(
        "SIGSEGV in infer_batch in mid-sentence",
        "another backend draws after three held pictures at most; session, track and clock go on; the process is \
         started anew and draws again",
    );
    dies_and_returns(&mut row, "crash", "do = \"crash\"", AT_A_LOSS);
}

#[test]
fn row_06_an_abort_in_mid_sentence() {
    let mut row = Row::begin("SIGABRT in infer_batch in mid-sentence", "as for a crash");
    dies_and_returns(&mut row, "abort", "do = \"abort\"", AT_A_LOSS);
}

#[test]
fn row_06_an_exit_in_mid_sentence() {
    let mut row = Row::begin("exit(0) in infer_batch in mid-sentence", "as for a crash");
    dies_and_returns(&mut row, "exit", "do = \"exit\"", AT_A_LOSS);
}

#[test]
fn row_07_a_hang_in_mid_sentence() {
    let mut row = Row::begin(
        "infer_batch never returns",
        "held pictures from the first frame it misses, another backend after two of them; its process is ended at the \
         hard deadline and started anew",
    );
    dies_and_returns(&mut row, "hang", "do = \"hang\"", 6);
}

#[test]
fn row_07_a_health_call_that_hangs() {
    let mut row = Row::begin(
        "health never returns, while pictures go on coming",
        "after three unanswered questions in five seconds of a beating heart the process is replaced; another backend \
         draws meanwhile",
    );
    let folder = tempfile::tempdir().unwrap();
    let begin = folder.path().join("begin");
    let fault = format!("{{ in = \"health\", do = \"hang\", if_file = \"{}\" }}", begin.display());
    let mut rig = serve(&chaos_before_probe(&fault));
    let report = std::thread::scope(|scope| {
        let watched = scope.spawn(|| watch(&rig, 12));
        until("it speaks", || {
            get(&rig, "/v1/sessions").json()["sessions"].as_array().is_some_and(|all| !all.is_empty())
        });
        std::fs::write(&begin, "").unwrap();
        watched.join().unwrap()
    });
    record(&mut row, "health", &report);
    assert_survived(&report, AT_A_LOSS);
    assert_eq!(turns(&report)[..2], [1, 0], "{report}");
    assert_eq!(restarts(&rig, "chaos"), 1, "{}", rig.log());
    assert!(rig.log().contains("its health call does not return"), "{}", rig.log());
    assert_alive(&mut rig);
}

#[test]
fn row_07_stopped_while_nobody_speaks() {
    let mut row = Row::begin(
        "a backend's process is stopped (SIGSTOP) while nobody speaks",
        "after twenty unanswered questions without a beat of its heart the process is replaced",
    );
    let mut rig = serve(&chaos_before_probe(""));
    let stopped = process(&rig, "chaos");
    signal(stopped, Signal::STOP);
    let replaced = || running(&rig, "chaos").is_some_and(|process| process != stopped);
    row.measured(
        "replaced_after_ms",
        ms(until_within(Duration::from_secs(90), "it is replaced", || {
            replaced() && backend(&rig, "chaos")["state"] == "ready"
        })),
    );
    assert_eq!(restarts(&rig, "chaos"), 1, "{}", rig.log());
    assert!(rig.log().contains("it gives no sign of life"), "{}", rig.log());
    assert_alive(&mut rig);
}

#[test]
fn row_08_a_starved_machine() {
    let mut row = Row::begin_alone(
        "the backend's process is stopped for half a second, three times, and every processor is busy",
        "nothing is ended: no restart; pictures are held or another backend draws, none is wrong",
    );
    let mut rig = serve(&chaos_before_probe(""));
    let chaos = process(&rig, "chaos");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        let watched = scope.spawn(|| watch(&rig, 9));
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(1_700));
            signal(chaos, Signal::STOP);
            std::thread::sleep(Duration::from_millis(500));
            signal(chaos, Signal::CONT);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        watched.join().unwrap()
    });
    record(&mut row, "starved", &report);
    row.measured("restarts", restarts(&rig, "chaos"));
    assert_eq!(report["shown"]["wrong"], 0, "{report}");
    assert_eq!(report["ids"]["backwards"], 0, "{report}");
    assert_eq!(restarts(&rig, "chaos"), 0, "{}", rig.log());
    assert_eq!(process(&rig, "chaos"), chaos);
    assert_alive(&mut rig);
    assert_control();
}

#[test]
fn row_09_bad_output() {
    let mut row = Row::begin(
        "NaN in the output, a rect outside, an unknown format, no result, each once; then NaN without end",
        "the frame is not shown, the last good one is; without end another backend takes over",
    );
    let acts =
        ["nan", "outside_rect", "odd_rect", "unknown_format", "wrong_frame", "no_result", "wild_status"];
    let each = |(index, act): (usize, &&str)| {
        let frame = 40 + 8 * index;
        format!("{{ in = \"infer_batch\", do = \"{act}\", at_frame = {frame}, times = 1 }}")
    };
    let faults: Vec<_> = acts.iter().enumerate().map(each).collect();
    let mut rig = serve(&chaos_before_probe(&faults.join(", ")));
    let report = watch(&rig, 7);
    record(&mut row, "each", &report);
    assert_survived(&report, 1);
    assert_alive(&mut rig);

    let mut rig = serve(&chaos_before_probe("{ in = \"infer_batch\", do = \"nan\", at_frame = 50 }"));
    let report = watch(&rig, 5);
    record(&mut row, "without_end", &report);
    assert_survived(&report, 12);
    assert_eq!(turns(&report), [1, 0], "{report}");
    assert_alive(&mut rig);
    assert_control();
    row.open(
        "a picture that is all black, of one grey, or half written is shown. The contract has the backend answer \
         BAD_OUTPUT for what its model cannot have meant; one value everywhere is a picture too, such as a flash or a \
         canvas that is empty between two words, and a host that dropped it would hold the one before it instead",
    );
}

#[test]
fn row_11_writes_behind_its_slot() {
    let mut row = Row::begin(
        "64 bytes are written behind a slot",
        "it is seen by the canary, the picture is not shown, and the process is replaced",
    );
    dies_and_returns(&mut row, "overrun", "do = \"overrun\"", AT_A_LOSS);
}

#[test]
fn row_14_the_device_is_lost() {
    let mut row = Row::begin(
        "the device is lost; then it runs out of memory five times",
        "lost: the process is replaced and another draws meanwhile. Out of memory: batches are halved each time and \
         the frame is asked for again; when there is no room for one request alone, the process is replaced between \
         two frames",
    );
    dies_and_returns(&mut row, "lost", "do = \"fail\", code = \"DEVICE_LOST\"", AT_A_LOSS);
    let folder = tempfile::tempdir().unwrap();
    let out_of_memory = |time: usize| {
        format!("at_frame = {}, do = \"fail\", code = \"OOM_DEVICE\", retryable = true", 40 + 15 * time)
    };
    let faults: Vec<_> = (0..5).map(out_of_memory).collect();
    let faults: Vec<_> = faults.iter().map(String::as_str).collect();
    let mut rig = serve(&chaos_before_probe(&once(&folder, &faults)));
    let report = watch(&rig, 10);
    record(&mut row, "out_of_memory", &report);
    assert_survived(&report, 0);
    let log = rig.log();
    let halved = log.lines().filter_map(|line| line.split("max_batch=").nth(1)?.parse::<u32>().ok());
    assert_eq!(halved.collect::<Vec<_>>(), [8, 4, 2, 1], "{log}");
    assert!(log.contains("no room for a single request"), "{log}");
    assert_eq!((restarts(&rig, "chaos"), turns(&report)), (1, vec![1, 0, 1]), "{report}");
    assert_alive(&mut rig);
}
