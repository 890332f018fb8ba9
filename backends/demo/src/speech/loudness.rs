//! How loud this voice is: running percentiles of the frame level.
//!
//! In: the level of each 10 ms frame, dB. Out: the level that the voice's loud frames reach ("ceiling"), dB.
//! Features are taken relative to it, so a quiet voice does not mumble and a loud one does not shout.
//! `tools/visemes/features.py` does the same.

use super::mel::{BANDS, MelFrame};

/// Where a voice is expected before anything was heard, dB.
const START_DB: f32 = -32.0;
/// The ceiling stays inside these bounds, so that faint hum is never raised to speech.
const LOWEST_DB: f32 = -58.0;
const HIGHEST_DB: f32 = -8.0;
/// Frames this far below the ceiling are pauses; they hardly move it.
const RANGE_DB: f32 = 30.0;
/// Frames below this level are silence and do not move it at all, dB.
const SILENCE_DB: f32 = -72.0;
/// The share of speech frames that lie below the ceiling.
const QUANTILE: f32 = 0.85;
/// Speech frames over which the first, quick adaptation slows down.
const SETTLE: f32 = 25.0;
/// How fast pauses lower the ceiling, dB per frame: a voice far quieter than expected is found within seconds.
const PAUSE_STEP: f32 = 0.04;

/// Follows the ceiling of a voice.
#[derive(Debug, Clone)]
pub(super) struct Loudness {
    ceiling: f32,
    heard: f32,
}

impl Loudness {
    pub(super) fn new() -> Self {
        Self { ceiling: START_DB, heard: 0.0 }
    }

    /// Takes the next frame; returns its level and the ceiling after it, dB.
    pub(super) fn push(&mut self, frame: &MelFrame) -> (f32, f32) {
        let level = level(frame);
        if level > self.ceiling - RANGE_DB {
            let step = 0.3 + 2.0 / (1.0 + self.heard / SETTLE);
            let pull = if level > self.ceiling { QUANTILE } else { QUANTILE - 1.0 };
            self.ceiling += step * pull;
            self.heard += 1.0;
        } else if level > SILENCE_DB {
            self.ceiling -= PAUSE_STEP;
        }
        self.ceiling = self.ceiling.clamp(LOWEST_DB, HIGHEST_DB);
        (level, self.ceiling)
    }
}

/// The level of a frame: the power of all bands together, dB.
pub(super) fn level(frame: &MelFrame) -> f32 {
    let power: f32 = frame.iter().map(|db| 10f32.powf(db / 10.0)).sum();
    10.0 * (power / BANDS as f32 + 1e-10).log10()
}
