//! From a backend of the settings to what is started for it, with the refusals that need no start.

use std::path::{Path, PathBuf};

use super::files::{WeightState, state};
use super::manifest::{FILE_NAME, Manifest, ManifestProgram};
use crate::config::{BackendSource, ConfigError, EngineConfig};

/// What is started for a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A shared library.
    Library {
        /// The path need not exist: the loader says so in its own words.
        file: PathBuf,
        /// Libraries that are opened before it, in order. They are there.
        preload: Vec<PathBuf>,
    },
    /// A program that speaks the protocol of `docs/exec-protocol.md`.
    Exec {
        /// Program and arguments; never empty. A program with a `/` that is not absolute starts at `folder`.
        command: Vec<String>,
        /// Its working folder; absolute.
        folder: PathBuf,
    },
}

/// A backend's program, and what its folder says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What is started.
    pub program: Program,
    /// Of the plugin folder, where there is one. The descriptor's id has to be the one it names.
    pub manifest: Option<Manifest>,
}

/// Why a plugin is refused before it is opened; one line.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// No plugin folder of that name.
    #[error("there is no plugin \"{name}\": none of {} has {name}/{FILE_NAME}", shown(.places))]
    Unknown {
        /// As the settings name it.
        name: String,
        /// The plugin folders that were searched.
        places: Vec<PathBuf>,
    },
    /// Its `plugin.toml` is wrong.
    #[error("{}", .0.to_string().replace('\n', "; "))]
    Manifest(#[from] ConfigError),
    /// Another plugin folder has the same id.
    #[error("plugin id {id} is in {} and in {}: keep one, or rename it", .folders[0].display(), .folders[1].display())]
    Twice {
        /// The id.
        id: String,
        /// Both folders.
        folders: [PathBuf; 2],
    },
    /// The library is not the one that was pinned.
    #[error("{}: it is not the file that `sha256` in plugin.toml pins; it is not opened", .0.display())]
    Pin(PathBuf),
    /// A file that it needs.
    #[error("{}: {}{}", .file.display(), reason(*.state), hint(.source_of))]
    Weights {
        /// The file.
        file: PathBuf,
        /// Missing, or another one.
        state: WeightState,
        /// Where its authors publish it; may be empty.
        source_of: String,
    },
    /// A library that has to be opened before the plugin is not there.
    #[error("preload: {}: no such file", .0.display())]
    Preload(PathBuf),
    /// The plugin is another one than its folder says.
    #[error("plugin.toml says id {expected}, the plugin itself says {found}")]
    OtherId {
        /// Of the manifest.
        expected: String,
        /// Of the descriptor.
        found: String,
    },
}

impl Found {
    /// Compares the descriptor's id, which is known once the plugin was opened, with the manifest's.
    ///
    /// # Errors
    /// When they differ.
    pub fn check_id(&self, id: &str) -> Result<(), PluginError> {
        match &self.manifest {
            Some(manifest) if manifest.id != id => {
                Err(PluginError::OtherId { expected: manifest.id.clone(), found: id.to_owned() })
            }
            _ => Ok(()),
        }
    }
}

/// What is started for a backend that the settings describe as `source`; where `preload` is not empty, it takes the
/// place of what the plugin's folder says. Reads whole files where they are pinned: seconds for large weights.
///
/// # Errors
/// When its folder is not there or wrong, a file that it needs is missing, or one is not what was pinned.
pub fn find(
    engine: &EngineConfig,
    source: &BackendSource,
    preload: &[PathBuf],
) -> Result<Found, PluginError> {
    with_preload(look(&engine.plugin_dirs, source)?, preload)
}

/// What is started for the plugin folder `folder` alone, wherever it lies; `preload` as for [`find`].
///
/// # Errors
/// As for [`find`], but for other folders with its id, which are not looked for.
pub fn find_in(folder: &Path, preload: &[PathBuf]) -> Result<Found, PluginError> {
    with_preload(in_folder(folder, &[])?, preload)
}

fn with_preload(mut found: Found, preload: &[PathBuf]) -> Result<Found, PluginError> {
    if let Program::Library { preload: before, .. } = &mut found.program {
        if !preload.is_empty() {
            *before = preload.to_owned();
        }
        if let Some(missing) = before.iter().find(|library| !library.exists()) {
            return Err(PluginError::Preload(missing.clone()));
        }
    }
    Ok(found)
}

fn look(dirs: &[PathBuf], source: &BackendSource) -> Result<Found, PluginError> {
    let alone =
        |file: PathBuf| Found { program: Program::Library { file, preload: Vec::new() }, manifest: None };
    match source {
        BackendSource::Exec { command, folder } => {
            let program = Program::Exec { command: command.clone(), folder: folder.clone() };
            Ok(Found { program, manifest: None })
        }
        BackendSource::Library(library) if library.is_absolute() => Ok(alone(library.clone())),
        BackendSource::Library(library) => {
            let places = dirs.iter().map(|dir| dir.join(library));
            match places.clone().find(|path| path.exists()) {
                Some(path) if path.is_dir() => in_folder(&path, dirs),
                path => {
                    let path = path.or_else(|| places.clone().next()).unwrap_or_else(|| library.clone());
                    Ok(alone(path))
                }
            }
        }
        BackendSource::Folder(name) => {
            let folder = dirs.iter().map(|dir| dir.join(name)).find(|folder| folder.join(FILE_NAME).exists());
            let unknown = || PluginError::Unknown { name: name.clone(), places: dirs.to_vec() };
            in_folder(&folder.ok_or_else(unknown)?, dirs)
        }
    }
}

/// Every folder with a `plugin.toml` directly below `dirs`, sorted by path within each.
pub(super) fn folders(dirs: &[PathBuf]) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let mut here: Vec<_> =
            entries.map(|entry| entry.path()).filter(|folder| folder.join(FILE_NAME).is_file()).collect();
        here.sort();
        all.extend(here);
    }
    all
}

fn in_folder(folder: &Path, dirs: &[PathBuf]) -> Result<Found, PluginError> {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let manifest = Manifest::read(&folder)?;
    for other in folders(dirs).into_iter().filter(|other| !is_same(other, &folder)) {
        // What is wrong with another folder is told when somebody asks for it.
        if Manifest::read(&other).is_ok_and(|other| other.id == manifest.id) {
            return Err(PluginError::Twice { id: manifest.id, folders: [folder, other] });
        }
    }
    for weight in &manifest.weights {
        let file = folder.join(&weight.file);
        let state = state(&file, weight.sha256.as_ref());
        if !state.is_fine() {
            return Err(PluginError::Weights { file, state, source_of: weight.source.clone() });
        }
    }
    let program = match &manifest.program {
        ManifestProgram::Exec(command) => Program::Exec { command: command.clone(), folder },
        ManifestProgram::Library { file, sha256, preload } => {
            let file = folder.join(file);
            if sha256.is_some() && state(&file, sha256.as_ref()) == WeightState::Differs {
                return Err(PluginError::Pin(file));
            }
            Program::Library { file, preload: preload.iter().map(|library| folder.join(library)).collect() }
        }
    };
    Ok(Found { program, manifest: Some(manifest) })
}

/// The same folder, however it is spelt.
pub(super) fn is_same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

fn shown(places: &[PathBuf]) -> String {
    let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
    places.join(", ")
}

fn reason(state: WeightState) -> &'static str {
    if state == WeightState::Differs {
        "it is not the file that its sha256 pins"
    } else {
        "missing or unreadable"
    }
}

fn hint(source: &str) -> String {
    if source.is_empty() { String::new() } else { format!("; its authors publish it at {source}") }
}
