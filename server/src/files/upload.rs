//! Files that clients send, written to the `media/` folder as they come and named by their content.
//!
//! ```text
//! media/speech/<hash>-<name>     stays until somebody deletes it
//! media/sources/<hash>-<name>    what an avatar is made from; deleted when it is made
//! media/*/.<random>.part         being written
//! media/.server                  locked by the server that uses the folder
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::fs;
use tokio::io::AsyncWriteExt;

use crate::config::MediaConfig;

/// What an upload is for; each has a folder of its own below `media/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadKind {
    /// Speech to be said.
    Speech,
    /// The video or image that an avatar is made from.
    Source,
}

/// Where uploads go.
#[derive(Debug, Clone)]
pub struct Uploads {
    media: PathBuf,
    limit: u64,
    all: u64,
    /// Locked for as long as this server runs; `None` while another one has it.
    _lock: Option<Arc<std::fs::File>>,
}

/// Why an upload was not kept. Nothing of it stays on disk.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// There was nothing in it.
    #[error("the file is empty")]
    Empty,
    /// More than `server.max_upload`.
    #[error("the file is larger than {limit} bytes, the most this server takes")]
    TooLarge {
        /// The limit, bytes.
        limit: u64,
    },
    /// All uploads together would be more than `media.max_uploads`.
    #[error("there is no room for the file: all uploads together may have {limit} bytes (media.max_uploads)")]
    Full {
        /// The limit, bytes.
        limit: u64,
    },
    /// The request broke off or was not well formed.
    #[error("the upload broke off: {0}")]
    Interrupted(String),
    /// This server's disk.
    #[error("the file could not be written")]
    Disk(#[source] io::Error),
}

impl UploadKind {
    const ALL: [Self; 2] = [Self::Speech, Self::Source];

    fn folder(self) -> &'static str {
        match self {
            Self::Speech => "speech",
            Self::Source => "sources",
        }
    }
}

impl Uploads {
    /// Uploads of at most `limit` bytes each, below the media folder of `config`. What a server that ended abruptly
    /// left there is deleted: unfinished uploads, and sources whose avatar nobody makes any more.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(config: &MediaConfig, limit: u64) -> io::Result<Self> {
        let media = config.media_dir();
        std::fs::create_dir_all(&media)?;
        let lock = std::fs::File::create(media.join(".server"))?;
        // A second server on the same folder leaves alone what the first one may be writing.
        let lock = lock.try_lock().is_ok().then(|| Arc::new(lock));
        let uploads = Self { media, limit, all: config.max_uploads, _lock: lock };
        if uploads._lock.is_some() {
            uploads.clean();
        }
        Ok(uploads)
    }

    fn clean(&self) {
        for kind in UploadKind::ALL {
            for file in self.files(kind) {
                if kind == UploadKind::Source || is_partial(&file) {
                    match std::fs::remove_file(&file) {
                        Ok(()) => tracing::info!(file = %file.display(), "left over, deleted"),
                        Err(error) => tracing::warn!(file = %file.display(), %error, "left over"),
                    }
                }
            }
        }
    }

    fn files(&self, kind: UploadKind) -> impl Iterator<Item = PathBuf> {
        let entries = std::fs::read_dir(self.media.join(kind.folder())).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())).map(|entry| entry.path())
    }

    /// Bytes of all uploads, of those being written too.
    async fn taken(&self) -> u64 {
        let uploads = self.clone();
        let sum = move || {
            let files = UploadKind::ALL.into_iter().flat_map(|kind| uploads.files(kind));
            files.filter_map(|file| Some(std::fs::metadata(file).ok()?.len())).sum()
        };
        // An error is a panic, and there is none in it.
        tokio::task::spawn_blocking(sum).await.unwrap_or(0)
    }

    /// Begins to write one upload. `name` is what the client called it; only harmless characters of it are kept.
    pub async fn begin(&self, kind: UploadKind, name: &str) -> Result<Upload, UploadError> {
        let folder = self.media.join(kind.folder());
        fs::create_dir_all(&folder).await.map_err(UploadError::Disk)?;
        let taken = self.taken().await;
        if taken >= self.all {
            return Err(UploadError::Full { limit: self.all });
        }
        let partial = folder.join(format!(".{:016x}{PARTIAL}", rand::random::<u64>()));
        let file = fs::File::create_new(&partial).await.map_err(UploadError::Disk)?;
        Ok(Upload {
            file,
            partial: Partial(partial),
            kind,
            folder,
            name: harmless(name),
            hash: blake3::Hasher::new(),
            uploads: self.clone(),
            room: self.all - taken,
        })
    }

    /// Deletes an upload again, by the path that [`Upload::finish`] gave.
    pub async fn discard(&self, path: &str) {
        if let Err(error) = fs::remove_file(self.media.join(path)).await {
            tracing::warn!(path, %error, "an upload that is not needed any more could not be deleted");
        }
    }
}

/// One upload being written. Dropped before [`Upload::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Upload {
    file: fs::File,
    partial: Partial,
    kind: UploadKind,
    folder: PathBuf,
    name: String,
    hash: blake3::Hasher,
    uploads: Uploads,
    /// Bytes that were left of the limit for all when it began.
    room: u64,
}

impl Upload {
    /// Appends `bytes`.
    pub async fn write(&mut self, bytes: &Bytes) -> Result<(), UploadError> {
        self.hash.update(bytes);
        let limit = self.uploads.limit;
        if self.hash.count() > limit {
            return Err(UploadError::TooLarge { limit });
        }
        if self.hash.count() > self.room {
            return Err(UploadError::Full { limit: self.uploads.all });
        }
        self.file.write_all(bytes).await.map_err(UploadError::Disk)
    }

    /// Puts the file in place. The same content under the same name gives the same path, and takes its space once.
    pub async fn finish(mut self) -> Result<String, UploadError> {
        if self.hash.count() == 0 {
            return Err(UploadError::Empty);
        }
        self.file.flush().await.map_err(UploadError::Disk)?;
        self.file.sync_all().await.map_err(UploadError::Disk)?;
        // Others may have come in meanwhile.
        if self.uploads.taken().await > self.uploads.all {
            return Err(UploadError::Full { limit: self.uploads.all });
        }
        let hash = self.hash.finalize().to_hex();
        let name = format!("{}-{}", &hash[..12], self.name);
        fs::rename(&self.partial.0, self.folder.join(&name)).await.map_err(UploadError::Disk)?;
        Ok(format!("{}/{name}", self.kind.folder()))
    }
}

const PARTIAL: &str = ".part";

fn is_partial(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("");
    name.starts_with('.') && name.ends_with(PARTIAL)
}

/// A file that is deleted when dropped; after the rename there is nothing to delete.
#[derive(Debug)]
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The last part of `name` with letters, digits, `-`, `_` and `.` only, at most 64 of them.
fn harmless(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let (stem, extension) = match Path::new(name).extension().and_then(|e| e.to_str()) {
        Some(extension) => (&name[..name.len() - extension.len() - 1], extension),
        None => (name, ""),
    };
    let keep = |text: &str, most: usize| -> String {
        let plain = text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' });
        plain.take(most).collect::<String>().trim_matches('-').to_owned()
    };
    let (stem, extension) = (keep(stem, 50), keep(extension, 8).to_lowercase());
    let stem = if stem.is_empty() { "file".to_owned() } else { stem };
    if extension.is_empty() { stem } else { format!("{stem}.{extension}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Bases, Config};

    fn uploads(folder: &Path, limit: u64) -> Uploads {
        Uploads { media: folder.to_owned(), limit, all: 1_000, _lock: None }
    }

    fn put(folder: &Path, path: &str) {
        let path = folder.join("data/media").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }

    fn names(folder: &Path, kind: &str) -> Vec<String> {
        let entries = std::fs::read_dir(folder.join("data/media").join(kind)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_a_crash_left_is_deleted_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["speech/.0123.part", "speech/0123-a.wav", "sources/.4567.part", "sources/4567-v.mp4"] {
            put(folder.path(), path);
        }
        let bases = Bases { config: folder.path().to_owned(), program: folder.path().to_owned() };
        let config = Config::parse("t", "", &bases).unwrap();
        let first = Uploads::open(&config.media, 100).unwrap();
        assert_eq!(names(folder.path(), "speech"), ["0123-a.wav"]);
        assert_eq!(names(folder.path(), "sources"), Vec::<String>::new());
        put(folder.path(), "sources/89ab-v.mp4");
        let second = Uploads::open(&config.media, 100).unwrap();
        assert_eq!(names(folder.path(), "sources"), ["89ab-v.mp4"], "the first server may be at it");
        drop((first, second));
        let _third = Uploads::open(&config.media, 100).unwrap();
        assert_eq!(names(folder.path(), "sources"), Vec::<String>::new());
    }

    #[tokio::test]
    async fn all_uploads_together_have_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = uploads(folder.path(), 800);
        let zeros = |count| Bytes::from(vec![0; count]);
        let mut beside = uploads.begin(UploadKind::Source, "v.mp4").await.unwrap();
        let mut first = uploads.begin(UploadKind::Speech, "a.wav").await.unwrap();
        first.write(&zeros(700)).await.unwrap();
        first.finish().await.unwrap();
        let mut second = uploads.begin(UploadKind::Speech, "b.wav").await.unwrap();
        assert!(matches!(second.write(&zeros(301)).await, Err(UploadError::Full { limit: 1_000 })));
        drop(second);
        // It began when there was room.
        beside.write(&zeros(400)).await.unwrap();
        assert!(matches!(beside.finish().await, Err(UploadError::Full { .. })));
        let mut third = uploads.begin(UploadKind::Speech, "c.wav").await.unwrap();
        third.write(&zeros(300)).await.unwrap();
        third.finish().await.unwrap();
        assert!(matches!(uploads.begin(UploadKind::Speech, "d.wav").await, Err(UploadError::Full { .. })));
    }

    #[test]
    fn names_lose_what_could_hurt() {
        for (name, kept) in [
            ("eng.wav", "eng.wav"),
            ("../../etc/passwd", "passwd"),
            ("C:\\clips\\My Voice (2).WAV", "My-Voice--2.wav"),
            (".bashrc", "bashrc"),
            ("", "file"),
            ("..", "file"),
            ("häuser\0\n.mp4", "h-user.mp4"),
        ] {
            assert_eq!(harmless(name), kept, "{name:?}");
        }
        assert!(harmless(&"x".repeat(500)).len() <= 64);
    }

    #[tokio::test]
    async fn the_same_content_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = uploads(folder.path(), 100);
        let mut paths = Vec::new();
        for _ in 0..2 {
            let mut upload = uploads.begin(UploadKind::Speech, "a b.wav").await.unwrap();
            upload.write(&Bytes::from_static(b"hello ")).await.unwrap();
            upload.write(&Bytes::from_static(b"world")).await.unwrap();
            paths.push(upload.finish().await.unwrap());
        }
        assert_eq!(paths[0], paths[1]);
        assert_eq!(std::fs::read(folder.path().join(&paths[0])).unwrap(), b"hello world");
        assert_eq!(std::fs::read_dir(folder.path().join("speech")).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn nothing_stays_of_what_was_refused() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = uploads(folder.path(), 4);
        let mut upload = uploads.begin(UploadKind::Source, "v.mp4").await.unwrap();
        let error = upload.write(&Bytes::from_static(b"12345")).await.unwrap_err();
        assert!(matches!(error, UploadError::TooLarge { limit: 4 }));
        drop(upload);
        let empty = uploads.begin(UploadKind::Source, "v.mp4").await.unwrap();
        assert!(matches!(empty.finish().await, Err(UploadError::Empty)));
        assert_eq!(std::fs::read_dir(folder.path().join("sources")).unwrap().count(), 0);
    }
}
