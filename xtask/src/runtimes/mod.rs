//! `cargo xtask runtimes`: the libraries that run neural networks, for the backends that need them.
//!
//! In: wheels of the Python package index, whose shared libraries are all that is wanted of them. Out: one folder a
//! runtime below `target/tools`, whole or not there. Nothing of Python is left, and none of it is needed to serve.

mod onnx;

mod torch;

mod wheels;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::packages;
use crate::steps::{cargo, step};
use crate::tools;

pub(crate) use torch::LIBRARY as TORCH_LIBRARY;

/// A runtime that can be installed, and the crate that is built on it.
pub(crate) struct Runtime {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Whether it is downloaded in seconds, and so by whatever could use it.
    pub(crate) small: bool,
    /// Its folder below `target/tools`.
    folder: &'static str,
    /// What its folder was made of; another text means that it is made anew.
    recipe: &'static str,
    /// Fills an empty folder.
    fill: fn(&Path) -> Result<()>,
    /// The files in its folder that a plugin finds beside itself, as patterns of names that begin so.
    pub(crate) libraries: &'static [&'static str],
    /// The crate.
    package: &'static str,
    /// The format that the crate reads, as bundles call it.
    pub(crate) format: &'static str,
    /// Variables that building and running the crate need, from its folder.
    variables: fn(&Path) -> Vec<(&'static str, PathBuf)>,
}

/// All of them.
pub(crate) const RUNTIMES: &[&Runtime] = &[&onnx::RUNTIME, &torch::RUNTIME];

/// `cargo xtask runtimes [NAME…]`: installs those that are named, or all.
pub(crate) fn runtimes(names: &[String]) -> Result<()> {
    let wanted: Vec<_> = names.iter().map(|name| named(name)).collect::<Result<_>>()?;
    let wanted = if wanted.is_empty() { RUNTIMES.to_vec() } else { wanted };
    wanted.iter().try_for_each(|runtime| runtime.install())
}

/// libtorch, which crates need already to be built.
pub(crate) fn torch() -> &'static Runtime {
    &torch::RUNTIME
}

/// The runtime of that name.
pub(crate) fn named(name: &str) -> Result<&'static Runtime> {
    let known = || RUNTIMES.iter().map(|runtime| runtime.name).collect::<Vec<_>>().join(", ");
    let found = RUNTIMES.iter().find(|runtime| runtime.name == name);
    found.copied().with_context(|| format!("there is no runtime `{name}`; there are: {}", known()))
}

impl Runtime {
    /// Its folder, also when it is not installed.
    pub(crate) fn folder(&self) -> PathBuf {
        tools::folder().join(self.folder)
    }

    /// Whether it is installed, and from what would be installed now.
    pub(crate) fn is_there(&self) -> bool {
        fs::read_to_string(self.folder().join("installed-from")).is_ok_and(|text| text == self.recipe)
    }

    /// Its files that plugins look for beside themselves, where it is installed.
    pub(crate) fn libraries(&self) -> Result<Vec<PathBuf>> {
        if !self.is_there() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(self.folder())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if self.libraries.iter().any(|start| name.starts_with(start)) {
                found.push(path);
            }
        }
        Ok(found)
    }

    /// `cargo run` of an example of its crate; arguments come behind.
    pub(crate) fn example(&self, name: &str) -> Command {
        // Examples of all crates lie in one folder.
        let name = format!("{}_{name}", self.name);
        let mut command =
            cargo(&["run", "--quiet", "--release", "--package", self.package, "--example", &name, "--"]);
        command.envs(self.variables());
        command
    }

    /// Variables that building and running its crate need.
    pub(crate) fn variables(&self) -> Vec<(&'static str, PathBuf)> {
        (self.variables)(&self.folder())
    }

    /// Installs it where it is not there.
    pub(crate) fn install(&self) -> Result<()> {
        let folder = self.folder();
        if self.is_there() {
            println!("   {} is there: {}", self.title, folder.display());
            return Ok(());
        }
        step(&format!("install {}", self.title), || {
            packages::install_to_download()?;
            let fresh = folder.with_extension("new");
            empty(&fresh)?;
            (self.fill)(&fresh)?;
            fs::write(fresh.join("installed-from"), self.recipe)?;
            // Renamed when it is whole, so that what is there can be used.
            let _ = fs::remove_dir_all(&folder);
            fs::rename(&fresh, &folder).with_context(|| folder.display().to_string())
        })
    }
}

fn empty(folder: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}
