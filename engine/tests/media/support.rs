//! Files to read: made by `ffmpeg`, or byte by byte.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A folder that goes away with the test.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Runs `ffmpeg ARGUMENTS name` and gives the file's path.
    pub(crate) fn ffmpeg(&self, name: &str, arguments: &str) -> PathBuf {
        let path = self.path(name);
        ffmpeg(arguments.split_whitespace(), &path);
        path
    }
}

/// Runs ffmpeg with arguments that may hold blanks.
pub(crate) fn ffmpeg<'a>(arguments: impl IntoIterator<Item = &'a str>, target: &Path) {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(arguments)
        .arg(target)
        .output()
        .expect("these tests need ffmpeg (apt-get install ffmpeg)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A tone of 300 Hz at half level, one channel.
pub(crate) fn tone(sample_rate: u32, samples: usize) -> Vec<i16> {
    let step = 300.0 * std::f64::consts::TAU / f64::from(sample_rate);
    (0..samples).map(|n| ((n as f64 * step).sin() * 16_384.0) as i16).collect()
}
