//! The mel columns of one run of speech, made as its audio comes in.
//!
//! In: the run's 16 kHz PCM in pieces of any size. Out: columns of log10 power, 100 a second, each made once
//! and kept until it is released; and with each the loudest level from the start of the run up to it.
//!
//! Before the run's first sample its start is mirrored, and behind its end are zeros, as the reference has
//! it.

use std::collections::VecDeque;
use std::collections::vec_deque::Iter;

use super::mel::LogMel;
use super::runs::Recycle;
use super::{HOP, WINDOW};
use crate::networks::MELS;

/// One mel column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// log10 of each band's power.
    pub(super) levels: [f32; MELS],
    /// The loudest level in this column or any before it.
    pub(super) loudest: f32,
}

/// The columns of one run.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// What later columns still need. Until the start is mirrored: the run from sample 0; then from the left
    /// edge of the next column.
    pending: Vec<f32>,
    mirrored: bool,
    kept: VecDeque<Column>,
    /// Number of the first one kept.
    first: u64,
    loudest: Option<f32>,
}

impl Columns {
    /// Takes the next samples. No level counts as the loudest unless it is above `ordinary`.
    pub(super) fn push(&mut self, pcm: &[f32], ordinary: f32, mel: &mut LogMel) {
        self.pending.extend_from_slice(pcm);
        if !self.mirrored && self.pending.len() > WINDOW / 2 {
            self.mirror();
        }
        if !self.mirrored {
            return;
        }
        let mut loudest = self.loudest.unwrap_or(ordinary);
        let mut at = 0;
        while let Some(samples) = self.pending[at..].first_chunk::<WINDOW>() {
            let mut levels = [0.0; MELS];
            mel.measure(samples, &mut levels);
            loudest = levels.iter().fold(loudest, |loudest, &level| loudest.max(level));
            self.kept.push_back(Column { levels, loudest });
            at += HOP;
        }
        self.loudest = Some(loudest);
        self.pending.drain(..at);
    }

    /// Columns made so far, also those released.
    pub(super) fn made(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    /// Makes columns up to `count` of the zeros behind the run's end.
    pub(super) fn fill(&mut self, count: u64, ordinary: f32, mel: &mut LogMel) {
        while self.made() < count {
            self.push(&[0.0; HOP], ordinary, mel);
        }
    }

    /// The columns `from..to`; `None` where one of them is not kept.
    pub(super) fn range(&self, from: u64, to: u64) -> Option<Iter<'_, Column>> {
        let from = usize::try_from(from.checked_sub(self.first)?).ok()?;
        let to = usize::try_from(to.checked_sub(self.first)?).ok()?;
        (from <= to && to <= self.kept.len()).then(|| self.kept.range(from..to))
    }

    /// Lets go of the columns before number `before`.
    pub(super) fn release(&mut self, before: u64) {
        let surplus = (before.saturating_sub(self.first)).min(self.kept.len() as u64);
        self.kept.drain(..surplus as usize);
        self.first += surplus;
    }

    /// Main memory that it holds, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.pending.capacity() * size_of::<f32>() + self.kept.capacity() * size_of::<Column>()
    }

    /// Puts samples 200 to 1, in that order, before sample 0.
    fn mirror(&mut self) {
        let start = self.pending.len();
        self.pending.extend_from_within(1..=WINDOW / 2);
        self.pending[start..].reverse();
        self.pending.rotate_right(WINDOW / 2);
        self.mirrored = true;
    }
}

impl Recycle for Columns {
    fn recycle(&mut self) {
        self.pending.clear();
        self.kept.clear();
        (self.mirrored, self.first, self.loudest) = (false, 0, None);
    }
}
