//! Files that somebody else put there, opened.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Opens the file at `path` for reading; links are followed.
///
/// # Errors
/// What the system says, or that it is not a file. That is looked at first: opening a pipe waits for somebody
/// who writes into it, and a device may have no end.
pub fn open(path: &Path) -> io::Result<File> {
    expect(path)?;
    File::open(path)
}

/// Looks whether `path` is a regular file; links are followed.
///
/// # Errors
/// As [`open`].
pub fn expect(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.is_file() { Ok(()) } else { Err(io::Error::other("not a file")) }
}
