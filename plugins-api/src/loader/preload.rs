//! Libraries that a plugin needs and that the dynamic linker would not find by itself.

use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use super::elf;
use super::error::{LoadError, Refusal, chain};

/// Opens `libraries` in order, for good: a plugin that is opened later and names one of them, or uses a symbol of one,
/// finds it here, wherever the file lies. Libraries that are open already stay as they are.
///
/// Their initialisers run here, so open only files the operator named.
///
/// # Errors
/// Names the first that is not there, not whole, or refused by the dynamic linker; those before it stay open.
pub fn preload(libraries: &[PathBuf]) -> Result<(), LoadError> {
    libraries.iter().try_for_each(|library| {
        open(library).map_err(|reason| LoadError {
            origin: "preload".into(),
            refusal: Refusal::Preload { library: library.clone(), reason },
        })
    })
}

fn open(library: &Path) -> Result<(), String> {
    if !library.exists() {
        return Err("no such file".to_owned());
    }
    elf::check(library).map_err(|refusal| refusal.to_string())?;
    // A bare file name would be searched for in the system's library folders instead.
    let path = std::path::absolute(library).map_err(|error| error.to_string())?;
    // SAFETY: running a library's initialisers is what opening it means; the operator named it.
    let opened = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) };
    // Never closed: plugins use it for the life of the process.
    std::mem::forget(opened.map_err(|error| chain(&error))?);
    Ok(())
}
