//! What can go wrong in a codec, with the numbers that explain it.

/// A codec refused its settings, its input, or failed inside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The settings cannot be encoded; the sentence says which and why.
    #[error("{codec} cannot be set up: {reason}")]
    Config {
        /// `H.264`, `VP8` or `Opus`.
        codec: &'static str,
        /// Which setting, its value, and what is allowed.
        reason: String,
    },
    /// A picture does not have the size that the encoder was made for, or its planes are too short for it.
    #[error("the encoder was made for pictures of {expected:?}, got {got:?} with planes of {planes:?} bytes")]
    Picture {
        /// Width and height in pixels.
        expected: (usize, usize),
        /// Width and height in pixels.
        got: (usize, usize),
        /// Bytes in Y, U and V.
        planes: [usize; 3],
    },
    /// A frame of PCM does not have the length that the encoder takes.
    #[error("an Opus frame takes {expected} samples, got {got}")]
    Samples {
        /// Samples of one frame.
        expected: usize,
        /// Samples given.
        got: usize,
    },
    /// The codec was left out of this build.
    #[error("{codec} is not in this build (cargo feature `{feature}`)")]
    NotBuilt {
        /// `VP8`.
        codec: &'static str,
        /// Name of the cargo feature.
        feature: &'static str,
    },
    /// The library under us reports a failure; on decoding this means damaged input.
    #[error("{codec} failed to {action}: {detail}")]
    Native {
        /// `H.264`, `VP8` or `Opus`.
        codec: &'static str,
        /// What was asked of it.
        action: &'static str,
        /// Its own words or number.
        detail: String,
    },
}
