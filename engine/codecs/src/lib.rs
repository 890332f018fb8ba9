//! Codecs behind safe calls: H.264, VP8 and Opus, and the picture they share.
//!
//! In: planar I420 pictures and 48 kHz PCM. Out: one access unit a picture, one Opus packet a 20 ms frame.
//! A leaf crate: it knows nothing of avatars, sessions or networks.
//! `unsafe` is fenced in `h264` (option calls that the binding does not wrap) and `vp8` (raw libvpx).

mod i420;
pub use i420::{I420, I420Ref, SizeError};

mod error;
pub use error::CodecError;

mod video;
pub use video::{AccessUnit, VideoCodec, VideoConfig, VideoEncoder, video_encoder};

mod h264;
pub use h264::{H264Decoder, H264Encoder, h264_build};

#[cfg(feature = "vp8")]
mod vp8;
#[cfg(feature = "vp8")]
pub use vp8::{Vp8Decoder, Vp8Encoder};

mod opus;
pub use opus::{FRAME_SAMPLES, OpusDecoder, OpusEncoder};
