//! Opus at 48 kHz: 20 ms of mono PCM in, one packet out, and back.
//!
//! PCM is f32 in -1..1. In-band FEC is on, so that a receiver can mend a lost packet from the next one;
//! DTX is off, since the stream is the clock that the picture follows.

use opus::{Application, Bitrate, Channels};

use crate::CodecError;

/// Samples of one frame: 20 ms at 48 kHz.
pub const FRAME_SAMPLES: usize = 960;

/// Longest packet that Opus can carry is 120 ms.
const LONGEST_PACKET: usize = 5_760;
/// More than any 20 ms packet at the highest bitrate.
const MAX_PACKET_BYTES: usize = 4_000;
/// Expected loss in percent: what makes the encoder spend bits on FEC.
const EXPECTED_LOSS: i32 = 10;

const CODEC: &str = "Opus";

/// Encodes mono speech.
pub struct OpusEncoder {
    encoder: opus::Encoder,
}

impl OpusEncoder {
    /// Makes an encoder of 48 kHz mono at `bitrate` bits per second (6 000 to 510 000; 32 000 suits speech).
    ///
    /// # Errors
    /// [`CodecError::Config`] for a bitrate out of range.
    pub fn new(bitrate: u32) -> Result<Self, CodecError> {
        if !(6_000..=510_000).contains(&bitrate) {
            let reason = format!("{bitrate} bits per second: 6000 to 510000 are possible");
            return Err(CodecError::Config { codec: CODEC, reason });
        }
        let encoder = configured(bitrate).map_err(|error| native("start", &error))?;
        Ok(Self { encoder })
    }

    /// Encodes one frame of exactly [`FRAME_SAMPLES`] samples.
    ///
    /// # Errors
    /// [`CodecError::Samples`] for another length.
    pub fn encode(&mut self, pcm: &[f32]) -> Result<Vec<u8>, CodecError> {
        if pcm.len() != FRAME_SAMPLES {
            return Err(CodecError::Samples { expected: FRAME_SAMPLES, got: pcm.len() });
        }
        self.encoder.encode_vec_float(pcm, MAX_PACKET_BYTES).map_err(|error| native("encode a frame", &error))
    }

    /// Samples at 48 kHz by which a decoder's output lags the input: 312 for speech.
    ///
    /// # Errors
    /// When the library does not tell.
    pub fn lookahead(&mut self) -> Result<usize, CodecError> {
        let samples = self.encoder.get_lookahead().map_err(|error| native("tell its look-ahead", &error))?;
        Ok(samples.unsigned_abs() as usize)
    }
}

/// Decodes packets to 48 kHz PCM, whatever rate they were encoded at.
pub struct OpusDecoder {
    decoder: opus::Decoder,
    channels: usize,
    pcm: Vec<f32>,
}

impl OpusDecoder {
    /// Makes a decoder to 1 or 2 channels; Opus converts between the two.
    ///
    /// # Errors
    /// [`CodecError::Config`] for another number of channels.
    pub fn new(channels: usize) -> Result<Self, CodecError> {
        let layout = match channels {
            1 => Channels::Mono,
            2 => Channels::Stereo,
            _ => {
                let reason = format!("{channels} channels: 1 or 2 are possible");
                return Err(CodecError::Config { codec: CODEC, reason });
            }
        };
        let decoder = opus::Decoder::new(48_000, layout).map_err(|error| native("start", &error))?;
        Ok(Self { decoder, channels, pcm: vec![0.0; LONGEST_PACKET * channels] })
    }

    /// Decodes one packet to interleaved samples, 2.5 to 120 ms of them.
    ///
    /// # Errors
    /// [`CodecError::Native`] when the packet is damaged; the next one can still be decoded.
    pub fn decode(&mut self, packet: &[u8]) -> Result<Vec<f32>, CodecError> {
        if packet.is_empty() {
            let detail = "an empty packet".to_owned();
            return Err(CodecError::Native { codec: CODEC, action: "decode a packet", detail });
        }
        let frames = self
            .decoder
            .decode_float(packet, &mut self.pcm, false)
            .map_err(|error| native("decode a packet", &error))?;
        Ok(self.pcm[..frames * self.channels].to_vec())
    }
}

fn configured(bitrate: u32) -> opus::Result<opus::Encoder> {
    let mut encoder = opus::Encoder::new(48_000, Channels::Mono, Application::Voip)?;
    encoder.set_bitrate(Bitrate::Bits(bitrate as i32))?;
    encoder.set_inband_fec(true)?;
    encoder.set_packet_loss_perc(EXPECTED_LOSS)?;
    encoder.set_dtx(false)?;
    Ok(encoder)
}

fn native(action: &'static str, error: &opus::Error) -> CodecError {
    CodecError::Native { codec: CODEC, action, detail: error.description().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(samples: usize) -> Vec<f32> {
        (0..samples).map(|n| 0.4 * (n as f32 * 440.0 * std::f32::consts::TAU / 48_000.0).sin()).collect()
    }

    fn correlation(a: &[f32], b: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn a_tone_survives_the_round_trip() {
        let mut encoder = OpusEncoder::new(32_000).unwrap();
        let mut decoder = OpusDecoder::new(1).unwrap();
        let delay = encoder.lookahead().unwrap();
        let original = tone(FRAME_SAMPLES * 50);
        let mut decoded = Vec::new();
        for frame in original.chunks_exact(FRAME_SAMPLES) {
            decoded.extend(decoder.decode(&encoder.encode(frame).unwrap()).unwrap());
        }
        assert_eq!(decoded.len(), original.len());
        // The codec turns phases a little, so the best match is sought around the stated delay.
        let (lag, likeness) = (delay - 24..delay + 24)
            .map(|lag| (lag, correlation(&original[9_600..40_000], &decoded[9_600 + lag..40_000 + lag])))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap();
        assert!(likeness > 0.97, "correlation {likeness} at {lag}, stated delay {delay}");
    }

    #[test]
    fn silence_still_gives_packets() {
        let mut encoder = OpusEncoder::new(32_000).unwrap();
        for _ in 0..100 {
            assert!(
                encoder.encode(&[0.0; FRAME_SAMPLES]).unwrap().len() > 2,
                "DTX would leave only a header"
            );
        }
    }

    #[test]
    fn wrong_lengths_and_damaged_packets_are_errors() {
        let mut encoder = OpusEncoder::new(32_000).unwrap();
        assert_eq!(encoder.encode(&[0.0; 480]), Err(CodecError::Samples { expected: 960, got: 480 }));
        assert!(OpusEncoder::new(1).is_err());
        assert!(OpusDecoder::new(6).is_err());
        let mut decoder = OpusDecoder::new(2).unwrap();
        assert!(decoder.decode(&[]).is_err());
        assert!(decoder.decode(&[0xff; 3]).is_err());
    }
}
