//! The audio of the run that is being said, as far back as a backend that takes over may want to hear it.
//!
//! In: the timeline's pushes, 16 kHz mono. Out: any piece of them again. Bounded: whoever fills it says what nobody
//! needs any more.

use std::collections::VecDeque;

use super::timeline::Push;

/// What was pushed of the current run of speech; of the last one while nobody speaks.
#[derive(Debug)]
pub(super) struct History {
    /// Counts runs.
    run: u64,
    /// First sample of the run, counted at 16 kHz from frame 0.
    start: u64,
    /// First sample that is kept.
    first: u64,
    samples: VecDeque<f32>,
    ended: bool,
}

impl History {
    /// Nobody is replayed more than this, in 16 kHz samples, whatever look-behind it asks for: ten seconds.
    pub(super) const LOOKBEHIND_LIMIT: u64 = 160_000;

    pub(super) fn new() -> Self {
        Self { run: 0, start: 0, first: 0, samples: VecDeque::new(), ended: true }
    }

    /// Adds a push; one that comes after an end begins a new run, and what was before it is forgotten.
    pub(super) fn add(&mut self, push: &Push) {
        if self.ended {
            self.run += 1;
            self.samples.clear();
            (self.start, self.first) = (push.first_sample, push.first_sample);
        }
        debug_assert_eq!(push.first_sample, self.end(), "the timeline leaves nothing out of a run");
        self.samples.extend(&push.pcm);
        self.ended = push.end;
    }

    /// Barge-in: the run is over, and nobody will hear of it again.
    pub(super) fn cut(&mut self) {
        self.first = self.end();
        self.samples.clear();
        self.ended = true;
    }

    /// Forgets what lies before `sample`.
    pub(super) fn forget_before(&mut self, sample: u64) {
        let count = (sample.saturating_sub(self.first) as usize).min(self.samples.len());
        self.samples.drain(..count);
        self.first += count as u64;
    }

    /// Which run this is: another number for each.
    pub(super) fn run(&self) -> u64 {
        self.run
    }

    /// First sample of the run.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// First sample that is kept.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The sample after the last one.
    pub(super) fn end(&self) -> u64 {
        self.first + self.samples.len() as u64
    }

    /// Nothing more comes in this run.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Samples `from` up to `until`, as far as they are kept.
    pub(super) fn samples(&self, from: u64, until: u64) -> impl Iterator<Item = f32> {
        let place = |sample: u64| (sample.saturating_sub(self.first) as usize).min(self.samples.len());
        let (from, until) = (place(from), place(until));
        self.samples.range(from..until.max(from)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(first_sample: u64, values: &[f32], end: bool) -> Push {
        Push { first_sample, pcm: values.to_vec(), end }
    }

    #[test]
    fn a_run_is_kept_until_the_next_begins_or_it_is_cut() {
        let mut history = History::new();
        history.add(&push(640, &[1.0, 2.0], false));
        history.add(&push(642, &[3.0], true));
        assert_eq!((history.run(), history.start(), history.end(), history.ended()), (1, 640, 643, true));
        assert_eq!(history.samples(641, 643).collect::<Vec<_>>(), [2.0, 3.0]);
        // Where one run ends another may begin.
        history.add(&push(643, &[4.0], false));
        assert_eq!((history.run(), history.start(), history.samples(0, 9_000).count()), (2, 643, 1));
        history.cut();
        assert_eq!((history.ended(), history.samples(0, 9_000).count()), (true, 0));
        history.add(&push(1_280, &[5.0], false));
        assert_eq!((history.run(), history.first()), (3, 1_280));
    }

    #[test]
    fn what_nobody_needs_is_forgotten() {
        let mut history = History::new();
        history.add(&push(0, &[0.0, 1.0, 2.0, 3.0], false));
        history.forget_before(2);
        history.forget_before(1);
        assert_eq!((history.first(), history.end(), history.start()), (2, 4, 0));
        assert_eq!(history.samples(0, 3).collect::<Vec<_>>(), [2.0]);
        history.forget_before(100);
        assert_eq!((history.first(), history.end()), (4, 4));
    }
}
