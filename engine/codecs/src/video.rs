//! One video encoder surface for all codecs: I420 pictures in, access units out.

use crate::{CodecError, H264Encoder, I420Ref};

/// A video codec that viewers may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// Constrained baseline H.264, the default: every browser takes it, and it costs half of VP8.
    H264,
    /// For peers without H.264.
    Vp8,
}

/// Settings that stay for the life of an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoConfig {
    /// Pixels, even; [`Self::LEAST_SIDE`] to those of [`Self::LARGEST`].
    pub width: usize,
    /// Pixels, even; [`Self::LEAST_SIDE`] to those of [`Self::LARGEST`].
    pub height: usize,
    /// Frames and seconds: 25 frames in 1 second is `(25, 1)`.
    pub fps: (u32, u32),
    /// Bits per second at the start; see [`VideoEncoder::set_bitrate`] for the range.
    pub bitrate: u32,
}

/// One encoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// H.264: Annex B with SPS and PPS before each IDR. VP8: one frame. Never empty.
    pub data: Vec<u8>,
    /// Decodable without anything before it.
    pub key: bool,
}

/// A running encoder: one picture in, one access unit out, no look-ahead and no reordering.
pub trait VideoEncoder: Send {
    /// Encodes the next picture; `force_key` makes it a key frame (the first is one anyway, later ones are
    /// only made on demand).
    ///
    /// # Errors
    /// [`CodecError::Picture`] when the picture has another size than configured.
    fn encode(&mut self, picture: I420Ref<'_>, force_key: bool) -> Result<AccessUnit, CodecError>;

    /// Changes the target from the next picture on, without a key frame.
    /// Values outside 16 kb/s to 100 Mb/s are taken as the nearer end.
    ///
    /// # Errors
    /// When the library refuses.
    fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), CodecError>;
}

/// Makes an encoder.
///
/// # Errors
/// [`CodecError::Config`] for a size or rate outside of what [`VideoConfig`] states, and
/// [`CodecError::NotBuilt`] for VP8 without the feature `vp8`.
pub fn video_encoder(codec: VideoCodec, config: &VideoConfig) -> Result<Box<dyn VideoEncoder>, CodecError> {
    match codec {
        VideoCodec::H264 => Ok(Box::new(H264Encoder::new(config)?)),
        #[cfg(feature = "vp8")]
        VideoCodec::Vp8 => Ok(Box::new(crate::Vp8Encoder::new(config)?)),
        #[cfg(not(feature = "vp8"))]
        VideoCodec::Vp8 => Err(CodecError::NotBuilt { codec: "VP8", feature: "vp8" }),
    }
}

impl VideoConfig {
    /// The shortest side of a picture, pixels.
    pub const LEAST_SIDE: usize = 16;
    /// The longer and the shorter side of the largest picture, pixels.
    pub const LARGEST: (usize, usize) = (3840, 2160);

    pub(crate) fn check(&self, codec: &'static str) -> Result<(), CodecError> {
        let (long, short) = (self.width.max(self.height), self.width.min(self.height));
        let fps = f64::from(self.fps.0) / f64::from(self.fps.1);
        let (longest, widest) = Self::LARGEST;
        let outside = short < Self::LEAST_SIDE || long > longest || short > widest;
        let reason = if outside || long % 2 == 1 || short % 2 == 1 {
            format!(
                "{}x{}: sides must be even, at least {}, and at most {longest} by {widest} pixels",
                self.width,
                self.height,
                Self::LEAST_SIDE
            )
        } else if !(1.0..=120.0).contains(&fps) {
            format!("{}/{} frames per second: 1 to 120 are possible", self.fps.0, self.fps.1)
        } else {
            return Ok(());
        };
        Err(CodecError::Config { codec, reason })
    }

    /// The planes must cover the picture: the libraries under us read them by pointer and stride.
    pub(crate) fn check_picture(&self, picture: &I420Ref<'_>) -> Result<(), CodecError> {
        let covers = |plane: &[u8], width: usize, height: usize, stride: usize| {
            stride >= width && i32::try_from(stride).is_ok() && plane.len() >= (height - 1) * stride + width
        };
        let (width, height) = (self.width, self.height);
        let fits = (picture.width, picture.height) == (width, height)
            && covers(picture.y, width, height, picture.y_stride)
            && covers(picture.u, width / 2, height / 2, picture.uv_stride)
            && covers(picture.v, width / 2, height / 2, picture.uv_stride);
        if fits {
            return Ok(());
        }
        Err(CodecError::Picture {
            expected: (width, height),
            got: (picture.width, picture.height),
            planes: [picture.y.len(), picture.u.len(), picture.v.len()],
        })
    }
}

/// The range within which every codec here keeps its promises.
pub(crate) fn clamp_bitrate(bits_per_second: u32) -> u32 {
    bits_per_second.clamp(16_000, 100_000_000)
}
