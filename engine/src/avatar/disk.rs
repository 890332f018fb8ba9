//! Every change to the disk, as one step each, so that a test can cut the power between any two of them.
//!
//! A finished file is complete, flushed and hashed before anything points at it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::AvatarError;
use super::manifest::FileEntry;

/// One change of the disk, reported before it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    CreateDir(PathBuf),
    Create(PathBuf),
    SyncFile(PathBuf),
    SyncDir(PathBuf),
    Rename { from: PathBuf, to: PathBuf },
    Exchange { one: PathBuf, other: PathBuf },
    Remove(PathBuf),
}

type Watch = dyn Fn(&Step) -> io::Result<()> + Send + Sync;

/// The way to the disk.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    watch: Option<Arc<Watch>>,
}

impl Disk {
    /// A disk that asks `watch` before each step; an error from it stands for a power cut.
    #[cfg(test)]
    pub(crate) fn watched(watch: impl Fn(&Step) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { watch: Some(Arc::new(watch)) }
    }

    pub(crate) fn create_dir(&self, path: &Path) -> Result<(), AvatarError> {
        self.step(|| Step::CreateDir(path.to_owned()))
            .and_then(|()| fs::create_dir(path))
            .map_err(AvatarError::io("create the folder", path))
    }

    /// Opens a new file for writing; an existing one is an error.
    pub(crate) fn create(&self, path: &Path) -> Result<DiskFile, AvatarError> {
        let file = self
            .step(|| Step::Create(path.to_owned()))
            .and_then(|()| File::create_new(path))
            .map_err(AvatarError::io("create", path))?;
        Ok(DiskFile {
            file: io::BufWriter::with_capacity(1 << 18, file),
            hasher: blake3::Hasher::new(),
            bytes: 0,
            path: path.to_owned(),
            disk: self.clone(),
        })
    }

    /// Writes a whole small file and flushes it.
    pub(crate) fn write(&self, path: &Path, data: &[u8]) -> Result<FileEntry, AvatarError> {
        let mut file = self.create(path)?;
        file.write_all(data).map_err(AvatarError::io("write", path))?;
        file.finish()
    }

    /// Replaces a file: the new text beside it, flushed, then renamed over it.
    pub(crate) fn replace(&self, path: &Path, data: &[u8]) -> Result<(), AvatarError> {
        let (folder, name) = (parent(path), path.file_name().unwrap_or_default().to_string_lossy());
        let beside = folder.join(format!(".new-{name}"));
        if beside.exists() {
            self.remove(&beside)?;
        }
        self.write(&beside, data)?;
        self.rename(&beside, path)?;
        self.sync_dir(folder)
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> Result<(), AvatarError> {
        self.step(|| Step::SyncDir(path.to_owned()))
            .and_then(|()| File::open(path)?.sync_all())
            .map_err(AvatarError::io("flush the folder", path))
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), AvatarError> {
        self.step(|| Step::Rename { from: from.to_owned(), to: to.to_owned() })
            .and_then(|()| fs::rename(from, to))
            .map_err(AvatarError::io("rename to", to))
    }

    /// Swaps two folders in one atomic step.
    pub(crate) fn exchange(&self, one: &Path, other: &Path) -> Result<(), AvatarError> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        self.step(|| Step::Exchange { one: one.to_owned(), other: other.to_owned() })
            .and_then(|()| Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?))
            .map_err(AvatarError::io("put in place", other))
    }

    /// Removes a file or a whole folder; one that is gone already is fine.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), AvatarError> {
        let remove = || match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) => Err(error),
        };
        match self.step(|| Step::Remove(path.to_owned())).and_then(|()| remove()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(AvatarError::io("remove", path)),
        }
    }

    fn step(&self, step: impl FnOnce() -> Step) -> io::Result<()> {
        self.watch.as_ref().map_or(Ok(()), |watch| watch(&step()))
    }
}

/// A new file that is hashed while it is written.
pub(crate) struct DiskFile {
    file: io::BufWriter<File>,
    hasher: blake3::Hasher,
    bytes: u64,
    path: PathBuf,
    disk: Disk,
}

impl DiskFile {
    /// Marks the file as being written by a living process, until it is finished or dropped.
    pub(crate) fn lock(&self) -> Result<(), AvatarError> {
        self.file.get_ref().lock().map_err(AvatarError::io("lock", &self.path))
    }

    /// Flushes to the disk; only then may anything point at the file.
    pub(crate) fn finish(self) -> Result<FileEntry, AvatarError> {
        let Self { file, hasher, bytes, path, disk } = self;
        let flush = || {
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            disk.step(|| Step::SyncFile(path.clone()))?;
            file.sync_all()
        };
        flush().map_err(AvatarError::io("write", &path))?;
        Ok(FileEntry { bytes, blake3: hasher.finalize().to_hex().to_string() })
    }
}

impl Write for DiskFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.file.write(data)?;
        self.hasher.update(&data[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The folder that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
