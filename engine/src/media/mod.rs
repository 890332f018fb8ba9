//! Files in and out: videos, image folders and single images to RGB frames; pictures and PCM to an mp4.
//!
//! In: untrusted files. Out: RGB24 frames, packed, full-range sRGB, at one constant rate.
//! Videos are decoded by an `ffmpeg` child process, so that a file made to break a decoder breaks only the
//! child, which runs with limits on time, memory and processor. Images are decoded here, in memory-safe code.

mod colour;
pub use colour::{i420_to_rgb, rgb_to_i420};

mod error;
pub use error::MediaError;

mod video;
pub use video::{ColorMatrix, ColorRange, VideoInfo, VideoLimits, VideoReader};

mod images;
pub(crate) use images::Images;

mod child;
pub use child::ChildError;
pub(crate) use child::{Child, ChildLimits, file_name, input_argument, reader_arguments};

pub(crate) mod probe;

mod mp4;
pub use mp4::{AudioTrackCodec, Mp4Summary, Mp4Writer};
