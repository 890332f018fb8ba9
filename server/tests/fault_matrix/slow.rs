//! Row 10: a backend slower than real time. What a viewer sees and hears of it, and who is turned away.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use lipcast_server::bench::rig::{Client, Rig};
use lipcast_server::bench::sync;
use serde_json::Value;

use crate::metrics::Figures;
use crate::row::Row;
use crate::scene::{
    CHAOS, PROBE, assert_alive, assert_continuous, assert_flawless, backend, chaos_before_probe, drawn_by,
    serve, serve_by, turns, watch, watch_as,
};
use crate::whole::{self, get, program};

/// The chaos backend alone, each of whose frames takes so many milliseconds; nobody takes over.
fn alone(milliseconds: u64) -> Rig {
    let faults = match milliseconds {
        0 => String::new(),
        ms => format!("{{ in = \"infer_batch\", do = \"hang\", ms = {ms} }}"),
    };
    let settings = format!(
        "[session]\nrender_ahead = \"200ms\"\n[engine]\nbackends = [\"chaos\"]\nstandby = \"none\"\n\
         [backend.chaos]\nlibrary = \"liblipcast_chaos.so\"\n[backend.chaos.config]\nfaults = [{faults}]\n"
    );
    serve_by(program(), &settings, &[("clicks.wav", &sync::clicks(60))])
}

fn watch_clicks(rig: &Rig, seconds: u32) -> Value {
    let seconds = seconds.to_string();
    whole::watch(
        Client::Aiortc,
        rig,
        &["--session", "demo", "--seconds", &seconds, "--start", "audio_path=clicks.wav"],
    )
}

/// Status, `Retry-After` and body of an attempt to start the session `name`.
fn start(rig: &Rig, name: &str) -> (u16, Option<u64>, Value) {
    let address = rig.url().rsplit('/').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /api/webrtc/realtime/start?session_id={name} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let retry = head.lines().find_map(|line| line.to_lowercase().strip_prefix("retry-after: ")?.parse().ok());
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, retry, serde_json::from_str(body).unwrap_or_default())
}

/// The sound is whole: every packet in its place, and the clicks a second apart.
fn assert_sound(report: &Value) {
    assert_continuous(report);
    let clicks = report["between_clicks"].as_array().unwrap();
    let seconds = report["seconds"].as_f64().unwrap();
    assert!(clicks.len() as f64 >= seconds - 4.0, "{report}");
    assert!(clicks.iter().all(|step| (step.as_f64().unwrap() - 1.0).abs() < 0.002), "{report}");
}

/// How far the sound is ahead of the picture from second five on, milliseconds: at nine clicks in ten, and at the worst.
/// A machine that has other things to do may make a single picture late.
fn offsets(report: &Value) -> (f64, f64) {
    let offsets = report["av_offsets"].as_array().unwrap_or_else(|| panic!("no offsets: {report}"));
    let number = |value: &Value| value.as_f64().unwrap();
    let mut settled: Vec<f64> =
        offsets.iter().filter(|pair| number(&pair[0]) >= 5.0).map(|pair| number(&pair[1]).abs()).collect();
    assert!(settled.len() >= 3, "{report}");
    settled.sort_by(f64::total_cmp);
    (settled[(settled.len() * 9).div_ceil(10) - 1], settled[settled.len() - 1])
}

/// One picture in how many is drawn for most of the second half, if that is a regular beat: it may change now and then,
/// as after a moment in which the whole machine stood still, but not from picture to picture.
fn beat(report: &Value) -> i64 {
    let number = |value: &Value| value.as_i64().unwrap();
    let runs = report["ids"]["late_beat"].as_array().unwrap();
    let mut pictures = std::collections::BTreeMap::<i64, i64>::new();
    for run in runs {
        *pictures.entry(number(&run[0])).or_default() += number(&run[1]);
    }
    let all: i64 = pictures.values().sum();
    assert!(runs.len() as i64 * 10 <= all, "no regular beat: {report}");
    pictures.into_iter().max_by_key(|(_, count)| *count).map(|(step, _)| step).unwrap()
}

#[test]
fn row_10_slower_than_real_time() {
    let mut row = Row::begin_alone(
        "each frame takes 60 ms at 25 frames a second, for 30 seconds, and nobody can take over",
        "every second picture is drawn, in a regular beat, and fewer of one that is slower still; new sessions are \
         refused with 503 and Retry-After; the sound is untouched, and less than 80 ms ahead of the picture",
    );
    let mut rig = alone(60);
    let before = Figures::of(&rig);
    let (report, refused, told) = std::thread::scope(|scope| {
        let watched = scope.spawn(|| watch_clicks(&rig, 30));
        std::thread::sleep(Duration::from_secs(12));
        let refused = [start(&rig, "second"), start(&rig, "third")];
        let told = backend(&rig, "chaos");
        (watched.join().unwrap(), refused, told)
    });
    let after = Figures::of(&rig);
    assert_sound(&report);
    for (status, retry, body) in &refused {
        assert_eq!((*status, retry.is_some()), (503, true), "{body}");
        assert!(body["detail"].as_str().unwrap().contains("no backend has room"), "{body}");
    }
    row.measured("capacity_fps_told", told["capacity_fps"].clone());
    assert!((1..25).contains(&told["capacity_fps"].as_u64().unwrap()), "{told}");
    assert_eq!(told["load_fps"], 25, "{told}");
    assert_eq!(after.since(&before, "lipcast_rejected_total{reason=\"capacity\"}"), 2.0);
    let one_in = beat(&report);
    row.measured("one_picture_in", one_in);
    assert!((2..=3).contains(&one_in), "60 ms are two frames, with something left over: {report}");
    let (usual, worst) = offsets(&report);
    row.measured("av_offset_ms_at_nine_clicks_in_ten", usual);
    row.measured("worst_av_offset_ms", worst);
    assert!(usual < 80.0 && worst < 200.0, "{report}");
    assert_eq!(report["shown"]["wrong"], 0, "{report}");
    row.measured("longest_disturbance", report["shown"]["longest_disturbance"].clone());
    let shed = after.since(&before, "lipcast_frames_shed_total");
    row.measured("frames_not_asked_for", shed);
    assert!(shed >= 200.0, "{shed} of 750");
    assert_eq!(turns(&report), [1], "{report}");
    assert_alive(&mut rig);

    // Slower still: fewer, as regular.
    let mut rig = alone(110);
    let report = watch_clicks(&rig, 14);
    assert_sound(&report);
    let one_in = beat(&report);
    row.measured("one_picture_in_at_110_ms", one_in);
    assert!((3..=4).contains(&one_in), "{report}");
    assert_alive(&mut rig);

    let control = alone(0);
    let report = watch_clicks(&control, 10);
    assert_flawless(&report, CHAOS);
    assert_sound(&report);
    let (_, worst) = offsets(&report);
    row.measured("control_worst_av_offset_ms", worst);
    assert!(worst < 5.0, "{report}");
    assert_eq!(start(&control, "second").0, 200);
    assert_eq!(Figures::of(&control).value("lipcast_frames_shed_total"), 0.0);
}

#[test]
fn row_10_another_backend_takes_over() {
    let mut row = Row::begin(
        "each frame of the preferred backend takes 60 ms, and another one stands by",
        "the session moves to the other and stays there; new sessions begin there; nothing is refused",
    );
    let mut rig = serve(&chaos_before_probe("{ in = \"infer_batch\", do = \"hang\", ms = 60 }"));
    let report = watch(&rig, 10);
    assert_continuous(&report);
    assert_eq!(report["shown"]["wrong"], 0, "{report}");
    // It is left before or just after its first picture, and would be returned to after a second were it not known.
    assert!([vec![1, 0], vec![0]].contains(&turns(&report)), "{report}");
    row.measured("drawn_before_it_moved", drawn_by(&report, CHAOS));
    row.measured("longest_disturbance", report["shown"]["longest_disturbance"].clone());
    let figures = Figures::of(&rig);
    assert_eq!(figures.value("lipcast_failovers_total{reason=\"late\"}"), 1.0);
    assert_eq!(figures.value("lipcast_failovers_total{reason=\"return\"}"), 0.0);
    assert_flawless(&watch_as(&rig, "second", 5, Some("audio_path=tone.wav")), PROBE);
    assert_eq!(get(&rig, "/v1/sessions/second").json()["moves"], 0);
    assert_alive(&mut rig);
}
