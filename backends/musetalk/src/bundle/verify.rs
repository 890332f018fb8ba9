//! Hashes: whether files are what was exported, and what an avatar depends on.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ring::digest::{Context, Digest, SHA256};

use super::manifest::Manifest;
use super::model::Model;
use super::{BundleError, check};
use crate::file;
use crate::networks::Network;

/// Bytes that are read and hashed at a time; progress is told and a caller can stop as often.
const CHUNK: usize = 1 << 20;

/// Compares each of `names` with its hash, and tells bytes done and bytes in all after each chunk.
pub(super) fn files<'a, E: From<BundleError>>(
    manifest: &Manifest,
    folder: &Path,
    names: impl IntoIterator<Item = &'a str>,
    progress: &dyn Fn(u64, u64) -> Result<(), E>,
) -> Result<(), E> {
    let names: BTreeSet<&str> = names.into_iter().collect();
    let all = names.iter().filter_map(|name| manifest.files.get(*name)).map(|listed| listed.bytes).sum();
    let mut done = 0;
    for name in names {
        file(manifest, folder, name, &mut |read| {
            done += read;
            progress(done, all)
        })?;
    }
    Ok(())
}

/// Compares the file `name` with its hash; `read` hears how many bytes each chunk had.
pub(super) fn file<E: From<BundleError>>(
    manifest: &Manifest,
    folder: &Path,
    name: &str,
    read: &mut dyn FnMut(u64) -> Result<(), E>,
) -> Result<(), E> {
    let path = check::place(folder, name)?;
    let listed = check::listed(manifest, folder, name)?;
    let unreadable = |error: std::io::Error| BundleError::missing(&path, error.to_string());
    // No more than was listed is read, so that what was told adds up to it.
    let file = File::open(&path).map_err(unreadable)?.take(listed.bytes);
    let found = digest(file, unreadable, read)?;
    if found.as_ref() != listed.sha256 {
        let (expected, found) = (hex(&listed.sha256[..6]), hex(&found.as_ref()[..6]));
        let what = format!("damaged: its sha256 begins with {found} where {expected} was expected");
        return Err(BundleError::corrupt(path, what).into());
    }
    Ok(())
}

/// The hash over what is listed for the preparing networks, all formats of each, and over `settings`.
///
/// Formats and precisions count together, so that both runtimes can use what one of them has prepared.
pub(super) fn fingerprint(manifest: &Manifest, settings: &[u8]) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    // Lengths go before what varies, so that no two inputs are the same bytes.
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(b"lipcast musetalk avatar");
    for network in Network::PREPARING {
        let Some(entry) = manifest.model(Model::Network(network)) else { continue };
        part(network.name().as_bytes());
        for (format, files) in &entry.formats {
            part(format.as_bytes());
            for name in files {
                part(manifest.files.get(name).map_or(&[], |listed| &listed.sha256));
            }
        }
    }
    part(settings);
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(hash.finish().as_ref());
    fingerprint
}

/// The SHA-256 of a file in hexadecimal digits.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(path: &Path) -> io::Result<String> {
    let found = digest::<io::Error, _>(file::open(path)?, |error| error, &mut |_| Ok(()))?;
    Ok(hex(found.as_ref()))
}

/// The hash of all that `file` gives; `read` hears how many bytes each chunk had.
fn digest<E, U: Into<E>>(
    mut file: impl Read,
    unreadable: impl Fn(io::Error) -> U,
    read: &mut dyn FnMut(u64) -> Result<(), E>,
) -> Result<Digest, E> {
    let mut chunk = vec![0; CHUNK];
    let mut hash = Context::new(&SHA256);
    loop {
        match file.read(&mut chunk).map_err(|error| unreadable(error).into())? {
            0 => return Ok(hash.finish()),
            bytes => {
                hash.update(&chunk[..bytes]);
                read(bytes as u64)?;
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
