//! Read-only mapped files: the one place of the engine's avatars that needs `unsafe`.
//!
//! Blobs only: they are large, read once while a backend loads them, and checked against their hash just before.
//!
//! Files of a store are never written in place: they are replaced by a rename, and deleted by an unlink,
//! and both leave an existing mapping whole.
#![allow(unsafe_code, reason = "mapping a file is unsafe because another process may truncate it")]

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// A whole file, mapped for reading. Its pages belong to the page cache and are not anonymous memory.
#[derive(Debug)]
pub(crate) struct MappedFile {
    /// `None` for an empty file, which cannot be mapped.
    map: Option<Mmap>,
}

impl MappedFile {
    /// Maps `path`; a file that is not `expected` bytes long is an error of kind `InvalidData`.
    pub(crate) fn open(path: &Path, expected: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let found = file.metadata()?.len();
        if found != expected {
            let text = format!("{found} bytes where {expected} were written");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if found == 0 {
            return Ok(Self { map: None });
        }
        // SAFETY: the file is private to the store, which never writes to or truncates a finished file
        // (see the module's text); a user who truncates it by hand gets a SIGBUS, as with any mapped file.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map: Some(map) })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}
