//! Source frames as RGB: in order while an avatar is prepared, in any order for a backend that needs them later.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::builtin::Builtin;
use super::manifest::SourceKind;
use super::{Avatar, AvatarError};
use crate::face::FrameFace;
use crate::media::{ColorMatrix, ColorRange, VideoLimits, VideoReader};
use crate::time::FrameRate;

/// What the frames of a stream have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameFormat {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) fps: FrameRate,
    pub(crate) expected: Option<usize>,
    pub(crate) color_matrix: ColorMatrix,
    pub(crate) color_range: ColorRange,
}

/// Frames in order, from a file or from the built-in artist.
pub(crate) enum FrameStream {
    Video(Box<VideoReader>),
    Builtin { artist: Box<Builtin>, next: usize },
}

/// What came with a frame.
pub(crate) enum Next {
    End,
    /// The pixels are in the buffer; the built-in avatar also knows its face.
    Frame(Option<Box<FrameFace>>),
}

impl FrameStream {
    pub(crate) fn open(kind: SourceKind, path: &Path) -> Result<Self, AvatarError> {
        Ok(match kind {
            SourceKind::Builtin => Self::Builtin { artist: Box::new(Builtin::new()), next: 0 },
            SourceKind::File | SourceKind::Folder => {
                Self::Video(Box::new(VideoReader::open(path, &VideoLimits::default())?))
            }
        })
    }

    pub(crate) fn format(&self) -> FrameFormat {
        match self {
            Self::Video(reader) => {
                let info = reader.info();
                FrameFormat {
                    width: info.width,
                    height: info.height,
                    fps: info.fps,
                    expected: info.frame_count.map(|count| count as usize),
                    color_matrix: info.color_matrix,
                    color_range: info.color_range,
                }
            }
            Self::Builtin { .. } => FrameFormat {
                width: Builtin::WIDTH,
                height: Builtin::HEIGHT,
                fps: Builtin::fps(),
                expected: Some(Builtin::FRAME_COUNT),
                color_matrix: ColorMatrix::Rgb,
                color_range: ColorRange::Full,
            },
        }
    }

    /// Puts the next frame into `rgb`: RGB24, packed, full range.
    pub(crate) fn next(&mut self, rgb: &mut Vec<u8>) -> Result<Next, AvatarError> {
        match self {
            Self::Video(reader) => Ok(if reader.next_frame(rgb)? { Next::Frame(None) } else { Next::End }),
            Self::Builtin { next, .. } if *next >= Builtin::FRAME_COUNT => Ok(Next::End),
            Self::Builtin { artist, next } => {
                let face = artist.render(*next, rgb);
                *next += 1;
                Ok(Next::Frame(Some(Box::new(face))))
            }
        }
    }
}

/// An avatar's source frames as RGB, in any order: decoded again from the kept source as far as they are
/// asked for, and spooled to a temporary file without a name.
pub struct RgbSource {
    stream: FrameStream,
    width: usize,
    height: usize,
    frame_count: usize,
    spool: File,
    spooled: usize,
    decoded: Vec<u8>,
}

impl Avatar {
    /// Opens the source frames, for a backend that has to make its blob.
    ///
    /// # Errors
    /// When the avatar was deleted meanwhile, or its source cannot be decoded any more.
    pub fn open_source(&self) -> Result<RgbSource, AvatarError> {
        let source = &self.manifest.source;
        let path = self.folder.join(super::manifest::SOURCE).join(&source.name);
        let stream = FrameStream::open(source.kind, &path)?;
        let spool = tempfile::tempfile_in(&self.folder)
            .map_err(AvatarError::io("create a temporary file in", &self.folder))?;
        let (width, height) = self.size();
        let format = stream.format();
        if (format.width, format.height) != (width, height) {
            return Err(self.source_differs());
        }
        Ok(RgbSource {
            stream,
            width,
            height,
            frame_count: self.frame_count(),
            spool,
            spooled: 0,
            decoded: Vec::new(),
        })
    }

    pub(super) fn source_differs(&self) -> AvatarError {
        AvatarError::Damaged {
            id: self.id().clone(),
            file: super::manifest::SOURCE.to_owned(),
            reason: "it does not give the frames that the avatar was made from".to_owned(),
        }
    }
}

impl RgbSource {
    /// Distinct frames, as in the avatar.
    pub fn frame_count(&self) -> usize {
        self.frame_count
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Puts frame `index` into `rgb`: RGB24, packed, full range, `width * height * 3` bytes.
    ///
    /// # Errors
    /// When the source ends before that frame or cannot be decoded, or the spool cannot be written.
    pub fn frame(&mut self, index: usize, rgb: &mut Vec<u8>) -> Result<(), AvatarError> {
        let length = self.width * self.height * 3;
        let place = |index: usize| (index * length) as u64;
        while self.spooled <= index {
            let end = || AvatarError::Source {
                name: "source".to_owned(),
                reason: format!("it has no frame {index}"),
            };
            if index >= self.frame_count || matches!(self.stream.next(&mut self.decoded)?, Next::End) {
                return Err(end());
            }
            let write = self.spool.write_all_at(&self.decoded, place(self.spooled));
            write.map_err(AvatarError::io("write", "a temporary file"))?;
            self.spooled += 1;
            if self.spooled == index + 1 {
                rgb.clone_from(&self.decoded);
                return Ok(());
            }
        }
        rgb.resize(length, 0);
        self.spool.read_exact_at(rgb, place(index)).map_err(AvatarError::io("read", "a temporary file"))
    }
}
