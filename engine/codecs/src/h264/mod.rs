//! H.264 through openh264, built from source: I420 in, Annex B out, and back for tests.

use openh264::encoder::{
    BitRate, ColorPrimaries, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod,
    Profile, RateControlMode, TransferCharacteristics, UsageType, VuiConfig,
};
use openh264::formats::YUVSource;
use openh264::{OpenH264API, Timestamp};

use crate::video::clamp_bitrate;
use crate::{AccessUnit, CodecError, I420Ref, VideoConfig, VideoEncoder};

mod decoder;
pub use decoder::H264Decoder;

mod raw;

const CODEC: &str = "H.264";

/// Which encoder was built, for the log.
pub fn h264_build() -> &'static str {
    if cfg!(h264_assembly) {
        "openh264 with NASM assembly"
    } else {
        "openh264 in portable C, about twice the time a frame: install nasm and build again"
    }
}

/// Constrained baseline, one slice, one thread, no look-ahead.
pub struct H264Encoder {
    config: VideoConfig,
    encoder: Encoder,
    pictures: u64,
}

impl H264Encoder {
    /// Makes an encoder with one IDR at the start and later ones only on demand.
    ///
    /// The stream states its colours (BT.601 matrix, limited range, sRGB-like primaries), so that players
    /// need not guess them from the size.
    ///
    /// # Errors
    /// [`CodecError::Config`] when the size or the rate is out of range.
    pub fn new(config: &VideoConfig) -> Result<Self, CodecError> {
        config.check(CODEC)?;
        let config = VideoConfig { bitrate: clamp_bitrate(config.bitrate), ..*config };
        Ok(Self { config, encoder: open(&config)?, pictures: 0 })
    }
}

impl VideoEncoder for H264Encoder {
    fn encode(&mut self, picture: I420Ref<'_>, force_key: bool) -> Result<AccessUnit, CodecError> {
        self.config.check_picture(&picture)?;
        if force_key && self.pictures > 0 {
            self.encoder.force_intra_frame();
        }
        let (frames, seconds) = self.config.fps;
        let millis = self.pictures * 1000 * u64::from(seconds) / u64::from(frames);
        let stream = self
            .encoder
            .encode_at(&Planes(picture), Timestamp::from_millis(millis))
            .map_err(|error| native("encode a picture", &error))?;
        let unit = AccessUnit { data: stream.to_vec(), key: stream.frame_type() == FrameType::IDR };
        if unit.data.is_empty() {
            let detail = format!("no data for picture {} ({:?})", self.pictures, stream.frame_type());
            return Err(CodecError::Native { codec: CODEC, action: "encode a picture", detail });
        }
        self.pictures += 1;
        Ok(unit)
    }

    fn set_bitrate(&mut self, bits_per_second: u32) -> Result<(), CodecError> {
        let target = clamp_bitrate(bits_per_second);
        let raised = target > self.config.bitrate;
        self.config.bitrate = target;
        if self.pictures == 0 {
            // The library is only initialised by the first picture, and takes no options before.
            self.encoder = open(&self.config)?;
            return Ok(());
        }
        raw::set_bitrate(&mut self.encoder, target, raised)
    }
}

fn open(config: &VideoConfig) -> Result<Encoder, CodecError> {
    // Primaries and transfer are what sRGB sources have; only the matrix is BT.601.
    let colours = VuiConfig::bt601()
        .color_primaries(ColorPrimaries::Bt709)
        .transfer_characteristics(TransferCharacteristics::Bt709);
    let settings = EncoderConfig::new()
        .usage_type(UsageType::CameraVideoRealTime)
        .profile(Profile::Baseline)
        .rate_control_mode(RateControlMode::Bitrate)
        .bitrate(BitRate::from_bps(config.bitrate))
        .max_frame_rate(FrameRate::from_hz(config.fps.0 as f32 / config.fps.1 as f32))
        .intra_frame_period(IntraFramePeriod::auto())
        .skip_frames(false)
        .scene_change_detect(false)
        .complexity(Complexity::Low)
        .num_threads(1)
        .vui(colours);
    let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), settings)
        .map_err(|error| native("start", &error))?;
    raw::silence(&mut encoder)?;
    Ok(encoder)
}

fn native(action: &'static str, error: &openh264::Error) -> CodecError {
    CodecError::Native { codec: CODEC, action, detail: error.to_string() }
}

/// Lends our planes to the binding; `check_picture` has seen that they cover the picture.
struct Planes<'a>(I420Ref<'a>);

impl YUVSource for Planes<'_> {
    fn dimensions(&self) -> (usize, usize) {
        (self.0.width, self.0.height)
    }

    fn strides(&self) -> (usize, usize, usize) {
        (self.0.y_stride, self.0.uv_stride, self.0.uv_stride)
    }

    fn y(&self) -> &[u8] {
        self.0.y
    }

    fn u(&self) -> &[u8] {
        self.0.u
    }

    fn v(&self) -> &[u8] {
        self.0.v
    }
}
