//! Rows 35, 37 and 38: the server itself, when every backend is lost, when it has a bug, and at the system's limits.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lipcast_server::bench::rig::Rig;
use rustix::process::Signal;
use serde_json::Value;

use crate::drain::follow;
use crate::preload::Preloaded;
use crate::row::Row;
use crate::scene::{
    CHAOS, assert_alive, assert_continuous, assert_flawless, assert_survived, backend, chaos_before_probe,
    drawn_by, ms, panics, process, processor_time, restarts, serve, serve_by, settings, signal, start, turns,
    until, warnings, watch, watch_as, wrapped,
};
use crate::session::{AT_A_LOSS, record};
use crate::whole::{get, post, program};

const SPEAK: &str = "audio_path=tone.wav";

/// Processor time of the server and its backends in three seconds in which nothing is asked of it.
fn at_rest(rig: &Rig) -> Duration {
    let used = || {
        let all = crate::scene::descendants(rig.process_id());
        all.into_iter().map(processor_time).sum::<Duration>() + processor_time(rig.process_id())
    };
    let before = used();
    std::thread::sleep(Duration::from_secs(3));
    used().saturating_sub(before)
}

#[test]
fn row_35_every_backend_crashes_again_and_again() {
    let mut row = Row::begin(
        "two backends abort a moment after they have come up, every time; a third crashes in create",
        "the two are tried again, after waits that grow, and then given up, the third at once; the built-in demo serves, \
         /ready says degraded and why, and from then on the processor has nothing to do",
    );
    let fault = "{ in = \"health\", do = \"abort\" }";
    let second = format!(
        "[backend.second]\nlibrary = \"liblipcast_chaos.so\"\n[backend.second.config]\nfaults = [{fault}]\n"
    );
    let third = "[backend.third]\nlibrary = \"data/media/third.so\"\n[backend.third.config]\n\
                 faults = [{ in = \"create\", do = \"crash\" }]\n";
    let text = settings("\"chaos\", \"second\", \"third\"", "", fault) + &second + third;
    let library = std::fs::read(program().with_file_name("plugins/liblipcast_chaos.so")).unwrap();
    let mut rig = start(program(), &text, &[("third.so", &library)]);
    for name in ["chaos", "second"] {
        until("it is given up", || backend(&rig, name)["state"] == "quarantined");
        let told = backend(&rig, name);
        assert!(told["detail"].as_str().unwrap().contains("SIGABRT"), "{told}");
        // Before the first frame a death counts twice: three make five.
        assert_eq!(restarts(&rig, name), 2, "{told}");
        assert_eq!(warnings(&rig, name).len(), 3, "two losses and the end of it: {}", rig.log());
    }
    assert_eq!((&backend(&rig, "third")["state"], restarts(&rig, "third")), (&"failed".into(), 0));
    let ready = get(&rig, "/ready");
    assert_eq!((ready.status, &ready.json()["status"]), (200, &"degraded".into()), "{ready:?}");
    assert_eq!(ready.json()["serving"], "demo (built in)");
    let report = watch(&rig, 5);
    assert_continuous(&report);
    assert_eq!(drawn_by(&report, None), report["video_frames"].as_i64().unwrap(), "{report}");
    let stopped = crate::whole::request(&rig, "DELETE", "/v1/sessions/demo", "", b"");
    assert_eq!(stopped.status, 204);
    let given_up = at_rest(&rig);
    assert_eq!(["chaos", "second", "third"].map(|name| restarts(&rig, name)), [2, 2, 0], "nobody tries on");
    assert_alive(&mut rig);

    let mut control = serve(&chaos_before_probe(""));
    assert_flawless(&watch(&control, 5), CHAOS);
    crate::whole::request(&control, "DELETE", "/v1/sessions/demo", "", b"");
    let healthy = at_rest(&control);
    row.measured("processor_ms_in_3_s", ms(given_up));
    row.measured("processor_ms_in_3_s_when_healthy", ms(healthy));
    // A thread that spins takes three seconds of them.
    assert!(given_up < Duration::from_millis(300), "{given_up:?}");
    assert!(given_up < healthy + Duration::from_millis(150), "{given_up:?} against {healthy:?}");
    assert_alive(&mut control);
}

#[test]
fn row_37_a_panic_in_the_engine() {
    let mut row = Row::begin(
        "a panic in the thread of one of three sessions; then one in the thread that keeps the backend they use",
        "the first ends that session, which is told why, and no other; the second is a lost backend: another one draws, \
         and a reload brings it back; the server lives",
    );
    let faults = Preloaded::new();
    let mut rig = serve_by(&faults.program, &chaos_before_probe(""), &[]);
    let (reports, events) = std::thread::scope(|scope| {
        let watched = ["a", "b", "c"].map(|session| {
            let rig = &rig;
            scope.spawn(move || watch_as(rig, session, 9, Some(SPEAK)))
        });
        until("all of them speak", || {
            let viewers =
                |session: &str| get(&rig, &format!("/v1/sessions/{session}")).json()["viewers"] == 1;
            ["a", "b", "c"].iter().all(|session| viewers(session))
        });
        let events = scope.spawn(|| follow(&rig, "b"));
        std::thread::sleep(Duration::from_secs(2));
        faults.panic("session b");
        until("it has ended", || get(&rig, "/v1/sessions/b").status == 404);
        let running = get(&rig, "/v1/sessions").json()["sessions"].as_array().map_or(0, Vec::len);
        assert_eq!(running, 2, "{}", rig.log());
        std::thread::sleep(Duration::from_secs(2));
        faults.panic("backend chaos");
        (watched.map(|watched| watched.join().unwrap()), events.join().unwrap())
    });
    let [a, b, c] = &reports;
    for (session, report) in [("a", a), ("c", c)] {
        record(&mut row, session, report);
        assert_survived(report, AT_A_LOSS);
        assert_eq!(turns(report), [1, 0], "{report}");
    }
    assert_continuous(b);
    assert!(b["ended_ms"].as_i64() < a["ended_ms"].as_i64(), "{b}");
    assert_eq!(events, ["ended"], "{}", rig.log());
    assert!(rig.log().contains("the session ends: its thread panicked"), "{}", rig.log());
    assert_eq!(panics(&rig).len(), 2, "{}", rig.log());
    let told = backend(&rig, "chaos");
    assert!(told["detail"].as_str().unwrap().contains("panicked"), "{told}");

    assert_eq!(post(&rig, "/v1/backends/chaos/reload", "").status, 200, "{}", rig.log());
    // The control: the same server, of which nothing is asked to fail.
    assert_flawless(&watch_as(&rig, "b", 4, Some(SPEAK)), CHAOS);
    assert_eq!(rig.ended(), None);
    assert_eq!(panics(&rig).len(), 2, "{}", rig.log());
}

#[test]
fn row_38_descriptors_run_out() {
    let mut row = Row::begin(
        "connections that say nothing take every descriptor that the server may have, and the backend that draws is \
         killed meanwhile",
        "accepting waits between its attempts, the session that runs goes on with the built-in demo, since no process \
         can be started; when they have gone, all is as before",
    );
    let folder = tempfile::tempdir().unwrap();
    let few = wrapped(folder.path(), &format!("ulimit -n {DESCRIPTORS};"));
    let mut rig = serve_by(&few, &settings("\"chaos\"", "", ""), &[]);
    let (report, exhausted) = std::thread::scope(|scope| {
        let watched = scope.spawn(|| watch_as(&rig, "a", 12, Some(SPEAK)));
        until("it speaks", || get(&rig, "/v1/sessions/a").json()["viewers"] == 1);
        std::thread::sleep(Duration::from_secs(2));
        let chaos = process(&rig, "chaos");
        let mut connections = occupy(&rig);
        let begun = Instant::now();
        signal(chaos, Signal::KILL);
        // Its descriptors are free now.
        let address = rig.url().rsplit('/').next().unwrap();
        connections.extend((0..DESCRIPTORS / 2).map(|_| TcpStream::connect(address).unwrap()));
        until("it cannot be started", || rig.log().matches("Too many open files").count() > 3);
        let before = processor_time(rig.process_id());
        std::thread::sleep(Duration::from_secs(1));
        let used = processor_time(rig.process_id()).saturating_sub(before);
        drop(connections);
        let exhausted = begun.elapsed();
        row.measured("processor_ms_in_1_s", ms(used));
        assert!(used < Duration::from_millis(700), "{used:?} in a second");
        let back = until("the backend is back", || get(&rig, "/ready").json()["serving"] == "chaos");
        row.measured("back_after_ms", ms(back));
        (watched.join().unwrap(), exhausted)
    });
    record(&mut row, "watched", &report);
    row.measured("exhausted_ms", ms(exhausted));
    let refused = rig.log().matches("a connection could not be accepted").count() as u128;
    row.measured("attempts_to_accept", refused as u64);
    assert!((1..=2 + exhausted.as_millis() / 50).contains(&refused), "{refused} in {exhausted:?}");
    assert_continuous(&report);
    assert_eq!((&report["shown"]["wrong"], &report["shown"]["held"]), (&0.into(), &0.into()), "{report}");
    assert_eq!(drawers(&report), [CHAOS, None, CHAOS], "{report}");
    assert_flawless(&watch_as(&rig, "b", 4, Some(SPEAK)), CHAOS);
    assert_alive(&mut rig);
}

/// Enough for the server, a backend, and a session with a viewer.
const DESCRIPTORS: u32 = 96;

/// Connects until nobody takes the connections any more.
fn occupy(rig: &Rig) -> Vec<TcpStream> {
    let address = rig.url().rsplit('/').next().unwrap();
    let mut connections = Vec::new();
    until("the descriptors are used up", || {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(b"GET /health HTTP/1.1\r\n").unwrap();
        connections.push(connection);
        rig.log().contains("a connection could not be accepted")
    });
    connections
}

/// Who drew, in the order of their turns, the built-in demo (`None`) among them.
fn drawers(report: &Value) -> Vec<Option<i64>> {
    let runs = report["drawn"].as_array().unwrap();
    let mut tags: Vec<_> = runs.iter().map(|run| run[0].as_i64()).collect();
    // What comes before the first word is the avatar's own picture, which nobody draws.
    let spoken = tags.iter().position(Option::is_some).unwrap_or(0);
    tags.drain(..spoken);
    tags.dedup();
    tags
}

#[test]
fn row_38_threads_run_out() {
    let mut row = Row::begin(
        "no thread can be started for two seconds, in which sessions are asked for and the backend that draws is killed",
        "they are refused with 503, the session that runs goes on with another backend; then all is as before",
    );
    let faults = Preloaded::new();
    let mut rig = serve_by(&faults.program, &chaos_before_probe(""), &[]);
    let report = std::thread::scope(|scope| {
        let watched = scope.spawn(|| watch_as(&rig, "a", 10, Some(SPEAK)));
        until("it speaks", || get(&rig, "/v1/sessions/a").json()["viewers"] == 1);
        std::thread::sleep(Duration::from_secs(2));
        let chaos = process(&rig, "chaos");
        let guard = faults.without_threads();
        signal(chaos, Signal::KILL);
        for session in ["b", "c"] {
            let refused = post(&rig, &format!("/api/webrtc/realtime/start?session_id={session}&{SPEAK}"), "");
            assert_eq!(refused.status, 503, "{refused:?}: {}", rig.log());
            std::thread::sleep(Duration::from_secs(1));
        }
        drop(guard);
        let back = until("the backend is back", || get(&rig, "/ready").json()["serving"] == "chaos");
        row.measured("back_after_ms", ms(back));
        watched.join().unwrap()
    });
    record(&mut row, "watched", &report);
    assert_survived(&report, AT_A_LOSS);
    assert_eq!(turns(&report), [1, 0, 1], "{report}");
    assert_flawless(&watch_as(&rig, "b", 4, Some(SPEAK)), CHAOS);
    assert_alive(&mut rig);
}
