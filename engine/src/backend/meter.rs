//! What became of one configured backend, in numbers, whichever incarnation it was.

use super::supervisor::{Cause, Note};
use crate::meter::{Counter, Histogram};

/// Counted by its keeper, read by whoever exports it.
#[derive(Debug)]
pub struct BackendMeter {
    /// Requests in a batch.
    pub batch_size: Histogram,
    /// How long the request of a batch that waited longest had been asked for when it went out.
    pub queue: Histogram,
    /// How long batches were out.
    pub inference: Histogram,
    /// Frames that had no picture when they left.
    pub missed: Counter,
    /// Results that broke the contract.
    pub bad_output: Counter,
    /// Incarnations that were killed because a call did not come back.
    pub hard_kills: Counter,
    /// Lines that it said beyond what it may say.
    pub dropped_lines: Counter,
    restarts: [Counter; Cause::ALL.len()],
}

impl Default for BackendMeter {
    fn default() -> Self {
        Self {
            batch_size: Histogram::of_sizes(),
            queue: Histogram::of_times(),
            inference: Histogram::of_times(),
            missed: Counter::default(),
            bad_output: Counter::default(),
            hard_kills: Counter::default(),
            dropped_lines: Counter::default(),
            restarts: Default::default(),
        }
    }
}

impl BackendMeter {
    /// How often it was started again, and why.
    pub fn restarts(&self) -> impl Iterator<Item = (Cause, u64)> {
        Cause::ALL.into_iter().zip(self.restarts.iter().map(Counter::value))
    }

    pub(super) fn note(&self, note: Note) {
        match note {
            Note::Batch { size, waited, taken } => {
                self.batch_size.size(size);
                self.queue.time(waited);
                self.inference.time(taken);
            }
            Note::Missed(frames) => self.missed.add(frames),
            Note::BadOutput(results) => self.bad_output.add(results),
            Note::HardKill => self.hard_kills.add(1),
            // `ALL` stands in the order of the declaration.
            Note::Restart(cause) => self.restarts[cause as usize].add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_own_count() {
        let meter = BackendMeter::default();
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| meter.note(Note::Restart(cause)));
        }
        let counted: Vec<_> = meter.restarts().collect();
        let expected: Vec<_> = Cause::ALL.into_iter().zip(1..).collect();
        assert_eq!(counted, expected);
    }
}
