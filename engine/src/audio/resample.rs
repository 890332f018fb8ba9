//! Changes the rate of mono PCM, block by block, without shifting it in time.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _, WindowFunction};

use crate::time::gcd;

/// Frames of the slower side that a block has at least: long enough for a steep filter.
const BLOCK: u32 = 512;

/// A running conversion from one rate to another.
///
/// The converter's delay is taken out: sample `n` of the output belongs to the instant `n / to` seconds of the
/// input. The total is `round(input samples * to / from)`.
pub struct Resampler {
    from: u64,
    to: u64,
    /// `None` when the rates are equal.
    fft: Option<Fft<f32>>,
    pending: Vec<f32>,
    block: Vec<f32>,
    /// Output samples that are still the converter's delay.
    lead: usize,
    taken: u64,
    given: u64,
}

impl Resampler {
    /// Makes a converter; both rates are in Hz.
    ///
    /// # Panics
    /// When a rate is zero: rates are checked where a file is opened.
    pub fn new(from: u32, to: u32) -> Self {
        assert!(from > 0 && to > 0, "a sample rate of zero");
        let fft = (from != to).then(|| converter(from, to));
        let lead = fft.as_ref().map_or(0, |fft| fft.output_delay());
        Self {
            from: from.into(),
            to: to.into(),
            fft,
            pending: Vec::new(),
            block: Vec::new(),
            lead,
            taken: 0,
            given: 0,
        }
    }

    /// Takes input and appends to `out` what can be given by now.
    pub fn push(&mut self, pcm: &[f32], out: &mut Vec<f32>) {
        self.taken += pcm.len() as u64;
        if self.fft.is_none() {
            self.given += pcm.len() as u64;
            out.extend_from_slice(pcm);
            return;
        }
        self.pending.extend_from_slice(pcm);
        let mut start = 0;
        while let Some(length) = self.convert(start, out) {
            start += length;
        }
        self.pending.drain(..start);
    }

    /// Appends the rest; nothing may be pushed afterwards.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let total = (self.taken * self.to + self.from / 2) / self.from;
        while self.given < total {
            let missing = self.fft.as_ref().map_or(0, |fft| fft.input_frames_next());
            // Silence drives the last samples out.
            self.pending.resize(missing.max(self.pending.len()), 0.0);
            let before = self.given;
            match self.convert(0, out) {
                Some(length) => drop(self.pending.drain(..length)),
                None => break,
            }
            if self.given > total {
                let surplus = (self.given - total) as usize;
                out.truncate(out.len() - surplus);
                self.given = total;
            }
            debug_assert!(self.given >= before);
        }
    }

    /// Converts one block that begins at `start` of the pending samples; `None` when they do not fill one.
    fn convert(&mut self, start: usize, out: &mut Vec<f32>) -> Option<usize> {
        let fft = self.fft.as_mut()?;
        let length = fft.input_frames_next();
        if self.pending.len() - start < length {
            return None;
        }
        self.block.resize(fft.output_frames_next(), 0.0);
        let frames = self.block.len();
        let source =
            SequentialSlice::new(&self.pending[start..start + length], 1, length).expect("one whole block");
        let mut target = SequentialSlice::new_mut(&mut self.block, 1, frames).expect("one whole block");
        let (_, written) = fft
            .process_into_buffer(&source, &mut target, Some(&Indexing::new()))
            .expect("blocks of the asked sizes");
        let skipped = self.lead.min(written);
        self.lead -= skipped;
        self.given += (written - skipped) as u64;
        out.extend_from_slice(&self.block[skipped..written]);
        Some(length)
    }
}

/// A converter whose delay is a whole number of output samples: half of an even block.
fn converter(from: u32, to: u32) -> Fft<f32> {
    let divisor = gcd(from, to);
    let slower = from.min(to) / divisor;
    let units = BLOCK.div_ceil(slower).next_multiple_of(2);
    let block = (from / divisor * units) as usize;
    Fft::new_custom(
        from as usize,
        to as usize,
        block,
        1,
        1,
        WindowFunction::BlackmanHarris2,
        FixedSync::Input,
    )
    .expect("rates and block are not zero")
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;

    fn tone(rate: u32, seconds: f64) -> Vec<f32> {
        let samples = (f64::from(rate) * seconds).round() as usize;
        (0..samples).map(|n| (TAU * 300.0 * n as f32 / rate as f32).sin()).collect()
    }

    #[test]
    fn totals_are_exact_and_tones_keep_their_phase() {
        for from in [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000, 192_000, 12_345] {
            for to in [16_000, 48_000] {
                let input = tone(from, 1.237);
                let (mut converter, mut out) = (Resampler::new(from, to), Vec::new());
                for piece in input.chunks(733) {
                    converter.push(piece, &mut out);
                }
                converter.finish(&mut out);
                let total = (input.len() as f64 * f64::from(to) / f64::from(from)).round() as usize;
                assert_eq!(out.len(), total, "{from} to {to}");
                // The tone begins and ends abruptly, so the edges ring.
                let edge = to as usize / 20;
                let worst = (edge..total - edge)
                    .map(|n| (out[n] - (TAU * 300.0 * n as f32 / to as f32).sin()).abs())
                    .fold(0.0, f32::max);
                assert!(worst < 0.01, "{from} to {to}: {worst}");
            }
        }
    }

    #[test]
    fn the_size_of_the_pieces_changes_nothing() {
        let input = tone(44_100, 0.5);
        let run = |size: usize| {
            let (mut converter, mut out) = (Resampler::new(44_100, 16_000), Vec::new());
            input.chunks(size).for_each(|piece| converter.push(piece, &mut out));
            converter.finish(&mut out);
            out
        };
        assert_eq!(run(1), run(44_100));
        assert_eq!(run(441), run(5_000));
    }

    #[test]
    fn very_short_input_keeps_its_length() {
        for samples in [0_usize, 1, 2, 3, 100] {
            let (mut converter, mut out) = (Resampler::new(48_000, 16_000), Vec::new());
            converter.push(&vec![0.5; samples], &mut out);
            converter.finish(&mut out);
            assert_eq!(out.len(), (samples as f64 / 3.0).round() as usize, "{samples}");
        }
    }
}
