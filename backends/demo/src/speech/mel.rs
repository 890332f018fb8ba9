//! PCM to log-mel frames, streaming.
//!
//! In: 16 kHz mono PCM, f32, nominally -1..1, in blocks of any size.
//! Out: one [`MelFrame`] each 10 ms: 40 band levels in dB, where 0 dB is the power of a full-scale sine, never below
//! -100 dB.
//!
//! Frame `i` is centred on sample `160 * i` and sees 12.5 ms to each side; before sample 0 there are zeros.
//! `tools/visemes/features.py` computes the same; a golden test holds the two together.

use std::f32::consts::PI;

/// Samples per second of the PCM.
pub(super) const SAMPLE_RATE: u32 = 16_000;
/// Samples from one frame to the next: 10 ms.
pub(super) const HOP: usize = 160;
/// Samples under the window: 25 ms.
pub(super) const WINDOW: usize = 400;
/// Mel bands per frame.
pub(super) const BANDS: usize = 40;

/// Power added to every band, so that digital silence reads -100 dB.
const SILENCE: f32 = 1e-10;

const FFT: usize = 512;
const BINS: usize = FFT / 2 + 1;
const LOW_HZ: f32 = 60.0;
const HIGH_HZ: f32 = 7_600.0;

/// Band levels of one frame, f32 `[40]`, dB.
pub(super) type MelFrame = [f32; BANDS];

/// The tables of the transform; the same for every session.
#[derive(Debug)]
struct Tables {
    window: [f32; WINDOW],
    /// First bin and weights of each triangular band.
    bands: Vec<(usize, Vec<f32>)>,
    fft: Fft,
}

/// Cuts a stream of PCM into windows and measures each.
#[derive(Debug)]
pub(super) struct MelStream {
    tables: Tables,
    /// PCM that later windows still need; the first sample is the left edge of the next window.
    pending: Vec<f32>,
    re: [f32; FFT],
    im: [f32; FFT],
}

impl MelStream {
    /// A stream at sample 0.
    pub(super) fn new() -> Self {
        let mut stream = Self {
            tables: Tables::new(),
            pending: Vec::with_capacity(WINDOW + SAMPLE_RATE as usize),
            re: [0.0; FFT],
            im: [0.0; FFT],
        };
        stream.reset();
        stream
    }

    /// Back to sample 0.
    pub(super) fn reset(&mut self) {
        self.pending.clear();
        self.pending.resize(WINDOW / 2, 0.0);
    }

    /// Takes the next samples and hands every frame they complete to `each`, in order.
    pub(super) fn push(&mut self, pcm: &[f32], mut each: impl FnMut(&MelFrame)) {
        self.pending.extend_from_slice(pcm);
        let mut at = 0;
        while self.pending.len() - at >= WINDOW {
            let frame = self.measure(at);
            each(&frame);
            at += HOP;
        }
        self.pending.drain(..at);
    }

    fn measure(&mut self, at: usize) -> MelFrame {
        self.re.fill(0.0);
        self.im.fill(0.0);
        let window = &self.pending[at..at + WINDOW];
        for (out, (x, w)) in self.re.iter_mut().zip(window.iter().zip(&self.tables.window)) {
            // Infinite and undefined samples would poison everything after them.
            *out = if x.is_finite() { x.clamp(-4.0, 4.0) * w } else { 0.0 };
        }
        self.tables.fft.forward(&mut self.re, &mut self.im);
        let mut power = [0.0f32; BINS];
        for (p, (re, im)) in power.iter_mut().zip(self.re.iter().zip(&self.im)) {
            *p = re * re + im * im;
        }
        let mut frame = [0.0; BANDS];
        for (level, (first, weights)) in frame.iter_mut().zip(&self.tables.bands) {
            let energy: f32 = power[*first..].iter().zip(weights).map(|(p, w)| p * w).sum();
            *level = 10.0 * (energy + SILENCE).log10();
        }
        frame
    }
}

impl Tables {
    fn new() -> Self {
        let mut window = [0.0; WINDOW];
        for (n, w) in window.iter_mut().enumerate() {
            *w = 0.5 - 0.5 * (2.0 * PI * (n as f32 + 0.5) / WINDOW as f32).cos();
        }
        // A full-scale sine has an amplitude of half the window's sum in its bin.
        let gain = 2.0 / window.iter().sum::<f32>();
        window.iter_mut().for_each(|w| *w *= gain);

        let mel = |hz: f32| 2595.0 * (1.0 + hz / 700.0).log10();
        let hz = |mel: f32| 700.0 * (10f32.powf(mel / 2595.0) - 1.0);
        let (low, high) = (mel(LOW_HZ), mel(HIGH_HZ));
        let edge = |i: usize| hz(low + (high - low) * i as f32 / (BANDS + 1) as f32);
        let bin_hz = SAMPLE_RATE as f32 / FFT as f32;
        let bands = (0..BANDS)
            .map(|b| {
                let (left, centre, right) = (edge(b), edge(b + 1), edge(b + 2));
                let weight = |bin: usize| {
                    let f = bin as f32 * bin_hz;
                    ((f - left) / (centre - left)).min((right - f) / (right - centre)).max(0.0)
                };
                let first = (0..BINS).find(|&bin| weight(bin) > 0.0);
                match first {
                    Some(first) => {
                        let weights = (first..BINS).map(weight).take_while(|&w| w > 0.0).collect();
                        (first, weights)
                    }
                    // The lowest bands are narrower than a bin: they read the bin nearest their centre.
                    None => ((centre / bin_hz).round() as usize, vec![1.0]),
                }
            })
            .collect();
        Self { window, bands, fft: Fft::new() }
    }
}

/// A radix-2 transform of [`FFT`] points.
#[derive(Debug)]
struct Fft {
    cos: [f32; FFT / 2],
    sin: [f32; FFT / 2],
    reversed: [usize; FFT],
}

impl Fft {
    fn new() -> Self {
        let bits = FFT.trailing_zeros();
        let angle = |k: usize| -2.0 * std::f64::consts::PI * k as f64 / FFT as f64;
        Self {
            cos: std::array::from_fn(|k| angle(k).cos() as f32),
            sin: std::array::from_fn(|k| angle(k).sin() as f32),
            reversed: std::array::from_fn(|i| i.reverse_bits() >> (usize::BITS - bits)),
        }
    }

    fn forward(&self, re: &mut [f32; FFT], im: &mut [f32; FFT]) {
        for (i, &j) in self.reversed.iter().enumerate() {
            if i < j {
                re.swap(i, j);
                im.swap(i, j);
            }
        }
        let mut half = 1;
        while half < FFT {
            let step = FFT / (2 * half);
            for start in (0..FFT).step_by(2 * half) {
                for k in 0..half {
                    let (c, s) = (self.cos[k * step], self.sin[k * step]);
                    let (a, b) = (start + k, start + k + half);
                    let (x, y) = (re[b] * c - im[b] * s, re[b] * s + im[b] * c);
                    (re[b], im[b]) = (re[a] - x, im[a] - y);
                    (re[a], im[a]) = (re[a] + x, im[a] + y);
                }
            }
            half *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(pcm: &[f32], block: usize) -> Vec<MelFrame> {
        let mut stream = MelStream::new();
        let mut out = Vec::new();
        for part in pcm.chunks(block) {
            stream.push(part, |frame| out.push(*frame));
        }
        out
    }

    fn sine(hz: f32, samples: usize) -> Vec<f32> {
        (0..samples).map(|n| (2.0 * PI * hz * n as f32 / SAMPLE_RATE as f32).sin()).collect()
    }

    #[test]
    fn a_full_scale_sine_reads_near_zero_db_in_its_band_and_far_less_elsewhere() {
        let frame = frames(&sine(1_000.0, 8_000), 8_000)[20];
        let loudest = (0..BANDS).max_by(|&a, &b| frame[a].total_cmp(&frame[b])).unwrap();
        assert!(frame[loudest].abs() < 3.0, "{} dB", frame[loudest]);
        assert!(frame[loudest + 8] < -50.0);
    }

    #[test]
    fn silence_reads_the_floor_and_broken_samples_do_no_harm() {
        let mut pcm = vec![0.0; 3_200];
        assert!(frames(&pcm, 3_200).iter().flatten().all(|&level| level == -100.0));
        pcm[100] = f32::NAN;
        pcm[101] = f32::INFINITY;
        assert!(frames(&pcm, 3_200).iter().flatten().all(|level| level.is_finite()));
    }

    #[test]
    fn the_split_into_blocks_does_not_matter() {
        let pcm = sine(440.0, 5_000);
        let whole = frames(&pcm, 5_000);
        // Frame i needs the samples below 160 i + 200.
        assert_eq!(whole.len(), (5_000 - 200) / HOP + 1);
        for block in [1, 7, 160, 641] {
            assert_eq!(frames(&pcm, block), whole);
        }
    }
}
