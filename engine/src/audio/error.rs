//! What can be wrong with a speech file, in sentences that name the file but not its folder.

use crate::media::ChildError;

/// A speech file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpeechError {
    /// Nothing is there.
    #[error("{name}: no such file")]
    Missing {
        /// File name.
        name: String,
    },
    /// A file of zero bytes.
    #[error("{name} is empty (0 bytes)")]
    Empty {
        /// File name.
        name: String,
    },
    /// The bytes are no audio that we know.
    #[error("{name} is not an audio file that can be read: {found}")]
    NotAudio {
        /// File name.
        name: String,
        /// What was found instead.
        found: String,
    },
    /// A known kind of file that breaks off, or is damaged, before the first sample.
    #[error("{name} begins like a {kind} file, but is damaged or cut off: {detail}")]
    Damaged {
        /// File name.
        name: String,
        /// Kind of file, from its first bytes.
        kind: &'static str,
        /// The reader's words.
        detail: String,
    },
    /// A media file without sound.
    #[error("{name} has no audio track: it holds {found}")]
    NoAudioTrack {
        /// File name.
        name: String,
        /// The tracks that it has.
        found: String,
    },
    /// A whole audio file of zero samples.
    #[error("{name} is a whole {container} file, but holds no sound (0 samples)")]
    NoSamples {
        /// File name.
        name: String,
        /// Kind of file.
        container: String,
    },
    /// Longer than the limit.
    #[error("{name} is too long: {found_seconds:.0} s or more, at most {limit_seconds:.0} s are taken")]
    TooLong {
        /// File name.
        name: String,
        /// Seconds that the file states, or that were read when the limit was reached.
        found_seconds: f64,
        /// Seconds allowed.
        limit_seconds: f64,
    },
    /// A rate or a number of channels that no speech has.
    #[error(
        "{name} has {channels} channels at {sample_rate} Hz; 1 to 32 channels at 4000 to 384000 Hz are possible"
    )]
    Layout {
        /// File name.
        name: String,
        /// Channels.
        channels: usize,
        /// Samples per second.
        sample_rate: u32,
    },
    /// `ffmpeg`, which reads what we cannot, is missing, was stopped, or failed.
    #[error("{name}: {source}")]
    Child {
        /// File name.
        name: String,
        /// What happened to the child.
        source: ChildError,
    },
    /// The file system refused.
    #[error("{name}: {source}")]
    Io {
        /// File name.
        name: String,
        /// Its reason.
        source: std::io::Error,
    },
}
