//! A bounded piece of a session's audio timeline: pushes in, windows of samples out.

use std::collections::VecDeque;

use crate::types::{Code, Error};

/// Keeps the last seconds of a session's 16 kHz timeline, so that a backend can ask for any window of it.
///
/// Gaps between runs of speech and everything outside what was pushed read as zero.
#[derive(Clone, Debug)]
pub struct AudioTimeline {
    samples: VecDeque<f32>,
    first: u64,
    ended: bool,
    capacity: usize,
}

impl AudioTimeline {
    /// Keeps at most `capacity` samples; older ones are forgotten.
    pub fn new(capacity: usize) -> Self {
        Self { samples: VecDeque::new(), first: 0, ended: true, capacity }
    }

    /// Appends a push. Refuses one that goes back before the end of the last.
    pub fn push(&mut self, first_sample: u64, pcm: &[f32], end: bool) -> Result<(), Error> {
        if self.samples.is_empty() {
            self.first = first_sample;
        }
        let gap = first_sample.checked_sub(self.end()).ok_or_else(|| {
            Error::new(
                Code::InvalidArg,
                format!("audio from sample {first_sample} after audio up to {}", self.end()),
            )
        })?;
        if gap >= self.capacity as u64 {
            self.samples.clear();
            self.first = first_sample;
        } else {
            self.samples.extend(std::iter::repeat_n(0.0, gap as usize));
        }
        self.samples.extend(pcm);
        self.ended = end;
        let surplus = self.samples.len().saturating_sub(self.capacity);
        self.samples.drain(..surplus);
        self.first += surplus as u64;
        Ok(())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.samples.clear();
        self.ended = true;
    }

    /// The sample after the last pushed one; 0 before the first push.
    pub fn end(&self) -> u64 {
        self.first + self.samples.len() as u64
    }

    /// Whether the last push ended its run.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Fills `out` with the samples from `first` on. `first` may lie before the start of the timeline.
    pub fn window(&self, first: i64, out: &mut [f32]) {
        for (i, sample) in out.iter_mut().enumerate() {
            let index = first + i as i64 - self.first as i64;
            *sample = usize::try_from(index).ok().and_then(|i| self.samples.get(i)).copied().unwrap_or(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(timeline: &AudioTimeline, first: i64, len: usize) -> Vec<f32> {
        let mut out = vec![9.0; len];
        timeline.window(first, &mut out);
        out
    }

    #[test]
    fn a_gap_between_runs_reads_as_zero() {
        let mut timeline = AudioTimeline::new(100);
        timeline.push(10, &[1.0, 2.0], true).unwrap();
        timeline.push(14, &[3.0], false).unwrap();
        assert_eq!(window(&timeline, 9, 8), [0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 0.0, 0.0]);
        assert_eq!((timeline.end(), timeline.ended()), (15, false));
    }

    #[test]
    fn old_samples_are_forgotten_and_going_back_is_refused() {
        let mut timeline = AudioTimeline::new(3);
        timeline.push(0, &[1.0, 2.0, 3.0, 4.0], false).unwrap();
        assert_eq!(window(&timeline, -1, 6), [0.0, 0.0, 2.0, 3.0, 4.0, 0.0]);
        assert_eq!(timeline.push(3, &[0.0], false).unwrap_err().code, Code::InvalidArg);
        timeline.push(1000, &[5.0], false).unwrap();
        assert_eq!(window(&timeline, 999, 3), [0.0, 5.0, 0.0]);
    }
}
