//! Does a backend keep the contract? Every check runs it in a fresh host and tells its author what is wrong.
//!
//! In: a [`Launcher`](subject::Launcher), which starts the backend anew for each check, and [`Options`]. Out: a
//! [`Report`], as text, JSON or JUnit XML.
//!
//! The checks know a backend only as a [`Subject`](subject::Subject): calls in the words of the contract, whatever
//! door it came through. A crash is a line of the report.
#![forbid(unsafe_code)]

pub mod subject;

mod material;

mod footprint;

mod outcome;

mod compare;

mod bench;

mod performer;

mod checks;

mod elf;

mod run;

mod report;

pub use footprint::Footprint;
pub use material::Clip;
pub use outcome::{Failure, Figure};
pub use report::{Entry, Format, Report, Verdict};
pub use run::{check, groups, knows};

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

/// What is checked, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The backend's table of settings; an object or null.
    pub config: Value,
    /// Where the settings come from, for a backend that does not take them.
    pub config_file: Option<PathBuf>,
    /// The id that its `plugin.toml` names, where there is one.
    pub expected_id: Option<String>,
    /// What avatars are prepared from; `None`: drawn faces.
    pub clip: Option<Clip>,
    /// Only this group, or only the check of this name (`group.name`).
    pub only: Option<String>,
    /// Slower than real time is a failure, and so is a face that comes to rest after more than a second.
    pub strict: bool,
    /// How long random operations are tried; zero: not at all.
    pub soak: Duration,
    /// What the damaged blobs and the random operations are made from.
    pub seed: u64,
    /// How long a session call or a batch may be out before it counts as hanging. No check takes longer than ten times
    /// that.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            config: Value::Null,
            config_file: None,
            expected_id: None,
            clip: None,
            only: None,
            strict: false,
            soak: Duration::ZERO,
            seed: 1,
            patience: Duration::from_secs(60),
        }
    }
}
