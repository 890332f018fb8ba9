//! Decodes our own VP8: for tests and benchmarks. Untrusted files go through an ffmpeg child instead.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;

use vpx_sys::{
    VPX_DECODER_ABI_VERSION, vpx_codec_ctx_t, vpx_codec_dec_init_ver, vpx_codec_decode, vpx_codec_destroy,
    vpx_codec_get_frame, vpx_codec_vp8_dx, vpx_image_t,
};

use super::check;
use crate::{CodecError, I420, I420Ref};

/// VP8 frames in, I420 pictures out.
pub struct Vp8Decoder {
    context: Box<vpx_codec_ctx_t>,
}

// SAFETY: the context is owned by this value alone and libvpx keeps no thread-local state in it.
unsafe impl Send for Vp8Decoder {}

impl Vp8Decoder {
    /// Makes a decoder.
    ///
    /// # Errors
    /// When the library fails to start.
    pub fn new() -> Result<Self, CodecError> {
        // SAFETY: an all-zero context is what libvpx asks for before init.
        let mut context: Box<vpx_codec_ctx_t> = Box::new(unsafe { MaybeUninit::zeroed().assume_init() });
        // SAFETY: the context is valid and boxed; null asks for the default settings.
        let status = unsafe {
            let version = VPX_DECODER_ABI_VERSION as c_int;
            vpx_codec_dec_init_ver(&mut *context, vpx_codec_vp8_dx(), ptr::null(), 0, version)
        };
        check(status, &mut context, "start")?;
        Ok(Self { context })
    }

    /// Decodes one frame; `None` when it carries no picture.
    ///
    /// # Errors
    /// [`CodecError::Native`] when the frame is damaged.
    pub fn decode(&mut self, frame: &[u8]) -> Result<Option<I420>, CodecError> {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        // SAFETY: the context is initialised and the slice outlives the call.
        let status =
            unsafe { vpx_codec_decode(&mut *self.context, frame.as_ptr(), length, ptr::null_mut(), 0) };
        check(status, &mut self.context, "decode a picture")?;
        let mut iterator = ptr::null();
        // SAFETY: the context is initialised; a non-null image is valid until the next call on it.
        let image = unsafe { vpx_codec_get_frame(&mut *self.context, &mut iterator).as_ref() };
        Ok(image.and_then(copy))
    }
}

impl Drop for Vp8Decoder {
    fn drop(&mut self) {
        // SAFETY: the context was initialised and is not used again.
        unsafe { vpx_codec_destroy(&mut *self.context) };
    }
}

fn copy(image: &vpx_image_t) -> Option<I420> {
    let (width, height) = (image.d_w as usize, image.d_h as usize);
    let mut picture = I420::black(width, height).ok()?;
    let strides = [image.stride[0] as usize, image.stride[1] as usize, image.stride[2] as usize];
    let plane = |index: usize, width: usize, height: usize| {
        let length = (height - 1) * strides[index] + width;
        // SAFETY: libvpx's planes hold `height` rows of `stride` bytes, of which the last may end after
        // `width`; they live until the next call on the decoder, and the copy is made before.
        unsafe { std::slice::from_raw_parts(image.planes[index], length) }
    };
    picture.copy_from(I420Ref {
        width,
        height,
        y: plane(0, width, height),
        u: plane(1, width / 2, height / 2),
        v: plane(2, width / 2, height / 2),
        y_stride: strides[0],
        uv_stride: strides[1],
    });
    Some(picture)
}
