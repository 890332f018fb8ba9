//! One row of the matrix: taken up beside others or alone, and recorded however it ends.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::whole;

/// A row under test. What it measures goes to `target/reliability/`, from where `cargo xtask reliability` makes
/// `docs/reliability.md`.
pub(crate) struct Row {
    number: u32,
    test: String,
    fault: &'static str,
    expected: &'static str,
    measured: Map<String, Value>,
    open: Vec<&'static str>,
    begun: Instant,
    /// A share of the machine or all of it, until this is dropped.
    _machine: Box<dyn Any>,
}

impl Row {
    /// Takes up the row of the running test, whose name begins with `row_NN_`, beside others: one waits more than it
    /// computes. `expected` says what is proved of it.
    pub(crate) fn begin(fault: &'static str, expected: &'static str) -> Self {
        Self::with(Box::new(whole::beside_others()), fault, expected)
    }

    /// The same while no other row runs: for one that takes the processors, or looks at how regular something is.
    pub(crate) fn begin_alone(fault: &'static str, expected: &'static str) -> Self {
        Self::with(Box::new(whole::alone()), fault, expected)
    }

    fn with(machine: Box<dyn Any>, fault: &'static str, expected: &'static str) -> Self {
        let thread = std::thread::current();
        let path = thread.name().expect("the harness names a test's thread");
        let test = path.rsplit("::").next().unwrap_or(path).to_owned();
        let number = test.split('_').nth(1).and_then(|number| number.parse().ok());
        let number = number.unwrap_or_else(|| panic!("{test} is not named row_NN_what"));
        let (measured, open, begun) = (Map::new(), Vec::new(), Instant::now());
        Self { number, test, fault, expected, measured, open, begun, _machine: machine }
    }

    /// Records a figure; it is never asserted.
    pub(crate) fn measured(&mut self, what: &str, value: impl Into<Value>) {
        self.measured.insert(what.to_owned(), value.into());
    }

    /// Records what of the row is not so, or not proved here.
    pub(crate) fn open(&mut self, what: &'static str) {
        self.open.push(what);
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        let passed = !std::thread::panicking();
        let record = json!({
            "row": self.number,
            "test": self.test,
            "fault": self.fault,
            "expected": self.expected,
            "result": if passed { "passed" } else { "failed" },
            "open": self.open,
            "seconds": (self.begun.elapsed().as_secs_f64() * 10.0).round() / 10.0,
            "measured": self.measured,
        });
        let folder = folder();
        let written = std::fs::create_dir_all(&folder).and_then(|()| {
            std::fs::write(folder.join(format!("{}.json", self.test)), format!("{record:#}\n"))
        });
        if let Err(error) = written {
            println!("{} is not recorded: {error}", self.test);
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the target folder").join("reliability")
}
