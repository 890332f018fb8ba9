//! For people: one line a check, and under a failure what happened and where to look.

use std::fmt::Write;

use super::{Entry, Report, Verdict};

pub(super) fn write(report: &Report) -> String {
    let mut text = format!("{}\n", report.origin);
    let mut group = "";
    for entry in report.entries.iter().filter(|entry| !entry.is_closed()) {
        if entry.group != group {
            group = entry.group;
            let _ = writeln!(text, "\n{group}");
        }
        text.push_str(&self::entry(entry));
    }
    let closed = closed(report);
    if !closed.is_empty() {
        let _ = write!(text, "\n{closed}");
    }
    let (passed, failed, skipped) =
        (report.count(Verdict::Passed), report.count(Verdict::Failed), report.count(Verdict::Skipped));
    let _ =
        writeln!(text, "\n{passed} passed, {failed} failed, {skipped} skipped in {:.1} s", report.seconds);
    text
}

/// The many checks that were skipped for one reason, in a line.
pub(super) fn closed(report: &Report) -> String {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for entry in report.entries.iter().filter(|entry| entry.is_closed()) {
        match reasons.iter_mut().find(|(reason, _)| *reason == entry.reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((&entry.reason, 1)),
        }
    }
    reasons.iter().map(|(reason, count)| format!("{count} checks skipped: {reason}\n")).collect()
}

pub(super) fn entry(entry: &Entry) -> String {
    let word = match entry.verdict {
        Verdict::Passed => "ok  ",
        Verdict::Failed => "FAIL",
        Verdict::Skipped => "skip",
    };
    let mut text = String::new();
    let told = if entry.verdict == Verdict::Skipped { &entry.reason } else { entry.about };
    let _ = writeln!(text, "  {word} {:20} {:>6.2} s  {told}", entry.name, entry.seconds);
    if let Some(failure) = &entry.failure {
        let _ = writeln!(text, "         {}", failure.what);
        if !failure.look.is_empty() {
            let _ = writeln!(text, "         look: {}", failure.look);
        }
        for line in &failure.lines {
            let _ = writeln!(text, "         | {line}");
        }
    }
    for note in &entry.notes {
        let _ = writeln!(text, "         note: {note}");
    }
    for figure in &entry.figures {
        let _ = writeln!(text, "         {}: {:.3} {}", figure.name, figure.value, figure.unit);
    }
    text
}
