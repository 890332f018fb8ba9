//! The files of a plugin: whether they are there, and whether they are those that were pinned.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};

use ring::digest::{Context, SHA256};

/// What was found where a file of a plugin should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightState {
    /// It is there; it has no pin to be compared with.
    Present,
    /// It is there, with the SHA-256 of its pin.
    Pinned,
    /// It is not there, or cannot be read.
    Missing,
    /// It is there with another SHA-256 than its pin.
    Differs,
}

impl WeightState {
    /// Whether it may be used.
    pub fn is_fine(self) -> bool {
        matches!(self, Self::Present | Self::Pinned)
    }
}

/// Looks at the file at `path`, reading all of it where it is pinned and was not read before as it is now: a backend
/// that is started again after a crash shall not wait until gigabytes were hashed once more.
pub(super) fn state(path: &Path, pin: Option<&[u8; 32]>) -> WeightState {
    let read = File::open(path).and_then(|file| {
        let metadata = file.metadata()?;
        match (metadata.is_file(), pin) {
            (false, _) => Err(io::Error::other("not a file")),
            (true, None) => Ok(WeightState::Present),
            (true, Some(pin)) if known_sha256(file, &metadata)? == *pin => Ok(WeightState::Pinned),
            (true, Some(_)) => Ok(WeightState::Differs),
        }
    });
    read.unwrap_or(WeightState::Missing)
}

/// What tells a file from others, and from itself after a change: device, inode, length, and the times of its last
/// changes in nanoseconds. The last of them cannot be set by hand.
type Fingerprint = (u64, u64, u64, i128, i128);

/// The digests of this process so far; as many as there are pinned files.
static KNOWN: LazyLock<Mutex<HashMap<Fingerprint, [u8; 32]>>> = LazyLock::new(Mutex::default);

fn known_sha256(file: File, metadata: &Metadata) -> io::Result<[u8; 32]> {
    let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let fingerprint = (
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        time(metadata.mtime(), metadata.mtime_nsec()),
        time(metadata.ctime(), metadata.ctime_nsec()),
    );
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(digest) = known().get(&fingerprint) {
        return Ok(*digest);
    }
    let digest = sha256(file)?;
    known().insert(fingerprint, digest);
    Ok(digest)
}

fn sha256(mut file: File) -> io::Result<[u8; 32]> {
    let (mut context, mut buffer) = (Context::new(&SHA256), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => context.update(&buffer[..read]),
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_the_sha_256_of_the_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let mut pin = [0; 32];
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for (i, byte) in pin.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
        }
        assert_eq!(state(&path, Some(&pin)), WeightState::Pinned);
        assert_eq!(state(&path, Some(&pin)), WeightState::Pinned, "read once");
        assert_eq!(state(&path, None), WeightState::Present);
        std::fs::write(&path, "abd").unwrap();
        assert_eq!(state(&path, Some(&pin)), WeightState::Differs);
        assert_eq!(state(folder.path(), None), WeightState::Missing, "a folder is not a file");
        assert_eq!(state(&folder.path().join("no"), Some(&pin)), WeightState::Missing);
    }
}
