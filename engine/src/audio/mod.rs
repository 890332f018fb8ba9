//! Speech: files and samples in, 16 kHz PCM for the backend and 48 kHz PCM for the listener out.

pub mod builtin;
