//! What can be wrong with a video or image file, in sentences that name the file but not its folder.

use super::child::ChildError;

/// A media file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// Nothing is there.
    #[error("{name}: no such file or folder")]
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
    /// The bytes are no video or image that we can read.
    #[error("{name} is not a video or image that can be read: {detail}")]
    NotMedia {
        /// File name.
        name: String,
        /// What was found instead.
        detail: String,
    },
    /// A media file without pictures.
    #[error("{name} has no video: it holds {found}")]
    NoVideo {
        /// File name.
        name: String,
        /// The streams that it has.
        found: String,
    },
    /// Pictures too small or too large.
    #[error("{name} is {width}x{height} pixels; each side must be {least} to {most}, scaled down too")]
    Size {
        /// File name.
        name: String,
        /// Pixels, after rotation.
        width: usize,
        /// Pixels, after rotation.
        height: usize,
        /// Smallest side allowed.
        least: usize,
        /// Largest side allowed.
        most: usize,
    },
    /// More frames or seconds than the limits allow.
    #[error("{name} is too long: {found}, at most {limit} are taken")]
    TooLong {
        /// File name.
        name: String,
        /// Length found, with its unit.
        found: String,
        /// Length allowed, with its unit.
        limit: String,
    },
    /// A file that starts well but gives no pictures.
    #[error("{name} has a video stream, but no picture could be decoded: {detail}")]
    NoFrames {
        /// File name.
        name: String,
        /// The decoder's last words.
        detail: String,
    },
    /// A folder without images.
    #[error("the folder {name} holds no images (png, jpeg, webp or bmp)")]
    NoImages {
        /// Folder name.
        name: String,
    },
    /// A folder whose images differ in size.
    #[error(
        "{name} is {}x{} pixels, but the images before it are {}x{}: all must have one size",
        got.0, got.1, expected.0, expected.1
    )]
    ImageSizes {
        /// File name of the first that differs.
        name: String,
        /// Width and height of the first image.
        expected: (usize, usize),
        /// Width and height of this one.
        got: (usize, usize),
    },
    /// `ffmpeg` or `ffprobe` is missing, was stopped, or failed.
    #[error("{name}: {source}")]
    Child {
        /// File name.
        name: String,
        /// What happened to the child.
        source: ChildError,
    },
    /// The frames given to a writer do not have its size.
    #[error("{name}: {detail}")]
    Write {
        /// File name.
        name: String,
        /// Which rule was broken.
        detail: String,
    },
    /// The encoder refused.
    #[error("{name}: {source}")]
    Codec {
        /// File name.
        name: String,
        /// Its reason.
        source: lipcast_codecs::CodecError,
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
