//! Tools of the tests that come from package registries: a Python environment and node modules under `target/tools`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::steps::{root, run, target};

/// Where the tools of the tests lie; the tests look for them there.
pub(crate) fn folder() -> PathBuf {
    target().join("tools")
}

/// The Python environment of the tests and checks.
pub(crate) fn python() -> Result<()> {
    let wanted = root().join("tools/requirements-test.txt");
    let environment = folder().join("venv");
    if is_current(&environment, &wanted)? {
        return Ok(());
    }
    let _ = fs::remove_dir_all(&environment);
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let pip = environment.join("bin/pip");
    run(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&wanted))?;
    mark_current(&environment, &wanted)
}

/// The driver of the browser.
pub(crate) fn node() -> Result<()> {
    let wanted = root().join("server/tests/e2e/package.json");
    let modules = folder().join("node");
    if is_current(&modules, &wanted)? {
        return Ok(());
    }
    fs::create_dir_all(&modules)?;
    fs::copy(&wanted, modules.join("package.json"))?;
    run(Command::new("npm").args(["install", "--silent", "--no-audit", "--no-fund"]).current_dir(&modules))?;
    mark_current(&modules, &wanted)
}

/// Whether `folder` was filled from exactly this list.
fn is_current(folder: &Path, wanted: &Path) -> Result<bool> {
    let list = fs::read(wanted).with_context(|| wanted.display().to_string())?;
    Ok(fs::read(folder.join("installed-from")).is_ok_and(|installed| installed == list))
}

fn mark_current(folder: &Path, wanted: &Path) -> Result<()> {
    fs::copy(wanted, folder.join("installed-from"))?;
    Ok(())
}
