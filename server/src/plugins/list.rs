//! What lies in the plugin folders, for `lipcast plugin list`. Nothing is opened.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::files::{WeightState, state};
use super::find::{folders, is_same};
use super::manifest::{Manifest, ManifestProgram};

/// One plugin: a folder with a `plugin.toml`, or a shared library that lies alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// What `plugin` (a folder) or `library` (a file) of a `[backend.NAME]` says.
    pub name: String,
    /// Folder or file.
    pub path: PathBuf,
    /// `library` or `exec`; `None` where `plugin.toml` is wrong.
    pub kind: Option<&'static str>,
    /// Of the manifest. A library alone is not opened to be asked.
    pub id: Option<String>,
    /// Of the manifest.
    pub version: Option<String>,
    /// Of the manifest.
    pub license: Option<String>,
    /// The library's own file; `pinned` when its SHA-256 is the one of the manifest.
    pub library: Option<WeightState>,
    /// Every file that it needs, relative to its folder.
    pub weights: Vec<ListedWeight>,
    /// Why it would be refused; empty when nothing stands against it so far.
    pub problems: Vec<String>,
}

/// A file that a plugin needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedWeight {
    /// Relative to the plugin's folder.
    pub file: PathBuf,
    /// What was found.
    pub state: WeightState,
    /// Where its authors publish it.
    pub source: String,
    /// Its licence, where the manifest names one.
    pub license: String,
}

/// Everything in `dirs`: folders first, then libraries that lie alone. Reads whole files where they are pinned.
pub fn list(dirs: &[PathBuf]) -> Vec<Listed> {
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in folders(dirs) {
        // Two spellings of one plugin folder hold the same plugins.
        if !found.iter().any(|other| is_same(other, &folder)) {
            found.push(folder);
        }
    }
    let mut all: Vec<Listed> = found.iter().map(|folder| in_folder(folder)).collect();
    for index in 1..all.len() {
        let (before, rest) = all.split_at_mut(index);
        let listed = &mut rest[0];
        let Some(twin) = before.iter_mut().find(|other| other.id.is_some() && other.id == listed.id) else {
            continue;
        };
        twin.problems.push(format!("{} has the same id", listed.path.display()));
        listed.problems.push(format!("{} has the same id", twin.path.display()));
    }
    for dir in dirs {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let mut libraries: Vec<_> =
            entries.map(|entry| entry.path()).filter(|path| is_library(path)).collect();
        libraries.sort();
        all.extend(libraries.into_iter().map(alone));
    }
    all
}

fn in_folder(folder: &Path) -> Listed {
    let mut listed = Listed { kind: None, library: None, ..alone(folder.to_owned()) };
    let manifest = match Manifest::read(folder) {
        Ok(manifest) => manifest,
        Err(error) => {
            listed.problems.push(error.to_string().replace('\n', "; "));
            return listed;
        }
    };
    match &manifest.program {
        ManifestProgram::Library { file, sha256, preload } => {
            let found = state(&folder.join(file), sha256.as_ref());
            listed.kind = Some("library");
            listed.library = Some(found);
            match found {
                WeightState::Missing => listed.problems.push(format!("{} is missing", file.display())),
                WeightState::Differs => {
                    listed.problems.push(format!("{} is not the pinned file", file.display()))
                }
                WeightState::Present | WeightState::Pinned => {}
            }
            for library in preload.iter().filter(|library| !folder.join(library).exists()) {
                listed.problems.push(format!("preload: {}: no such file", library.display()));
            }
        }
        ManifestProgram::Exec(_) => listed.kind = Some("exec"),
    }
    for weight in manifest.weights {
        let found = state(&folder.join(&weight.file), weight.sha256.as_ref());
        if !found.is_fine() {
            let what = if found == WeightState::Missing { "missing" } else { "not the pinned file" };
            listed.problems.push(format!("{}: {what}", weight.file.display()));
        }
        let (source, license) = (weight.source, weight.license);
        listed.weights.push(ListedWeight { file: weight.file, state: found, source, license });
    }
    (listed.id, listed.version) = (Some(manifest.id), Some(manifest.version));
    listed.license = Some(manifest.license);
    listed
}

fn alone(path: PathBuf) -> Listed {
    Listed {
        name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        path,
        kind: Some("library"),
        id: None,
        version: None,
        license: None,
        library: Some(WeightState::Present),
        weights: Vec::new(),
        problems: Vec::new(),
    }
}

fn is_library(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "so") && path.is_file()
}
