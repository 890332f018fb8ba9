//! What an avatar is made from: the copy kept in `source/`, and frames decoded from it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::manifest::{FileEntry, RECIPE, SOURCE, SourceKind};
use super::{AvatarError, Job};
use crate::media::{Images, file_name};

/// What to prepare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrepareSource {
    /// A video, one image, or a folder of images in the order of their names. A folder `assets` in that folder holds
    /// what backends need beside the pictures, such as weights that were trained for this person.
    File(PathBuf),
    /// The avatar that the program draws itself.
    Builtin,
}

/// The largest source that is taken: a copy is kept.
pub const MAX_SOURCE_BYTES: u64 = 4 << 30;

/// Where the frames come from, inside an avatar's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) kind: SourceKind,
    /// Below `source/`.
    pub(crate) name: String,
    pub(crate) blake3: String,
}

impl Stored {
    /// The path to decode.
    pub(crate) fn path(&self, avatar: &Path) -> PathBuf {
        avatar.join(SOURCE).join(&self.name)
    }
}

/// Copies a source into the new avatar's `source/`, hashing on the way.
/// Returns what was stored, and an entry for each file by its path relative to the avatar.
pub(crate) fn copy_in(
    disk: &Disk,
    avatar: &Path,
    source: &PrepareSource,
    job: &Job,
) -> Result<(Stored, Vec<(String, FileEntry)>), AvatarError> {
    let folder = avatar.join(SOURCE);
    disk.create_dir(&folder)?;
    let PrepareSource::File(path) = source else {
        let stored = Stored { kind: SourceKind::Builtin, name: String::new(), blake3: String::new() };
        return Ok((stored, Vec::new()));
    };
    let refuse = |reason: &str| AvatarError::Source { name: file_name(path), reason: reason.to_owned() };
    let meta = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(refuse("there is no such file")),
        other => other.map_err(AvatarError::io("read", path))?,
    };
    let mut copier = Copier { disk, job, left: MAX_SOURCE_BYTES, files: Vec::new() };
    if meta.is_file() {
        if meta.len() == 0 {
            return Err(refuse("the file is empty"));
        }
        let name = safe_name(path);
        let file = File::open(path).map_err(AvatarError::io("read", path))?;
        copier.copy(file, path, &folder.join(&name), format!("{SOURCE}/{name}"))?;
        let blake3 = copier.files[0].1.blake3.clone();
        return Ok((Stored { kind: SourceKind::File, name, blake3 }, copier.files));
    }
    if !meta.is_dir() {
        return Err(refuse("this is neither a file nor a folder"));
    }
    let target = folder.join("images");
    disk.create_dir(&target)?;
    let images = Images::open(path).map_err(AvatarError::io("read the folder", path))?;
    for name in &images.names {
        let image = path.join(name);
        let file = images
            .file(name)
            .map_err(|error| AvatarError::Source { name: name.clone(), reason: error.to_string() })?;
        if let Some(file) = file {
            copier.copy(file, &image, &target.join(name), format!("{SOURCE}/images/{name}"))?;
        }
    }
    if copier.files.is_empty() {
        return Err(refuse("the folder holds no images (png, jpg, jpeg, webp, bmp)"));
    }
    copy_assets(&mut copier, path, &target)?;
    disk.sync_dir(&target)?;
    let blake3 = hash_of_list(&copier.files);
    Ok((Stored { kind: SourceKind::Folder, name: "images".to_owned(), blake3 }, copier.files))
}

/// The name that backends know an asset by, if `path`, relative to the avatar, is one's.
pub(crate) fn asset_name(path: &str) -> Option<&str> {
    path.strip_prefix(ASSETS_PREFIX)
}

/// Where an asset lies, relative to the avatar.
pub(crate) fn asset_path(name: &str) -> String {
    format!("{ASSETS_PREFIX}{name}")
}

/// Beside the images, so that the stored copy is a source like the one it was made from.
const ASSETS: &str = "assets";
const ASSETS_PREFIX: &str = "source/images/assets/";

/// Copies the folder of assets, where there is one. Names that are no plain file names stay behind.
fn copy_assets(copier: &mut Copier<'_>, source: &Path, target: &Path) -> Result<(), AvatarError> {
    let (source, target) = (source.join(ASSETS), target.join(ASSETS));
    let Some(assets) = assets_of(&source).map_err(AvatarError::io("read the folder", &source))? else {
        return Ok(());
    };
    copier.disk.create_dir(&target)?;
    for name in &assets.names {
        let file = assets
            .file(name)
            .map_err(|error| AvatarError::Source { name: name.clone(), reason: error.to_string() })?;
        if let Some(file) = file {
            copier.copy(file, &source.join(name), &target.join(name), asset_path(name))?;
        }
    }
    copier.disk.sync_dir(&target)
}

fn assets_of(folder: &Path) -> io::Result<Option<Images>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    // The rule for ids is the rule for safe file names.
    Images::of(folder, |name| super::AvatarId::parse(name).is_ok()).map(Some)
}

/// Hash of a stored source as it is on disk now.
pub(crate) fn hash_stored(stored: &Stored, avatar: &Path) -> io::Result<String> {
    let path = stored.path(avatar);
    match stored.kind {
        SourceKind::Builtin => Ok(String::new()),
        SourceKind::File => Ok(super::loaded::hash_file(&path)?.1),
        SourceKind::Folder => {
            let mut files = Vec::new();
            for name in Images::open(&path)?.names {
                let (bytes, blake3) = super::loaded::hash_file(&path.join(&name))?;
                files.push((format!("{SOURCE}/images/{name}"), FileEntry { bytes, blake3 }));
            }
            let assets = path.join(ASSETS);
            for name in assets_of(&assets)?.map_or(Vec::new(), |assets| assets.names) {
                let (bytes, blake3) = super::loaded::hash_file(&assets.join(&name))?;
                files.push((asset_path(&name), FileEntry { bytes, blake3 }));
            }
            Ok(hash_of_list(&files))
        }
    }
}

/// A hash over names and content, whatever the order of play.
fn hash_of_list(files: &[(String, FileEntry)]) -> String {
    let mut files: Vec<_> = files.iter().collect();
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut hasher = blake3::Hasher::new();
    for (name, entry) in files {
        hasher.update(format!("{name}\0{}\n", entry.blake3).as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

struct Copier<'a> {
    disk: &'a Disk,
    job: &'a Job,
    left: u64,
    files: Vec<(String, FileEntry)>,
}

impl Copier<'_> {
    /// Copies `source`, which is called `from` in messages.
    fn copy(
        &mut self,
        mut source: File,
        from: &Path,
        to: &Path,
        relative: String,
    ) -> Result<(), AvatarError> {
        let mut target = self.disk.create(to)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            if self.job.is_cancelled() {
                return Err(AvatarError::Cancelled);
            }
            let count = source.read(&mut buffer).map_err(AvatarError::io("read", from))?;
            if count == 0 {
                break;
            }
            self.left = self.left.checked_sub(count as u64).ok_or_else(|| AvatarError::Source {
                name: file_name(from),
                reason: format!("larger than the limit of {} MiB", MAX_SOURCE_BYTES >> 20),
            })?;
            target.write_all(&buffer[..count]).map_err(AvatarError::io("write", to))?;
        }
        self.files.push((relative, target.finish()?));
        Ok(())
    }
}

/// The file's own name where it is harmless, so that a person recognises it; otherwise `source.<extension>`.
fn safe_name(path: &Path) -> String {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    if super::AvatarId::parse(name).is_ok() && name != RECIPE {
        return name.to_owned();
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("bin");
    let safe = extension.len() <= 8 && extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
    format!("source.{}", if safe { extension } else { "bin" })
}
