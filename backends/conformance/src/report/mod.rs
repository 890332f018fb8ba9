//! What came of the checks, as text, JSON or JUnit XML.

mod junit;
mod text;

use serde::Serialize;

use crate::checks::Check;
use crate::outcome::{Failure, Figure};

/// All that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was checked: a path or a command.
    pub origin: String,
    /// Of damaged blobs and random operations.
    pub seed: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// One for each check, in the order they ran.
    pub entries: Vec<Entry>,
}

/// How one check went.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its group, like `session`.
    pub group: &'static str,
    /// Its name in the group.
    pub name: &'static str,
    /// What it makes sure of.
    pub about: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// Why it failed or says nothing; empty where it passed.
    pub reason: String,
    /// What else there is to say.
    pub notes: Vec<String>,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// What an author needs to find the fault.
    pub failure: Option<Failure>,
    /// Seconds it took.
    pub seconds: f64,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The backend does as it should.
    Passed,
    /// It does not.
    Failed,
    /// The check says nothing about it.
    Skipped,
}

/// What a report is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// All there is.
    Json,
    /// For build servers.
    Junit,
}

impl Report {
    pub(crate) fn new(origin: String, seed: u64) -> Self {
        Self { origin, seed, seconds: 0.0, entries: Vec::new() }
    }

    /// How many checks went so.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.entries.iter().filter(|entry| entry.verdict == verdict).count()
    }

    /// 0: none failed; 1: some did; 2: nothing could be checked.
    pub fn exit_code(&self) -> u8 {
        let loads = |entry: &Entry| (entry.group, entry.name) == ("load", "descriptor");
        match self.count(Verdict::Failed) {
            _ if self.entries.iter().any(|entry| loads(entry) && entry.verdict == Verdict::Failed) => 2,
            0 if self.count(Verdict::Passed) == 0 => 2,
            0 => 0,
            _ => 1,
        }
    }

    /// What was skipped because a check before it did not pass: a line for each of those, ending with a line break.
    pub fn closed(&self) -> String {
        text::closed(self)
    }

    /// The whole of it.
    pub fn write(&self, format: Format) -> String {
        match format {
            Format::Text => text::write(self),
            Format::Json => serde_json::to_string_pretty(self).unwrap_or_default() + "\n",
            Format::Junit => junit::write(self),
        }
    }
}

/// How the reason ends where a check before it did not pass.
const CLOSED: &str = " did not pass";

impl Entry {
    /// Skipped, since `gate` (`group.name`) did not pass.
    pub(crate) fn behind(check: &Check, gate: &str) -> Self {
        Self::new(check, Verdict::Skipped, format!("{gate}{CLOSED}"))
    }

    pub(crate) fn new(check: &Check, verdict: Verdict, reason: String) -> Self {
        Self {
            group: check.group,
            name: check.name,
            about: check.about,
            verdict,
            reason,
            notes: Vec::new(),
            figures: Vec::new(),
            failure: None,
            seconds: 0.0,
        }
    }

    /// Whether it was skipped because a check before it did not pass, and so says nothing of its own.
    pub fn is_closed(&self) -> bool {
        self.verdict == Verdict::Skipped && self.reason.ends_with(CLOSED)
    }

    /// Its lines in the text report: one, and more where it failed or measured.
    pub fn text(&self) -> String {
        text::entry(self)
    }
}
