//! Sound as the bytes of a wav file: what tests and measurements feed in, and what any player opens.
//!
//! In: samples, interleaved. Out: a whole file, header first, little-endian.

/// 16-bit samples, interleaved over `channels`.
pub fn pcm_16(sample_rate: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
    file(1, 16, sample_rate, channels, samples.iter().flat_map(|sample| sample.to_le_bytes()))
}

/// 32-bit floats in -1..1, interleaved over `channels`.
pub fn float_32(sample_rate: u32, channels: u16, samples: &[f32]) -> Vec<u8> {
    file(3, 32, sample_rate, channels, samples.iter().flat_map(|sample| sample.to_le_bytes()))
}

fn file(format: u16, bits: u16, rate: u32, channels: u16, data: impl Iterator<Item = u8>) -> Vec<u8> {
    let frame = channels * bits / 8;
    let data: Vec<u8> = data.collect();
    let mut wav = Vec::with_capacity(44 + data.len());
    wav.extend(b"RIFF");
    wav.extend((36 + data.len() as u32).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    wav.extend(format.to_le_bytes());
    wav.extend(channels.to_le_bytes());
    wav.extend(rate.to_le_bytes());
    wav.extend((rate * u32::from(frame)).to_le_bytes());
    wav.extend(frame.to_le_bytes());
    wav.extend(bits.to_le_bytes());
    wav.extend(b"data");
    wav.extend((data.len() as u32).to_le_bytes());
    wav.extend(data);
    wav
}
