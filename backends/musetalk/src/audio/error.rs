//! How audio is refused.

use lipcast_plugins_api::author::{Code, Error};

/// Why there are no tokens, or audio is not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AudioError {
    /// Less than one frame a second, or no rate at all.
    #[error("{0}/{1} video frames a second: at least one is needed")]
    FrameRate(u32, u32),
    /// The reference ends its process at such rates.
    #[error("{0} video frames a second: the reference's windows run out of rows from 50 on")]
    TooFast(u32),
    /// The reference takes such a rate as the whole number below it, so its windows run away from the frames.
    #[error(
        "{0}/{1} video frames a second: the reference's windows drift, which a live session cannot follow"
    )]
    Drifts(u32, u32),
    /// The reference ends its process for so short a clip.
    #[error("a clip of {samples} samples: the reference's windows run out of rows at frame {frame}")]
    RunsOut {
        /// Its length.
        samples: u64,
        /// The first frame whose window is not full.
        frame: u64,
    },
    /// No such context.
    #[error("a context of {0} s: 0.5 to 28 are possible")]
    Context(f32),
    /// A push lies before the end of the last.
    #[error("audio from sample {first} after audio up to {end}")]
    GoesBack {
        /// Its first sample.
        first: u64,
        /// The sample after the last one that is known.
        end: u64,
    },
    /// A push finds no room; nothing of it was taken, and it may come again once frames were asked for.
    #[error("{waiting} samples wait for their frames, {pushed} find no room")]
    Full {
        /// Samples from the last frame asked for on.
        waiting: u64,
        /// Samples of the push.
        pushed: usize,
    },
    /// A frame is asked for before the audio that it hears is there.
    #[error("video frame {frame} hears {needed} samples of its run, and {there} are there")]
    NotYet {
        /// The frame.
        frame: u64,
        /// Samples of its run that were pushed.
        there: u64,
        /// Samples of its run that it hears at least.
        needed: u64,
    },
    /// A frame is asked for whose audio was let go.
    #[error("video frame {0} lies too far back: its audio is gone")]
    Passed(u64),
    /// Tokens are asked for before their window was encoded.
    #[error("the mel window of video frame {0} was not encoded")]
    NotEncoded(u64),
    /// What the encoder made is not what it was asked for.
    #[error("the encoder gave {got} values, not the {expected} of {rows} rows")]
    Features {
        /// Values it gave.
        got: usize,
        /// Values there should be.
        expected: usize,
        /// Half the columns of the mel window.
        rows: usize,
    },
}

/// Why tokens could not be had where the encoder runs on the spot.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HearError<E> {
    /// The audio is at fault.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// The encoder said so.
    #[error("{0}")]
    Encoder(E),
}

impl From<AudioError> for Error {
    fn from(error: AudioError) -> Self {
        use AudioError::{
            Context, Drifts, Features, FrameRate, Full, GoesBack, NotEncoded, NotYet, Passed, RunsOut,
            TooFast,
        };
        let code = match error {
            FrameRate(..) | TooFast(_) | Drifts(..) | RunsOut { .. } => Code::Unsupported,
            Context(_) | GoesBack { .. } => Code::InvalidArg,
            Full { .. } => Code::WouldBlock,
            NotYet { .. } => Code::NotReady,
            Passed(_) => Code::NotFound,
            NotEncoded(_) | Features { .. } => Code::Internal,
        };
        let told = Self::new(code, error.to_string());
        if code == Code::WouldBlock { told.retryable() } else { told }
    }
}
