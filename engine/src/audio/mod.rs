//! Speech: files and samples in, 16 kHz PCM for the backend and 48 kHz PCM for the listener out.
//!
//! In: untrusted files of any usual kind, 1 to 32 channels at 4 to 384 kHz. Out: mono f32, both rates cut at the
//! same instants, with the resamplers' delay taken out.

mod error;
pub use error::SpeechError;

mod ration;

mod source;

mod child;

mod resample;
pub use resample::Resampler;

mod decoder;
pub use decoder::{SpeechChunk, SpeechDecoder, SpeechInfo, SpeechLimits, decode_all};

pub mod builtin;

pub mod wav;
