//! The encoder thread: one unit in, its Opus frames and one access unit for each codec in demand out.

use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use lipcast_codecs::{
    CodecError, I420Ref, OpusEncoder, VideoCodec, VideoConfig, VideoEncoder, video_encoder,
};

use super::key_frames::KeyFrameGate;
use super::opus_frames::OpusFrames;
use super::stream::{EncodedFrame, LiveStream, Medium};
use super::{LiveUnit, MediaClock};
use crate::metrics::EncoderMeter;

/// Encodes until `units` ends. Audio goes first: it is smaller and missed sooner.
pub(super) fn run<U: LiveUnit>(
    stream: &LiveStream,
    meter: &EncoderMeter,
    units: impl IntoIterator<Item = U>,
) {
    let fps = stream.format.fps;
    let mut audio = AudioLane::new(stream.format.audio_bitrate);
    let mut lanes = [VideoCodec::H264, VideoCodec::Vp8].map(|codec| VideoLane::new(codec, stream));
    for unit in units {
        let frame = unit.frame();
        stream.clock.get_or_init(|| MediaClock::anchored(Instant::now(), frame, fps));
        audio.encode(stream, meter, fps.first_sample(frame, 48_000), unit.pcm_48k());
        for lane in &mut lanes {
            lane.encode(stream, meter, frame, unit.picture());
        }
    }
}

struct AudioLane {
    frames: OpusFrames,
    /// The encoder, and the samples by which what a viewer hears lags what was encoded.
    encoder: Option<(OpusEncoder, i64)>,
}

impl AudioLane {
    fn new(bitrate: u32) -> Self {
        let encoder = OpusEncoder::new(bitrate).and_then(|mut encoder| {
            let delay = encoder.lookahead()? as i64;
            Ok((encoder, delay))
        });
        if let Err(error) = &encoder {
            tracing::error!(%error, "no Opus encoder: the session is silent");
        }
        Self { frames: OpusFrames::default(), encoder: encoder.ok() }
    }

    /// The frame grid advances even when nobody listens, so that it stays where it is for who comes later.
    fn encode(&mut self, stream: &LiveStream, meter: &EncoderMeter, first_sample: u64, pcm: &[f32]) {
        let Self { frames, encoder: Some((encoder, delay)) } = self else { return };
        let heard = stream.has_viewers();
        frames.push(first_sample, pcm, |frame| {
            if !heard {
                return;
            }
            let begun = Instant::now();
            let encoded = encoder.encode(frame.pcm);
            meter.opus.time(begun.elapsed());
            match encoded {
                Ok(data) => stream.send(EncodedFrame {
                    medium: Medium::Audio,
                    timestamp: frame.first_sample as i64 - *delay,
                    data: Bytes::from(data),
                }),
                Err(error) => tracing::warn!(%error, sample = frame.first_sample, "an Opus frame was lost"),
            }
        });
    }
}

/// One codec's encoder; it exists only while somebody watches in that codec.
struct VideoLane {
    codec: VideoCodec,
    encoder: Option<Box<dyn VideoEncoder>>,
    bitrate: u32,
    gate: KeyFrameGate,
    /// After a failure no encoder is made before this frame: one attempt and one log line a second.
    rests_until: u64,
}

impl VideoLane {
    fn new(codec: VideoCodec, stream: &LiveStream) -> Self {
        let gate = KeyFrameGate::new(stream.format.fps);
        Self { codec, encoder: None, bitrate: 0, gate, rests_until: 0 }
    }

    fn encode(&mut self, stream: &LiveStream, meter: &EncoderMeter, frame: u64, picture: I420Ref<'_>) {
        if stream.lane(self.codec).viewers.load(Ordering::Acquire) == 0 {
            self.encoder = None;
            return;
        }
        if frame < self.rests_until {
            return;
        }
        if let Err(error) = self.try_encode(stream, meter, frame, picture) {
            tracing::error!(%error, codec = ?self.codec, frame, "video encoder failed; a new one in a second");
            self.encoder = None;
            self.rests_until = frame + stream.format.fps.as_f64().ceil() as u64;
        }
    }

    fn try_encode(
        &mut self,
        stream: &LiveStream,
        meter: &EncoderMeter,
        frame: u64,
        picture: I420Ref<'_>,
    ) -> Result<(), CodecError> {
        let (lane, format) = (stream.lane(self.codec), stream.format);
        let bitrate = lane.bitrate.load(Ordering::Relaxed);
        let key = self.gate.is_due(frame, &lane.bell, self.encoder.is_none());
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            vacant => {
                let fps = (format.fps.num(), format.fps.den());
                let config = VideoConfig { width: format.width, height: format.height, fps, bitrate };
                self.bitrate = bitrate;
                vacant.insert(video_encoder(self.codec, &config)?)
            }
        };
        if bitrate != self.bitrate {
            encoder.set_bitrate(bitrate)?;
            self.bitrate = bitrate;
        }
        let begun = Instant::now();
        let unit = encoder.encode(picture, key)?;
        let times = match self.codec {
            VideoCodec::H264 => &meter.h264,
            VideoCodec::Vp8 => &meter.vp8,
        };
        times.time(begun.elapsed());
        if unit.key {
            self.gate.happened(frame);
        }
        if !unit.data.is_empty() {
            stream.send(EncodedFrame {
                medium: Medium::Video { codec: self.codec, key: unit.key },
                timestamp: format.fps.first_sample(frame, 90_000) as i64,
                data: Bytes::from(unit.data),
            });
        }
        Ok(())
    }
}
