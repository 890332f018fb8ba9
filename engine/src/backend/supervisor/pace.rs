//! How long batches of each size take, and so how many frames a second an incarnation can draw.
//!
//! In: the batches as they come back. Out: frames per second at the best size that was seen. The median of a size's last
//! batches counts: a moment in which the machine stood still makes one of them long and changes nothing, while a
//! backend that has become slower is known within a few batches.

use std::collections::VecDeque;
use std::time::Duration;

/// What was measured of one incarnation.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The batches of size `index + 1`.
    sizes: Vec<Size>,
}

#[derive(Debug, Default)]
struct Size {
    last: VecDeque<Duration>,
    /// When the last of them came back.
    at: Duration,
}

impl Pace {
    /// Batches of a size that the median is taken over.
    const KEPT: usize = 9;
    /// Batches of a size before it says anything.
    const ENOUGH: usize = 5;
    /// A size that was last seen so long before the last batch of any size says nothing any more.
    const STANDS: Duration = Duration::from_secs(60);

    /// A batch of `size` frames, at least one, took so long.
    pub(super) fn note(&mut self, size: usize, taken: Duration, now: Duration) {
        let Some(place) = size.checked_sub(1) else { return };
        if place >= self.sizes.len() {
            self.sizes.resize_with(size, Size::default);
        }
        let known = &mut self.sizes[place];
        if now.saturating_sub(known.at) > Self::STANDS {
            known.last.clear();
        }
        if known.last.len() == Self::KEPT {
            known.last.pop_front();
        }
        known.last.push_back(taken);
        known.at = now;
    }

    /// Frames per second at the best size of at most `most` frames; `None` until enough was seen of one.
    pub(super) fn capacity(&self, most: usize) -> Option<f64> {
        let latest = self.sizes.iter().map(|size| size.at).max()?;
        let counts = |size: &Size| size.last.len() >= Self::ENOUGH && latest - size.at <= Self::STANDS;
        let sizes = self.sizes.iter().zip(1..=most).filter(|(size, _)| counts(size));
        // Nothing takes no time at all, whatever a coarse clock says.
        let rate = |(size, frames): (&Size, usize)| frames as f64 / size.median().as_secs_f64().max(1e-6);
        sizes.map(rate).max_by(f64::total_cmp)
    }

    /// Another incarnation, which may be another program.
    pub(super) fn forget(&mut self) {
        self.sizes.clear();
    }
}

impl Size {
    fn median(&self) -> Duration {
        let mut sorted: Vec<_> = self.last.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// `count` batches of `size`, a second apart, from second `from` on.
    fn batches(pace: &mut Pace, size: usize, taken: Duration, from: u64, count: u64) {
        for second in from..from + count {
            pace.note(size, taken, Duration::from_secs(second));
        }
    }

    fn rate(pace: &Pace) -> Option<u64> {
        pace.capacity(16).map(|rate| rate.round() as u64)
    }

    #[test]
    fn the_best_size_counts_once_it_was_seen_often_enough() {
        let mut pace = Pace::default();
        batches(&mut pace, 1, 20 * MS, 0, 4);
        assert_eq!(rate(&pace), None);
        batches(&mut pace, 1, 20 * MS, 4, 1);
        assert_eq!(rate(&pace), Some(50));
        batches(&mut pace, 8, 80 * MS, 5, 5);
        assert_eq!(rate(&pace), Some(100));
        assert_eq!(pace.capacity(4).map(f64::round), Some(50.0), "batches of eight are not made any more");
    }

    #[test]
    fn moments_in_which_the_machine_stood_still_do_not_count_and_a_slower_backend_does() {
        let mut pace = Pace::default();
        batches(&mut pace, 1, 10 * MS, 0, 9);
        batches(&mut pace, 1, 900 * MS, 9, 3);
        assert_eq!(rate(&pace), Some(100));
        batches(&mut pace, 1, 60 * MS, 12, 6);
        assert_eq!(rate(&pace), Some(17));
        batches(&mut pace, 1, 10 * MS, 18, 5);
        assert_eq!(rate(&pace), Some(100), "it has recovered");
    }

    #[test]
    fn what_is_long_ago_says_nothing_while_other_sizes_are_seen_and_everything_while_none_is() {
        let mut pace = Pace::default();
        batches(&mut pace, 4, 20 * MS, 0, 5);
        assert_eq!(rate(&pace), Some(200));
        batches(&mut pace, 1, 20 * MS, 55, 5);
        assert_eq!(rate(&pace), Some(200));
        batches(&mut pace, 1, 20 * MS, 60, 10);
        assert_eq!(rate(&pace), Some(50));
        // Nor is it mixed with what comes when the size is back.
        batches(&mut pace, 4, 40 * MS, 70, 4);
        assert_eq!(rate(&pace), Some(50));
        batches(&mut pace, 4, 40 * MS, 74, 1);
        assert_eq!(rate(&pace), Some(100));
        pace.forget();
        assert_eq!(rate(&pace), None);
    }

    #[test]
    fn no_size_and_no_time_are_no_trouble() {
        let mut pace = Pace::default();
        batches(&mut pace, 0, MS, 0, 9);
        assert_eq!(rate(&pace), None);
        batches(&mut pace, 1, Duration::ZERO, 0, 9);
        assert_eq!(rate(&pace), Some(1_000_000));
    }
}
