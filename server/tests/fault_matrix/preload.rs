//! Faults from outside the program under test: `preload.c`, loaded in front of the C library of the released server.
//!
//! A failpoint compiled into the server would be in the way of either the tests, which run what is released, or of the
//! release. The C library is a seam that is there anyway: a clock that fails is a panic in whichever thread asks it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::scene::wrapped;

/// A server whose faults can be called up.
pub(crate) struct Preloaded {
    folder: TempDir,
    /// The program to start.
    pub(crate) program: PathBuf,
}

impl Preloaded {
    /// Compiles the faults, and wraps the program in them.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("faults.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fault_matrix/preload.c");
        let output = Command::new("cc")
            .args(["-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&library)
            .args([source, "-ldl"])
            .output()
            .expect("a C compiler is part of the build tools");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let before = format!(
            "export LIPCAST_TEST_FAULTS={} LD_PRELOAD={};",
            folder.path().display(),
            library.display()
        );
        let program = wrapped(folder.path(), &before);
        Self { folder, program }
    }

    /// The thread `name` panics, once.
    pub(crate) fn panic(&self, name: &str) {
        let name = &name[..name.len().min(15)];
        fs::write(self.folder.path().join(format!("panic {name}")), "").unwrap();
    }

    /// Until the guard is dropped, no thread can be started.
    pub(crate) fn without_threads(&self) -> NoThreads {
        let file = self.folder.path().join("no-threads");
        fs::write(&file, "").unwrap();
        NoThreads(file)
    }
}

/// No thread can be started while it lives.
pub(crate) struct NoThreads(PathBuf);

impl Drop for NoThreads {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}
