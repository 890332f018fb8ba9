//! Compiles C plugins and checks them in the `backend-host` that was built beside this test.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lipcast_conformance::subject::ProcessLauncher;
use lipcast_conformance::{Entry, Options, Report, Verdict, check};

/// Compiles `tests/data/liar.c` with `FAULT` set to `fault`.
pub fn liar(folder: &Path, fault: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/liar.c");
    compile(folder, &source, &format!("liar_{fault}"), &[&format!("-DFAULT={fault}")])
}

/// Compiles a C plugin.
pub fn compile(folder: &Path, source: &Path, name: &str, macros: &[&str]) -> PathBuf {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins-api/include");
    let library = folder.join(format!("{name}.so"));
    let output = Command::new("cc")
        .args([
            "-std=c11",
            "-O1",
            "-g",
            "-shared",
            "-fPIC",
            "-fvisibility=hidden",
            "-Wall",
            "-Wextra",
            "-Werror",
        ])
        .args(macros)
        .arg("-I")
        .arg(include)
        .arg(source)
        .arg("-o")
        .arg(&library)
        .args(["-lm", "-lpthread"])
        .output()
        .expect("a C compiler is part of the build tools");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

/// `backend-host` beside the folder of this test program.
pub fn backend_host() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let host = test.parent().unwrap().parent().unwrap().join("backend-host");
    assert!(host.is_file(), "{} is built with the workspace: cargo test --workspace", host.display());
    host
}

/// Checks a library; one after another, for times are measured and cores are few.
pub fn check_library(library: &Path, options: Options) -> Report {
    let _alone = alone();
    let launcher = ProcessLauncher::library(&backend_host(), library, &[]);
    check(Arc::new(launcher), options, &mut |_| {})
}

/// Held by whoever runs checks.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names of the checks that went so, as `group.name`.
pub fn named(report: &Report, verdict: Verdict) -> Vec<String> {
    let these = report.entries.iter().filter(|entry| entry.verdict == verdict);
    these.map(|entry| format!("{}.{}", entry.group, entry.name)).collect()
}

/// The failed check of this name.
pub fn failure<'r>(report: &'r Report, name: &str) -> &'r Entry {
    let found = report.entries.iter().find(|entry| format!("{}.{}", entry.group, entry.name) == name);
    found.filter(|entry| entry.failure.is_some()).unwrap_or_else(|| {
        panic!("{name} did not fail:\n{}", report.write(lipcast_conformance::Format::Text))
    })
}
