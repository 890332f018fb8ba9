//! How long speech files are: their heads read once, and again when a file changes.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use lipcast_engine::audio::{SpeechDecoder, SpeechError, SpeechLimits};

use crate::app::StudioError;
use crate::files::OpenedMedia;

/// What is known of speech files.
pub(super) struct Clips {
    limits: SpeechLimits,
    known: Mutex<HashMap<Key, Known>>,
}

/// The length in seconds where the file tells it, or what is wrong with the file.
type Known = Result<Option<f64>, String>;

/// A file as it was when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    device: u64,
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

impl Clips {
    /// Files remembered at most: four times what a listing shows. Past it, all are read again.
    const REMEMBERED: usize = 2_000;

    pub(super) fn new(limits: SpeechLimits) -> Self {
        Self { limits, known: Mutex::default() }
    }

    /// A file to be said.
    ///
    /// # Errors
    /// In the client's words what is wrong with it.
    pub(super) fn open(&self, file: &OpenedMedia) -> Result<SpeechDecoder, StudioError> {
        SpeechDecoder::open(file.path(), &self.limits).map_err(|error| refused(file, &error))
    }

    /// The length of `file` in seconds where its head tells it. Blocks.
    ///
    /// # Errors
    /// As [`Clips::open`].
    pub(super) fn seconds(&self, file: &OpenedMedia) -> Result<Option<f64>, StudioError> {
        let key = Key::of(file)?;
        if let Some(known) = self.lock().get(&key).cloned() {
            return known.map_err(StudioError::Invalid);
        }
        let found = SpeechDecoder::open(file.path(), &self.limits).map(|decoder| decoder.info().seconds);
        // A disk that failed may work the next time; a file that is no speech stays none.
        if !matches!(found, Err(SpeechError::Io { .. })) {
            let words = |error: &SpeechError| file.in_words_of_client(&error.to_string());
            self.remember(key, found.as_ref().copied().map_err(words));
        }
        found.map_err(|error| refused(file, &error))
    }

    /// Reads as much of `file` as it takes to know its length, at least its first sound. Blocks.
    ///
    /// # Errors
    /// As [`Clips::open`], and when no sound comes out of it.
    pub(super) fn check(&self, file: &OpenedMedia) -> Result<f64, StudioError> {
        let mut decoder = self.open(file)?;
        let head = decoder.info().seconds;
        let mut samples = 0;
        let mut read = || -> Result<bool, StudioError> {
            let chunk = decoder.read().map_err(|error| refused(file, &error))?;
            samples += chunk.as_ref().map_or(0, |chunk| chunk.at_48k.len());
            Ok(chunk.is_some())
        };
        read()?;
        let seconds = match head {
            Some(seconds) => seconds,
            None => {
                while read()? {}
                samples as f64 / 48_000.0
            }
        };
        self.remember(Key::of(file)?, Ok(Some(seconds)));
        Ok(seconds)
    }

    fn remember(&self, key: Key, known: Known) {
        let mut all = self.lock();
        if all.len() >= Self::REMEMBERED {
            all.clear();
        }
        all.insert(key, known);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    fn of(file: &OpenedMedia) -> Result<Self, StudioError> {
        let about = std::fs::metadata(file.path()).map_err(StudioError::internal)?;
        let modified = Metadata::modified(&about).ok();
        Ok(Self { device: about.dev(), inode: about.ino(), length: about.len(), modified })
    }
}

fn refused(file: &OpenedMedia, error: &SpeechError) -> StudioError {
    StudioError::Invalid(file.in_words_of_client(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::config::{Bases, Config};
    use crate::files::MediaRoots;

    fn roots(folder: &Path) -> MediaRoots {
        let bases = Bases { config: folder.to_owned(), program: folder.to_owned() };
        MediaRoots::open(&Config::parse("test.toml", "", &bases).unwrap().media).unwrap()
    }

    fn clips() -> Clips {
        Clips::new(SpeechLimits { max_seconds: 2.0 })
    }

    /// Two channels of a tone, in webm as a browser records it: through a pipe, so that no length is in its head.
    fn recording(seconds: &str, path: &Path) {
        let source = format!("sine=d={seconds}");
        let pipe = Command::new("ffmpeg")
            .args([
                "-v", "error", "-nostdin", "-f", "lavfi", "-i", &source, "-c:a", "libopus", "-f", "webm", "-",
            ])
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        fs::write(path, pipe.stdout).unwrap();
    }

    #[test]
    fn a_length_that_no_head_tells_is_known_once_the_file_was_checked() {
        let folder = tempfile::tempdir().unwrap();
        let (roots, clips) = (roots(folder.path()), clips());
        let path = folder.path().join("data/media/a.webm");
        recording("1", &path);
        let file = roots.resolve("a.webm").unwrap();
        assert_eq!(clips.seconds(&file).unwrap(), None);
        let checked = clips.check(&file).unwrap();
        assert!((checked - 1.0).abs() < 0.05, "{checked}");
        assert_eq!(clips.seconds(&file).unwrap(), Some(checked));
        recording("3", &path);
        let file = roots.resolve("a.webm").unwrap();
        assert_eq!(clips.seconds(&file).unwrap(), None, "it is another file now");
        let error = clips.check(&file).unwrap_err().to_string();
        assert!(error.contains("a.webm is too long"), "{error}");
    }

    #[test]
    fn what_is_no_speech_is_refused_in_the_clients_words() {
        let folder = tempfile::tempdir().unwrap();
        let (roots, clips) = (roots(folder.path()), clips());
        fs::write(folder.path().join("data/media/a.wav"), "words and no sound").unwrap();
        let file = roots.resolve("a.wav").unwrap();
        for _ in 0..2 {
            let errors = [clips.seconds(&file).unwrap_err(), clips.check(&file).unwrap_err()];
            for error in errors.map(|error| error.to_string()) {
                assert!(error.contains("a.wav is not an audio file") && !error.contains("/tmp"), "{error}");
            }
        }
    }
}
