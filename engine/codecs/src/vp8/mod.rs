//! VP8 through the system's libvpx: I420 in, frames out. The only module here made of raw calls.
#![allow(unsafe_code, reason = "the binding is a bare translation of libvpx's header")]

use std::ffi::{CStr, c_int, c_ulong};
use std::mem::MaybeUninit;
use std::ptr;

use vpx_sys::{
    VPX_DL_REALTIME, VPX_EFLAG_FORCE_KF, VPX_ENCODER_ABI_VERSION, VPX_FRAME_IS_KEY, vp8e_enc_control_id,
    vpx_codec_control_, vpx_codec_ctx_t, vpx_codec_cx_pkt_kind, vpx_codec_destroy, vpx_codec_enc_cfg_t,
    vpx_codec_enc_config_default, vpx_codec_enc_config_set, vpx_codec_enc_init_ver, vpx_codec_encode,
    vpx_codec_err_t, vpx_codec_error, vpx_codec_get_cx_data, vpx_codec_vp8_cx, vpx_image_t, vpx_img_fmt,
    vpx_img_wrap, vpx_kf_mode, vpx_rc_mode,
};

use crate::video::clamp_bitrate;
use crate::{AccessUnit, CodecError, I420Ref, VideoConfig, VideoEncoder};

mod decoder;
pub use decoder::Vp8Decoder;

const CODEC: &str = "VP8";

/// Negative values fix the speed; positive ones let libvpx follow the machine's load and cost twice as much.
const CPU_USED: c_int = -8;
/// Largest key frame, percent of a frame's share of the bitrate.
const MAX_INTRA_PERCENT: c_int = 450;

/// Real-time VP8: constant bitrate, one thread, no look-ahead, no dropped frames.
pub struct Vp8Encoder {
    config: VideoConfig,
    // Boxed: libvpx keeps pointers between the two, so neither may move.
    context: Box<vpx_codec_ctx_t>,
    settings: Box<vpx_codec_enc_cfg_t>,
    pictures: i64,
}

// SAFETY: the context is owned by this value alone and libvpx keeps no thread-local state in it.
unsafe impl Send for Vp8Encoder {}

impl Vp8Encoder {
    /// Makes an encoder with one key frame at the start and later ones only on demand.
    ///
    /// # Errors
    /// [`CodecError::Config`] when the size or the rate is out of range.
    pub fn new(config: &VideoConfig) -> Result<Self, CodecError> {
        config.check(CODEC)?;
        let config = VideoConfig { bitrate: clamp_bitrate(config.bitrate), ..*config };
        let settings = Box::new(settings(&config)?);
        // SAFETY: an all-zero context is what libvpx asks for before init.
        let mut context: Box<vpx_codec_ctx_t> = Box::new(unsafe { MaybeUninit::zeroed().assume_init() });
        // SAFETY: context and settings are valid for the call, and boxed, so they stay where they are.
        let status = unsafe {
            let interface = vpx_codec_vp8_cx();
            vpx_codec_enc_init_ver(&mut *context, interface, &*settings, 0, VPX_ENCODER_ABI_VERSION as c_int)
        };
        check(status, &mut context, "start")?;
        // From here on, dropping `encoder` frees the context.
        let mut encoder = Self { config, context, settings, pictures: 0 };
        for (control, value) in [
            (vp8e_enc_control_id::VP8E_SET_CPUUSED, CPU_USED),
            (vp8e_enc_control_id::VP8E_SET_NOISE_SENSITIVITY, 0),
            (vp8e_enc_control_id::VP8E_SET_STATIC_THRESHOLD, 1),
            (vp8e_enc_control_id::VP8E_SET_MAX_INTRA_BITRATE_PCT, MAX_INTRA_PERCENT),
        ] {
            // SAFETY: the context is initialised, and each of these controls takes one int.
            let status = unsafe { vpx_codec_control_(&mut *encoder.context, control as c_int, value) };
            check(status, &mut encoder.context, "take its settings")?;
        }
        Ok(encoder)
    }

    /// Collects what the last call of `vpx_codec_encode` produced.
    fn collect(&mut self) -> AccessUnit {
        let mut unit = AccessUnit { data: Vec::new(), key: false };
        let mut iterator = ptr::null();
        loop {
            // SAFETY: the context is initialised; the iterator starts at null, as libvpx asks.
            let packet = unsafe { vpx_codec_get_cx_data(&mut *self.context, &mut iterator) };
            // SAFETY: a non-null packet is valid until the next call on the context.
            let Some(packet) = (unsafe { packet.as_ref() }) else { return unit };
            if packet.kind == vpx_codec_cx_pkt_kind::VPX_CODEC_CX_FRAME_PKT {
                // SAFETY: `frame` is the live member of the union for this kind, and its buffer holds `sz`
                // bytes until the next call on the context.
                let (bytes, flags) = unsafe {
                    let frame = &packet.data.frame;
                    (std::slice::from_raw_parts(frame.buf.cast::<u8>(), frame.sz as usize), frame.flags)
                };
                unit.data.extend_from_slice(bytes);
                unit.key |= flags & VPX_FRAME_IS_KEY != 0;
            }
        }
    }
}

impl VideoEncoder for Vp8Encoder {
    fn encode(&mut self, picture: I420Ref<'_>, force_key: bool) -> Result<AccessUnit, CodecError> {
        self.config.check_picture(&picture)?;
        let image = wrap(&self.config, &picture)?;
        let flags = if force_key { i64::from(VPX_EFLAG_FORCE_KF) } else { 0 };
        // SAFETY: the image's planes are borrowed for this call and cover the picture (`check_picture`);
        // libvpx copies what it keeps.
        let status = unsafe {
            vpx_codec_encode(
                &mut *self.context,
                &image,
                self.pictures,
                1,
                flags,
                c_ulong::from(VPX_DL_REALTIME),
            )
        };
        check(status, &mut self.context, "encode a picture")?;
        let unit = self.collect();
        if unit.data.is_empty() {
            let detail = format!("no data for picture {}", self.pictures);
            return Err(CodecError::Native { codec: CODEC, action: "encode a picture", detail });
        }
        self.pictures += 1;
        Ok(unit)
    }

    fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), CodecError> {
        self.config.bitrate = clamp_bitrate(bits_per_second);
        self.settings.rc_target_bitrate = self.config.bitrate / 1000;
        // SAFETY: both are initialised and valid for the call; libvpx copies the settings.
        let status = unsafe { vpx_codec_enc_config_set(&mut *self.context, &*self.settings) };
        check(status, &mut self.context, "change its bitrate")
    }
}

impl Drop for Vp8Encoder {
    fn drop(&mut self) {
        // SAFETY: the context was initialised and is not used again.
        unsafe { vpx_codec_destroy(&mut *self.context) };
    }
}

fn settings(config: &VideoConfig) -> Result<vpx_codec_enc_cfg_t, CodecError> {
    let mut settings = MaybeUninit::<vpx_codec_enc_cfg_t>::zeroed();
    // SAFETY: the call fills the whole structure when it succeeds.
    let mut settings = unsafe {
        if vpx_codec_enc_config_default(vpx_codec_vp8_cx(), settings.as_mut_ptr(), 0)
            != vpx_codec_err_t::VPX_CODEC_OK
        {
            let reason = "libvpx has no default settings for VP8".to_owned();
            return Err(CodecError::Config { codec: CODEC, reason });
        }
        settings.assume_init()
    };
    settings.g_w = config.width as u32;
    settings.g_h = config.height as u32;
    settings.g_timebase.num = config.fps.1 as c_int;
    settings.g_timebase.den = config.fps.0 as c_int;
    settings.g_threads = 1;
    settings.g_lag_in_frames = 0;
    settings.g_error_resilient = 0;
    settings.kf_mode = vpx_kf_mode::VPX_KF_DISABLED;
    settings.rc_end_usage = vpx_rc_mode::VPX_CBR;
    settings.rc_target_bitrate = config.bitrate / 1000;
    settings.rc_dropframe_thresh = 0;
    settings.rc_min_quantizer = 2;
    settings.rc_max_quantizer = 56;
    settings.rc_undershoot_pct = 100;
    settings.rc_overshoot_pct = 15;
    // Milliseconds at the target bitrate.
    settings.rc_buf_sz = 1000;
    settings.rc_buf_initial_sz = 500;
    settings.rc_buf_optimal_sz = 600;
    Ok(settings)
}

/// A description of `picture` that libvpx can read; the planes stay borrowed by raw pointers.
fn wrap(config: &VideoConfig, picture: &I420Ref<'_>) -> Result<vpx_image_t, CodecError> {
    let mut image = MaybeUninit::<vpx_image_t>::zeroed();
    // SAFETY: libvpx fills the description and reads no pixels; the pointers are replaced below.
    let mut image = unsafe {
        let (width, height) = (config.width as u32, config.height as u32);
        let data = picture.y.as_ptr().cast_mut();
        if vpx_img_wrap(image.as_mut_ptr(), vpx_img_fmt::VPX_IMG_FMT_I420, width, height, 1, data).is_null() {
            let detail = format!("a picture of {width}x{height} was refused");
            return Err(CodecError::Native { codec: CODEC, action: "take a picture", detail });
        }
        image.assume_init()
    };
    for (index, (plane, stride)) in
        [(picture.y, picture.y_stride), (picture.u, picture.uv_stride), (picture.v, picture.uv_stride)]
            .into_iter()
            .enumerate()
    {
        image.planes[index] = plane.as_ptr().cast_mut();
        image.stride[index] = stride as c_int;
    }
    Ok(image)
}

/// Turns a status into an error with libvpx's own words.
fn check(
    status: vpx_codec_err_t,
    context: &mut vpx_codec_ctx_t,
    action: &'static str,
) -> Result<(), CodecError> {
    if status == vpx_codec_err_t::VPX_CODEC_OK {
        return Ok(());
    }
    // SAFETY: libvpx returns a static, terminated string for any context, or null.
    let words = unsafe {
        let text = vpx_codec_error(context);
        if text.is_null() { None } else { Some(CStr::from_ptr(text).to_string_lossy().into_owned()) }
    };
    let detail = words.unwrap_or_else(|| format!("status {status:?}"));
    Err(CodecError::Native { codec: CODEC, action, detail })
}
