//! Building, and laying out what the server loads: `lipcast`, and `plugins/` beside it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::everything::cargo_everything;
use crate::packages;
use crate::runtimes::{self, RUNTIMES, TORCH_LIBRARY};
use crate::steps::{run, step, target};

/// Plugins that are staged, as cargo calls their libraries.
const PLUGINS: &[&str] =
    &["liblipcast_demo.so", "liblipcast_probe.so", "liblipcast_chaos.so", "liblipcast_onnx.so"];

/// `cargo xtask build`.
pub(crate) fn build(arguments: &[String]) -> Result<()> {
    if !arguments.iter().all(|flag| ["--onnx", "--torch"].contains(&flag.as_str())) {
        bail!("`cargo xtask build` takes --onnx, --torch and nothing else");
    }
    arguments.iter().try_for_each(|flag| runtimes::named(&flag[2..])?.install())?;
    step("install what building and running need", packages::install_to_run)?;
    step("build the server and its plugins", || run(&mut cargo_everything(&["build", "--release"])))?;
    step("stage the plugins beside the server", stage)
}

/// `cargo xtask run`.
pub(crate) fn serve(arguments: &[String]) -> Result<()> {
    build(&[])?;
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
    stage_torch(&release, &plugins)
}

/// The torch plugin has a folder, whose `plugin.toml` says where libtorch lies.
fn stage_torch(release: &Path, plugins: &Path) -> Result<()> {
    const NAME: &str = "liblipcast_torch.so";
    let folder = plugins.join("torch");
    if !runtimes::torch().is_there() {
        // One that was staged while libtorch was there.
        let _ = fs::remove_dir_all(folder);
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    replace(&release.join(NAME), &folder.join(NAME))?;
    let libtorch = runtimes::torch().folder().join(TORCH_LIBRARY);
    let libtorch = libtorch.canonicalize().with_context(|| libtorch.display().to_string())?;
    let manifest = format!(
        "id = \"lipcast.musetalk.torch\"\nversion = \"{}\"\nlicense = \"MIT OR Apache-2.0\"\n\
         library = \"{NAME}\"\npreload = [{:?}]\n",
        env!("CARGO_PKG_VERSION"),
        libtorch.display().to_string()
    );
    Ok(fs::write(folder.join("plugin.toml"), manifest)?)
}

/// Copies under another name and renames: a running server keeps the library that it has mapped.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let fresh = to.with_extension("new");
    fs::copy(from, &fresh).with_context(|| format!("copy {} to {}", from.display(), fresh.display()))?;
    fs::rename(&fresh, to).with_context(|| format!("rename {}", fresh.display()))
}
