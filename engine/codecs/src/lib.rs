//! Codecs behind safe calls: H.264, VP8 and Opus, and the picture they share.
//!
//! In: planar I420 pictures and 48 kHz PCM. Out: one access unit a picture, one Opus packet a 20 ms frame.
//! A leaf crate: it knows nothing of avatars, sessions or networks.

mod i420;
pub use i420::{I420, I420Ref, SizeError};
