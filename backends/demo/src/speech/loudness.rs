//! How loud this voice is, and how loud the room: running percentiles of the frame level.
//!
//! In: the level of each 10 ms frame, dB. Out: the level that the voice's loud frames reach ("ceiling"), dB.
//! Features are taken relative to it, so a quiet voice does not mumble and a loud one does not shout.
//! What does not stand out from the room is no voice: it never lowers the ceiling, or the tone of a room in which nobody
//! has spoken for seconds would be raised to speech.
//! `tools/visemes/features.py` does the same.

use super::mel::{BANDS, MelFrame};

/// Where a voice is expected before anything was heard, dB.
const START_DB: f32 = -32.0;
/// The ceiling stays inside these bounds, so that faint hum is never raised to speech.
const LOWEST_DB: f32 = -58.0;
const HIGHEST_DB: f32 = -8.0;
/// Frames this far below the ceiling are pauses, or a voice far quieter than expected; they move it slowly.
const RANGE_DB: f32 = 30.0;
/// No room counts as quieter than this, dB.
const SILENCE_DB: f32 = -72.0;
/// The share of speech frames that lie below the ceiling.
const QUANTILE: f32 = 0.85;
/// Speech frames over which the first, quick adaptation slows down.
const SETTLE: f32 = 25.0;
/// The part of the way that a quieter frame takes the level of the room along.
const FLOOR_FALLS: f32 = 0.3;
/// How fast the level of the room rises while all is louder, dB per frame: syllables are too short to raise it.
const FLOOR_RISES: f32 = 0.05;
/// A voice is at least this much louder than the room, dB.
const STANDS_OUT_DB: f32 = 10.0;
/// How fast a voice below the range lowers the ceiling, dB per frame: it is found within seconds.
const QUIET_STEP: f32 = 0.1;

/// Follows the ceiling of a voice.
#[derive(Debug, Clone)]
pub(super) struct Loudness {
    ceiling: f32,
    heard: f32,
    /// The level of the room; `None` before the first frame.
    floor: Option<f32>,
}

impl Loudness {
    pub(super) fn new() -> Self {
        Self { ceiling: START_DB, heard: 0.0, floor: None }
    }

    /// Takes the next frame; returns its level and the ceiling after it, dB.
    pub(super) fn push(&mut self, frame: &MelFrame) -> (f32, f32) {
        let level = level(frame);
        let before = self.floor.unwrap_or(level);
        let change = if level < before { FLOOR_FALLS * (level - before) } else { FLOOR_RISES };
        let floor = (before + change).max(SILENCE_DB);
        self.floor = Some(floor);
        let stands_out = level > floor + STANDS_OUT_DB;
        if level > self.ceiling || stands_out && level > self.ceiling - RANGE_DB {
            let step = 0.3 + 2.0 / (1.0 + self.heard / SETTLE);
            let pull = if level > self.ceiling { QUANTILE } else { QUANTILE - 1.0 };
            self.ceiling += step * pull;
            self.heard += 1.0;
        } else if stands_out {
            self.ceiling -= QUIET_STEP;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The ceiling after frames of these levels, dB.
    fn ceiling(levels: impl Iterator<Item = f32>) -> f32 {
        let mut loudness = Loudness::new();
        levels.map(|db| loudness.push(&[db; BANDS]).1).last().unwrap_or(START_DB)
    }

    #[test]
    fn the_room_does_not_lower_the_ceiling_and_a_quiet_voice_does() {
        let room = |i: usize| -64.0 + (i % 7) as f32 * 0.5;
        assert_eq!(ceiling((0..1_000).map(room)), START_DB);
        // Syllables of 180 ms at -46 dB, with pauses between them.
        let voice = |i: usize| if i % 25 < 18 { -46.0 } else { room(i) };
        let found = ceiling((0..500).map(voice));
        assert!((found + 46.0).abs() < 3.0, "{found}");
    }
}
