//! From the network's outputs at 100 Hz to the shape of one video frame.
//!
//! Opening, width and teeth are averaged over the span. Closed lips are not: a closure that touches the span closes
//! all of it, so that at 25 frames per second each p, b and m has a frame of its own.
//! Where nobody speaks, the mouth is given back: `presence` falls to exactly 0.

use std::ops::Range;

use super::mel::HOP;
use super::network::Output;

/// What the mouth does during one video frame.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MouthShape {
    /// How far the jaw is down: 0 at rest to 1 in a loud "ah". Closed lips have already brought it to 0.
    pub opening: f32,
    /// -1 rounded ("oo", "w") to 1 spread ("ee"); 0 at rest.
    pub width: f32,
    /// How much the teeth show, 0 to 1; high in sibilants.
    pub teeth: f32,
    /// How firmly the lips are pressed together, 0 to 1: p, b and m.
    pub closed: f32,
    /// How much is being said, 0 to 1, changing slowly: for a nod or a brow.
    pub energy: f32,
    /// How much speech decides what the mouth does, 0 to 1: exactly 0 in pauses longer than a quarter of a second.
    pub presence: f32,
}

/// Below this opening the mouth stays at rest; the network is never exactly at zero.
const REST_OPENING: f32 = 0.05;
/// Between these the closure's certainty becomes pressed lips.
const CLOSED: (f32, f32) = (0.35, 0.6);
/// Between these the speech output lets the mouth move.
const SPEECH: (f32, f32) = (0.3, 0.65);
/// Levels under the voice's ceiling (dB) between which a loud syllable opens the mouth further.
const LEVEL: (f32, f32) = (-24.0, 0.0);
/// The share of the opening that the level decides.
const LEVEL_SHARE: f32 = 0.6;
/// The network, trained to miss by little on average, keeps nearer to the middle than it should.
const OPENING_GAIN: f32 = 1.5;
const WIDTH_GAIN: f32 = 1.3;
/// Speech has begun above the second of these, and is over below the first: in between, it goes on as it was.
const PRESENT: (f32, f32) = (0.3, 0.55);
/// Moments that the mouth waits in silence before it goes back to rest, then those that it takes, and those to come.
const HOLD: u8 = 6;
const FALL: f32 = 16.0;
const RISE: f32 = 5.0;
/// How much of the last 10 ms stays in the slow energy.
const ENERGY_MEMORY: f32 = 0.97;

/// 10 ms of mouth.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moment {
    opening: f32,
    width: f32,
    teeth: f32,
    closed: f32,
    energy: f32,
    /// Moments of speech that are still assumed without more of it being heard.
    held: u8,
    /// Grows and falls evenly.
    presence: f32,
}

impl Moment {
    /// `level`: dB relative to the voice's ceiling.
    pub(super) fn new(output: Output, level: f32, before: &Moment) -> Self {
        let speech = ramp(output.speech, SPEECH);
        let loud = ramp(level, LEVEL);
        let gain = 1.0 - LEVEL_SHARE + LEVEL_SHARE * loud;
        let opening = (output.opening - REST_OPENING).max(0.0) / (1.0 - REST_OPENING);
        let goes_on = before.held > 0 && output.speech > PRESENT.0;
        let held = if goes_on || output.speech > PRESENT.1 { HOLD } else { before.held.saturating_sub(1) };
        let step = if held > 0 { 1.0 / RISE } else { -1.0 / FALL };
        Self {
            opening: (OPENING_GAIN * speech * gain * opening).min(1.0),
            width: (WIDTH_GAIN * speech * output.width).clamp(-1.0, 1.0),
            teeth: speech * output.teeth,
            closed: speech * ramp(output.closed, CLOSED),
            energy: ENERGY_MEMORY * before.energy + (1.0 - ENERGY_MEMORY) * speech * loud,
            held,
            presence: (before.presence + step).clamp(0.0, 1.0),
        }
    }
}

/// The 10 ms frames whose centres lie in the samples `start..end`; at least one.
pub(super) fn frames_of(start: u64, end: u64) -> Range<u64> {
    let hop = HOP as u64;
    let first = start.div_ceil(hop);
    let last = end.div_ceil(hop);
    if first < last { first..last } else { start / hop..start / hop + 1 }
}

/// One shape from at least one moment.
pub(super) fn of<'a>(moments: impl ExactSizeIterator<Item = &'a Moment>) -> MouthShape {
    let count = moments.len() as f32;
    let mut out = MouthShape::default();
    for moment in moments {
        out.opening += moment.opening / count;
        out.width += moment.width / count;
        out.teeth += moment.teeth / count;
        out.closed = out.closed.max(moment.closed);
        out.presence += smooth(moment.presence) / count;
        out.energy = moment.energy;
    }
    out.opening *= 1.0 - out.closed;
    out
}

fn smooth(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

fn ramp(x: f32, (from, to): (f32, f32)) -> f32 {
    ((x - from) / (to - from)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_takes_the_frames_centred_in_it_and_never_none() {
        assert_eq!(frames_of(0, 640), 0..4);
        assert_eq!(frames_of(640, 1_280), 4..8);
        assert_eq!(frames_of(641, 700), 4..5);
        assert_eq!(frames_of(100, 100), 0..1);
    }

    #[test]
    fn one_closed_moment_closes_the_whole_span() {
        let open = Moment { opening: 0.8, ..Moment::default() };
        let shut = Moment { closed: 1.0, ..Moment::default() };
        let shape = of([open, open, open, shut].iter());
        assert_eq!((shape.opening, shape.closed), (0.0, 1.0));
        assert_eq!(of([open, open].iter()).opening, 0.8);
    }

    #[test]
    fn the_mouth_is_given_back_in_a_pause_and_not_between_words() {
        let mut now = Moment::default();
        let mut presence = |speech: f32, moments: usize| {
            (0..moments).for_each(|_| now = Moment::new(Output { speech, ..Output::default() }, 0.0, &now));
            of([now].iter()).presence
        };
        assert_eq!(presence(0.5, 20), 0.0);
        assert_eq!(presence(0.6, 5), 1.0);
        assert_eq!(presence(0.4, 50), 1.0);
        assert!(presence(0.0, 5) == 1.0 && presence(0.4, 1) == 1.0);
        let between = presence(0.0, 12);
        assert!(between > 0.0 && between < 1.0, "{between}");
        assert_eq!(presence(0.0, 12), 0.0);
    }
}
