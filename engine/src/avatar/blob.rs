//! Blobs: what a backend made of an avatar, opaque to the engine, one file per backend and blob version.

use std::fs;
use std::io::{self, Write};
use std::ops::Deref;
use std::path::PathBuf;

use super::disk::{DiskFile, parent};
use super::manifest::{BLOBS, FileEntry, MANIFEST, Manifest};
use super::mapped::MappedFile;
use super::{Avatar, AvatarError, AvatarId};

/// A blob, mapped and checked against its hash.
#[derive(Debug)]
pub struct Blob(MappedFile);

impl Deref for Blob {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl Avatar {
    /// What `backend` wrote for this avatar in that version of its format; `None` when it has to be made.
    /// A damaged blob is set aside as `.bad` and counts as not made.
    ///
    /// # Errors
    /// When the backend's id is no file name, or the disk fails.
    pub fn blob(&self, backend: &str, version: u32) -> Result<Option<Blob>, AvatarError> {
        let name = blob_name(backend, version)?;
        let path = self.folder.join(BLOBS).join(&name);
        let Some(entries) = self.manifest_now()?.blobs.remove(&name) else { return Ok(None) };
        let found = fs::metadata(&path).map(|meta| meta.len());
        for entry in &entries {
            if found.as_ref().is_ok_and(|&bytes| bytes == entry.bytes) {
                let file = MappedFile::open(&path, entry.bytes).map_err(AvatarError::io("read", &path))?;
                if blake3::hash(file.bytes()).to_hex().as_str() == entry.blake3 {
                    return Ok(Some(Blob(file)));
                }
            }
        }
        self.change_manifest(|manifest| {
            manifest.blobs.remove(&name);
        })?;
        if path.exists() {
            tracing::warn!(avatar = %self.id(), blob = name, "a damaged blob is set aside and will be made again");
            self.disk.rename(&path, &path.with_added_extension("bad"))?;
        } else {
            tracing::warn!(avatar = %self.id(), blob = name, "a blob is not there any more and will be made again");
        }
        Ok(None)
    }

    /// Begins a blob; nothing is visible before [`BlobWriter::commit`].
    ///
    /// # Errors
    /// When the backend's id is no file name, or the disk fails.
    pub fn blob_writer(&self, backend: &str, version: u32) -> Result<BlobWriter<'_>, AvatarError> {
        let name = blob_name(backend, version)?;
        let folder = self.folder.join(BLOBS);
        if !folder.exists() {
            self.disk.create_dir(&folder)?;
            self.disk.sync_dir(&self.folder)?;
        }
        let beside = folder.join(format!(".new-{name}-{}", super::store::unique()));
        let file = self.disk.create(&beside)?;
        file.lock()?;
        Ok(BlobWriter { avatar: self, name, beside, file: Some(file) })
    }

    /// Stores a whole blob that is in memory.
    ///
    /// # Errors
    /// As [`Avatar::blob_writer`].
    pub fn write_blob(&self, backend: &str, version: u32, data: &[u8]) -> Result<(), AvatarError> {
        let mut writer = self.blob_writer(backend, version)?;
        writer.write_all(data).map_err(AvatarError::io("write", &writer.beside))?;
        writer.commit()
    }

    /// The manifest as it is on disk; an error if the folder is no longer this avatar's.
    pub(super) fn manifest_now(&self) -> Result<Manifest, AvatarError> {
        let path = self.folder.join(MANIFEST);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(AvatarError::Replaced(self.id().clone()));
            }
            other => other.map_err(AvatarError::io("read", &path))?,
        };
        let manifest = Manifest::from_sealed_json(&text).map_err(|reason| AvatarError::Damaged {
            id: self.id().clone(),
            file: MANIFEST.to_owned(),
            reason,
        })?;
        if manifest.files != self.manifest.files {
            return Err(AvatarError::Replaced(self.id().clone()));
        }
        Ok(manifest)
    }

    /// Rewrites the manifest under the folder's lock, from what is on disk now:
    /// another process may have written a blob too.
    fn change_manifest(&self, change: impl FnOnce(&mut Manifest)) -> Result<(), AvatarError> {
        let lock = fs::File::open(&self.folder).map_err(AvatarError::io("lock", &self.folder))?;
        lock.lock().map_err(AvatarError::io("lock", &self.folder))?;
        let mut manifest = self.manifest_now()?;
        change(&mut manifest);
        self.disk.replace(&self.folder.join(MANIFEST), &manifest.to_sealed_json())
    }
}

/// A blob being written. Dropping it without a commit leaves the former blob, if any, untouched.
pub struct BlobWriter<'a> {
    avatar: &'a Avatar,
    name: String,
    beside: PathBuf,
    /// `None` once committed.
    file: Option<DiskFile>,
}

impl BlobWriter<'_> {
    /// Flushes the blob and puts it in place of a former one: a power cut at any point leaves one of the two.
    ///
    /// # Errors
    /// When the disk fails; the former blob stays.
    pub fn commit(mut self) -> Result<(), AvatarError> {
        // Only this function takes the file out, and it consumes the writer.
        let file = self.file.take().expect("a writer commits once");
        let result = file.finish().and_then(|entry| self.put_in_place(entry));
        if result.is_err() {
            let _ = self.avatar.disk.remove(&self.beside);
        }
        result
    }

    fn put_in_place(&self, entry: FileEntry) -> Result<(), AvatarError> {
        let (disk, path) = (&self.avatar.disk, self.avatar.folder.join(BLOBS).join(&self.name));
        self.avatar.change_manifest(|manifest| {
            let entries = manifest.blobs.entry(self.name.clone()).or_default();
            entries.retain(|known| *known != entry);
            entries.insert(0, entry.clone());
        })?;
        disk.rename(&self.beside, &path)?;
        disk.sync_dir(parent(&path))?;
        self.avatar.change_manifest(|manifest| {
            manifest.blobs.insert(self.name.clone(), vec![entry]);
        })
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        // Present until `commit`, which consumes the writer.
        self.file.as_mut().expect("a writer that was not committed").write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for BlobWriter<'_> {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = self.avatar.disk.remove(&self.beside);
        }
    }
}

fn blob_name(backend: &str, version: u32) -> Result<String, AvatarError> {
    // The rule for ids is the rule for safe file names.
    AvatarId::parse(backend).map_err(|_| AvatarError::BlobName(backend.to_owned()))?;
    Ok(format!("{backend}-{version}.bin"))
}
