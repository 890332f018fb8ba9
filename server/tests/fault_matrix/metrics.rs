//! What `/metrics` says of the faults of several rows, before and after.

use std::collections::BTreeMap;
use std::time::Duration;

use lipcast_server::bench::rig::Rig;
use rustix::process::Signal;

use crate::row::Row;
use crate::scene::{
    CHAOS, assert_alive, assert_flawless, assert_survived, chaos_before_probe, process, restarts, running,
    serve, settings, signal, turns, until, watch,
};
use crate::whole::get;

/// The figures of a server at one moment, by name and labels as they are written.
#[derive(Debug)]
pub(crate) struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// Those of `rig`.
    pub(crate) fn of(rig: &Rig) -> Self {
        let reply = get(rig, "/metrics");
        assert_eq!(reply.status, 200, "{reply:?}");
        // Long answers come in chunks, whose sizes stand between the lines.
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            (!line.starts_with('#')).then_some(())?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self(reply.body.lines().filter_map(sample).collect())
    }

    /// One of them, which has to be there.
    pub(crate) fn value(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no {name} in {self:#?}"))
    }

    /// How much it has grown since `before`.
    pub(crate) fn since(&self, before: &Self, name: &str) -> f64 {
        self.value(name) - before.value(name)
    }

    /// The state that `backend` is in: one of them alone.
    fn state(&self, backend: &str) -> String {
        let prefix = format!("lipcast_backend_state{{backend=\"{backend}\",state=\"");
        let of = self.0.iter().filter_map(|(name, value)| Some((name.strip_prefix(&prefix)?, *value)));
        let on: Vec<_> = of.filter(|(_, value)| *value == 1.0).collect();
        assert_eq!(on.len(), 1, "{self:#?}");
        on[0].0.trim_end_matches("\"}").to_owned()
    }

    fn chaos(&self, name: &str) -> f64 {
        self.value(&format!("lipcast_{name}{{backend=\"chaos\"}}"))
    }

    fn restarts(&self, reason: &str) -> f64 {
        self.value(&format!("lipcast_backend_restarts_total{{backend=\"chaos\",reason=\"{reason}\"}}"))
    }

    fn failovers(&self, reason: &str) -> f64 {
        self.value(&format!("lipcast_failovers_total{{reason=\"{reason}\"}}"))
    }

    fn frames(&self, source: &str) -> f64 {
        self.value(&format!("lipcast_frames_total{{source=\"{source}\"}}"))
    }

    /// Nothing went wrong.
    fn assert_clean(&self) {
        for (name, value) in &self.0 {
            let bad = [
                "failovers",
                "restarts",
                "hard_kill",
                "bad_output",
                "panic",
                "dropped",
                "rejected",
                "failed",
            ];
            assert!(*value == 0.0 || bad.iter().all(|bad| !name.contains(bad)), "{name} {value}");
        }
    }
}

#[test]
fn row_01_a_refused_backend_in_the_figures() {
    let _row = Row::begin(
        "a backend's create returns an error",
        "backend_state says failed of it and ready of the next; without the fault, ready of both",
    );
    let fails = "{ in = \"create\", do = \"fail\", code = \"MODEL_MISSING\", message = \"no weights\" }";
    let rig = serve(&chaos_before_probe(fails));
    let figures = Figures::of(&rig);
    assert_eq!((figures.state("chaos"), figures.state("probe")), ("failed".into(), "ready".into()));
    let control = Figures::of(&serve(&chaos_before_probe("")));
    assert_eq!((control.state("chaos"), control.state("probe")), ("ready".into(), "ready".into()));
    control.assert_clean();
}

#[test]
fn row_05_errors_in_the_figures() {
    let _row = Row::begin(
        "every frame fails from the fiftieth on",
        "a failover for failing, frames of a standby after it; without the fault none of either",
    );
    let mut rig = serve(&chaos_before_probe("{ in = \"infer_batch\", do = \"fail\", at_frame = 50 }"));
    let before = Figures::of(&rig);
    before.assert_clean();
    assert_eq!(turns(&watch(&rig, 5)), [1, 0]);
    let after = Figures::of(&rig);
    // It is tried again after a second, and fails again.
    assert!(after.failovers("failing") >= 1.0 && after.failovers("lost") == 0.0, "{after:#?}");
    assert!(after.frames("standby") >= 25.0 && after.frames("backend") >= 40.0, "{after:#?}");
    assert!(after.value("lipcast_frames_failed_total") >= 5.0, "{after:#?}");
    assert_alive(&mut rig);

    let control = serve(&chaos_before_probe(""));
    let report = watch(&control, 5);
    assert_flawless(&report, CHAOS);
    let after = Figures::of(&control);
    after.assert_clean();
    assert_eq!((after.frames("standby"), after.frames("hold")), (0.0, 0.0));
    assert!(after.frames("backend") >= report["ids"]["read"].as_f64().unwrap(), "{after:#?}");
    // Each of them was in a batch, was composed and encoded once.
    let batches = after.chaos("batch_size_frames_sum");
    assert!(batches >= after.frames("backend"), "{after:#?}");
    assert_eq!(after.chaos("inference_duration_seconds_count"), after.chaos("batch_size_frames_count"));
    let encoded = after.value("lipcast_encode_duration_seconds_count{codec=\"h264\"}");
    let video = report["video_frames"].as_f64().unwrap();
    assert!(
        encoded >= video && encoded <= after.value("lipcast_compose_duration_seconds_count"),
        "{after:#?}"
    );
    assert!(after.chaos("host_rss_bytes") > 1e6, "{after:#?}");
}

#[test]
fn row_06_a_crash_in_the_figures() {
    let mut row = Row::begin(
        "SIGSEGV in mid-sentence, then a call that hangs",
        "one restart each, by its reason; one failover and one return each; one hard kill for the hang",
    );
    for (fault, reason, kills, lost) in [("crash", "crash", 0.0, "lost"), ("hang", "hang", 1.0, "late")] {
        let folder = tempfile::tempdir().unwrap();
        let once = folder.path().join("once");
        let fault = format!(
            "{{ in = \"infer_batch\", do = \"{fault}\", at_frame = 50, unless_file = \"{}\" }}",
            once.display()
        );
        let mut rig = serve(&chaos_before_probe(&fault));
        let report = watch(&rig, 9);
        assert_survived(&report, 6);
        let after = Figures::of(&rig);
        assert_eq!(after.restarts(reason), 1.0, "{after:#?}");
        assert_eq!(restarts(&rig, "chaos"), 1);
        assert_eq!(after.chaos("hard_kill_total"), kills, "{after:#?}");
        assert_eq!((after.failovers(lost), after.failovers("return")), (1.0, 1.0), "{after:#?}");
        row.measured(&format!("{reason}_missed"), after.chaos("soft_deadline_miss_total"));
        assert_alive(&mut rig);
    }
}

#[test]
fn row_08_missed_frames_in_the_figures() {
    let mut row = Row::begin(
        "the backend's process is stopped for half a second in mid-sentence",
        "the frames that it missed are counted; no restart, no kill; before the stop none was missed",
    );
    let mut rig = serve(&chaos_before_probe(""));
    let chaos = process(&rig, "chaos");
    let (before, after) = std::thread::scope(|scope| {
        let watched = scope.spawn(|| watch(&rig, 7));
        std::thread::sleep(Duration::from_secs(3));
        let before = Figures::of(&rig);
        signal(chaos, Signal::STOP);
        std::thread::sleep(Duration::from_millis(500));
        signal(chaos, Signal::CONT);
        watched.join().unwrap();
        (before, Figures::of(&rig))
    });
    let missed = after.since(&before, "lipcast_soft_deadline_miss_total{backend=\"chaos\"}");
    row.measured("missed_before", before.chaos("soft_deadline_miss_total"));
    row.measured("missed_by_the_stop", missed);
    assert!(missed >= 1.0, "{after:#?}");
    assert_eq!((after.chaos("hard_kill_total"), restarts(&rig, "chaos")), (0.0, 0));
    assert_alive(&mut rig);
}

#[test]
fn row_09_bad_output_in_the_figures() {
    let _row =
        Row::begin("NaN in the output, three times", "three results are counted as bad; without it none");
    let nan = "{ in = \"infer_batch\", do = \"nan\", at_frame = 40, every = 10, times = 3 }";
    let mut rig = serve(&chaos_before_probe(nan));
    assert_survived(&watch(&rig, 5), 1);
    let after = Figures::of(&rig);
    assert_eq!(after.chaos("bad_output_total"), 3.0, "{after:#?}");
    assert_eq!(after.value("lipcast_frames_failed_total"), 3.0, "{after:#?}");
    assert_alive(&mut rig);
    let control = serve(&chaos_before_probe(""));
    watch(&control, 4);
    assert_eq!(Figures::of(&control).chaos("bad_output_total"), 0.0);
}

#[test]
fn row_15_dropped_lines_in_the_figures() {
    let _row = Row::begin("300 lines at a frame", "what is dropped is counted; without it nothing is");
    let log = "{ in = \"infer_batch\", do = \"log\", lines = 300, at_frame = 40, times = 1 }, \
               { in = \"infer_batch\", do = \"log\", lines = 1, at_frame = 90, times = 1 }";
    let mut rig = serve(&chaos_before_probe(log));
    assert_survived(&watch(&rig, 6), 3);
    let dropped = Figures::of(&rig).chaos("log_lines_dropped_total");
    assert!((150.0..=200.0).contains(&dropped), "{dropped}");
    assert_alive(&mut rig);
}

#[test]
fn row_35_a_crash_loop_in_the_figures() {
    let mut row = Row::begin(
        "the only backend's process is killed whenever it is ready",
        "backend_state says quarantined after three deaths before an answer; the restarts are counted by their reason",
    );
    let mut rig = serve(&settings("\"chaos\"", "", ""));
    Figures::of(&rig).assert_clean();
    let mut last = None;
    let mut killed = 0;
    loop {
        assert!(killed < 5, "{}", rig.log());
        // The figures of a process and the process are asked for one after the other; it may be gone in between.
        let mut found = None;
        until("it is up again, or no more", || {
            let state = Figures::of(&rig).state("chaos");
            found = running(&rig, "chaos").filter(|process| state == "ready" && Some(*process) != last);
            state == "quarantined" || found.is_some()
        });
        let Some(process) = found else { break };
        last = Some(process);
        signal(process, Signal::KILL);
        killed += 1;
    }
    row.measured("deaths", killed);
    let figures = Figures::of(&rig);
    assert_eq!((killed, figures.restarts("crash")), (3, 2.0), "{figures:#?}");
    assert_alive(&mut rig);
}
