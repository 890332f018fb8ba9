//! Files that clients send, written to the `media/` folder as they come and named by their content.

use std::io;
use std::path::{Path, PathBuf};

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
    /// The request broke off or was not well formed.
    #[error("the upload broke off: {0}")]
    Interrupted(String),
    /// This server's disk.
    #[error("the file could not be written")]
    Disk(#[source] io::Error),
}

impl UploadKind {
    fn folder(self) -> &'static str {
        match self {
            Self::Speech => "speech",
            Self::Source => "sources",
        }
    }
}

impl Uploads {
    /// Uploads of at most `limit` bytes each, below the media folder of `config`.
    pub fn new(config: &MediaConfig, limit: u64) -> Self {
        Self { media: config.media_dir(), limit }
    }

    /// Begins to write one upload. `name` is what the client called it; only harmless characters of it are kept.
    pub async fn begin(&self, kind: UploadKind, name: &str) -> Result<Upload, UploadError> {
        let folder = self.media.join(kind.folder());
        fs::create_dir_all(&folder).await.map_err(UploadError::Disk)?;
        let partial = folder.join(format!(".{:016x}.part", rand::random::<u64>()));
        let file = fs::File::create_new(&partial).await.map_err(UploadError::Disk)?;
        Ok(Upload {
            file,
            partial: Partial(partial),
            kind,
            folder,
            name: harmless(name),
            hash: blake3::Hasher::new(),
            limit: self.limit,
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
    limit: u64,
}

impl Upload {
    /// Appends `bytes`.
    pub async fn write(&mut self, bytes: &Bytes) -> Result<(), UploadError> {
        self.hash.update(bytes);
        if self.hash.count() > self.limit {
            return Err(UploadError::TooLarge { limit: self.limit });
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
        let hash = self.hash.finalize().to_hex();
        let name = format!("{}-{}", &hash[..12], self.name);
        fs::rename(&self.partial.0, self.folder.join(&name)).await.map_err(UploadError::Disk)?;
        Ok(format!("{}/{name}", self.kind.folder()))
    }
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

    fn uploads(folder: &Path, limit: u64) -> Uploads {
        Uploads { media: folder.to_owned(), limit }
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
