//! Why a bundle is refused, and how that crosses the contract.

use std::path::{Path, PathBuf};

use lipcast_plugins_api::author::{Code, Error};

use crate::networks::NetworkError;

/// Why a bundle is refused: one line that begins with the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A file, or a network, is not there.
    #[error("{}: {what}", file.display())]
    Missing {
        /// The file, or the manifest that should list the network.
        file: PathBuf,
        /// What was expected.
        what: String,
    },
    /// A file is not what the manifest says, or the manifest is not what this version reads.
    #[error("{}: {what}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What was expected and what was found.
        what: String,
    },
    /// A bundle, but of another kind or version, or without what the settings ask for.
    #[error("{}: {what}", file.display())]
    Unfit {
        /// The manifest or the folder.
        file: PathBuf,
        /// What was expected and what was found.
        what: String,
    },
}

impl BundleError {
    pub(super) fn missing(file: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Missing { file: file.into(), what: what.into() }
    }

    pub(super) fn corrupt(file: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Corrupt { file: file.into(), what: what.into() }
    }

    pub(super) fn unfit(file: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Unfit { file: file.into(), what: what.into() }
    }

    /// The file that it is about.
    pub fn file(&self) -> &Path {
        match self {
            Self::Missing { file, .. } | Self::Corrupt { file, .. } | Self::Unfit { file, .. } => file,
        }
    }

    /// What is wrong with the file.
    pub fn what(&self) -> &str {
        match self {
            Self::Missing { what, .. } | Self::Corrupt { what, .. } | Self::Unfit { what, .. } => what,
        }
    }

    /// The contract's code for it.
    pub fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => Code::ModelMissing,
            Self::Corrupt { .. } => Code::ModelCorrupt,
            Self::Unfit { .. } => Code::InvalidArg,
        }
    }
}

impl From<BundleError> for NetworkError {
    fn from(error: BundleError) -> Self {
        let text = error.to_string();
        match error {
            BundleError::Missing { .. } => Self::Missing(text),
            BundleError::Corrupt { .. } => Self::Corrupt(text),
            BundleError::Unfit { .. } => Self::Unsupported(text),
        }
    }
}

impl From<BundleError> for Error {
    fn from(error: BundleError) -> Self {
        Error::new(error.code(), error.to_string())
    }
}
