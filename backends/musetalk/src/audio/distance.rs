//! How far the features of a live session are from those of the whole file.
//!
//! In: PCM, the settings of a session, an encoder. Out: for each hidden state how much of its features a
//! frame misses.
//!
//! A stream's encoder sees a few seconds before a frame and 100 ms behind it, counts positions from the start
//! of its window, and knows no loudest level to come; what that does to the features depends on what the
//! encoder has learnt to look at. So this says something of real weights only. Of random ones it says how
//! local they happen to be.

use lipcast_plugins_api::author::SessionMode;

use super::error::HearError;
use super::speech::{Hearing, Speech};
use super::stream::LOOKAHEAD_MS;
use super::{ROW_VALUES, SAMPLE_RATE, TOKEN_VALUES};
use crate::networks::{FEATURES, HIDDEN_STATES};

/// The difference between a stream and a whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct Distance {
    /// Video frames that were compared: all of the speech.
    pub frames: u64,
    /// That of each hidden state: the input of the encoder's first layer, and the output of each layer.
    pub states: [StateDistance; HIDDEN_STATES],
}

/// The difference in one hidden state: of each frame its ten rows together, 3840 values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StateDistance {
    /// Length of the difference over the length of the whole file's features, mean over the frames.
    pub mean: f64,
    /// The same, of the frame where it is worst.
    pub worst: f64,
    /// That frame, counted from the start of the speech.
    pub worst_frame: u64,
    /// Cosine of the angle between both, mean over the frames: 1 where they differ by a factor at most.
    pub cosine: f64,
    /// The same, of the frame where it is least.
    pub least_cosine: f64,
}

/// Hears `pcm`, 16 kHz mono, live and as a whole, and compares the tokens of every frame. `encode` makes of
/// mel `[80, columns]` features `[columns / 2, 5, 384]`.
///
/// # Errors
/// As [`Speech::new`] and [`Speech::hear`].
pub fn distance<E>(
    pcm: &[f32],
    hearing: &Hearing,
    mut encode: impl FnMut(&[f32], usize) -> Result<Vec<f32>, E>,
) -> Result<Distance, HearError<E>> {
    let frames = hearing.windows()?.frames(pcm.len() as u64);
    let mut whole = Speech::new(SessionMode::Whole, hearing)?;
    whole.push(0, pcm, true)?;
    let mut live = Speech::new(SessionMode::Live, hearing)?;
    let mut states = [StateDistance::NONE; HIDDEN_STATES];
    let (mut expected, mut found) = (vec![0.0; TOKEN_VALUES], vec![0.0; TOKEN_VALUES]);
    let mut pushed = 0;
    for frame in 0..frames {
        let needed = hears_up_to(frame, hearing.fps).min(pcm.len());
        live.push(pushed as u64, &pcm[pushed..needed], needed == pcm.len())?;
        pushed = needed;
        live.hear(frame, &mut encode, &mut found)?;
        whole.hear(frame, &mut encode, &mut expected)?;
        for (index, state) in states.iter_mut().enumerate() {
            state.add(frame, of_state(&expected, index), of_state(&found, index));
        }
    }
    for state in &mut states {
        state.mean /= frames.max(1) as f64;
        state.cosine /= frames.max(1) as f64;
    }
    Ok(Distance { frames, states })
}

impl StateDistance {
    /// Sums over no frame.
    const NONE: Self = Self { mean: 0.0, worst: 0.0, worst_frame: 0, cosine: 0.0, least_cosine: 1.0 };

    /// Adds one frame to what are sums until all are added.
    fn add<'a>(
        &mut self,
        frame: u64,
        expected: impl Iterator<Item = &'a f32>,
        found: impl Iterator<Item = &'a f32>,
    ) {
        let [mut ours, mut theirs, mut both, mut apart] = [0.0_f64; 4];
        for (&a, &b) in expected.zip(found) {
            let (a, b) = (f64::from(a), f64::from(b));
            theirs += a * a;
            ours += b * b;
            both += a * b;
            apart += (a - b) * (a - b);
        }
        // Frames whose rows all lie outside the speech are zeros in both.
        let relative = if apart > 0.0 { (apart / theirs).sqrt() } else { 0.0 };
        let cosine = if apart > 0.0 { both / (ours * theirs).sqrt() } else { 1.0 };
        self.mean += relative;
        self.cosine += cosine;
        self.least_cosine = self.least_cosine.min(cosine);
        if relative > self.worst {
            (self.worst, self.worst_frame) = (relative, frame);
        }
    }
}

/// The values of hidden state `state` in the tokens of a frame.
fn of_state(tokens: &[f32], state: usize) -> impl Iterator<Item = &f32> {
    tokens.chunks_exact(ROW_VALUES).flat_map(move |row| &row[state * FEATURES..(state + 1) * FEATURES])
}

/// Samples that are there when a live session is asked for `frame`.
fn hears_up_to(frame: u64, (num, den): (u32, u32)) -> usize {
    let end = (frame + 1) * u64::from(SAMPLE_RATE) * u64::from(den) / u64::from(num);
    end as usize + (LOOKAHEAD_MS * SAMPLE_RATE / 1000) as usize
}
