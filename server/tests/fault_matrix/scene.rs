//! Servers with the chaos backend, and questions to them and to their viewers.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use lipcast_server::bench::rig::{Client, Rig};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::whole::{self, clips, get, program};

/// The chaos backend before the probe; `faults` are its settings' lines.
pub(crate) fn chaos_before_probe(faults: &str) -> String {
    settings("\"chaos\", \"probe\"", "", faults)
}

/// Backends in their order, more keys of `[backend.chaos]`, and its own settings.
pub(crate) fn settings(order: &str, keys: &str, faults: &str) -> String {
    format!(
        "[session]\nrender_ahead = \"200ms\"\n[engine]\nbackends = [{order}]\nreturn_after = \"1s\"\n\
         [backend.probe]\nlibrary = \"liblipcast_probe.so\"\n\
         [backend.chaos]\nlibrary = \"liblipcast_chaos.so\"\n{keys}\n\
         [backend.chaos.config]\nfaults = [{faults}]\n"
    )
}

/// A server with half a minute of speech, `tone.wav`, once its backends have settled.
pub(crate) fn serve(settings: &str) -> Rig {
    serve_by(program(), settings, &[])
}

/// The same by another program, and with more media files.
pub(crate) fn serve_by(program: &Path, settings: &str, files: &[(&str, &[u8])]) -> Rig {
    whole::settled(start(program, settings, files))
}

/// The same while its backends may still be loading.
pub(crate) fn start(program: &Path, settings: &str, files: &[(&str, &[u8])]) -> Rig {
    let tone = clips::tone(30);
    let files = [files, &[("tone.wav", tone.as_slice())]].concat();
    Rig::start_with(program, settings, &files, Some(prepared().path())).unwrap()
}

/// Avatars of servers that have shown the built-in one with each backend, the built-in demo among them: drawing and
/// preparing it takes seconds, once.
fn prepared() -> &'static TempDir {
    static PREPARED: OnceLock<TempDir> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        for order in ["\"probe\"", "\"chaos\"", ""] {
            let avatars = Some(folder.path());
            let rig = Rig::start_with(program(), &settings(order, "", ""), &[], avatars).unwrap();
            let rig = whole::settled(rig);
            let started = whole::post(&rig, "/api/webrtc/realtime/start?session_id=first", "");
            assert_eq!(started.status, 200, "{started:?}");
            let mut copy = Command::new("cp");
            copy.arg("-r").arg(rig.folder().join("data/avatars/.")).arg(folder.path());
            assert!(copy.status().unwrap().success());
        }
        folder
    })
}

/// Starts a session that speaks, and watches it for `seconds`.
pub(crate) fn watch(rig: &Rig, seconds: u32) -> Value {
    watch_as(rig, "demo", seconds, Some("audio_path=tone.wav"))
}

/// Watches `session` for `seconds`, which is started first with the query `start`.
pub(crate) fn watch_as(rig: &Rig, session: &str, seconds: u32, start: Option<&str>) -> Value {
    let seconds = seconds.to_string();
    let mut arguments = vec!["--session", session, "--seconds", &seconds];
    arguments.extend(start.iter().flat_map(|start| ["--start", start]));
    whole::watch(Client::Aiortc, rig, &arguments)
}

/// How many pictures the backend with `tag` drew; `None`: those of no backend that can be told.
pub(crate) fn drawn_by(report: &Value, tag: Option<i64>) -> i64 {
    let runs = report["drawn"].as_array().unwrap_or_else(|| panic!("nothing drawn in {report}"));
    runs.iter().filter(|run| run[0].as_i64() == tag).filter_map(|run| run[2].as_i64()).sum()
}

/// The probe's tag, and the chaos backend's.
pub(crate) const PROBE: Option<i64> = Some(0);
pub(crate) const CHAOS: Option<i64> = Some(1);

/// The speech was drawn frame by frame by the backend with `tag` alone, and each number came once and in order.
pub(crate) fn assert_flawless(report: &Value, tag: Option<i64>) {
    assert_continuous(report);
    for wrong in ["missed", "repeated", "backwards"] {
        assert_eq!(report["ids"][wrong], 0, "{wrong}: {report}");
    }
    let seconds = report["seconds"].as_f64().unwrap();
    assert!(drawn_by(report, tag) as f64 >= 25.0 * (seconds - 3.0), "{report}");
    let read = report["ids"]["read"].as_i64().unwrap();
    assert_eq!(drawn_by(report, tag), read, "others drew too: {report}");
}

/// The control of every row that watches the chaos backend before the probe: without a fault the chaos backend draws
/// every frame. It is run once.
pub(crate) fn assert_control() {
    static CONTROL: OnceLock<()> = OnceLock::new();
    CONTROL.get_or_init(|| {
        let mut rig = serve(&chaos_before_probe(""));
        assert_flawless(&watch(&rig, 5), CHAOS);
        assert_eq!((restarts(&rig, "chaos"), warnings(&rig, "chaos")), (0, Vec::new()));
        assert_alive(&mut rig);
    });
}

/// Picture and sound go on without a gap on the media clock: no renegotiation, no jump, no hole.
pub(crate) fn assert_continuous(report: &Value) {
    let steps = |track: &str| {
        report[track].as_object().unwrap_or_else(|| panic!("no {track}: {report}")).keys().cloned().collect()
    };
    let (video, audio): (Vec<String>, Vec<String>) = (steps("rtp_steps"), steps("audio_steps"));
    assert_eq!(video, ["3600"], "{report}");
    assert_eq!(audio, ["960"], "{report}");
}

/// What a viewer saw of a fault: nothing wrong, no gap, and no more than `most` pictures in a row that were not the
/// frame's own (held, or the avatar's).
pub(crate) fn assert_survived(report: &Value, most: i64) {
    assert_continuous(report);
    let shown = &report["shown"];
    assert_eq!(shown["wrong"], 0, "{report}");
    assert_eq!(report["ids"]["backwards"], 0, "{report}");
    assert!(shown["longest_disturbance"].as_i64().unwrap() <= most, "{report}");
    let (frames, seconds) = (report["video_frames"].as_f64().unwrap(), report["seconds"].as_f64().unwrap());
    assert!(frames >= 25.0 * (seconds - 2.0), "{report}");
}

/// Who drew, in the order of their turns.
pub(crate) fn turns(report: &Value) -> Vec<i64> {
    let runs = report["drawn"].as_array().unwrap_or_else(|| panic!("nothing drawn in {report}"));
    let mut tags: Vec<i64> = runs.iter().filter_map(|run| run[0].as_i64()).collect();
    tags.dedup();
    tags
}

/// How often `/ready` says that the backend `name` was started again.
pub(crate) fn restarts(rig: &Rig, name: &str) -> u64 {
    backend(rig, name)["restarts"].as_u64().unwrap_or(0)
}

/// The process of the backend `name`.
pub(crate) fn process(rig: &Rig, name: &str) -> u32 {
    running(rig, name).unwrap_or_else(|| panic!("{name} has no process"))
}

/// The process of the backend `name`, unless it has none at the moment.
pub(crate) fn running(rig: &Rig, name: &str) -> Option<u32> {
    backend(rig, name)["process"].as_u64().map(|process| process as u32)
}

/// What `/ready` says of the backend `name`.
pub(crate) fn backend(rig: &Rig, name: &str) -> Value {
    let ready = get(rig, "/ready").json();
    let all = ready["backends"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|backend| backend["name"] == name).unwrap_or_else(|| panic!("no {name} in {ready}"))
}

/// Waits until `reached`, ten seconds at most; gives the time it took.
pub(crate) fn until(what: &str, reached: impl FnMut() -> bool) -> Duration {
    until_within(Duration::from_secs(10), what, reached)
}

/// As [`until`], for as long as `most`.
pub(crate) fn until_within(most: Duration, what: &str, mut reached: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < most, "in {} seconds not: {what}", most.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}

/// The lines of warning and worse in which the server names the backend `name`.
pub(crate) fn warnings(rig: &Rig, name: &str) -> Vec<String> {
    let of = |line: &&str| {
        let level = [" WARN ", "ERROR "].iter().any(|level| line.contains(level));
        level && line.contains(&format!("\"{name}\""))
    };
    rig.log().lines().filter(of).map(str::to_owned).collect()
}

/// Panics of the server itself, as its threads print them; those of backends are lines of its log.
pub(crate) fn panics(rig: &Rig) -> Vec<String> {
    let own = |line: &&str| line.starts_with("thread '") && line.contains("panicked");
    rig.log().lines().filter(own).map(str::to_owned).collect()
}

/// Nothing in the engine panicked, and the server still answers.
pub(crate) fn assert_alive(rig: &mut Rig) {
    assert_eq!(rig.ended(), None, "{}", rig.log());
    assert_eq!(get(rig, "/health").status, 200);
    assert!(panics(rig).is_empty(), "{}", rig.log());
}

pub(crate) fn signal(process: u32, signal: Signal) {
    kill_process(Pid::from_raw(process as i32).expect("a process id"), signal).unwrap();
}

/// The processes that `parent` started and that still run, with what they started.
pub(crate) fn descendants(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let of = |pid: u32| stat(pid)?.get(1)?.parse::<u32>().ok();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    for pid in all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if of(pid) == Some(parent) && state_of(pid) != Some('Z') {
            found.push(pid);
            found.extend(descendants(pid));
        }
    }
    found
}

/// The words of `/proc/PID/stat` behind the program's name: state, parent, and so on.
pub(crate) fn stat(process: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(stat.rsplit(") ").next()?.split(' ').map(str::to_owned).collect())
}

/// `R`, `S`, `Z`, …; `None` when there is no such process.
pub(crate) fn state_of(process: u32) -> Option<char> {
    stat(process)?.first()?.chars().next()
}

/// Processor time that a process has used, all its threads together.
pub(crate) fn processor_time(process: u32) -> Duration {
    let words = stat(process).unwrap_or_else(|| panic!("no process {process}"));
    let ticks: u64 = words[11..13].iter().map(|word| word.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
}

/// Milliseconds, for records.
pub(crate) fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

/// The program, started by a line of shell: `before` comes first, the settings' folder is `$HERE`.
pub(crate) fn wrapped(folder: &Path, before: &str) -> PathBuf {
    let script = folder.join("lipcast-wrapped");
    let text =
        format!("#!/bin/sh\nset -e\nHERE=$(dirname \"$2\")\n{before} exec {} \"$@\"\n", program().display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

/// The same choices in every run (splitmix64).
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    /// 0 up to `limit`, which it never is.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}
