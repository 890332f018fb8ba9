//! Tools of the tests that come from package registries: a Python environment under
//! `target/tools`, and node modules beside the scripts that use them.

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
    environment("venv", &root().join("tools/requirements-test.txt")).map(drop)
}

/// The Python environment `name` with what the list `wanted` names, made when it is not there; gives its interpreter.
pub(crate) fn environment(name: &str, wanted: &Path) -> Result<PathBuf> {
    let environment = folder().join(name);
    let interpreter = environment.join("bin/python");
    if is_current(&environment, wanted)? {
        return Ok(interpreter);
    }
    let _ = fs::remove_dir_all(&environment);
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let pip = environment.join("bin/pip");
    run(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", "-r"]).arg(wanted))?;
    mark_current(&environment, wanted)?;
    Ok(interpreter)
}

/// The driver of the browser, beside the scripts that use it, since that is where node looks.
pub(crate) fn node() -> Result<()> {
    let scripts = root().join("server/tests/e2e");
    let wanted = scripts.join("package.json");
    let modules = scripts.join("node_modules");
    if is_current(&modules, &wanted)? {
        return Ok(());
    }
    let arguments = ["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"];
    run(Command::new("npm").args(arguments).current_dir(&scripts))?;
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
