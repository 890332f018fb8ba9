//! When a fault happens.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Samples of a magic audio value that make it one: 1 ms at 16 kHz.
const MAGIC_RUN: usize = 16;

/// How near to the magic value they are: resampling and 16 bits are not exact.
const MAGIC_WIDTH: f32 = 0.01;

/// The conditions of a fault; all that are there must hold.
#[derive(Debug, Default)]
pub(crate) struct Trigger {
    pub(crate) at_call: Option<u64>,
    pub(crate) at_frame: Option<u64>,
    pub(crate) every: Option<u64>,
    pub(crate) chance: Option<f64>,
    pub(crate) on_audio: Option<f32>,
    pub(crate) times: Option<u64>,
    pub(crate) unless_file: Option<PathBuf>,
    pub(crate) if_file: Option<PathBuf>,
    /// Seeded by the setting; counts on from there.
    pub(crate) state: Mutex<State>,
}

/// What a trigger remembers.
#[derive(Debug, Default)]
pub(crate) struct State {
    random: u64,
    calls: u64,
    candidates: u64,
    fired: u64,
}

impl State {
    /// Nothing has happened yet; `seed` decides what chance will choose.
    pub(crate) fn seeded(seed: u64) -> Mutex<Self> {
        Mutex::new(Self { random: seed, ..Self::default() })
    }
}

/// What is known of a call when it begins.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Circumstance<'a> {
    /// The video frame that is asked for.
    pub(crate) frame: Option<u64>,
    /// The samples of a push, or of the frame.
    pub(crate) pcm: &'a [f32],
}

impl Trigger {
    /// Whether the fault happens at this call. Counts it.
    pub(crate) fn fires(&self, now: Circumstance<'_>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.calls += 1;
        let calls = state.calls;
        if self.at_call.is_some_and(|first| calls < first)
            || self.at_frame.is_some_and(|first| now.frame.is_none_or(|frame| frame < first))
            || self.on_audio.is_some_and(|value| !holds(now.pcm, value))
            || self.times.is_some_and(|times| state.fired >= times)
        {
            return false;
        }
        state.candidates += 1;
        if self.every.is_some_and(|every| !(state.candidates - 1).is_multiple_of(every))
            || self.chance.is_some_and(|chance| uniform(&mut state.random) >= chance)
            || self.unless_file.as_ref().is_some_and(|path| File::create_new(path).is_err())
            || self.if_file.as_ref().is_some_and(|path| std::fs::remove_file(path).is_err())
        {
            return false;
        }
        state.fired += 1;
        true
    }
}

/// Whether `pcm` stays near `value` for a millisecond.
fn holds(pcm: &[f32], value: f32) -> bool {
    let mut run = 0;
    pcm.iter().any(|sample| {
        run = if (sample - value).abs() <= MAGIC_WIDTH { run + 1 } else { 0 };
        run >= MAGIC_RUN
    })
}

/// SplitMix64: the next number of the row that `state` begins.
pub(crate) fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// From 0 up to 1.
fn uniform(state: &mut u64) -> f64 {
    (random(state) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(trigger: &Trigger, calls: impl Iterator<Item = Circumstance<'static>>) -> Vec<usize> {
        calls.enumerate().filter(|(_, call)| trigger.fires(*call)).map(|(index, _)| index + 1).collect()
    }

    fn frames(range: std::ops::Range<u64>) -> impl Iterator<Item = Circumstance<'static>> {
        range.map(|frame| Circumstance { frame: Some(frame), pcm: &[] })
    }

    #[test]
    fn conditions_are_joined_and_counted() {
        let plain = |count| std::iter::repeat_n(Circumstance::default(), count);
        assert_eq!(fired(&Trigger::default(), plain(3)), [1, 2, 3]);
        assert_eq!(fired(&Trigger { at_call: Some(3), ..Trigger::default() }, plain(4)), [3, 4]);
        assert_eq!(fired(&Trigger { at_call: Some(2), times: Some(1), ..Trigger::default() }, plain(4)), [2]);
        assert_eq!(
            fired(&Trigger { at_call: Some(2), every: Some(3), ..Trigger::default() }, plain(9)),
            [2, 5, 8]
        );
        assert_eq!(fired(&Trigger { at_frame: Some(12), ..Trigger::default() }, frames(10..14)), [3, 4]);
        assert_eq!(fired(&Trigger { at_frame: Some(1), ..Trigger::default() }, plain(2)), [0; 0]);
    }

    #[test]
    fn chance_repeats_with_its_seed() {
        let with = |seed| {
            let trigger = Trigger { chance: Some(0.25), state: State::seeded(seed), ..Trigger::default() };
            fired(&trigger, std::iter::repeat_n(Circumstance::default(), 1000))
        };
        assert_eq!(with(7), with(7));
        assert_ne!(with(7), with(8));
        assert!((200..300).contains(&with(7).len()), "{}", with(7).len());
    }

    #[test]
    fn magic_audio_is_a_millisecond_of_one_value() {
        let trigger = Trigger { on_audio: Some(0.77), ..Trigger::default() };
        let heard = |pcm: &[f32]| trigger.fires(Circumstance { frame: None, pcm });
        assert!(heard(&[[0.1; 20], [0.765; 20]].concat()));
        assert!(!heard(&[0.77; 15]));
        assert!(!heard(&[0.79; 100]));
        // A tone that passes through the value is not it.
        assert!(!heard(&std::array::from_fn::<f32, 1600, _>(|i| (i as f32 * 0.3).sin())));
    }

    #[test]
    fn a_file_makes_it_happen_once_in_all_incarnations() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("happened");
        let incarnation = || Trigger { unless_file: Some(file.clone()), ..Trigger::default() };
        assert!(incarnation().fires(Circumstance::default()));
        assert!(file.exists());
        assert!(!incarnation().fires(Circumstance::default()));
    }

    #[test]
    fn a_file_that_is_laid_down_makes_it_happen_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("now");
        let trigger = Trigger { if_file: Some(file.clone()), ..Trigger::default() };
        assert!(!trigger.fires(Circumstance::default()));
        File::create(&file).unwrap();
        assert!(trigger.fires(Circumstance::default()));
        assert!(!file.exists() && !trigger.fires(Circumstance::default()));
    }
}
