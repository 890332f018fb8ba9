//! From speech to the shape of a mouth.
//!
//! In: 16 kHz mono PCM, f32, nominally -1..1, from sample 0 of a run of speech, in blocks of any size.
//! Out: for any span of samples, usually one video frame, a [`MouthShape`].
//!
//! ```text
//! PCM ─► mel (40 bands, 100 Hz) ─► loudness (relative to this voice) ─► network ─► shape of a span
//! ```
//!
//! The shape of a span depends on the audio up to its end plus [`SpeechToMouth::LOOKAHEAD_MS`] and on nothing later,
//! and not on how the audio was cut into blocks or on which spans were asked for before.

mod mel;

mod loudness;

mod network;

mod shape;

pub use shape::MouthShape;

use std::collections::VecDeque;

use loudness::Loudness;
use mel::{HOP, MelStream, WINDOW};
use network::{AHEAD, Network};
use shape::Moment;

/// How far back spans may start: 10 s, in frames of 10 ms.
const KEPT: usize = 1_000;
/// Zeros are fed in blocks of this many samples once the speech is over.
const SILENCE: [f32; HOP] = [0.0; HOP];

/// Turns one session's speech into mouth shapes.
#[derive(Debug)]
pub struct SpeechToMouth {
    mel: MelStream,
    loudness: Loudness,
    network: Network,
    /// Levels of frames whose network output is still to come, oldest first: (level, ceiling), dB.
    levels: VecDeque<(f32, f32)>,
    /// One each 10 ms; the first is frame `first`.
    moments: VecDeque<Moment>,
    first: u64,
    samples: u64,
    finished: bool,
}

impl SpeechToMouth {
    /// How much audio after the end of a span its shape depends on, milliseconds.
    pub const LOOKAHEAD_MS: u32 = 100;

    /// A mouth at rest before the first sample.
    pub fn new() -> Self {
        Self {
            mel: MelStream::new(),
            loudness: Loudness::new(),
            network: Network::new(),
            levels: VecDeque::with_capacity(AHEAD + 1),
            moments: VecDeque::with_capacity(KEPT + 1),
            first: 0,
            samples: 0,
            finished: false,
        }
    }

    /// Forgets everything; the next sample pushed is sample 0.
    pub fn reset(&mut self) {
        self.mel.reset();
        self.loudness = Loudness::new();
        self.network.reset();
        self.levels.clear();
        self.moments.clear();
        self.first = 0;
        self.samples = 0;
        self.finished = false;
    }

    /// Takes the next samples, 16 kHz mono, nominally -1..1. Audio after [`Self::finish`] is not heard.
    pub fn push(&mut self, pcm_16k: &[f32]) {
        if !self.finished {
            self.feed(pcm_16k);
        }
    }

    /// No more audio comes: zeros follow, for as long as shapes are asked for.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// The shape for the samples `start..end`, counted from the last reset.
    ///
    /// Audio up to `end` plus [`Self::LOOKAHEAD_MS`] must have been pushed, or [`Self::finish`] called; where it was
    /// not, the newest known shape stands in. A span that began more than 10 s before the newest audio is at rest.
    pub fn shape(&mut self, start_sample: u64, end_sample: u64) -> MouthShape {
        let span = shape::frames_of(start_sample, end_sample);
        if self.finished {
            let needed = (span.end - 1 + AHEAD as u64) * HOP as u64 + WINDOW as u64 / 2;
            while self.samples < needed {
                self.feed(&SILENCE);
            }
        }
        let Some(newest) = self.moments.len().checked_sub(1) else {
            return MouthShape::default();
        };
        if span.end <= self.first {
            return MouthShape::default();
        }
        let at = |frame: u64| (frame.saturating_sub(self.first) as usize).min(newest);
        shape::of(self.moments.range(at(span.start)..=at(span.end - 1)))
    }

    fn feed(&mut self, pcm: &[f32]) {
        self.samples += pcm.len() as u64;
        let Self { mel, loudness, network, levels, moments, first, .. } = self;
        mel.push(pcm, |frame| {
            let (level, ceiling) = loudness.push(frame);
            levels.push_back((level, ceiling));
            if let Some(output) = network.push(&network::features(frame, ceiling)) {
                // An output comes for every level, AHEAD frames later.
                let (level, ceiling) = levels.pop_front().unwrap_or_default();
                let before = moments.back().copied().unwrap_or_default();
                moments.push_back(Moment::new(output, level - ceiling, &before));
                if moments.len() > KEPT {
                    moments.pop_front();
                    *first += 1;
                }
            }
        });
    }
}

impl Default for SpeechToMouth {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
