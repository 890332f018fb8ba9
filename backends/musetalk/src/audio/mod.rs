//! From PCM to the audio tokens of a video frame.
//!
//! In: 16 kHz mono PCM, f32, nominally -1 to 1. Out: for any video frame its tokens, f32 `[50, 384]`: ten
//! rows of the Whisper encoder, 20 ms each, of five hidden states each; token `5 · row + state`.
//!
//! ```text
//! PCM ─► log-mel, 100 columns/s ─► mel window ─► (Whisper encoder) ─► rows, 50/s ─► tokens of frame f
//!                                  needs(f)                           supply        tokens(f)
//! ```
//!
//! The encoder runs elsewhere, for several sessions at once: [`Speech::needs`] hands out the mel that it has
//! to see first, [`Speech::supply`] takes what it made of it, and [`Speech::tokens`] cuts the frame's tokens
//! out of that. [`SpeechStream`] serves live sessions, whose encoder windows reach back a few seconds and
//! ahead as little as possible; [`WholeFile`] does what the reference does, in pieces of 30 s, and knows the
//! whole utterance. [`distance`] tells how far the two are apart.

mod mel;
pub use mel::{LogMel, SEGMENT, SEGMENT_COLUMNS, filter_bank, scale};

mod windows;
pub use windows::Windows;

mod position;
pub use position::PositionCode;

mod runs;

mod columns;

mod stream;
pub use stream::{LOOKAHEAD_MS, ORDINARY_VOICE, SpeechStream};

mod whole;
pub use whole::WholeFile;

mod speech;
pub use speech::{Hearing, Speech, WholeSpeech};

mod distance;
pub use distance::{Distance, StateDistance, distance};

mod command;
pub use command::main as distance_main;

mod error;
pub use error::{AudioError, HearError};

use crate::networks::{FEATURES, HIDDEN_STATES, TOKENS};

/// Samples in a second.
pub const SAMPLE_RATE: u32 = 16_000;
/// Samples from one mel column to the next: 10 ms.
pub const HOP: usize = 160;
/// Samples under the window of one mel column: 25 ms.
pub const WINDOW: usize = 400;
/// Samples from one row of the encoder to the next: 20 ms.
pub const ROW: usize = 2 * HOP;
/// Values of one row: `[5, 384]`.
pub const ROW_VALUES: usize = HIDDEN_STATES * FEATURES;
/// Values of the tokens of one video frame: `[50, 384]`.
pub const TOKEN_VALUES: usize = TOKENS * FEATURES;

/// Mel that has to go through the encoder before tokens can be had.
#[derive(Debug)]
pub struct MelWindow<'a> {
    /// What its features are to be supplied as. The same window is handed out until they are: it need be
    /// encoded once.
    pub id: WindowId,
    /// Columns, even, at most 3000.
    pub columns: usize,
    /// f32 `[80, columns]`, scaled as the encoder wants it.
    pub mel: &'a [f32],
}

/// Which window of which run of speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowId {
    /// Runs are counted, also over resets.
    run: u64,
    /// Pair of frames of a stream, or piece of 30 s of a whole file.
    index: u64,
}

#[cfg(test)]
mod tests;
