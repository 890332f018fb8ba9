//! Signals and encoders for the tests.

mod mel;
mod stream;
mod whole;
mod windows;

use std::convert::Infallible;

use super::*;
use crate::networks::MELS;

/// White noise, uniform below ±0.3, always the same.
fn hiss(count: usize) -> Vec<f32> {
    let mut noise = 1u32;
    let mut next = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        0.3 * ((noise >> 8) as f32 / 8_388_608.0 - 1.0)
    };
    (0..count).map(|_| next()).collect()
}

/// A tone of 1 kHz; one of amplitude 0.2 is about as loud a mel level as an ordinary voice reaches.
fn tone(amplitude: f32, count: usize) -> Vec<f32> {
    (0..count).map(|n| amplitude * (std::f32::consts::TAU * n as f32 / 16.0).sin()).collect()
}

/// A tone louder than all that follows; then noise like syllables, with silence between them.
fn speech(count: usize) -> Vec<f32> {
    let gain = |n: usize| if n / 2_900 % 3 == 1 { 0.0 } else { 0.1 + 0.5 * (n as f32 / 2_500.0).sin().abs() };
    let mut pcm: Vec<f32> = hiss(count).into_iter().enumerate().map(|(n, sample)| gain(n) * sample).collect();
    for (sample, tone) in pcm.iter_mut().zip(tone(0.9, 800)) {
        *sample += tone;
    }
    pcm
}

/// An encoder that sees as far as the two convolutions of Whisper's and no further: row `j` mixes columns `2j
/// - 2` to `2j + 2`, another mixture for each value; outside the window are zeros.
fn local(mel: &[f32], columns: usize) -> Result<Vec<f32>, Infallible> {
    let value = |row: usize, value: usize| -> f32 {
        let band = &mel[value % MELS * columns..][..columns];
        let tap =
            |tap: usize| (2 * row + tap).checked_sub(2).and_then(|at| band.get(at)).copied().unwrap_or(0.0);
        let (state, column) = (value / FEATURES, value % FEATURES);
        let weight = |n: usize| 0.2 + 0.1 * state as f32 + 0.001 * ((column * 7 + n * 31) % 97) as f32;
        (0..5).map(|n| weight(n) * tap(n)).sum()
    };
    Ok((0..columns / 2)
        .flat_map(|row| (0..ROW_VALUES).map(move |v| (row, v)))
        .map(|(r, v)| value(r, v))
        .collect())
}

/// An encoder whose attention sees all: [`local`], and the mean of the window.
fn global(mel: &[f32], columns: usize) -> Result<Vec<f32>, Infallible> {
    let mean = mel.iter().sum::<f32>() / mel.len() as f32;
    local(mel, columns).map(|rows| rows.into_iter().map(|value| value + mean).collect())
}

/// The defaults at a frame rate.
fn hearing(fps: (u32, u32)) -> Hearing {
    Hearing::new(fps, &crate::settings::Settings::default())
}

/// The first sample of video frame `frame`.
fn first_sample(frame: u64, (num, den): (u32, u32)) -> usize {
    (frame * 16_000 * u64::from(den) / u64::from(num)) as usize
}

/// Samples that have to be there for `frame`.
fn needed(frame: u64, fps: (u32, u32)) -> usize {
    first_sample(frame + 1, fps) + LOOKAHEAD_MS as usize * 16
}
