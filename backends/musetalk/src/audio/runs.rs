//! The runs of speech of a session: where each lies, and which of them a video frame belongs to.
//!
//! A run begins with a push that does not follow on the last, or follows its end. Its frames are those that
//! start in it or behind it, up to the first frame of the next run; they are counted from the run's own first
//! frame, and know nothing of the runs before.

use std::collections::VecDeque;

use super::SAMPLE_RATE;
use super::error::AudioError;

/// Runs that are kept: while the next one is being pushed, the last frames of one may still be wanted.
const KEPT: usize = 2;

/// What can be used again for another run.
pub(super) trait Recycle: Default {
    /// Forgets everything but its memory.
    fn recycle(&mut self);
}

/// One run of speech, and what is made of it.
#[derive(Debug)]
pub(super) struct Run<T> {
    /// No other run of the session has it, also after resets.
    pub(super) serial: u64,
    /// Its first sample on the session's timeline.
    pub(super) first_sample: u64,
    /// The first frame that starts in it.
    pub(super) first_frame: u64,
    /// Samples that were pushed.
    pub(super) samples: u64,
    /// No more come: behind them are zeros.
    pub(super) ended: bool,
    pub(super) heard: T,
}

/// The latest runs of a session.
#[derive(Debug)]
pub(super) struct Runs<T> {
    fps: (u32, u32),
    runs: VecDeque<Run<T>>,
    spare: Vec<T>,
    begun: u64,
}

impl<T: Recycle> Runs<T> {
    /// None yet. `fps`: video frames a second, a fraction.
    pub(super) fn new(fps: (u32, u32)) -> Self {
        Self { fps, runs: VecDeque::with_capacity(KEPT + 1), spare: Vec::new(), begun: 0 }
    }

    /// The first 16 kHz sample of video frame `frame`: floor(frame · 16000 · den / num).
    pub(super) fn first_sample(&self, frame: u64) -> u64 {
        let (num, den) = (u128::from(self.fps.0), u128::from(self.fps.1));
        u64::try_from(u128::from(frame) * u128::from(SAMPLE_RATE) * den / num).unwrap_or(u64::MAX)
    }

    /// The run that a push from `first_sample` on goes on with; `None`: it begins one.
    ///
    /// # Errors
    /// For audio from before the end of the last push.
    pub(super) fn going_on(&self, first_sample: u64) -> Result<Option<&Run<T>>, AudioError> {
        let Some(last) = self.runs.back() else { return Ok(None) };
        let end = last.first_sample.saturating_add(last.samples);
        if first_sample < end {
            return Err(AudioError::GoesBack { first: first_sample, end });
        }
        Ok((first_sample == end && !last.ended).then_some(last))
    }

    /// Counts a push of `count` samples, and gives the run that it goes on with or begins. A push of nothing
    /// begins none: it says at most that the last run is over.
    ///
    /// # Errors
    /// For audio from before the end of the last push.
    pub(super) fn push(
        &mut self,
        first_sample: u64,
        count: usize,
        end: bool,
    ) -> Result<Option<&mut Run<T>>, AudioError> {
        if self.going_on(first_sample)?.is_none() {
            self.runs.iter_mut().for_each(|run| run.ended = true);
            if count == 0 {
                return Ok(None);
            }
            self.begin(first_sample);
        }
        let Some(last) = self.runs.back_mut() else { return Ok(None) };
        last.samples += count as u64;
        last.ended |= end;
        Ok(Some(last))
    }

    /// The run that video frame `frame` belongs to.
    pub(super) fn of(&mut self, frame: u64) -> Option<&mut Run<T>> {
        self.runs.iter_mut().rev().find(|run| run.first_frame <= frame)
    }

    /// The run of that number, if it is still kept.
    pub(super) fn numbered(&mut self, serial: u64) -> Option<&mut Run<T>> {
        self.runs.iter_mut().find(|run| run.serial == serial)
    }

    /// What was made of all of them, with the memory that waits to be used again.
    pub(super) fn heard(&self) -> impl Iterator<Item = &T> {
        self.runs.iter().map(|run| &run.heard).chain(&self.spare)
    }

    /// Forgets all runs.
    pub(super) fn clear(&mut self) {
        while !self.runs.is_empty() {
            self.retire();
        }
    }

    fn begin(&mut self, first_sample: u64) {
        while self.runs.len() >= KEPT {
            self.retire();
        }
        self.begun += 1;
        let (num, den) = (u128::from(self.fps.0), u128::from(self.fps.1));
        let first_frame = (u128::from(first_sample) * num).div_ceil(u128::from(SAMPLE_RATE) * den);
        self.runs.push_back(Run {
            serial: self.begun,
            first_sample,
            first_frame: u64::try_from(first_frame).unwrap_or(u64::MAX),
            samples: 0,
            ended: false,
            heard: self.spare.pop().unwrap_or_default(),
        });
    }

    fn retire(&mut self) {
        if let Some(run) = self.runs.pop_front() {
            let mut heard = run.heard;
            heard.recycle();
            self.spare.push(heard);
        }
    }
}
