//! What is started for a backend, and the list of libraries that crashed while they were.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use lipcast_plugins_api::loader::Plugin;
use lipcast_wire::spawn::ChildCommand;
use serde_json::Value;

use super::supervisor::Policy;
use crate::sync::lock;

/// What is started.
#[derive(Debug, Clone)]
pub enum Program {
    /// A backend that is linked into this program.
    Linked(Plugin),
    /// A shared library, opened in this process: for those that are trusted.
    InProcess {
        /// The library.
        library: PathBuf,
        /// Libraries that are opened before it, in order.
        preload: Vec<PathBuf>,
    },
    /// A process of its own.
    Process {
        /// What is executed: `backend-host` with the library, or any program that speaks the protocol.
        command: ChildCommand,
        /// The library that it opens, if there is one.
        library: Option<PathBuf>,
    },
}

impl Program {
    /// The file that is the backend, if there is one: when it changes, the backend is worth another try.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::Linked(_) => None,
            Self::InProcess { library, .. } => Some(library),
            Self::Process { library, .. } => library.as_deref(),
        }
    }
}

/// A program, and the id that it has to have.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// What is started.
    pub program: Program,
    /// The descriptor's id, where something promised it.
    pub expected_id: Option<String>,
}

/// Finds the program, anew for every start; the error says why there is none, in a line.
pub type Finder = Arc<dyn Fn() -> Result<Candidate, String> + Send + Sync>;

/// One configured backend.
#[derive(Clone)]
pub struct BackendSpec {
    /// Its name in the configuration.
    pub name: String,
    /// How its program is found.
    pub find: Finder,
    /// Handed to the backend as it is.
    pub config: Value,
    /// Longest time to wait for it. A process is ended then and tried again; a backend in this process still joins
    /// when it is ready.
    pub init_timeout: Duration,
    /// How patient its supervisor is; its `init_timeout` is that above.
    pub policy: Policy,
    /// The server must not run without it.
    pub required: bool,
}

impl fmt::Debug for BackendSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendSpec").field("name", &self.name).field("required", &self.required).finish()
    }
}

/// A file as it was: another one under the same path differs in one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(u64, Option<SystemTime>);

impl Fingerprint {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self(metadata.len(), metadata.modified().ok()))
    }
}

/// Libraries that crashed while they were opened. They are not opened again before they have changed, or somebody says
/// so. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct CrashList(Arc<Mutex<HashMap<PathBuf, Fingerprint>>>);

impl CrashList {
    pub(super) fn add(&self, library: &Path) {
        if let Some(fingerprint) = Fingerprint::of(library) {
            self.lock().insert(library.to_owned(), fingerprint);
        }
    }

    pub(super) fn forgive(&self, library: &Path) {
        self.lock().remove(library);
    }

    pub(super) fn holds(&self, library: &Path) -> bool {
        let known = self.lock().get(library).copied();
        known.is_some() && known == Fingerprint::of(library)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Fingerprint>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_listed_until_it_changes_or_is_forgiven() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libx.so");
        std::fs::write(&library, "one").unwrap();
        let list = CrashList::default();
        assert!(!list.holds(&library));
        list.add(&library);
        assert!(list.holds(&library));
        std::fs::write(&library, "another").unwrap();
        assert!(!list.holds(&library));
        list.add(&library);
        list.forgive(&library);
        assert!(!list.holds(&library));
    }
}
