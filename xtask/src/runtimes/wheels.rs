//! Files out of the wheels of the Python package index.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::empty;
use crate::steps::run;

/// Versions of the C library that a wheel may ask for, as wheels write them; Debian 12 has 2.36.
const GLIBC: [&str; 5] = ["_2_28", "_2_27", "_2_25", "_2_17", "2014"];

/// Wheels, downloaded into a folder that goes away with them.
pub(super) struct Wheels {
    folder: PathBuf,
}

impl Wheels {
    /// Downloads exactly `requirements`, like `name==1.2`, without what they depend on.
    pub(super) fn download(requirements: &[&str], beside: &Path) -> Result<Self> {
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
    pub(super) fn unpack(&self, package: &str, inside: &str, pattern: &str, into: &Path) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Members of an archive that stands for a wheel.
    const MAKE: &str = "\
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as archive:
    for member in ['name/lib/libname.so.1', 'name/lib/deep/libname.so.2', 'name/lib/other.txt', 'name/libname.so']:
        archive.writestr(member, member)
";

    #[test]
    fn what_was_asked_for_comes_out_of_a_wheel() {
        let folder = std::env::temp_dir().join(format!("lipcast-wheels-{}", std::process::id()));
        let wheels = Wheels { folder: folder.join("wheels") };
        empty(&wheels.folder).unwrap();
        let wheel = wheels.folder.join("some_name-1.0-py3-none-any.whl");
        assert!(Command::new("python3").args(["-c", MAKE]).arg(&wheel).status().unwrap().success());

        let into = folder.join("into");
        wheels.unpack("some-name", "name/lib/", "libname.so*", &into).unwrap();
        assert_eq!(fs::read_to_string(into.join("libname.so.1")).unwrap(), "name/lib/libname.so.1");
        assert_eq!(fs::read_dir(&into).unwrap().count(), 1);
        assert!(wheels.unpack("some-name", "name/lib/", "nothing*", &into).is_err());
        assert!(wheels.unpack("another", "name/lib/", "*", &into).is_err());

        drop(wheels);
        assert!(!folder.join("wheels").exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
