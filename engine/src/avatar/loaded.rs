//! One avatar, loaded: frames in an open file, faces in memory.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lipcast_codecs::I420;

use super::disk::Disk;
use super::manifest::{FACES, FRAMES, MANIFEST, Manifest, POSTER};
use super::source::{asset_name, asset_path};
use super::{AvatarError, AvatarId, Report, faces_file};
use crate::face::FrameFace;
use crate::time::FrameRate;

/// A prepared person. Shared by all sessions; deleting or replacing it on disk leaves a loaded one whole.
pub struct Avatar {
    pub(super) manifest: Manifest,
    pub(super) folder: PathBuf,
    pub(super) disk: Disk,
    frames: File,
    faces: Vec<Option<FrameFace>>,
}

impl Avatar {
    /// Its name.
    pub fn id(&self) -> &AvatarId {
        &self.manifest.id
    }

    /// The manifest as it was when the avatar was loaded; blobs written since are not in it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Names of what its source brought for backends beside the pictures.
    pub fn assets(&self) -> impl Iterator<Item = &str> {
        self.manifest.files.keys().filter_map(|path| asset_name(path))
    }

    /// The content of an asset.
    ///
    /// # Errors
    /// When there is none of that name, or it is no longer what it was.
    pub fn asset(&self, name: &str) -> Result<Arc<[u8]>, AvatarError> {
        let file = asset_path(name);
        let damaged = |reason: &str| AvatarError::Damaged {
            id: self.id().clone(),
            file: file.clone(),
            reason: reason.to_owned(),
        };
        let entry = self.manifest.files.get(&file).ok_or_else(|| damaged("there is no such asset"))?;
        let path = self.folder.join(&file);
        let content = fs::read(&path).map_err(AvatarError::io("read", &path))?;
        if blake3::hash(&content).to_hex().as_str() != entry.blake3 {
            return Err(damaged("its content was altered"));
        }
        Ok(content.into())
    }

    /// Whether the file of its frames is gone or no longer as long as it was written: it should be mended before
    /// anybody new is shown it.
    pub(super) fn is_cut(&self) -> bool {
        let found = fs::metadata(self.folder.join(FRAMES)).map(|data| data.len());
        found.ok() != self.manifest.files.get(FRAMES).map(|written| written.bytes)
    }

    /// What preparing noticed.
    pub fn report(&self) -> &Report {
        &self.manifest.report
    }

    /// BLAKE3 of its frames, as they were written: 64 lower-case hex digits.
    pub fn frames_blake3(&self) -> &str {
        // A manifest without its frames is refused when it is read.
        &self.manifest.files[FRAMES].blake3
    }

    /// Frames per second.
    pub fn fps(&self) -> FrameRate {
        self.manifest.fps
    }

    /// Width and height in pixels, both even.
    pub fn size(&self) -> (usize, usize) {
        (self.manifest.width, self.manifest.height)
    }

    /// Distinct frames, at least 1.
    pub fn frame_count(&self) -> usize {
        self.manifest.frame_count
    }

    /// The stored frame that is shown as video frame `k` of an endless performance.
    pub fn playback_index(&self, k: u64) -> usize {
        self.manifest.loop_mode.index(k, self.manifest.frame_count)
    }

    /// Reads one stored frame into `picture`, which has the avatar's size: BT.601, limited range.
    ///
    /// Read, not mapped: of a mapped file that somebody cuts short, or a disk that fails, one learns by a signal that
    /// ends the process. The bytes come from the page cache, and are copied once either way.
    ///
    /// # Errors
    /// When `index` is not below [`Avatar::frame_count`], the disk fails, or the file is shorter than it was written.
    pub fn read_frame(&self, index: usize, picture: &mut I420) -> io::Result<()> {
        let length = picture.data().len();
        if index >= self.frame_count() || (picture.width(), picture.height()) != self.size() {
            let text = format!("no frame {index} of {}x{}", picture.width(), picture.height());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.frames.read_exact_at(picture.data_mut(), (index * length) as u64)
    }

    /// The face of a stored frame; `None` where nobody was seen and no neighbour could lend a face.
    pub fn face(&self, index: usize) -> Option<&FrameFace> {
        self.faces.get(index)?.as_ref()
    }

    /// The faces of all stored frames.
    pub fn faces(&self) -> &[Option<FrameFace>] {
        &self.faces
    }

    /// The poster, a JPEG.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn poster(&self) -> Result<Vec<u8>, AvatarError> {
        let path = self.folder.join(POSTER);
        fs::read(&path).map_err(AvatarError::io("read", &path))
    }

    /// Reads every file and compares it with its hash: seconds for a long clip, so call it in the background.
    ///
    /// # Errors
    /// [`AvatarError::Damaged`] with the first file that is not what was written, and [`AvatarError::Replaced`] when
    /// the files on disk are another avatar's by now.
    pub fn verify(&self) -> Result<(), AvatarError> {
        self.manifest_now()?;
        for (name, entry) in &self.manifest.files {
            let reason = match hash_file(&self.folder.join(name)) {
                Ok((bytes, _)) if bytes != entry.bytes => {
                    format!("{bytes} bytes where {} were written", entry.bytes)
                }
                Ok((_, hash)) if hash != entry.blake3 => "its content was altered".to_owned(),
                Ok(_) => continue,
                Err(error) => error.to_string(),
            };
            // Not if the folder was replaced while its files were read.
            self.manifest_now()?;
            return Err(AvatarError::Damaged { id: self.id().clone(), file: name.clone(), reason });
        }
        Ok(())
    }

    /// Loads a folder of the store: lengths of all files and hashes of the small ones are checked.
    pub(super) fn load(folder: &Path, id: &AvatarId, disk: Disk) -> Result<Self, AvatarError> {
        let damaged = |file: &str, reason: String| AvatarError::Damaged {
            id: id.clone(),
            file: file.to_owned(),
            reason,
        };
        let text = fs::read(folder.join(MANIFEST)).map_err(|error| damaged(MANIFEST, error.to_string()))?;
        let manifest = Manifest::from_sealed_json(&text).map_err(|reason| damaged(MANIFEST, reason))?;
        if manifest.id != *id {
            return Err(damaged(MANIFEST, format!("it belongs to avatar '{}'", manifest.id)));
        }
        for (name, entry) in &manifest.files {
            let found = fs::metadata(folder.join(name)).map_err(|error| damaged(name, error.to_string()))?;
            if !found.is_file() || found.len() != entry.bytes {
                return Err(damaged(
                    name,
                    format!("{} bytes where {} were written", found.len(), entry.bytes),
                ));
            }
        }
        let faces = fs::read(folder.join(FACES)).map_err(|error| damaged(FACES, error.to_string()))?;
        if blake3::hash(&faces).to_hex().as_str() != manifest.files[FACES].blake3 {
            return Err(damaged(FACES, "its content was altered".to_owned()));
        }
        let faces =
            faces_file::decode(&faces, manifest.frame_count).map_err(|reason| damaged(FACES, reason))?;
        // A replaced or deleted file stays readable through it.
        let frames = File::open(folder.join(FRAMES)).map_err(|error| damaged(FRAMES, error.to_string()))?;
        Ok(Self { manifest, folder: folder.to_owned(), disk, frames, faces })
    }
}

impl std::fmt::Debug for Avatar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Avatar")
            .field("id", self.id())
            .field("frames", &self.frame_count())
            .finish_non_exhaustive()
    }
}

/// Length and BLAKE3 of a file, read in pieces.
pub(super) fn hash_file(path: &Path) -> io::Result<(u64, String)> {
    let mut hasher = blake3::Hasher::new();
    let bytes = io::copy(&mut io::BufReader::with_capacity(1 << 18, fs::File::open(path)?), &mut hasher)?;
    Ok((bytes, hasher.finalize().to_hex().to_string()))
}
