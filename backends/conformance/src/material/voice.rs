//! Signals at 16 kHz: something like a voice, and noise.

use std::f32::consts::TAU;

use super::Dice;

/// `seconds` of syllables with a voice of its own for each `who`: another pitch, other vowels, and a loudness that
/// jumps from syllable to syllable, so that no two frames of video hear the same.
pub(crate) fn voice(who: u64, seconds: f32) -> Vec<f32> {
    let mut dice = Dice::new(who + 17);
    let pitch = 105.0 + 23.0 * (who % 7) as f32;
    let harmonics = (3_600.0 / pitch) as usize;
    let total = (seconds * 16_000.0) as usize;
    let mut samples = Vec::with_capacity(total + 3_500);
    let mut phase = 0.0_f32;
    while samples.len() < total {
        let vowel = [[730.0, 1_090.0], [270.0, 2_290.0], [300.0, 870.0], [530.0, 1_840.0]][dice.below(4)];
        let (loud, length) = (0.35 + 0.25 * dice.sample(), 1_600 + dice.below(1_900));
        let gains: Vec<f32> = (1..=harmonics)
            .map(|k| vowel.iter().map(|peak| 1.0 / (1.0 + ((pitch * k as f32 - peak) / 110.0).powi(2))).sum())
            .collect();
        for n in 0..length {
            phase = (phase + pitch / 16_000.0).fract();
            let swell = (0.5 * TAU * n as f32 / length as f32).sin().max(0.0);
            let buzz: f32 =
                gains.iter().enumerate().map(|(k, g)| g * (TAU * phase * (k + 1) as f32).sin()).sum();
            samples.push((loud * swell * 0.5 * buzz + 0.002 * dice.sample()).clamp(-1.0, 1.0));
        }
    }
    samples.truncate(total);
    samples
}

/// `count` samples of loud white noise.
pub(crate) fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut dice = Dice::new(seed);
    (0..count).map(|_| 0.9 * dice.sample()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voices_differ_repeat_and_change_from_frame_to_frame() {
        let (a, b) = (voice(0, 2.0), voice(1, 2.0));
        assert_eq!((a.len(), &a), (32_000, &voice(0, 2.0)));
        // Two loud frames may have the same peak, full scale, and sound different.
        let loudness = |pcm: &[f32]| -> Vec<f32> {
            pcm.chunks(640).map(|frame| frame.iter().map(|s| s.abs()).sum::<f32>() / 640.0).collect()
        };
        let (of_a, of_b) = (loudness(&a), loudness(&b));
        assert!(of_a.iter().zip(&of_b).all(|(a, b)| a != b));
        assert!(of_a.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(a.iter().any(|sample| sample.abs() > 0.2), "{of_a:?}");
    }
}
