//! From per-frame measurements to the figures of `lipcast bench lipsync`, with the controls that keep them honest.

use super::phones::Phone;
use super::pixels::MouthMeasure;
use super::series::{Lagged, auc, best_lag, envelope, quantile, shuffled};

/// Correlations count within this lag, milliseconds.
pub const LAG_MS: f64 = 40.0;
/// How far a closure may be from its sound, milliseconds.
pub const CLOSURE_MS: f64 = 40.0;
/// A mouth is closed below this share of the speaking range.
pub const CLOSED_SHARE: f64 = 0.12;
/// How far a lag is looked for, milliseconds; wider than the shift of the control.
const SEARCH_MS: f64 = 400.0;
/// The control's shift of the audio, milliseconds.
const SHIFT_MS: f64 = 200.0;
/// Blocks of the shuffled control, seconds: shorter than a phrase, longer than a syllable.
const SHUFFLE_SECONDS: f64 = 0.5;
/// Orders that the shuffled control is the mean of: one order of a short clip may fit by chance.
const SHUFFLES: u64 = 16;
/// What is this far (dB) under the clip's loud parts is silence: room tone and most breath, but no syllable.
const SILENCE_DB: f64 = 30.0;
/// What must be silent before and after a frame that counts as silent, seconds: the mouth needs time to come to rest,
/// and it opens before the sound.
const SETTLE_SECONDS: f64 = 0.25;

/// Frames with the speech they were made from.
#[derive(Debug, Clone, Copy)]
pub struct Recording<'a> {
    /// Video frames per second.
    pub fps: f64,
    /// One measurement per frame; frame 0 begins with the first sample.
    pub mouth: &'a [MouthMeasure],
    /// The speech, mono.
    pub pcm: &'a [f32],
    /// Samples per second of `pcm`.
    pub sample_rate: u32,
    /// Its phones, where they are known.
    pub phones: Option<&'a [Phone]>,
}

/// What a recording shows.
#[derive(Debug, Clone, PartialEq)]
pub struct LipSync {
    /// Mouth opening against the speech envelope.
    pub envelope: Envelope,
    /// Closures of p, b and m; `None` without phones.
    pub closures: Option<Closures>,
    /// Spread against rounded vowels told apart by the mouth's width, 0.5 (chance) to 1; `None` without phones or
    /// without vowels of both kinds.
    pub width_auc: Option<f64>,
    /// What moves in silence; `None` without a silence that is long enough, or where nothing moves in speech either.
    pub silence: Option<Silence>,
    /// The same measurement where it must fail.
    pub controls: Controls,
}

/// Mouth opening against the speech envelope.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Envelope {
    /// Best correlation with a lag of at most 40 ms either way.
    pub correlation: f64,
    /// The lag of the best correlation anywhere within 400 ms, milliseconds; positive: the mouth is late.
    pub lag_ms: f64,
}

/// Closures of p, b and m.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Closures {
    /// How many the speech has.
    pub count: usize,
    /// The share with a closed mouth within 40 ms of the closure's middle.
    pub hit: f64,
    /// The same share for the middles of open vowels: what a mouth that hangs closed would score.
    pub hit_in_vowels: f64,
}

/// What moves in silence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Silence {
    /// How many frames count: silent, as is a quarter of a second on both sides.
    pub frames: usize,
    /// Their movement (95th percentile) over movement in speech (95th percentile).
    pub movement: f64,
}

/// Measurements that must fail, or move by a known amount.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Controls {
    /// How much the lag moves when the audio is shifted by 200 ms; must read 200 ± 20.
    pub shifted_ms: f64,
    /// Mean correlation with shuffled audio; must be below 0.2.
    pub shuffled: f64,
    /// Correlation of a mouth that keeps its first shape; must be below 0.2.
    pub frozen: f64,
}

impl Controls {
    /// Whether the meter can be trusted for this recording.
    pub fn hold(&self) -> bool {
        (self.shifted_ms - SHIFT_MS).abs() <= 20.0 && self.shuffled.abs() < 0.2 && self.frozen.abs() < 0.2
    }
}

impl LipSync {
    /// Takes all figures of a recording.
    pub fn of(recording: &Recording<'_>) -> Self {
        let opening: Vec<f64> = recording.mouth.iter().map(|mouth| mouth.opening).collect();
        let speech = recording.envelope(recording.pcm);
        let free = best_lag(&opening, &speech, recording.fps, SEARCH_MS);
        Self {
            envelope: Envelope {
                correlation: recording.near(&opening, &speech).correlation,
                lag_ms: free.lag_ms,
            },
            closures: recording.phones.and_then(|phones| closures(recording.fps, &opening, phones)),
            width_auc: recording.phones.and_then(|phones| width_auc(recording, phones)),
            silence: silence(recording, &speech),
            controls: recording.controls(&opening, &speech, free),
        }
    }
}

impl Recording<'_> {
    fn envelope(&self, pcm: &[f32]) -> Vec<f64> {
        envelope(pcm, self.sample_rate, self.fps, self.mouth.len())
    }

    fn near(&self, opening: &[f64], speech: &[f64]) -> Lagged {
        best_lag(opening, speech, self.fps, LAG_MS)
    }

    fn controls(&self, opening: &[f64], speech: &[f64], measured: Lagged) -> Controls {
        // Audio that comes earlier makes the mouth late.
        let skip = (SHIFT_MS / 1000.0 * f64::from(self.sample_rate)).round() as usize;
        let earlier = self.envelope(self.pcm.get(skip..).unwrap_or_default());
        let block = (SHUFFLE_SECONDS * self.fps).round() as usize;
        let still = vec![opening.first().copied().unwrap_or_default(); opening.len()];
        let shifted = best_lag(opening, &earlier, self.fps, SEARCH_MS + SHIFT_MS);
        Controls {
            shifted_ms: shifted.lag_ms - measured.lag_ms,
            shuffled: (1..=SHUFFLES)
                .map(|seed| self.near(opening, &shuffled(speech, block, seed)).correlation)
                .sum::<f64>()
                / SHUFFLES as f64,
            frozen: self.near(&still, speech).correlation,
        }
    }
}

/// Seconds at the middle of frame `k`.
fn middle(k: usize, fps: f64) -> f64 {
    (k as f64 + 0.5) / fps
}

fn closures(fps: f64, opening: &[f64], phones: &[Phone]) -> Option<Closures> {
    let (rest, wide) = (quantile(opening, 0.02), quantile(opening, 0.95));
    let limit = rest + CLOSED_SHARE * (wide - rest);
    // A mouth that never opens has no closures either.
    let hit = |at: f64| {
        wide > rest
            && opening
                .iter()
                .enumerate()
                .any(|(k, &open)| open <= limit && (middle(k, fps) - at).abs() <= CLOSURE_MS / 1000.0)
    };
    let share = |times: &[f64]| times.iter().filter(|&&t| hit(t)).count() as f64 / times.len().max(1) as f64;
    let lips: Vec<f64> =
        phones.iter().filter_map(Phone::closure).map(|(start, end)| (start + end) / 2.0).collect();
    let vowels: Vec<f64> =
        phones.iter().filter(|phone| phone.is_open()).map(|phone| (phone.start + phone.end) / 2.0).collect();
    (!lips.is_empty()).then(|| Closures {
        count: lips.len(),
        hit: share(&lips),
        hit_in_vowels: share(&vowels),
    })
}

fn width_auc(recording: &Recording<'_>, phones: &[Phone]) -> Option<f64> {
    let mean = |phone: &Phone| {
        let (sum, count) = recording
            .mouth
            .iter()
            .enumerate()
            .filter(|(k, _)| (phone.start..phone.end).contains(&middle(*k, recording.fps)))
            .fold((0.0, 0), |(sum, count), (_, mouth)| (sum + mouth.width, count + 1));
        (count > 0).then(|| sum / f64::from(count))
    };
    let spread: Vec<f64> = phones.iter().filter(|p| p.is_spread()).filter_map(mean).collect();
    let rounded: Vec<f64> = phones.iter().filter(|p| p.is_rounded()).filter_map(mean).collect();
    auc(&spread, &rounded)
}

fn silence(recording: &Recording<'_>, speech: &[f64]) -> Option<Silence> {
    let loud = quantile(speech, 0.95);
    let silent: Vec<bool> =
        speech.iter().map(|&level| level <= loud * 10f64.powf(-SILENCE_DB / 20.0)).collect();
    let settle = (SETTLE_SECONDS * recording.fps).ceil() as usize;
    let (mut still, mut talking) = (Vec::new(), Vec::new());
    for (k, mouth) in recording.mouth.iter().enumerate() {
        let around = &silent[k.saturating_sub(settle)..(k + settle + 1).min(silent.len())];
        if around.iter().all(|&quiet| quiet) {
            still.push(mouth.movement);
        } else if !silent[k] {
            talking.push(mouth.movement);
        }
    }
    let range = quantile(&talking, 0.95);
    (!still.is_empty() && range > 0.0)
        .then(|| Silence { frames: still.len(), movement: quantile(&still, 0.95) / range })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FPS: f64 = 25.0;
    const RATE: u32 = 16_000;

    /// Speech of 20 s, loud in irregular syllables and silent in the last two seconds; the level at second `t`.
    fn level(t: f64) -> f64 {
        if t >= 18.0 {
            return 0.0;
        }
        let syllables =
            (9.0 * t + 2.0 * (1.3 * t).sin()).sin() + 0.7 * (14.3 * t + 1.0).sin() * (0.9 * t).cos();
        (0.5 + 0.5 * syllables).clamp(0.02, 1.0)
    }

    fn speech() -> Vec<f32> {
        (0..20 * RATE)
            .map(|n| {
                let t = f64::from(n) / f64::from(RATE);
                (0.3 * level(t) * (t * 1_000.0).sin()) as f32
            })
            .collect()
    }

    /// A mouth that follows the level, late by `delay_ms`.
    fn mouth(delay_ms: f64) -> Vec<MouthMeasure> {
        (0..500)
            .map(|k| {
                let open = level(middle(k, FPS) - delay_ms / 1000.0);
                MouthMeasure { opening: 0.2 * open, width: 1.0, movement: 10.0 * open }
            })
            .collect()
    }

    fn figures(mouth: &[MouthMeasure], phones: Option<&[Phone]>) -> LipSync {
        LipSync::of(&Recording { fps: FPS, mouth, pcm: &speech(), sample_rate: RATE, phones })
    }

    #[test]
    fn a_mouth_in_step_scores_high_and_the_controls_hold() {
        let found = figures(&mouth(0.0), None);
        assert!(found.envelope.correlation > 0.9, "{found:?}");
        assert!(found.envelope.lag_ms.abs() < 8.0, "{found:?}");
        assert!(found.controls.hold(), "{found:?}");
        // The last two seconds, but for the frame whose window reaches into the speech and a quarter after it.
        assert_eq!(found.silence, Some(Silence { frames: 50 - 1 - 7, movement: 0.0 }));
        assert_eq!((found.closures, found.width_auc), (None, None));
    }

    #[test]
    fn a_late_mouth_is_told_and_does_not_count_beyond_40_ms() {
        let found = figures(&mouth(200.0), None);
        assert!((found.envelope.lag_ms - 200.0).abs() < 10.0, "{found:?}");
        assert!(found.envelope.correlation < 0.6, "{found:?}");
    }

    #[test]
    fn a_frozen_mouth_fails() {
        let still = vec![MouthMeasure { opening: 0.1, width: 1.0, movement: 3.0 }; 500];
        let phones = [Phone { name: "m".into(), start: 1.0, end: 1.1 }];
        let found = figures(&still, Some(&phones));
        assert_eq!(found.envelope.correlation, 0.0);
        assert_eq!(found.closures.map(|closures| closures.hit), Some(0.0));
        assert!(!found.controls.hold());
    }

    #[test]
    fn a_mouth_that_trembles_in_silence_is_told() {
        let mut shaky = mouth(0.0);
        shaky[470..].iter_mut().for_each(|mouth| mouth.movement = 1.0);
        let told = |pcm: &[f32]| {
            let recording = Recording { fps: FPS, mouth: &shaky, pcm, sample_rate: RATE, phones: None };
            LipSync::of(&recording).silence.is_some_and(|silence| silence.movement > 0.05)
        };
        assert!(told(&speech()));
        // Recordings are not silent in their pauses: room tone, some 35 dB below the voice.
        let room: Vec<f32> =
            speech().iter().zip(0..).map(|(x, n)| x + 0.005 * (n as f32 * 0.7).sin()).collect();
        assert!(told(&room));
    }

    #[test]
    fn closures_and_widths_are_scored_against_the_phones() {
        let mut frames = vec![MouthMeasure { opening: 0.2, width: 1.0, movement: 5.0 }; 100];
        let phone = |name: &str, start: f64| Phone { name: name.into(), start, end: start + 0.12 };
        // Frame 25 spans 1.00 to 1.04 s.
        let phones = [phone("m", 1.0), phone("iy", 1.5), phone("m", 2.0), phone("uw", 2.5), phone("aa", 3.0)];
        frames[26].opening = 0.0;
        frames[0].opening = 0.0;
        frames[1].opening = 0.0;
        frames[2].opening = 0.0;
        frames[37..41].iter_mut().for_each(|mouth| mouth.width = 1.05);
        frames[62..66].iter_mut().for_each(|mouth| mouth.width = 0.93);
        let found = figures(&frames, Some(&phones));
        assert_eq!(found.closures, Some(Closures { count: 2, hit: 0.5, hit_in_vowels: 0.0 }));
        assert_eq!(found.width_auc, Some(1.0));
    }
}
