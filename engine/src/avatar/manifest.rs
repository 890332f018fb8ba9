//! `manifest.json`: what an avatar is made of, with the length and hash of every file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{AvatarId, PrepareOptions, Report};
use crate::media::{ColorMatrix, ColorRange};
use crate::time::FrameRate;

/// Version of the folder's layout that this build writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// How the frames follow each other when the last one was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoopMode {
    /// 0 1 2 3 2 1 0 1 …: the ends are not shown twice. For clips that do not end where they began.
    PingPong,
    /// 0 1 2 3 0 1 …: for clips drawn to loop.
    Loop,
}

impl LoopMode {
    /// The stored frame to show as video frame `k` of an avatar with `count` frames.
    pub fn index(self, k: u64, count: usize) -> usize {
        let count = count.max(1) as u64;
        let index = match self {
            Self::Loop => k % count,
            Self::PingPong if count == 1 => 0,
            Self::PingPong => {
                let phase = k % (2 * count - 2);
                phase.min(2 * count - 2 - phase)
            }
        };
        index as usize
    }
}

/// Length and hash of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Length.
    pub bytes: u64,
    /// BLAKE3 of the content, 64 lower-case hex digits.
    pub blake3: String,
}

/// What the avatar was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Built in, a file, or a folder of images.
    pub kind: SourceKind,
    /// File name below `source/`; empty for the built-in avatar.
    pub name: String,
    /// BLAKE3 over names and contents.
    pub blake3: String,
    /// Colour matrix of the source.
    pub color_matrix: ColorMatrix,
    /// Colour range of the source.
    pub color_range: ColorRange,
}

/// The kinds of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Drawn by this program.
    Builtin,
    /// A video or one image.
    File,
    /// Numbered images.
    Folder,
}

/// The whole of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// Name of the folder.
    pub id: AvatarId,
    /// Frames per second.
    pub fps: FrameRate,
    /// Pixels, even.
    pub width: usize,
    /// Pixels, even.
    pub height: usize,
    /// Frames in `frames.i420`.
    pub frame_count: usize,
    /// Order of playing.
    pub loop_mode: LoopMode,
    /// What it was made from.
    pub source: SourceRecord,
    /// With which settings, so that a rebuild gives the same.
    pub options: PrepareOptions,
    /// What preparation noticed.
    pub report: Report,
    /// Files by path relative to the folder, blobs and the manifest itself apart.
    pub files: BTreeMap<String, FileEntry>,
    /// Blobs by file name. While one is being replaced, both the new and the old content are listed,
    /// so that a power cut leaves one of them valid.
    pub blobs: BTreeMap<String, Vec<FileEntry>>,
    /// BLAKE3 of this manifest with an empty seal.
    pub seal: String,
}

impl Manifest {
    /// The text of the file, sealed.
    pub(crate) fn to_sealed_json(&self) -> Vec<u8> {
        let mut sealed = self.clone();
        sealed.seal = seal(&sealed);
        json(&sealed)
    }

    /// Reads and checks the text of a manifest; the error tells what is wrong with it.
    pub(crate) fn from_sealed_json(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Versioned {
            format_version: u32,
        }
        let versioned: Versioned =
            serde_json::from_slice(text).map_err(|error| format!("not readable: {error}"))?;
        if versioned.format_version != FORMAT_VERSION {
            let found = versioned.format_version;
            return Err(format!("format {found}, and this version reads format {FORMAT_VERSION}"));
        }
        let manifest: Self =
            serde_json::from_slice(text).map_err(|error| format!("not readable: {error}"))?;
        if seal(&manifest) != manifest.seal {
            return Err("its seal does not match its content".to_owned());
        }
        manifest.check()?;
        Ok(manifest)
    }

    /// Bytes of `frames.i420`.
    pub(crate) fn frames_bytes(&self) -> u64 {
        (self.width * self.height * 3 / 2 * self.frame_count) as u64
    }

    fn check(&self) -> Result<(), String> {
        let even = |side: usize| (2..=65_536).contains(&side) && side.is_multiple_of(2);
        let rate_ok = FrameRate::new(self.fps.num(), self.fps.den()) == Some(self.fps);
        if !even(self.width) || !even(self.height) || !rate_ok || !(1..=1 << 24).contains(&self.frame_count) {
            return Err("size, frame rate or frame count make no sense".to_owned());
        }
        match self.files.get(FRAMES) {
            Some(entry) if entry.bytes == self.frames_bytes() => {}
            _ => return Err(format!("it does not describe {FRAMES}")),
        }
        let inside = |path: &String| {
            let path = Path::new(path);
            path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
        };
        if !self.files.keys().all(inside) || !self.files.contains_key(FACES) {
            return Err("its list of files makes no sense".to_owned());
        }
        Ok(())
    }
}

/// Names inside an avatar's folder.
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const FRAMES: &str = "frames.i420";
pub(crate) const FACES: &str = "faces.bin";
pub(crate) const POSTER: &str = "poster.jpg";
pub(crate) const SOURCE: &str = "source";
/// Inside [`SOURCE`].
pub(crate) const RECIPE: &str = "recipe.json";
pub(crate) const BLOBS: &str = "blobs";

fn seal(manifest: &Manifest) -> String {
    let unsealed = Manifest { seal: String::new(), ..manifest.clone() };
    blake3::hash(&json(&unsealed)).to_hex().to_string()
}

fn json(manifest: &Manifest) -> Vec<u8> {
    // Infallible: string keys, plain values and no custom serializer that can fail.
    serde_json::to_vec_pretty(manifest).expect("a manifest is plain data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ping_pong_does_not_repeat_its_ends() {
        let shown: Vec<usize> = (0..10).map(|k| LoopMode::PingPong.index(k, 4)).collect();
        assert_eq!(shown, [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]);
        let shown: Vec<usize> = (0..6).map(|k| LoopMode::Loop.index(k, 4)).collect();
        assert_eq!(shown, [0, 1, 2, 3, 0, 1]);
        for mode in [LoopMode::PingPong, LoopMode::Loop] {
            assert_eq!(mode.index(u64::MAX, 1), 0);
            assert!(mode.index(u64::MAX, 2) < 2);
        }
    }
}
