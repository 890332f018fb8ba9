//! What can be wrong with an avatar's blob.

use lipcast_plugins_api::author::Error;

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
