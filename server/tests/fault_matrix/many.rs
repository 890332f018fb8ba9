//! Row 6 once more, and much of 5 to 14: a hundred faults of many kinds in one run, under two viewers' eyes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lipcast_server::bench::rig::Rig;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::row::Row;
use crate::scene::{
    Seeded, assert_alive, assert_continuous, backend, process, processor_time, serve, signal, until,
    until_within, watch_as,
};
use crate::session::AT_A_LOSS;
use crate::whole::get;

/// Faults in the run.
const FAULTS: usize = 100;

/// A kind of fault.
struct Kind {
    name: &'static str,
    /// How many of the hundred.
    count: usize,
    how: How,
    /// Pictures in a row that a viewer may miss.
    most: i64,
    /// The process is lost with it.
    deadly: bool,
    /// Another backend draws, or may.
    moves: bool,
}

enum How {
    /// What the chaos backend does with the next frame.
    Act(&'static str),
    /// A signal from outside.
    Signal(Signal),
    /// SIGSTOP, and SIGCONT after so many milliseconds.
    Stop(u64),
}

/// Frames in a row that a hang may cost: two held, and those that are asked anew of another backend.
const AT_A_HANG: i64 = 6;

const fn act(name: &'static str, count: usize, act: &'static str, deadly: bool) -> Kind {
    Kind { name, count, how: How::Act(act), most: AT_A_LOSS, deadly, moves: deadly }
}

static KINDS: [Kind; 16] = [
    act("crash", 12, "do = \"crash\"", true),
    act("abort", 9, "do = \"abort\"", true),
    act("exit", 7, "do = \"exit\"", true),
    act("overrun", 7, "do = \"overrun\"", true),
    act("device_lost", 7, "do = \"fail\", code = \"DEVICE_LOST\"", true),
    act("ring", 5, "do = \"bad_ring\", what = \"all\"", true),
    act("talk", 5, "do = \"bad_talk\"", true),
    Kind {
        name: "killed",
        count: 10,
        how: How::Signal(Signal::KILL),
        most: AT_A_LOSS,
        deadly: true,
        moves: true,
    },
    Kind {
        name: "hang",
        count: 6,
        how: How::Act("do = \"hang\""),
        most: AT_A_HANG,
        deadly: true,
        moves: true,
    },
    act("error", 7, "do = \"fail\"", false),
    act("error_that_may_pass", 5, "do = \"fail\", retryable = true", false),
    act("nan", 5, "do = \"nan\"", false),
    act("no_result", 4, "do = \"no_result\"", false),
    Kind {
        name: "panic",
        count: 4,
        how: How::Act("do = \"panic\""),
        most: AT_A_LOSS,
        deadly: false,
        moves: true,
    },
    Kind {
        name: "late",
        count: 4,
        how: How::Act("do = \"hang\", ms = 150"),
        most: AT_A_LOSS,
        deadly: false,
        moves: true,
    },
    Kind { name: "stopped", count: 3, how: How::Stop(400), most: AT_A_HANG, deadly: false, moves: true },
];

/// Two chaos backends, which take over from each other, and the probe behind them. What a file names happens once.
fn text(folder: &Path) -> String {
    let mut faults = Vec::new();
    for kind in &KINDS {
        if let How::Act(act) = kind.how {
            let file = folder.join(kind.name);
            faults.push(format!("{{ in = \"infer_batch\", if_file = \"{}\", {act} }}", file.display()));
        }
    }
    let chaos = |name: &str, id: u32| {
        format!(
            "[backend.{name}]\nlibrary = \"liblipcast_chaos.so\"\nhard_deadline = \"1s\"\nmax_backoff = \"100ms\"\n\
             max_deaths = 1000\n[backend.{name}.config]\nid = {id}\nfaults = [{}]\n",
            faults.join(", ")
        )
    };
    "[session]\nrender_ahead = \"200ms\"\n\
     [engine]\nbackends = [\"first\", \"second\", \"probe\"]\nreturn_after = \"1s\"\n\
     [backend.probe]\nlibrary = \"liblipcast_probe.so\"\n"
        .to_owned()
        + &chaos("first", 1)
        + &chaos("second", 2)
}

/// The kinds in the order in which they happen: mixed, and the same in every run.
fn order() -> Vec<&'static Kind> {
    let mut order: Vec<&Kind> = KINDS.iter().flat_map(|kind| std::iter::repeat_n(kind, kind.count)).collect();
    let mut random = Seeded(100);
    for place in (1..order.len()).rev() {
        order.swap(place, random.below(place + 1));
    }
    order
}

/// A fault that happened.
struct Happened {
    kind: &'static Kind,
    /// Seconds of the clock on the wall.
    at: f64,
}

const SESSIONS: [&str; 2] = ["one", "two"];

fn session(rig: &Rig, name: &str) -> Value {
    get(rig, &format!("/v1/sessions/{name}")).json()
}

/// How long sessions may stay with the probe: backends that were late before anything was measured of them, as both
/// may be on a machine that stood still, are left alone for half a minute.
const RETURN: Duration = Duration::from_secs(45);

/// The chaos backend that draws for both sessions, once both have one.
fn lead(rig: &Rig) -> String {
    let mut found = String::new();
    until_within(RETURN, "a chaos backend draws for both", || {
        let [one, two] =
            SESSIONS.map(|name| session(rig, name)["backend"].as_str().unwrap_or_default().to_owned());
        found.clone_from(&one);
        one == two && ["first", "second"].contains(&one.as_str())
    });
    found
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Lets one fault happen, and waits until what is lost is there again and the sessions have somebody who could take
/// over.
fn inject(rig: &Rig, folder: &Path, kind: &'static Kind) -> Happened {
    let lead = lead(rig);
    let restarts = || ["first", "second"].map(|name| backend(rig, name)["restarts"].as_u64().unwrap());
    let before: u64 = restarts().iter().sum();
    let at = now();
    match kind.how {
        How::Act(_) => {
            let file: PathBuf = folder.join(kind.name);
            fs::write(&file, "").unwrap();
            until(kind.name, || !file.exists());
        }
        How::Signal(which) => signal(process(rig, &lead), which),
        How::Stop(ms) => {
            let stopped = process(rig, &lead);
            signal(stopped, Signal::STOP);
            std::thread::sleep(Duration::from_millis(ms));
            signal(stopped, Signal::CONT);
        }
    }
    if kind.deadly {
        until(&format!("after {}: the process is started anew", kind.name), || {
            restarts().iter().sum::<u64>() > before
        });
    }
    until("both are there", || ["first", "second"].iter().all(|name| backend(rig, name)["state"] == "ready"));
    // A session looks once a second who could take over, and opens it. Without a loss, what comes of the fault has left
    // after what is rendered ahead.
    std::thread::sleep(Duration::from_millis(if kind.moves { 1_000 } else { 500 }));
    Happened { kind, at }
}

#[test]
fn row_06_a_hundred_mixed_faults() {
    let mut row = Row::begin_alone(
        "a hundred faults in one run, in a mixed order: crash, abort, exit, SIGKILL, a device lost, an overrun, a \
         scribbled ring, nonsense over the socket, hangs, errors, NaN, no result, panics, late and stopped processes",
        "no session is lost, no picture is wrong, none comes twice out of turn, the sound has no gap; a viewer misses \
         three pictures at most at a loss, six at a hang or a process that is stopped",
    );
    assert_eq!(KINDS.iter().map(|kind| kind.count).sum::<usize>(), FAULTS);
    let folder = tempfile::tempdir().unwrap();
    let mut rig = serve(&text(folder.path()));
    let begun = std::time::Instant::now();
    let (happened, reports, used) = std::thread::scope(|scope| {
        let watched = SESSIONS.map(|name| {
            let rig = &rig;
            scope.spawn(move || watch_as(rig, name, LONGEST, Some("audio_path=tone.wav")))
        });
        // Speech without an end: half a minute after half a minute.
        let speech = json!({ "path": "tone.wav" }).to_string();
        for name in SESSIONS {
            until("it speaks", || session(&rig, name)["viewers"] == 1);
            for _ in 0..LONGEST / 30 {
                let queued = crate::whole::post(&rig, &format!("/v1/sessions/{name}/speech"), &speech);
                assert_eq!(queued.status, 202, "{queued:?}");
            }
        }
        std::thread::sleep(Duration::from_secs(2));
        let happened: Vec<Happened> =
            order().into_iter().map(|kind| inject(&rig, folder.path(), kind)).collect();
        let used = processor_time(rig.process_id());
        let running = get(&rig, "/v1/sessions").json()["sessions"].as_array().map_or(0, Vec::len);
        assert_eq!(running, SESSIONS.len(), "a session is lost: {}", rig.log());
        for name in SESSIONS {
            let stopped = crate::whole::request(&rig, "DELETE", &format!("/v1/sessions/{name}"), "", b"");
            assert_eq!(stopped.status, 204);
        }
        (happened, watched.map(|watched| watched.join().unwrap()), used)
    });
    row.measured("run_s", begun.elapsed().as_secs());
    row.measured("processor_s_of_the_server", used.as_secs());
    row.measured("faults", happened.len());
    assert_eq!(happened.len(), FAULTS);
    let lost: u64 =
        ["first", "second"].iter().map(|name| backend(&rig, name)["restarts"].as_u64().unwrap()).sum();
    row.measured("processes_started_anew", lost);
    // Each deadly one cost one process, and nothing else cost any.
    let deadly: usize = KINDS.iter().filter(|kind| kind.deadly).map(|kind| kind.count).sum();
    assert_eq!(lost, deadly as u64, "{}", rig.log());
    let mut worst: BTreeMap<&str, i64> = BTreeMap::new();
    for (name, report) in SESSIONS.iter().zip(&reports) {
        assert_continuous(report);
        assert_eq!(
            (&report["shown"]["wrong"], &report["ids"]["backwards"]),
            (&0.into(), &0.into()),
            "{report}"
        );
        for disturbance in report["disturbances"].as_array().unwrap() {
            let (at, pictures) = (disturbance[0].as_f64().unwrap(), disturbance[1].as_i64().unwrap());
            // What comes before the first fault is the control: nothing may be seen there.
            let cause = happened.iter().rev().find(|fault| fault.at <= at);
            let cause = cause.unwrap_or_else(|| panic!("{pictures} pictures before any fault: {report}"));
            let worst = worst.entry(cause.kind.name).or_default();
            *worst = pictures.max(*worst);
            assert!(
                pictures <= cause.kind.most,
                "{pictures} pictures after {}: {}",
                cause.kind.name,
                rig.log()
            );
        }
        row.measured(&format!("{name}_held"), report["shown"]["held"].clone());
        row.measured(&format!("{name}_own"), report["shown"]["own"].clone());
        row.measured(&format!("{name}_longest_gap_ms"), report["longest_gap_ms"].clone());
    }
    for (kind, pictures) in worst {
        row.measured(&format!("longest_after_{kind}"), pictures);
    }
    assert_alive(&mut rig);
}

/// Seconds that the viewers stay at most.
const LONGEST: u32 = 300;
