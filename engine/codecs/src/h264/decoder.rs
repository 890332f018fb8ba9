//! Decodes our own H.264: for tests and benchmarks. Untrusted files go through an ffmpeg child instead.

use openh264::decoder::{DecodedYUV, Decoder};
use openh264::formats::YUVSource;

use super::native;
use crate::{CodecError, I420, I420Ref};

/// Annex B access units in, I420 pictures out.
pub struct H264Decoder {
    decoder: Decoder,
}

impl H264Decoder {
    /// Makes a decoder.
    ///
    /// # Errors
    /// When the library fails to start.
    pub fn new() -> Result<Self, CodecError> {
        let decoder = Decoder::new().map_err(|error| native("start", &error))?;
        Ok(Self { decoder })
    }

    /// Decodes one access unit; `None` when it carries no picture.
    ///
    /// # Errors
    /// [`CodecError::Native`] when the unit is damaged or refers to pictures that are missing.
    pub fn decode(&mut self, unit: &[u8]) -> Result<Option<I420>, CodecError> {
        let decoded = self.decoder.decode(unit).map_err(|error| native("decode a picture", &error))?;
        Ok(decoded.as_ref().and_then(copy))
    }
}

fn copy(decoded: &DecodedYUV<'_>) -> Option<I420> {
    let (width, height) = decoded.dimensions();
    let (y_stride, uv_stride, _) = decoded.strides();
    let mut picture = I420::black(width, height).ok()?;
    picture.copy_from(I420Ref {
        width,
        height,
        y: decoded.y(),
        u: decoded.u(),
        v: decoded.v(),
        y_stride,
        uv_stride,
    });
    Some(picture)
}
