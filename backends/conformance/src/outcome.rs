//! How one check went.

use serde::Serialize;

use crate::subject::Fault;

/// What a check gives back.
pub(crate) type Outcome = Result<Passed, Trouble>;

/// It passed, and what else there is to say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passed {
    pub(crate) notes: Vec<String>,
    pub(crate) figures: Vec<Figure>,
}

/// A number for the report.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured, like `batch of 4, median`.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Its unit, like `ms`.
    pub unit: &'static str,
}

/// Why it did not pass.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// The backend is at fault.
    Fails(Failure),
    /// It says nothing about the backend; why.
    Skipped(String),
}

/// A fault, told to its author.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// What happened.
    pub what: String,
    /// Where to look, or what the contract asks.
    pub look: String,
    /// The backend's last lines of log and stderr.
    pub lines: Vec<String>,
}

impl Passed {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub(crate) fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.into(), value, unit });
    }
}

/// The check fails: what happened, and where to look.
pub(crate) fn fails(what: impl Into<String>, look: impl Into<String>) -> Trouble {
    Trouble::Fails(Failure { what: what.into(), look: look.into(), lines: Vec::new() })
}

/// The check says nothing here.
pub(crate) fn skipped(why: impl Into<String>) -> Trouble {
    Trouble::Skipped(why.into())
}

/// A call that should have worked and did not.
pub(crate) fn unexpected(doing: &str, fault: Fault) -> Trouble {
    match fault {
        Fault::Said(error) if error.message.is_empty() => fails(
            format!("{doing} failed: {}, without a word", error.code.name()),
            "a failed call fills its status with one line for people",
        ),
        Fault::Said(error) => fails(format!("{doing} failed: {error}"), "the call is within the contract"),
        Fault::Lost(reason) => fails(
            format!("{reason}, during: {doing}"),
            "run the same check under a debugger or a sanitizer; no input of the host may end the process",
        ),
    }
}
