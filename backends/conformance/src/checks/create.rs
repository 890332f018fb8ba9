//! Loading the backend with its settings, and letting it go.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lipcast_plugins_api::loader::{NoProgress, Progress};
use lipcast_plugins_api::types::{Code, HealthState};
use serde_json::{Value, json};

use super::load::inspect;
use super::{Check, Needs, check};
use crate::bench::{Bench, lock};
use crate::footprint::{Footprint, mib};
use crate::outcome::{Outcome, Passed, Trouble, fails, skipped, unexpected};
use crate::subject::{Fault, Inspect};

pub(super) const CHECKS: &[Check] = &[
    check(
        ("create", "settings"),
        "it is created with the given settings, describes itself and feels well",
        (Needs::Loaded, 600),
        settings,
    ),
    check(
        ("create", "odd_settings"),
        "settings of the wrong kind are refused with a line of text, or ignored",
        (Needs::Created, 60),
        odd_settings,
    ),
    check(
        ("create", "missing_model"),
        "a file that is not there is an error with text",
        (Needs::Created, 60),
        missing_model,
    ),
    check(
        ("create", "cancel"),
        "a create that is cancelled ends within a second",
        (Needs::Created, 60),
        cancel,
    ),
    check(
        ("create", "ends"),
        "it ends cleanly after its avatars and sessions are gone",
        (Needs::Created, 60),
        ends,
    ),
    check(
        ("create", "again"),
        "create and destroy twenty times leaves no threads, files or memory behind",
        (Needs::Created, 300),
        again,
    ),
];

/// Keeps what a long call reports; cancels it from the start if told to.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) cancel: AtomicBool,
    pub(super) asked: AtomicBool,
    reports: Mutex<Vec<u32>>,
}

impl Progress for Watch {
    fn is_cancelled(&self) -> bool {
        let cancelled = self.cancel.load(Ordering::Acquire);
        self.asked.fetch_or(cancelled, Ordering::AcqRel);
        cancelled
    }

    fn progress(&self, permille: u32, _stage: &str) {
        lock(&self.reports).push(permille);
    }
}

impl Watch {
    /// Progress may only grow.
    pub(super) fn is_monotone(&self, call: &str) -> Result<(), Trouble> {
        let reports = lock(&self.reports);
        match reports.windows(2).find(|pair| pair[1] < pair[0]) {
            Some(pair) => Err(fails(
                format!("{call}: progress went back from {} to {} permille", pair[0], pair[1]),
                "report how far the whole call is, 0 to 1000, never backwards",
            )),
            None => Ok(()),
        }
    }
}

/// What a call that was cancelled comes back with, and when.
pub(super) fn cancelled<T>(
    call: &str,
    took: Duration,
    result: Result<T, Fault>,
) -> Result<Option<T>, Trouble> {
    if took > Duration::from_secs(1) {
        return Err(fails(
            format!("{call} went on for {:.1} s after it was cancelled", took.as_secs_f64()),
            "ask is_cancelled every 100 ms, also while weights load, and return CANCELLED",
        ));
    }
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Fault::Said(error)) if error.code == Code::Cancelled => Ok(None),
        Err(Fault::Said(error)) => {
            Err(fails(format!("{call}, cancelled, failed: {error}"), "return CANCELLED"))
        }
        Err(lost) => Err(unexpected(&format!("{call}, cancelled"), lost)),
    }
}

fn settings(bench: &Bench) -> Outcome {
    let host = bench.launch()?;
    let (watch, begin) = (Watch::default(), Instant::now());
    host.create(&bench.options().config, &watch).map_err(|trouble| {
        match (trouble, &bench.options().config_file) {
            (Trouble::Fails(failure), Some(file)) => {
                fails(failure.what, format!("these settings came from {}", file.display()))
            }
            (trouble, _) => trouble,
        }
    })?;
    let took = begin.elapsed();
    watch.is_monotone("create")?;
    let about = host.describe()?;
    if !about.is_object() {
        return Err(fails(format!("describe gave {about}"), "describe gives a JSON object"));
    }
    let health = host.health()?;
    if health.state == HealthState::Broken {
        return Err(fails(
            format!("health is BROKEN after create: {}", health.message),
            "fail create instead",
        ));
    }
    if let Some(stats) = host.stats()?.filter(|stats| !stats.is_object()) {
        return Err(fails(format!("stats gave {stats}"), "stats gives a JSON object"));
    }
    let mut passed = Passed::new().note(format!("describes itself as {about}"));
    passed.figure("create", took.as_secs_f64() * 1_000.0, "ms");
    Ok(passed)
}

fn odd_settings(bench: &Bench) -> Outcome {
    let mut passed = Passed::new();
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let odd = [
        ("null", Value::Null),
        ("an array", json!([1, 2])),
        ("a number", json!(7)),
        ("a text", json!("settings")),
        ("an unknown key", json!({"no_such_setting_of_any_backend": true})),
        ("a hundred nested arrays", json!({"deep": deep})),
        ("a text of 20000 characters", json!({"long": "x".repeat(20_000)})),
        ("odd characters", json!({"\u{0}\n\u{202e}": "\u{1F600}"})),
    ];
    for (what, config) in odd {
        let host = bench.launch()?;
        let doing = format!("create with {what} as settings");
        if host.attempt(&doing, |subject| subject.create(&config, &NoProgress))?.is_ok() {
            if what == "an unknown key" {
                passed = passed
                    .note("an unknown setting is taken in silence: a typing error will be hard to find");
            }
            // It said yes: it must be usable.
            host.describe()?;
        }
        host.subject.kill();
    }
    Ok(passed)
}

fn missing_model(bench: &Bench) -> Outcome {
    let mut config = bench.options().config.clone();
    let table = config.as_object_mut().ok_or_else(|| skipped("there are no settings (--config)"))?;
    let files = table.iter_mut().filter(|(_, value)| {
        value.as_str().is_some_and(|text| text.contains('/') || std::path::Path::new(text).is_file())
    });
    let mut named = Vec::new();
    for (key, value) in files {
        *value = json!("/nonexistent/of-plugin-check");
        named.push(key.clone());
    }
    if named.is_empty() {
        return Err(skipped("no setting names a file"));
    }
    let host = bench.launch()?;
    let doing = format!("create without the file of `{}`", named.join("`, `"));
    match host.attempt(&doing, |subject| subject.create(&config, &NoProgress))? {
        Err(error) => Ok(Passed::new().note(error.to_string())),
        Ok(()) => Err(fails(
            format!("{doing} said OK"),
            "load and check all weights in create: later it is a viewer who notices",
        )),
    }
}

fn cancel(bench: &Bench) -> Outcome {
    let host = bench.launch()?;
    let watch = Watch { cancel: true.into(), ..Watch::default() };
    bench.doing("create, cancelled from the start");
    let begin = Instant::now();
    let result = host.subject.create(&bench.options().config, &watch);
    let done = cancelled("create", begin.elapsed(), result)?;
    Ok(Passed::new().note(if done.is_some() { "it was done before it looked" } else { "CANCELLED" }))
}

fn ends(bench: &Bench) -> Outcome {
    let host = bench.ready()?;
    bench.doing("destroy");
    host.subject.end().map_err(|fault| unexpected("destroy and the end of the process", fault))?;
    Ok(Passed::new())
}

fn again(bench: &Bench) -> Outcome {
    let answer = inspect(bench, Inspect::Cycles)?;
    let seen: Vec<Footprint> = serde_json::from_value(answer)
        .map_err(|error| skipped(format!("the inspection's answer is not understood: {error}")))?;
    // The first rounds fill caches and pools that stay.
    let ([_, _, _, first, ..], Some(last)) = (&seen[..], seen.last()) else {
        return Err(skipped("the inspection went too few rounds"));
    };
    let rounds = seen.len() - 4;
    if last.threads > first.threads {
        return Err(fails(
            format!(
                "{} more threads after {rounds} rounds of create and destroy",
                last.threads - first.threads
            ),
            "destroy joins every thread the instance started",
        ));
    }
    if last.files > first.files {
        return Err(fails(
            format!(
                "{} more open files after {rounds} rounds of create and destroy",
                last.files - first.files
            ),
            "close what create opened, also in pools and caches",
        ));
    }
    let grown = last.memory.saturating_sub(first.memory);
    // A pool may still find its size, or be there in one round and not in the next; what leaks goes on growing.
    let (earlier, later) = seen[3..].split_at(rounds * 2 / 3);
    let goes_on = later.iter().map(|seen| seen.memory).min() > earlier.iter().map(|seen| seen.memory).max();
    if goes_on && grown > (first.memory / 100).max(2 << 20) {
        return Err(fails(
            format!("{} more memory after {rounds} rounds of create and destroy", mib(grown)),
            "free weights, arenas and the instance itself in destroy",
        ));
    }
    let mut passed = Passed::new();
    passed.figure("memory kept per round", grown as f64 / rounds as f64 / 1024.0, "KiB");
    Ok(passed)
}
