//! Finding ONNX Runtime's own library, and the one environment that a process has of it.
//!
//! The library is opened at run time, so that everything else works on a machine without it; which file is taken, and
//! why none is, can be told to an operator word by word.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lipcast_musetalk::NetworkError;
use ort::environment::Environment;

use crate::error::failed;

/// What the file is called: on Linux with its version behind it, like `libonnxruntime.so.1.31.1`.
const NAME: &str = "libonnxruntime.so";

/// The runtime, opened.
#[derive(Debug, Clone)]
pub(crate) struct Library {
    /// The file that was opened.
    pub(crate) path: PathBuf,
    /// What sessions are made in.
    pub(crate) environment: Environment,
}

/// The runtime allows one environment in a process, and never gives its library back.
static OPENED: Mutex<Option<Library>> = Mutex::new(None);

/// Opens the runtime's library: the file `setting`, the newest one in the folder `setting`, or, when it is empty, the
/// newest one in the first of these that has any: the folder of this code's own shared library, the folder of the
/// program, and `../lib/lipcast` from there.
///
/// # Errors
/// When there is none, naming every place that was looked at; when it cannot be used; and when the process has opened
/// another one already.
pub(crate) fn open(setting: &Path) -> Result<Library, NetworkError> {
    let path = find(setting)?;
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = &*opened {
        if library.path == path {
            return Ok(library.clone());
        }
        return Err(NetworkError::Unsupported(format!(
            "this process has opened {} and cannot open {} beside it; backends with another ONNX Runtime need a process of \
             their own (`isolation = \"process\"`)",
            library.path.display(),
            path.display()
        )));
    }
    let builder = ort::init_from(&path).map_err(|error| refused(&path, &error))?;
    // Builds of Microsoft's send usage data unless they are told not to.
    let environment = builder
        .with_name("lipcast")
        .with_telemetry(false)
        .build()
        .map_err(|error| failed(&path.display().to_string(), error))?;
    Ok(opened.insert(Library { path, environment }).clone())
}

/// The version that the library's file is named by, like `1.31.1`.
pub(crate) fn version(library: &Library) -> String {
    // The name of the file that a link stands for carries it; a build of one's own may have none.
    let file = fs::canonicalize(&library.path).unwrap_or_else(|_| library.path.clone());
    let version = version_of(&file).unwrap_or_default();
    if version.is_empty() {
        return "of unknown version".to_owned();
    }
    version.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

fn find(setting: &Path) -> Result<PathBuf, NetworkError> {
    let path = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if setting.is_file() {
        return Ok(path(setting));
    }
    let folders = if setting.as_os_str().is_empty() { usual_folders() } else { vec![setting.to_owned()] };
    if let Some(found) = folders.iter().find_map(|folder| newest(folder)) {
        return Ok(path(&found));
    }
    let places: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let asked = if setting.as_os_str().is_empty() { "" } else { " (the setting `library`)" };
    Err(NetworkError::Missing(format!(
        "ONNX Runtime is not there: looked for {NAME}.* in {}{asked}; in builds from source `cargo xtask build --onnx` \
         puts it there; it is the file of that name in the Python package onnxruntime",
        places.join(", ")
    )))
}

fn usual_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut add = |folder: Option<PathBuf>| {
        if let Some(folder) = folder.filter(|folder| !folders.contains(folder)) {
            folders.push(folder);
        }
    };
    add(own_file().and_then(|file| Some(file.parent()?.to_owned())));
    let program = env::current_exe().ok().and_then(|file| Some(file.parent()?.to_owned()));
    add(program.clone());
    add(program.and_then(|folder| Some(folder.parent()?.join("lib/lipcast"))));
    folders
}

/// The file that this code was loaded from: the plugin, or the program that it is linked into. It is the one whose
/// mapping holds the address of a function of ours.
fn own_file() -> Option<PathBuf> {
    let address = own_file as fn() -> Option<PathBuf> as usize;
    file_at(&fs::read_to_string("/proc/self/maps").ok()?, address)
}

/// The file in a line like `7f1c00-7f1d00 r-xp 00000000 08:02 135522   /usr/lib/x.so` of a process's mappings.
fn file_at(maps: &str, address: usize) -> Option<PathBuf> {
    let line = maps.lines().find(|line| {
        let bounds = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
        let number = |text: &str| usize::from_str_radix(text, 16).ok();
        bounds
            .and_then(|(from, to)| Some(number(from)?..number(to)?))
            .is_some_and(|range| range.contains(&address))
    })?;
    let path = &line[line.find('/')?..];
    // A plugin that was replaced since is still the one in that folder.
    Some(path.strip_suffix(" (deleted)").unwrap_or(path).into())
}

/// The library of the highest version in `folder`.
fn newest(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let versions = files.filter_map(|file| Some((version_of(&file)?, file)));
    versions.max().map(|(_, file)| file)
}

/// `[1, 31, 1]` of `libonnxruntime.so.1.31.1`, nothing of `libonnxruntime.so`; `None` of any other name.
fn version_of(file: &Path) -> Option<Vec<u32>> {
    match file.file_name()?.to_str()?.strip_prefix(NAME)? {
        "" => Some(Vec::new()),
        rest => rest.strip_prefix('.')?.split('.').map(|number| number.parse().ok()).collect(),
    }
}

fn refused(path: &Path, error: &ort::LoadDynamicError) -> NetworkError {
    let path = path.display();
    match error {
        ort::LoadDynamicError::BadVersion { version_str, .. } => NetworkError::Unsupported(format!(
            "{path} is ONNX Runtime {version_str}; version 1.{} or newer is needed",
            ort::MINOR_VERSION
        )),
        ort::LoadDynamicError::MissingApi { .. } => {
            NetworkError::Unsupported(format!("{path} is not ONNX Runtime"))
        }
        error => {
            // The dynamic linker's own words come last.
            let causes = std::iter::successors(Some(error as &dyn Error), |error| (*error).source());
            let words: Vec<_> = causes.map(ToString::to_string).collect();
            NetworkError::Unsupported(format!("{path}: {}", words.join(": ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_in_a_folder_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(newest(folder.path()), None);
        for name in [
            "libonnxruntime.so",
            "libonnxruntime.so.1.9.0",
            "libonnxruntime.so.1.31.1",
            "libonnxruntime.so.1.31.new",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::write(folder.path().join("libonnxruntime_providers_shared.so"), "").unwrap();
        assert_eq!(newest(folder.path()), Some(folder.path().join("libonnxruntime.so.1.31.1")));
    }

    #[test]
    fn the_file_around_an_address_is_found_also_when_it_was_replaced() {
        let maps = "\
5500-5600 r--p 00000000 fe:00 12 /opt/lipcast/backend-host
7000-7100 r-xp 00000000 fe:00 34 /opt/lip cast/liblipcast_onnx.so (deleted)
7100-7200 rw-p 00000000 00:00 0
7ffe00-7fff00 rw-p 00000000 00:00 0 [stack]
";
        let found = |address| file_at(maps, address);
        assert_eq!(found(0x5500), Some("/opt/lipcast/backend-host".into()));
        assert_eq!(found(0x70ff), Some("/opt/lip cast/liblipcast_onnx.so".into()));
        assert_eq!([found(0x7100), found(0x7fff00), found(0)], [None, None, None]);
    }

    #[test]
    fn this_code_knows_where_it_was_loaded_from() {
        assert_eq!(own_file(), env::current_exe().ok());
    }

    #[test]
    fn a_missing_library_is_told_with_every_place_that_was_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let Err(NetworkError::Missing(message)) = find(folder.path()) else { panic!("found one") };
        let path = folder.path().display().to_string();
        assert!(message.contains(&path) && message.contains("libonnxruntime.so.*"), "{message}");

        let Err(NetworkError::Missing(message)) = find(Path::new("")) else { panic!("found one") };
        let program = env::current_exe().unwrap();
        let folder = program.parent().unwrap();
        for place in [folder.to_owned(), folder.parent().unwrap().join("lib/lipcast")] {
            assert!(message.contains(&place.display().to_string()), "{message}");
        }
    }
}
