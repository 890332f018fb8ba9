//! PCM to log-mel columns, as Whisper's feature extractor makes them.
//!
//! In: 16 kHz mono PCM, f32, nominally -1 to 1. Out: 80 levels for each 10 ms, log10 of a band's power, never
//! below -10; and, once they are scaled against the loudest level around, the mel that the encoder takes.
//!
//! Column `m` is centred on sample `160 m` and sees 200 samples to each side. [`LogMel::measure`] makes one
//! column of the samples under its window; what lies before the first sample and after the last is the
//! caller's business. Inside it is f64; the extractor's own f32 arithmetic differs from it by no more than
//! 1e-5.

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::{HOP, SAMPLE_RATE, WINDOW};
use crate::networks::MELS;

/// Samples of a segment of a whole file: 30 s.
pub const SEGMENT: usize = 30 * SAMPLE_RATE as usize;
/// Columns of a segment.
pub const SEGMENT_COLUMNS: usize = SEGMENT / HOP;

/// Bins of the transform.
const BINS: usize = WINDOW / 2 + 1;
/// The least power of a band.
const FLOOR: f64 = 1e-10;
/// The level of a band without power: log10 of `FLOOR`.
const SILENCE: f32 = -10.0;
/// How far below the loudest level all is the same, in tens of dB.
const RANGE: f32 = 8.0;

/// Makes mel columns; tables and working memory of it.
pub struct LogMel {
    fft: Arc<dyn RealToComplex<f64>>,
    window: Vec<f64>,
    /// First bin and weights of each band; the other weights are 0.
    bank: Vec<(usize, Vec<f64>)>,
    input: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
}

impl LogMel {
    /// Computes the tables.
    pub fn new() -> Self {
        let fft = RealFftPlanner::new().plan_fft_forward(WINDOW);
        let bank = filter_bank();
        let band = |band: usize| {
            let weight = |bin: usize| bank[bin * MELS + band];
            let first = (0..BINS).find(|&bin| weight(bin) > 0.0).unwrap_or(0);
            (first, (first..BINS).map(weight).take_while(|&weight| weight > 0.0).collect())
        };
        Self {
            // Periodic: as if the window's first sample came again after its last.
            window: (0..WINDOW).map(|n| 0.5 - 0.5 * (2.0 * PI * n as f64 / WINDOW as f64).cos()).collect(),
            bank: (0..MELS).map(band).collect(),
            input: fft.make_input_vec(),
            spectrum: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            fft,
        }
    }

    /// One column: the levels of the `samples` under its window.
    pub fn measure(&mut self, samples: &[f32; WINDOW], column: &mut [f32; MELS]) {
        for ((input, &sample), weight) in self.input.iter_mut().zip(samples).zip(&self.window) {
            // Undefined and absurd samples would drown all that comes after them.
            let sample = if sample.is_finite() { sample.clamp(-4.0, 4.0) } else { 0.0 };
            *input = f64::from(sample) * weight;
        }
        // It fails on buffers of other lengths only, and these are the plan's own.
        self.fft
            .process_with_scratch(&mut self.input, &mut self.spectrum, &mut self.scratch)
            .expect("buffers of the plan's lengths");
        for (level, (first, weights)) in column.iter_mut().zip(&self.bank) {
            let power =
                self.spectrum[*first..].iter().zip(weights).map(|(bin, weight)| bin.norm_sqr() * weight);
            *level = power.sum::<f64>().max(FLOOR).log10() as f32;
        }
    }

    /// The mel of one segment of a whole file, at most 480,000 samples: zeros behind them up to that length,
    /// both ends mirrored, all scaled against the loudest level of the segment. Fills `mel`, f32 `[80,
    /// 3000]`.
    ///
    /// Panics where a length is another: a bug of the caller.
    pub fn segment(&mut self, pcm: &[f32], mel: &mut [f32]) {
        assert!(pcm.len() <= SEGMENT && mel.len() == MELS * SEGMENT_COLUMNS, "one segment");
        let mut samples = [0.0; WINDOW];
        let mut column = [0.0; MELS];
        let mut loudest = SILENCE;
        // Behind the last column that sees a sample there is silence.
        let heard = (pcm.len() + WINDOW / 2).div_ceil(HOP).min(SEGMENT_COLUMNS);
        for m in 0..heard {
            for (n, sample) in samples.iter_mut().enumerate() {
                let at = (m * HOP + n).abs_diff(WINDOW / 2);
                let left_of_start = m * HOP + n < WINDOW / 2;
                let at = if left_of_start || at < SEGMENT { at } else { 2 * (SEGMENT - 1) - at };
                *sample = pcm.get(at).copied().unwrap_or(0.0);
            }
            self.measure(&samples, &mut column);
            for (band, level) in column.into_iter().enumerate() {
                mel[band * SEGMENT_COLUMNS + m] = level;
                loudest = loudest.max(level);
            }
        }
        for row in mel.chunks_exact_mut(SEGMENT_COLUMNS) {
            row[heard..].fill(SILENCE);
            row.iter_mut().for_each(|level| *level = scale(*level, loudest));
        }
    }
}

impl Default for LogMel {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for LogMel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogMel").finish_non_exhaustive()
    }
}

/// The value that the encoder takes for `level`, where the loudest level around is `loudest`: what is more
/// than 80 dB below it counts as no quieter than that.
pub fn scale(level: f32, loudest: f32) -> f32 {
    (level.max(loudest - RANGE) + 4.0) / 4.0
}

/// The weights of the mel bands, f64 `[201, 80]`: bin by band. Triangles on Slaney's scale from 0 to 8 kHz,
/// each of the area that the width of its band asks for (librosa's `mel` of `norm="slaney"`, as Whisper has
/// it).
pub fn filter_bank() -> Vec<f64> {
    let nyquist = f64::from(SAMPLE_RATE) / 2.0;
    let top = mel(nyquist);
    let edge = |i: usize| hz(top * i as f64 / (MELS + 1) as f64);
    let mut bank = vec![0.0; BINS * MELS];
    for band in 0..MELS {
        let (left, centre, right) = (edge(band), edge(band + 1), edge(band + 2));
        for bin in 0..BINS {
            let f = nyquist * bin as f64 / (BINS - 1) as f64;
            let weight = ((f - left) / (centre - left)).min((right - f) / (right - centre)).max(0.0);
            bank[bin * MELS + band] = weight * 2.0 / (right - left);
        }
    }
    bank
}

/// Below 1 kHz Slaney's scale is linear, 15 mel; above it is logarithmic, 27 mel to a factor of 6.4.
const BEND_HZ: f64 = 1_000.0;
const BEND_MEL: f64 = 15.0;
const MEL_PER_FACTOR: f64 = 27.0;
const FACTOR: f64 = 6.4;

fn mel(hz: f64) -> f64 {
    if hz < BEND_HZ {
        BEND_MEL * hz / BEND_HZ
    } else {
        BEND_MEL + MEL_PER_FACTOR * (hz / BEND_HZ).ln() / FACTOR.ln()
    }
}

fn hz(mel: f64) -> f64 {
    if mel < BEND_MEL {
        BEND_HZ * mel / BEND_MEL
    } else {
        BEND_HZ * (FACTOR.ln() * (mel - BEND_MEL) / MEL_PER_FACTOR).exp()
    }
}
