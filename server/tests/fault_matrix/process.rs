//! Rows 12, 13 and 15: what a backend's process does beside drawing, to the memory and the socket it shares, to the
//! machine's memory, and to the log.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lipcast_server::bench::rig::Rig;

use crate::row::Row;
use crate::scene::{
    CHAOS, assert_alive, assert_control, assert_flawless, assert_survived, chaos_before_probe, process,
    restarts, serve, serve_by, settings, state_of, turns, warnings, watch, wrapped,
};
use crate::session::{AT_A_LOSS, once, record};

#[test]
fn row_12_the_ring_the_socket_and_the_descriptors() {
    let mut row = Row::begin(
        "a process writes nonsense into the ring's counter, its cells, all of it; sends nonsense over its socket; \
         closes its descriptors",
        "each is treated as a death: another backend draws, the process is replaced and draws again, and nothing \
         panics in the server; any bytes in the ring or the socket are read or refused, by property tests of the \
         protocol",
    );
    let folder = tempfile::tempdir().unwrap();
    let scribbles = ["counter", "cells", "all"].map(|what| format!("do = \"bad_ring\", what = \"{what}\""));
    let [counter, cells, all] = &scribbles;
    // Each has four seconds; in the first one, the call goes on until the server has looked at the counter.
    let faults = [
        format!("at_frame = 40, {counter}"),
        "at_frame = 40, do = \"hang\", ms = 100".to_owned(),
        format!("at_frame = 140, {cells}"),
        format!("at_frame = 240, {all}"),
        "at_frame = 340, do = \"bad_talk\"".to_owned(),
        "at_frame = 440, do = \"close_fds\"".to_owned(),
    ];
    let faults: Vec<&str> = faults.iter().map(String::as_str).collect();
    let patient = "max_deaths = 100\nmax_backoff = \"200ms\"";
    let mut rig = serve(&settings("\"chaos\", \"probe\"", patient, &once(&folder, &faults)));
    let report = watch(&rig, 24);
    record(&mut row, "all", &report);
    // The last one is no death that is seen at once: the socket stays open for as long as a thread waits at it, and
    // nothing comes back.
    assert_survived(&report, 6);
    let longest = report["disturbances"].as_array().unwrap().iter().filter_map(|one| one[1].as_i64());
    assert!(longest.filter(|pictures| *pictures > AT_A_LOSS).count() <= 1, "{report}");
    assert_eq!(turns(&report), [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1], "{report}: {}", rig.log());
    assert_eq!(restarts(&rig, "chaos"), 5, "{}", rig.log());
    for words in
        ["it broke the ring: it claims", "wrote over an operation", "it sent something that is no message"]
    {
        assert!(rig.log().contains(words), "{words}: {}", rig.log());
    }
    assert_alive(&mut rig);
    assert_control();
}

#[test]
fn row_13_a_leak() {
    let mut row = Row::begin(
        "a process takes a megabyte with every frame, of the 192 that it may have",
        "a warning at 80 %; at 100 % it is drained and replaced between two frames, while another backend draws; the \
         kernel is told to prefer it to the server when memory runs out",
    );
    // Most of the way at once, then so slowly that every second shows it.
    let folder = tempfile::tempdir().unwrap();
    let first = once(&folder, &["do = \"leak\", mb = 100, at_frame = 30"]);
    let faults = first + ", { in = \"infer_batch\", do = \"leak\", mb = 1, at_frame = 30 }";
    let limit = "memory_limit = \"192MiB\"";
    let mut rig = serve(&settings("\"chaos\", \"probe\"", limit, &faults));
    let before = process(&rig, "chaos");
    let preferred = |process: u32| -> i32 {
        fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap().trim().parse().unwrap()
    };
    assert!(preferred(before) >= preferred(rig.process_id()) + 500 || preferred(before) == 1000);
    let report = watch(&rig, 11);
    record(&mut row, "leak", &report);
    assert_survived(&report, AT_A_LOSS);
    assert_eq!(turns(&report)[..2], [1, 0], "{report}");
    assert!(restarts(&rig, "chaos") >= 1, "{}", rig.log());
    assert_eq!(state_of(before), None, "the full process has gone");
    let log = rig.log();
    let (warned, drained) = (log.find("it comes near its memory limit"), log.find("draining"));
    assert!(warned.is_some() && warned < drained, "{log}");
    let resident = log.split("it holds ").nth(1).and_then(|rest| rest.split(' ').next());
    let resident: u64 = resident.unwrap().parse().unwrap();
    row.measured("replaced_at_mib", resident >> 20);
    assert_alive(&mut rig);

    let mut control = serve(&settings("\"chaos\", \"probe\"", limit, ""));
    assert_flawless(&watch(&control, 4), CHAOS);
    assert!(warnings(&control, "chaos").is_empty(), "{}", control.log());
    assert_alive(&mut control);
}

/// A folder of the kernel's that limits the memory of those in it; removed when dropped.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// `None` where this machine, or this user, cannot have one.
    fn new(bytes: u64) -> Option<Self> {
        let folder = Path::new("/sys/fs/cgroup/memory").join(format!("lipcast-test-{}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        let group = Self(folder);
        fs::write(group.0.join("memory.limit_in_bytes"), bytes.to_string()).ok()?;
        Some(group)
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // The last of its processes may take a moment to go.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn row_13_memory_runs_out() {
    let mut row = Row::begin(
        "a process takes more memory than the server and all that it started may have together",
        "the kernel ends that process and not the server; for viewers it is a crash",
    );
    let folder = tempfile::tempdir().unwrap();
    let Some(group) = MemoryGroup::new(400 << 20) else {
        println!("no group of processes can be given a limit here");
        row.open("not run: this machine gives no memory group");
        return;
    };
    let join = format!("echo $$ > {}/cgroup.procs;", group.0.display());
    let script = wrapped(folder.path(), &join);
    let fault = once(&folder, &["at_frame = 50, do = \"leak\", mb = 600"]);
    let mut rig = serve_by(&script, &chaos_before_probe(&fault), &[]);
    let report = watch(&rig, 9);
    record(&mut row, "killed", &report);
    // Taking that much is slow enough to be late first.
    assert_survived(&report, 6);
    assert_eq!(turns(&report), [1, 0, 1], "{report}");
    assert!(rig.log().contains("killed by SIGKILL"), "{}", rig.log());
    assert_eq!(restarts(&rig, "chaos"), 1);
    assert_alive(&mut rig);
    assert_control();
}

#[test]
fn row_15_a_flood_of_log_lines() {
    let mut row = Row::begin(
        "a process logs 2000 lines and prints 2000 in one moment, then logs a line of a megabyte and prints one of ten",
        "a hundred lines of it are kept in a second, whichever way they come, and 8 KiB of a line; the log tells how \
         many were dropped, and viewers miss nothing",
    );
    let faults = [
        "{ in = \"infer_batch\", do = \"log\", lines = 2000, at_frame = 30, times = 1 }",
        "{ in = \"infer_batch\", do = \"print\", lines = 2000, at_frame = 30, times = 1 }",
        // A second later there is room again, for lines of a kind that nobody wants.
        "{ in = \"infer_batch\", do = \"log\", lines = 1, bytes = 1000000, at_frame = 80, times = 1 }",
        "{ in = \"infer_batch\", do = \"print\", lines = 1, bytes = 10000000, at_frame = 80, times = 1 }",
        // What was dropped is told with the next line.
        "{ in = \"infer_batch\", do = \"print\", lines = 1, at_frame = 130, times = 1 }",
    ];
    let mut rig = serve(&chaos_before_probe(&faults.join(", ")));
    let report = watch(&rig, 8);
    assert_flawless(&report, CHAOS);
    let log = rig.log();
    let kept = log.lines().filter(|line| line.contains("chaos line ")).count();
    let total: usize = dropped(&rig).iter().sum();
    row.measured("kept", kept);
    row.measured("dropped", total);
    assert_eq!((kept, total), (100 + 3, 3_900), "each line is kept or counted: {:?}", dropped(&rig));
    let longest = log.lines().map(str::len).max().unwrap_or(0);
    row.measured("longest_line_bytes", longest);
    assert!((8 * 1024..9 * 1024).contains(&longest), "{longest}");
    assert_eq!(restarts(&rig, "chaos"), 0);
    assert_alive(&mut rig);
    assert_control();
}

/// What the log tells of lines that were dropped.
fn dropped(rig: &Rig) -> Vec<usize> {
    let log = rig.log();
    let told = log.lines().filter(|line| line.contains("lines were dropped"));
    let count = |line: &str| line.split("lines=").nth(1)?.split(' ').next()?.parse().ok();
    told.filter_map(count).collect()
}
