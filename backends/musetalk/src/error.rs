//! What can go wrong, in the words of the contract.

use lipcast_plugins_api::author::{Code, Error};

use crate::bundle::BundleError;
use crate::networks::NetworkError;

/// Why a blob was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// It does not begin as this backend's blobs do.
    #[error("not a blob of a MuseTalk backend")]
    Foreign,
    /// It is of another version of the format.
    #[error("the blob has version {found}, this backend reads {expected}")]
    Version {
        /// Version in the blob.
        found: u32,
        /// Version that this backend writes and reads.
        expected: u32,
    },
    /// It was prepared with other networks or other settings.
    #[error("the blob was prepared with other networks or settings")]
    Fingerprint,
    /// It is shorter or longer than it says.
    #[error("the blob ends {0}")]
    Length(&'static str),
    /// Its content does not match its checksum.
    #[error("the blob is damaged: its checksum does not match")]
    Checksum,
    /// A number in it makes no sense.
    #[error("the blob holds an impossible value: {0}")]
    Value(&'static str),
}

impl From<BlobError> for Error {
    fn from(error: BlobError) -> Self {
        Error::blob_incompatible(error.to_string())
    }
}

impl From<BundleError> for Error {
    fn from(error: BundleError) -> Self {
        let code = match &error {
            BundleError::Missing(_) => Code::ModelMissing,
            BundleError::Corrupt(_) => Code::ModelCorrupt,
        };
        Error::new(code, error.to_string())
    }
}

impl From<NetworkError> for Error {
    fn from(error: NetworkError) -> Self {
        let code = match &error {
            NetworkError::Missing(_) => Code::ModelMissing,
            NetworkError::Corrupt(_) => Code::ModelCorrupt,
            NetworkError::Unsupported(_) => Code::Unsupported,
            NetworkError::OutOfMemory(_) => Code::OomDevice,
            NetworkError::DeviceLost(_) => Code::DeviceLost,
            NetworkError::Runtime(_) => Code::Internal,
        };
        Error::new(code, error.to_string())
    }
}
