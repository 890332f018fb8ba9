//! The two encoder options that the binding does not wrap: bitrate at run time, and silence on stderr.
#![allow(unsafe_code, reason = "option calls of the raw encoder")]

use std::ffi::c_int;

use openh264::encoder::Encoder;
use openh264_sys2::{
    ENCODER_OPTION, ENCODER_OPTION_BITRATE, ENCODER_OPTION_MAX_BITRATE, ENCODER_OPTION_TRACE_LEVEL,
    LAYER_NUM, SBitrateInfo, SPATIAL_LAYER_0, SPATIAL_LAYER_ALL, WELS_LOG_QUIET,
};

use super::CODEC;
use crate::CodecError;

/// Room between target and maximum, bits per second: the encoder refuses a target above its maximum, and
/// rounds the target through an `f32`.
const HEADROOM: i32 = 1_024;

/// Keeps the encoder from writing to stderr; works before the first picture, where its warnings begin.
pub(super) fn silence(encoder: &mut Encoder) -> Result<(), CodecError> {
    let mut level: c_int = WELS_LOG_QUIET;
    // SAFETY: the option reads one int from the pointer during the call; the encoder is exclusively borrowed.
    let status = unsafe { encoder.raw_api().set_option(ENCODER_OPTION_TRACE_LEVEL, (&raw mut level).cast()) };
    if status == 0 {
        return Ok(());
    }
    let detail = format!("log level refused with status {status}");
    Err(CodecError::Native { codec: CODEC, action: "start", detail })
}

/// Sets target and maximum of an encoder that has encoded at least one picture.
/// `bits_per_second` is at most 100 Mb/s; `raised` tells whether it is above the present target.
pub(super) fn set_bitrate(
    encoder: &mut Encoder,
    bits_per_second: u32,
    raised: bool,
) -> Result<(), CodecError> {
    let target = bits_per_second as i32;
    let mut steps = [
        (ENCODER_OPTION_MAX_BITRATE, SPATIAL_LAYER_0, target + HEADROOM),
        (ENCODER_OPTION_BITRATE, SPATIAL_LAYER_ALL, target),
    ];
    // The maximum must never lie below the target in between.
    if !raised {
        steps.reverse();
    }
    steps.into_iter().try_for_each(|(option, layer, bitrate)| set_option(encoder, option, layer, bitrate))
}

fn set_option(
    encoder: &mut Encoder,
    option: ENCODER_OPTION,
    layer: LAYER_NUM,
    bitrate: i32,
) -> Result<(), CodecError> {
    let mut info = SBitrateInfo { iLayer: layer, iBitrate: bitrate };
    // SAFETY: both options read one SBitrateInfo from the pointer during the call and keep nothing of it;
    // the encoder is initialised (the caller has encoded a picture) and exclusively borrowed.
    let status = unsafe { encoder.raw_api().set_option(option, (&raw mut info).cast()) };
    if status == 0 {
        return Ok(());
    }
    let detail = format!("{bitrate} bits per second refused with status {status}");
    Err(CodecError::Native { codec: CODEC, action: "change its bitrate", detail })
}
