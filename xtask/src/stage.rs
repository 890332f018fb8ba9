//! Building, and laying out what the server loads: `lipcast`, and `plugins/` beside it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::packages;
use crate::runtimes::RUNTIMES;
use crate::steps::{cargo, run, step, target};

/// Plugins that are staged: the library that cargo writes, and what it is.
const PLUGINS: &[&str] =
    &["liblipcast_demo.so", "liblipcast_probe.so", "liblipcast_chaos.so", "liblipcast_onnx.so"];

/// `cargo xtask build`.
pub(crate) fn build() -> Result<()> {
    step("install what building and running need", packages::install_to_run)?;
    step("build the server and its plugins", || run(&mut cargo(&["build", "--release", "--workspace"])))?;
    step("stage the plugins beside the server", stage)
}

/// `cargo xtask run`.
pub(crate) fn serve(arguments: &[String]) -> Result<()> {
    build()?;
    let server = target().join("release/lipcast");
    println!("── start {}", server.display());
    run(Command::new(server).arg("serve").args(arguments).current_dir(crate::steps::root()))
}

/// Copies the plugins into `target/release/plugins`.
pub(crate) fn stage() -> Result<()> {
    let release = target().join("release");
    let plugins = release.join("plugins");
    fs::create_dir_all(&plugins).with_context(|| plugins.display().to_string())?;
    for name in PLUGINS {
        replace(&release.join(name), &plugins.join(name))?;
    }
    // Backends look beside themselves. Without its runtime a backend says so, and everything else runs.
    for runtime in RUNTIMES {
        for library in runtime.libraries()? {
            replace(&library, &plugins.join(library.file_name().expect("a file has a name")))?;
        }
    }
    Ok(())
}

/// Copies under another name and renames: a running server keeps the library that it has mapped.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let fresh = to.with_extension("new");
    fs::copy(from, &fresh).with_context(|| format!("copy {} to {}", from.display(), fresh.display()))?;
    fs::rename(&fresh, to).with_context(|| format!("rename {}", fresh.display()))
}
