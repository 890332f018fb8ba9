//! How a call across the contract fails.

use crate::abi;

/// The kind of a failure: the contract's status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// An argument is out of range or malformed.
    InvalidArg,
    /// The backend has no such ability.
    Unsupported,
    /// Called in a state that does not allow it.
    NotReady,
    /// A bounded queue is full; nothing was taken.
    WouldBlock,
    /// The host asked to stop.
    Cancelled,
    /// Too late to be worth doing.
    Deadline,
    /// Main memory ran out.
    OomHost,
    /// Device memory ran out.
    OomDevice,
    /// The device is gone.
    DeviceLost,
    /// A model file is not there.
    ModelMissing,
    /// A model file is damaged.
    ModelCorrupt,
    /// The avatar blob is of another kind or version: prepare again.
    BlobIncompatible,
    /// The output is unusable.
    BadOutput,
    /// There is no such frame, asset, landmark set or extension.
    NotFound,
    /// Anything else.
    Internal,
    /// The backend panicked or threw.
    BackendPanic,
}

const CODES: [(Code, i32, &str); 16] = [
    (Code::InvalidArg, abi::INVALID_ARG, "INVALID_ARG"),
    (Code::Unsupported, abi::UNSUPPORTED, "UNSUPPORTED"),
    (Code::NotReady, abi::NOT_READY, "NOT_READY"),
    (Code::WouldBlock, abi::WOULD_BLOCK, "WOULD_BLOCK"),
    (Code::Cancelled, abi::CANCELLED, "CANCELLED"),
    (Code::Deadline, abi::DEADLINE, "DEADLINE"),
    (Code::OomHost, abi::OOM_HOST, "OOM_HOST"),
    (Code::OomDevice, abi::OOM_DEVICE, "OOM_DEVICE"),
    (Code::DeviceLost, abi::DEVICE_LOST, "DEVICE_LOST"),
    (Code::ModelMissing, abi::MODEL_MISSING, "MODEL_MISSING"),
    (Code::ModelCorrupt, abi::MODEL_CORRUPT, "MODEL_CORRUPT"),
    (Code::BlobIncompatible, abi::BLOB_INCOMPATIBLE, "BLOB_INCOMPATIBLE"),
    (Code::BadOutput, abi::BAD_OUTPUT, "BAD_OUTPUT"),
    (Code::NotFound, abi::NOT_FOUND, "NOT_FOUND"),
    (Code::Internal, abi::INTERNAL, "INTERNAL"),
    (Code::BackendPanic, abi::BACKEND_PANIC, "BACKEND_PANIC"),
];

impl Code {
    /// The contract's number.
    pub fn to_abi(self) -> i32 {
        CODES.iter().find(|(code, ..)| *code == self).map_or(abi::INTERNAL, |(_, number, _)| *number)
    }

    /// Reads the contract's number: `None` for OK, `Internal` for one this version does not know.
    pub fn from_abi(number: i32) -> Option<Self> {
        if number == abi::OK {
            return None;
        }
        Some(CODES.iter().find(|(_, n, _)| *n == number).map_or(Self::Internal, |(code, ..)| *code))
    }

    /// Reads the header's name without its prefix.
    pub fn from_name(name: &str) -> Option<Self> {
        CODES.iter().find(|(.., known)| *known == name).map(|(code, ..)| *code)
    }

    /// The header's name without its prefix, like `WOULD_BLOCK`.
    pub fn name(self) -> &'static str {
        CODES.iter().find(|(code, ..)| *code == self).map_or("INTERNAL", |(.., name)| name)
    }
}

/// A failed call: what kind, whether to try again, and one line for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub struct Error {
    /// The kind.
    pub code: Code,
    /// The same call may succeed later.
    pub retryable: bool,
    /// One line; crosses the contract cut to 239 bytes.
    pub message: String,
}

impl Error {
    /// An error of `code` that trying again will not mend.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, retryable: false, message: message.into() }
    }

    /// Marks that the same call may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// An argument is out of range or malformed.
    pub fn invalid_arg(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArg, message)
    }

    /// The backend has no such ability.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Code::Unsupported, message)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// The avatar blob must be prepared again.
    pub fn blob_incompatible(message: impl Into<String>) -> Self {
        Self::new(Code::BlobIncompatible, message)
    }

    /// The host asked to stop.
    pub fn cancelled() -> Self {
        Self::new(Code::Cancelled, "cancelled by the host")
    }

    /// Anything else.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }
}
