//! A bounded piece of a session's audio timeline: pushes in, windows of samples out.

use std::collections::VecDeque;

use crate::types::{Code, Error};

/// Keeps the last seconds of a session's 16 kHz timeline, so that a backend can ask for any window of it.
///
/// Gaps between runs of speech and everything outside what was pushed read as zero.
///
/// Nothing that a frame may still want is dropped: a push that would need the room of it is answered with
/// `WOULD_BLOCK`, and comes again. What may go is what lies before the latest [`window`](Self::window), and, once a run
/// of speech begins, everything before that run. A backend that draws a frame without a window says
/// [`release`](Self::release) instead.
#[derive(Clone, Debug)]
pub struct AudioTimeline {
    samples: VecDeque<f32>,
    first: u64,
    ended: bool,
    capacity: usize,
    /// First sample of the run that was pushed last.
    run: u64,
    /// No frame wants anything before this sample.
    wanted: u64,
}

impl AudioTimeline {
    /// Samples that are enough for a live session: 12 s. It pushes little further than it asks; but after a machine stood
    /// still all comes at once, and only after ten seconds the host gives up on what was not answered.
    pub const LIVE: usize = 12 * 16_000;

    /// Keeps at most `capacity` samples; no push may be larger.
    pub fn new(capacity: usize) -> Self {
        Self { samples: VecDeque::new(), first: 0, ended: true, capacity, run: 0, wanted: 0 }
    }

    /// Appends a push. A gap before it takes no room, and begins a run.
    ///
    /// # Errors
    /// `INVALID_ARG` for one that goes back before the end of the last; `WOULD_BLOCK`, taking nothing, for one that
    /// finds no room.
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
        let run = if self.ended || gap > 0 { first_sample } else { self.run };
        // Of what is there, what has to stay; a new run needs nothing of the one before.
        let kept = first_sample.saturating_sub(self.wanted.max(run));
        if kept + pcm.len() as u64 > self.capacity as u64 {
            let text = format!("{kept} samples wait for their frames, {} find no room", pcm.len());
            return Err(Error::new(Code::WouldBlock, text).retryable());
        }
        if gap >= self.capacity as u64 {
            self.samples.clear();
            self.first = first_sample;
        } else {
            self.samples.extend(std::iter::repeat_n(0.0, gap as usize));
        }
        self.samples.extend(pcm);
        (self.ended, self.run) = (end, run);
        let surplus = self.samples.len().saturating_sub(self.capacity);
        self.samples.drain(..surplus);
        self.first += surplus as u64;
        Ok(())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self { samples: std::mem::take(&mut self.samples), ..Self::new(self.capacity) };
        self.samples.clear();
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
    ///
    /// What lies before `first` may be dropped from then on: of several windows for one frame, ask for the one that
    /// reaches back furthest last.
    pub fn window(&mut self, first: i64, out: &mut [f32]) {
        for (i, sample) in out.iter_mut().enumerate() {
            let index = first + i as i64 - self.first as i64;
            *sample = usize::try_from(index).ok().and_then(|i| self.samples.get(i)).copied().unwrap_or(0.0);
        }
        self.release(first);
    }

    /// Says that no frame wants the samples before `first` any more.
    pub fn release(&mut self, first: i64) {
        self.wanted = u64::try_from(first).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(timeline: &mut AudioTimeline, first: i64, len: usize) -> Vec<f32> {
        let mut out = vec![9.0; len];
        timeline.window(first, &mut out);
        out
    }

    #[test]
    fn a_gap_between_runs_reads_as_zero() {
        let mut timeline = AudioTimeline::new(100);
        timeline.push(10, &[1.0, 2.0], true).unwrap();
        timeline.push(14, &[3.0], false).unwrap();
        assert_eq!(window(&mut timeline, 9, 8), [0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 0.0, 0.0]);
        assert_eq!((timeline.end(), timeline.ended()), (15, false));
    }

    #[test]
    fn old_samples_are_forgotten_and_going_back_is_refused() {
        let mut timeline = AudioTimeline::new(3);
        timeline.push(0, &[1.0, 2.0, 3.0], false).unwrap();
        timeline.release(1);
        timeline.push(3, &[4.0], false).unwrap();
        assert_eq!(window(&mut timeline, -1, 6), [0.0, 0.0, 2.0, 3.0, 4.0, 0.0]);
        assert_eq!(timeline.push(3, &[0.0], false).unwrap_err().code, Code::InvalidArg);
        timeline.push(1000, &[5.0], false).unwrap();
        assert_eq!(window(&mut timeline, 999, 3), [0.0, 5.0, 0.0]);
    }

    #[test]
    fn what_a_frame_may_still_want_is_kept_and_the_push_comes_again() {
        let mut timeline = AudioTimeline::new(4);
        timeline.push(0, &[1.0, 2.0, 3.0], false).unwrap();
        for _ in 0..2 {
            let error = timeline.push(3, &[4.0, 5.0], false).unwrap_err();
            assert_eq!((error.code, error.retryable), (Code::WouldBlock, true));
            assert_eq!(timeline.end(), 3, "nothing of it was taken");
        }
        assert_eq!(window(&mut timeline, 1, 2), [2.0, 3.0]);
        timeline.push(3, &[4.0, 5.0], true).unwrap();
        assert_eq!(window(&mut timeline, 0, 5), [0.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn a_run_needs_no_room_for_the_gap_before_it_nor_for_the_run_before_that() {
        let mut timeline = AudioTimeline::new(4);
        timeline.push(0, &[1.0, 2.0, 3.0], true).unwrap();
        timeline.push(5, &[6.0, 7.0, 8.0, 9.0], false).unwrap();
        assert_eq!(window(&mut timeline, 4, 6), [0.0, 6.0, 7.0, 8.0, 9.0, 0.0]);
        assert_eq!(timeline.push(9, &[10.0], false).unwrap_err().code, Code::WouldBlock);
        timeline.clear();
        timeline.push(2, &[1.0; 4], false).unwrap();
    }
}
