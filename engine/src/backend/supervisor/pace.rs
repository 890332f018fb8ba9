//! How long batches of each size take, and so how many frames a second an incarnation can draw, and how many of them
//! a batch may hold so that its first is in time.
//!
//! In: the batches as they come back. Out: frames per second at the best size that was seen, and the largest size that
//! fits into a time. The median of a size's last batches counts: a moment in which the machine stood still makes one of
//! them long and changes nothing, while a backend that has become slower is known within a few batches.

use std::collections::VecDeque;
use std::time::Duration;

/// What was measured of one incarnation. A single batch of a size is enough to size the next ones by, since it soon is
/// one of several; a capacity, by which sessions are refused, takes more.
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
    /// The share of the best rate that a smaller batch has to reach.
    const WORTHWHILE: f64 = 0.9;

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
        sizes.map(|(size, frames)| rate(frames, size.median())).max_by(f64::total_cmp)
    }

    /// Frames, at most `most`, of the next batch, whose first one leaves in `left`; `None`: whenever it is done. A batch
    /// may take half of that time: the other half is for those that wait behind it, and for being wrong. A processor draws
    /// one frame after another, so that sixteen at once would make all of them late. But a batch is never so small that
    /// less than nine tenths of the best rate comes of it: under a load that leaves no time, more frames would be late
    /// and less time left at each batch. Before anything was measured, `first` frames.
    pub(super) fn batch(&self, first: usize, most: usize, left: Option<Duration>) -> usize {
        let Some(left) = left else { return most };
        let Some(best) =
            self.measured(most).map(|(frames, taken)| rate(frames, taken)).max_by(f64::total_cmp)
        else {
            return first.clamp(1, most);
        };
        let worthwhile =
            self.measured(most).find(|(frames, taken)| rate(*frames, *taken) >= Self::WORTHWHILE * best);
        let least = worthwhile.map_or(1, |(frames, _)| frames);
        let fits = |frames: &usize| self.longest(*frames).is_some_and(|taken| taken * 2 <= left);
        (least..=most).rev().find(fits).unwrap_or(least)
    }

    /// How long a batch of so many frames takes at most: no longer than a larger one, nor than smaller ones in a row.
    fn longest(&self, frames: usize) -> Option<Duration> {
        let all = self.measured(usize::MAX);
        all.map(|(size, taken)| taken * frames.div_ceil(size) as u32).min()
    }

    /// The sizes that were seen, smallest first, and what a batch of each takes.
    fn measured(&self, most: usize) -> impl Iterator<Item = (usize, Duration)> {
        let latest = self.sizes.iter().map(|size| size.at).max().unwrap_or_default();
        let counts = move |size: &Size| !size.last.is_empty() && latest - size.at <= Self::STANDS;
        let sizes = (1..=most).zip(&self.sizes).filter(move |(_, size)| counts(size));
        sizes.map(|(frames, size)| (frames, size.median()))
    }

    /// Another incarnation, which may be another program.
    pub(super) fn forget(&mut self) {
        self.sizes.clear();
    }
}

/// Frames per second. Nothing takes no time at all, whatever a coarse clock says.
fn rate(frames: usize, taken: Duration) -> f64 {
    frames as f64 / taken.as_secs_f64().max(1e-6)
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
    fn a_batch_is_as_large_as_leaves_its_first_frame_in_time() {
        let mut pace = Pace::default();
        let batch = |pace: &Pace, left: u64| pace.batch(1, 16, Some(Duration::from_millis(left)));
        assert_eq!(batch(&pace, 200), 1, "nothing is known");
        assert_eq!(pace.batch(4, 16, Some(200 * MS)), 4, "those that come together");
        assert_eq!(pace.batch(4, 2, Some(200 * MS)), 2);
        assert_eq!(pace.batch(1, 16, None), 16, "nobody waits");
        // One after another, as on a processor.
        batches(&mut pace, 1, 20 * MS, 0, 1);
        assert_eq!([200, 160, 80, 40, 0].map(|left| batch(&pace, left)), [5, 4, 2, 1, 1]);
        batches(&mut pace, 5, 100 * MS, 1, 1);
        assert_eq!([640, 200, 0].map(|left| batch(&pace, left)), [16, 5, 1]);
    }

    #[test]
    fn without_time_a_batch_is_as_small_as_costs_no_frames() {
        let mut pace = Pace::default();
        let batch = |pace: &Pace, left: u64| pace.batch(1, 16, Some(Duration::from_millis(left)));
        batches(&mut pace, 1, 12 * MS, 0, 3);
        batches(&mut pace, 4, 27 * MS, 0, 3);
        assert_eq!([0, 60, 120].map(|left| batch(&pace, left)), [4, 4, 8]);
        batches(&mut pace, 16, 84 * MS, 3, 3);
        assert_eq!([0, 60, 168].map(|left| batch(&pace, left)), [16, 16, 16]);
        batches(&mut pace, 8, 44 * MS, 6, 3);
        assert_eq!([0, 87, 168].map(|left| batch(&pace, left)), [8, 8, 16], "eight are as good as sixteen");
        assert_eq!(pace.batch(1, 6, Some(Duration::ZERO)), 4, "its device has no room for more");
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
