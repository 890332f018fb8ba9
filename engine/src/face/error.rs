//! Why faces cannot be looked for.

use std::io;
use std::path::PathBuf;

/// The landmark model or the detector cannot be used. A face that is not found is no error here.
#[derive(Debug, thiserror::Error)]
pub enum FaceError {
    /// The 68-point model is not installed.
    #[error(
        "there is no landmark model at {path}: install the package libdlib-data \
         (apt-get install libdlib-data), or name another file"
    )]
    ModelMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is not a 68-point shape predictor, or is damaged.
    #[error("{path} is no 68-point landmark model of dlib: {reason}")]
    ModelInvalid {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The file cannot be read.
    #[error("reading the landmark model {path}: {source}")]
    ModelUnreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A box given by hand that no face can be in.
    #[error("the face box [{0}, {1}, {2}, {3}] does not lie in the picture, or is narrower than 16 px")]
    BadBox(f32, f32, f32, f32),
}
