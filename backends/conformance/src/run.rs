//! Runs the checks one after another, each with a limit on its time.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::Options;
use crate::bench::{Bench, Shared};
use crate::checks::{self, Check, Needs};
use crate::outcome::{Failure, Outcome, Trouble, fails};
use crate::report::{Entry, Report, Verdict};
use crate::subject::Launcher;

/// How long a check may take to come back after its hosts were killed.
const GRACE: Duration = Duration::from_secs(5);

/// The groups of checks, in the order they run.
pub fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> = checks::all().map(|check| check.group).collect();
    groups.dedup();
    groups
}

/// Whether `only` is a group, or a check as `group.name`.
pub fn knows(only: &str) -> bool {
    checks::all().any(|check| is_meant(check, only))
}

fn is_meant(check: &Check, only: &str) -> bool {
    only == check.group || only.split_once('.') == Some((check.group, check.name))
}

/// Checks what `launcher` starts; `told` hears of each check as it ends.
pub fn check(launcher: Arc<dyn Launcher>, options: Options, told: &mut dyn FnMut(&Entry)) -> Report {
    let mut report = Report::new(launcher.origin(), options.seed);
    let only = options.only.clone();
    let shared = Arc::new(Shared::new(launcher, options));
    let mut opened: HashMap<(&str, &str), bool> = HashMap::new();
    let begin = Instant::now();
    for check in checks::all() {
        let asked_for = only.as_deref().is_none_or(|only| is_meant(check, only));
        // A check that opens the way for others runs even if only those are asked for, unless they need nothing.
        let opens = [Needs::Loaded, Needs::Created, Needs::Avatar, Needs::Frames]
            .into_iter()
            .find(|needs| checks::opens(*needs) == Some((check.group, check.name)));
        if !asked_for && opens.is_none() {
            continue;
        }
        let closed = (0..=check.needs as u8)
            .filter_map(|level| checks::opens(LEVELS[usize::from(level)]))
            .find(|gate| opened.get(gate) == Some(&false));
        let entry = match closed {
            Some((group, name)) => Entry::behind(check, &format!("{group}.{name}")),
            None => run_one(&shared, check),
        };
        if opens.is_some() {
            opened.insert((check.group, check.name), entry.verdict == Verdict::Passed);
        }
        if asked_for || entry.verdict == Verdict::Failed {
            told(&entry);
            report.entries.push(entry);
        }
    }
    report.seconds = begin.elapsed().as_secs_f64();
    report
}

const LEVELS: [Needs; 5] = [Needs::Nothing, Needs::Loaded, Needs::Created, Needs::Avatar, Needs::Frames];

fn run_one(shared: &Arc<Shared>, check: &'static Check) -> Entry {
    let bench = Arc::new(Bench::new(shared.clone()));
    let soak = if check.group == "soak" { shared.options.soak } else { Duration::ZERO };
    let limit = check.limit.min(10 * shared.options.patience) + soak + 8 * shared.startup();
    let begin = Instant::now();
    let (sender, receiver) = channel();
    let theirs = bench.clone();
    thread::spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| (check.run)(&theirs)));
        drop(sender.send(
            outcome.unwrap_or_else(|_| Err(fails("the check itself panicked", "a fault of the check"))),
        ));
    });
    let outcome = match receiver.recv_timeout(limit) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => {
            let doing = bench.was_doing();
            bench.kill();
            // It comes back with a call that failed; what it was doing before is what matters.
            drop(receiver.recv_timeout(GRACE));
            Err(fails(
                format!("no end after {:.0} s, during: {doing}", limit.as_secs_f64()),
                "look for a lock that is taken twice, or a loop that waits for what never comes",
            ))
        }
        Err(RecvTimeoutError::Disconnected) => {
            Err(fails("the check ended without a word", "a fault of the check"))
        }
    };
    let lines = bench.lines();
    bench.kill();
    Entry { seconds: begin.elapsed().as_secs_f64(), ..entry(check, outcome, lines) }
}

/// The last lines, or those from a panic or a traceback of Python's on: they tell where it was.
fn telling(lines: &[String]) -> &[String] {
    const SHOWN: usize = 12;
    let last = lines.len().saturating_sub(SHOWN);
    let from = lines
        .iter()
        .rposition(|line| line.contains("panicked at") || line.starts_with("Traceback "))
        .map_or(last, |at| at.min(last));
    &lines[from..lines.len().min(from + 3 * SHOWN)]
}

fn entry(check: &Check, outcome: Outcome, lines: Vec<String>) -> Entry {
    match outcome {
        Ok(passed) => {
            let mut entry = Entry::new(check, Verdict::Passed, String::new());
            (entry.notes, entry.figures) = (passed.notes, passed.figures);
            entry
        }
        Err(Trouble::Skipped(why)) => Entry::new(check, Verdict::Skipped, why),
        Err(Trouble::Fails(failure)) => {
            let mut entry = Entry::new(check, Verdict::Failed, failure.what.clone());
            let lines = if failure.lines.is_empty() { lines } else { failure.lines };
            entry.failure = Some(Failure { lines: telling(&lines).to_vec(), ..failure });
            entry
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_shown_from_its_first_line_on_however_long_its_backtrace_is() {
        let said = |count: usize| (0..count).map(|i| format!("line {i}")).collect::<Vec<_>>();
        assert_eq!(telling(&said(30)), &said(30)[18..]);
        let mut lines = said(30);
        lines[5] = "thread 'infer' panicked at src/lib.rs:3:5:".into();
        assert_eq!(telling(&lines), &lines[5..]);
        lines.extend(said(100));
        assert_eq!(telling(&lines), &lines[5..41]);
        lines[128] = "panicked at the very end".into();
        assert_eq!(telling(&lines), &lines[118..], "never fewer lines than without");
    }
}
