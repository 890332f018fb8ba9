//! The folder of all avatars.
//!
//! ```text
//! <root>/<id>/manifest.json frames.i420 faces.bin poster.jpg source/… blobs/<backend>-<version>.bin
//! <root>/.tmp-…              being prepared or being deleted; removed at the next start if nobody holds it
//! <root>/.old-<id>           only where the file system cannot swap two folders in one step
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::disk::Disk;
use super::{Avatar, AvatarError, AvatarId};
use crate::sync::lock;

/// All avatars of one folder. Cheap to share behind an `Arc`; every call may come from any thread.
pub struct AvatarStore {
    pub(super) root: PathBuf,
    pub(super) disk: Disk,
    pub(super) landmark_model: Option<PathBuf>,
    loaded: Mutex<HashMap<AvatarId, Loaded>>,
    preparing: Mutex<HashSet<AvatarId>>,
}

/// One avatar in a listing.
#[derive(Debug, Clone)]
pub enum Summary {
    /// It can be used.
    Ready(Arc<Avatar>),
    /// It has to be repaired first; what is wrong, in words.
    Damaged(String),
}

struct Loaded {
    /// Inode and creation time: another process may put a new folder in place.
    folder: (u64, Option<std::time::SystemTime>),
    avatar: Result<Arc<Avatar>, Damage>,
}

#[derive(Clone)]
struct Damage {
    file: String,
    reason: String,
}

impl AvatarStore {
    /// Opens the store below `root`, which is created if need be, and removes what a crash left behind.
    ///
    /// # Errors
    /// When the folder cannot be created or read. A damaged avatar is no error: see [`AvatarStore::list`].
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, AvatarError> {
        Self::open_on(root.into(), Disk::default())
    }

    pub(super) fn open_on(root: PathBuf, disk: Disk) -> Result<Self, AvatarError> {
        fs::create_dir_all(&root).map_err(AvatarError::io("create the folder", &root))?;
        let store =
            Self { root, disk, landmark_model: None, loaded: Mutex::default(), preparing: Mutex::default() };
        store.clean()?;
        Ok(store)
    }

    /// Uses another landmark model than Debian's: a file in the format of dlib's `shape_predictor`.
    #[must_use]
    pub fn with_landmark_model(mut self, path: Option<PathBuf>) -> Self {
        self.landmark_model = path;
        self
    }

    /// The folder of the store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The avatars on disk, by name, damaged ones included.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn ids(&self) -> Result<Vec<AvatarId>, AvatarError> {
        let mut ids = Vec::new();
        for entry in self.entries()? {
            if let (Ok(id), true) = (AvatarId::parse(&name_of(&entry)), entry.is_dir()) {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// All avatars with their state.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<BTreeMap<AvatarId, Summary>, AvatarError> {
        let mut list = BTreeMap::new();
        for id in self.ids()? {
            let summary = match self.avatar(&id) {
                Ok(avatar) => Summary::Ready(avatar),
                Err(AvatarError::Unknown(_)) => continue,
                Err(error) => Summary::Damaged(error.to_string()),
            };
            list.insert(id, summary);
        }
        Ok(list)
    }

    /// An avatar, loaded once and shared. Takes milliseconds.
    ///
    /// # Errors
    /// [`AvatarError::Unknown`], or [`AvatarError::Damaged`], which [`AvatarStore::repair`] mends.
    pub fn avatar(&self, id: &AvatarId) -> Result<Arc<Avatar>, AvatarError> {
        let path = self.folder(id);
        let mut loaded = lock(&self.loaded);
        let meta = match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => meta,
            _ => {
                loaded.remove(id);
                return Err(AvatarError::Unknown(id.clone()));
            }
        };
        let folder = (meta.ino(), meta.created().ok());
        let known = loaded.get(id).filter(|entry| {
            entry.folder == folder && !entry.avatar.as_ref().is_ok_and(|avatar| avatar.is_cut())
        });
        let entry = match known {
            Some(entry) => entry.avatar.clone(),
            None => {
                let avatar = match Avatar::load(&path, id, self.disk.clone()) {
                    Ok(avatar) => Ok(Arc::new(avatar)),
                    Err(AvatarError::Damaged { file, reason, .. }) => Err(Damage { file, reason }),
                    Err(error) => return Err(error),
                };
                loaded.insert(id.clone(), Loaded { folder, avatar: avatar.clone() });
                avatar
            }
        };
        entry.map_err(|Damage { file, reason }| AvatarError::Damaged { id: id.clone(), file, reason })
    }

    /// Compares every file of an avatar with its hash. What is damaged is set aside as `.bad`,
    /// and the avatar counts as damaged until it is repaired. Seconds for a long clip.
    ///
    /// # Errors
    /// [`AvatarError::Damaged`] if it is; [`AvatarError::Busy`] or [`AvatarError::Replaced`] if it is being or was
    /// prepared anew meanwhile; otherwise as [`AvatarStore::avatar`].
    pub fn verify(&self, id: &AvatarId) -> Result<(), AvatarError> {
        let avatar = self.avatar(id)?;
        let result = avatar.verify();
        if let Err(AvatarError::Damaged { file, reason, .. }) = &result {
            // From here nobody else changes the folder; what is in it may have changed before.
            let _claim = self.reserve(id)?;
            if let Err(replaced @ AvatarError::Replaced(_)) = avatar.manifest_now() {
                return Err(replaced);
            }
            tracing::warn!(avatar = %id, file, reason, "a damaged file is set aside");
            let path = avatar.folder.join(file);
            if path.exists() {
                self.disk.rename(&path, &path.with_added_extension("bad"))?;
            }
            if let Some(entry) = lock(&self.loaded).get_mut(id) {
                entry.avatar = Err(Damage { file: file.clone(), reason: reason.clone() });
            }
        }
        result
    }

    /// Deletes an avatar. Sessions that show it keep it until they end.
    ///
    /// # Errors
    /// [`AvatarError::Unknown`], [`AvatarError::Busy`] while it is prepared, or the disk's error.
    pub fn delete(&self, id: &AvatarId) -> Result<(), AvatarError> {
        let _busy = self.reserve(id)?;
        let path = self.folder(id);
        if !path.is_dir() {
            return Err(AvatarError::Unknown(id.clone()));
        }
        let away = self.temp_name(id);
        self.disk.rename(&path, &away)?;
        lock(&self.loaded).remove(id);
        self.disk.sync_dir(&self.root)?;
        self.disk.remove(&away)
    }

    pub(super) fn folder(&self, id: &AvatarId) -> PathBuf {
        self.root.join(id.as_str())
    }

    pub(super) fn temp_name(&self, id: &AvatarId) -> PathBuf {
        self.root.join(format!(".tmp-{id}-{}", unique()))
    }

    /// Puts a finished folder in place of an avatar, in one step, and returns the former folder's new name.
    pub(super) fn put_in_place(&self, new: &Path, id: &AvatarId) -> Result<Option<PathBuf>, AvatarError> {
        let path = self.folder(id);
        let former = if !path.exists() {
            self.disk.rename(new, &path)?;
            None
        } else {
            match self.disk.exchange(new, &path) {
                Ok(()) => Some(new.to_owned()),
                Err(AvatarError::Io { source, .. }) if source.kind() == io::ErrorKind::InvalidInput => {
                    let old = self.root.join(format!(".old-{id}"));
                    self.disk.rename(&path, &old)?;
                    self.disk.rename(new, &path)?;
                    Some(old)
                }
                Err(error) => return Err(error),
            }
        };
        lock(&self.loaded).remove(id);
        self.disk.sync_dir(&self.root)?;
        Ok(former)
    }

    /// Claims an avatar for writing; a second claim is refused until the first is dropped.
    pub(super) fn reserve(&self, id: &AvatarId) -> Result<Reserved<'_>, AvatarError> {
        if !lock(&self.preparing).insert(id.clone()) {
            return Err(AvatarError::Busy(id.clone()));
        }
        Ok(Reserved { store: self, id: id.clone() })
    }

    /// A new temporary folder, locked so that no other process takes it for stale.
    pub(super) fn temp_folder(&self, id: &AvatarId) -> Result<(PathBuf, File), AvatarError> {
        let _root = self.lock_root()?;
        let path = self.temp_name(id);
        self.disk.create_dir(&path)?;
        let held = File::open(&path).and_then(|file| file.lock().map(|()| file));
        Ok((path.clone(), held.map_err(AvatarError::io("lock", &path))?))
    }

    /// Removes what crashed processes left, and leaves alone what living ones hold.
    fn clean(&self) -> Result<(), AvatarError> {
        let _root = self.lock_root()?;
        for path in self.entries()? {
            let name = name_of(&path);
            if let Some(id) = name.strip_prefix(".old-").and_then(|id| AvatarId::parse(id).ok()) {
                if !self.folder(&id).exists() {
                    self.disk.rename(&path, &self.folder(&id))?;
                    continue;
                }
            } else if !name.starts_with(".tmp-") {
                self.clean_blobs(&path);
                continue;
            }
            if is_abandoned(&path) {
                tracing::info!(path = %path.display(), "removing what an interrupted run left");
                self.disk.remove(&path)?;
            }
        }
        Ok(())
    }

    fn clean_blobs(&self, avatar: &Path) {
        let Ok(entries) = fs::read_dir(avatar.join(super::manifest::BLOBS)) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if name_of(&path).starts_with(".new-")
                && is_abandoned(&path)
                && let Err(error) = self.disk.remove(&path)
            {
                tracing::warn!(%error, "an unfinished blob stays");
            }
        }
    }

    fn lock_root(&self) -> Result<File, AvatarError> {
        let held = File::open(&self.root).and_then(|file| file.lock().map(|()| file));
        held.map_err(AvatarError::io("lock", &self.root))
    }

    fn entries(&self) -> Result<Vec<PathBuf>, AvatarError> {
        let read = || -> io::Result<Vec<PathBuf>> {
            fs::read_dir(&self.root)?.map(|entry| Ok(entry?.path())).collect()
        };
        read().map_err(AvatarError::io("read the folder", &self.root))
    }
}

/// Held while an avatar is written.
pub(super) struct Reserved<'a> {
    store: &'a AvatarStore,
    pub(super) id: AvatarId,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        lock(&self.store.preparing).remove(&self.id);
    }
}

/// A suffix that no other writer uses.
pub(super) fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.subsec_nanos());
    format!("{:x}-{nanos:x}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn is_abandoned(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
