//! Source frames as RGB: in order while an avatar is prepared, in any order for a backend that needs them later.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::builtin::Builtin;
use super::manifest::SourceKind;
use super::{Avatar, AvatarError};
use crate::face::{FaceBox, FrameFace};
use crate::media::{ColorMatrix, ColorRange, VideoLimits, VideoReader};
use crate::time::FrameRate;

/// What the frames of a stream have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameFormat {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Width and height in pixels before scaling.
    pub(crate) source_size: (usize, usize),
    pub(crate) fps: FrameRate,
    pub(crate) expected: Option<usize>,
    /// Frames of the whole file, where its container counts them.
    pub(crate) declared: Option<usize>,
    pub(crate) color_matrix: ColorMatrix,
    pub(crate) color_range: ColorRange,
}

impl FrameFormat {
    /// A box in pixels of the source, in pixels of the frames.
    pub(crate) fn scale_box(&self, [x0, y0, x1, y1]: FaceBox) -> FaceBox {
        // Frames that are cropped by a pixel are not scaled.
        let scale = |pixels: usize, source: usize| {
            if source - pixels <= 1 { 1.0 } else { pixels as f32 / source as f32 }
        };
        let (x, y) = (scale(self.width, self.source_size.0), scale(self.height, self.source_size.1));
        [x0 * x, y0 * y, x1 * x, y1 * y]
    }
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
        Self::open_within(kind, path, &VideoLimits::default())
    }

    fn open_within(kind: SourceKind, path: &Path, limits: &VideoLimits) -> Result<Self, AvatarError> {
        Ok(match kind {
            SourceKind::Builtin => Self::Builtin { artist: Box::new(Builtin::new()), next: 0 },
            SourceKind::File | SourceKind::Folder => Self::Video(Box::new(VideoReader::open(path, limits)?)),
        })
    }

    pub(crate) fn format(&self) -> FrameFormat {
        match self {
            Self::Video(reader) => {
                let info = reader.info();
                FrameFormat {
                    width: info.width,
                    height: info.height,
                    source_size: info.source_size,
                    fps: info.fps,
                    expected: info.frame_count.map(|count| count as usize),
                    declared: info.declared_frames.map(|count| count as usize),
                    color_matrix: info.color_matrix,
                    color_range: info.color_range,
                }
            }
            Self::Builtin { .. } => FrameFormat {
                width: Builtin::WIDTH,
                height: Builtin::HEIGHT,
                source_size: (Builtin::WIDTH, Builtin::HEIGHT),
                fps: Builtin::fps(),
                expected: Some(Builtin::FRAME_COUNT),
                declared: None,
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

/// An avatar's source frames as RGB, in any order: kept from preparing, or decoded again from the kept source as far
/// as they are asked for. They lie in a temporary file without a name, since a minute of them is gigabytes.
pub struct RgbSource {
    /// Where frames that are not spooled yet come from; `None` when all of them are.
    stream: Option<FrameStream>,
    frame_count: usize,
    spool: Spool,
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
        // An avatar that is larger than what is made today stays as it is.
        let mut limits = VideoLimits::default();
        let (width, height) = self.size();
        limits.fit = (limits.fit.0.max(width.max(height)), limits.fit.1.max(width.min(height)));
        let stream = FrameStream::open_within(source.kind, &path, &limits)?;
        let format = stream.format();
        if (format.width, format.height) != self.size() {
            return Err(self.source_differs());
        }
        let spool = Spool::create(&self.folder, self.size())?;
        Ok(RgbSource { stream: Some(stream), frame_count: self.frame_count(), spool, decoded: Vec::new() })
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
    /// Frames that are all spooled.
    pub(super) fn of(spool: Spool) -> Self {
        Self { stream: None, frame_count: spool.count, spool, decoded: Vec::new() }
    }

    /// Distinct frames, as in the avatar.
    pub fn frame_count(&self) -> usize {
        self.frame_count
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (usize, usize) {
        self.spool.size
    }

    /// Puts frame `index` into `rgb`: RGB24, packed, full range, `width * height * 3` bytes.
    ///
    /// # Errors
    /// When the source ends before that frame or cannot be decoded, or the spool cannot be written.
    pub fn frame(&mut self, index: usize, rgb: &mut Vec<u8>) -> Result<(), AvatarError> {
        while self.spool.count <= index {
            let more = index < self.frame_count
                && match &mut self.stream {
                    Some(stream) => matches!(stream.next(&mut self.decoded)?, Next::Frame(_)),
                    None => false,
                };
            if !more {
                return Err(AvatarError::Source {
                    name: "source".to_owned(),
                    reason: format!("it has no frame {index}"),
                });
            }
            self.spool.push(&self.decoded)?;
            if self.spool.count == index + 1 {
                rgb.clone_from(&self.decoded);
                return Ok(());
            }
        }
        self.spool.frame(index, rgb)
    }
}

/// Frames of one size in a file that nobody else sees and that goes away by itself.
pub(super) struct Spool {
    file: File,
    /// Where it lies.
    folder: PathBuf,
    /// Width and height in pixels.
    size: (usize, usize),
    /// Frames in it.
    count: usize,
}

impl Spool {
    /// An empty one on the disk of `folder`, or else where the system keeps temporary files.
    pub(super) fn create(folder: &Path, size: (usize, usize)) -> Result<Self, AvatarError> {
        // A read-only folder still shows its avatars, if the system has room elsewhere.
        let elsewhere = |_| Ok((tempfile::tempfile()?, std::env::temp_dir()));
        let (file, folder) = tempfile::tempfile_in(folder)
            .map(|file| (file, folder.to_owned()))
            .or_else(elsewhere)
            .map_err(AvatarError::io("create a temporary file in", folder))?;
        Ok(Self { file, folder, size, count: 0 })
    }

    /// Adds a frame: RGB24, packed.
    pub(super) fn push(&mut self, rgb: &[u8]) -> Result<(), AvatarError> {
        let write = self.file.write_all_at(rgb, self.place(self.count));
        write.map_err(AvatarError::io("write a temporary file in", &self.folder))?;
        self.count += 1;
        Ok(())
    }

    fn frame(&self, index: usize, rgb: &mut Vec<u8>) -> Result<(), AvatarError> {
        rgb.resize(self.size.0 * self.size.1 * 3, 0);
        let read = self.file.read_exact_at(rgb, self.place(index));
        read.map_err(AvatarError::io("read a temporary file in", &self.folder))
    }

    fn place(&self, index: usize) -> u64 {
        (index * self.size.0 * self.size.1 * 3) as u64
    }
}
