//! How much a child may say: so many lines a second, so many bytes a line. What is more is counted and dropped.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines a second.
pub const LINES_A_SECOND: u32 = 100;

/// Bytes of a line; the rest of it is dropped.
pub const LINE_BYTES: usize = 8 * 1024;

/// Counts a child's lines, whichever way they come. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Limiter(Arc<Mutex<Count>>);

#[derive(Debug, Default)]
struct Count {
    second: Option<Instant>,
    said: u32,
    dropped: u64,
}

impl Limiter {
    /// Whether a line may be said at `now`; and, with the first line of a new second, how many of the seconds before
    /// were dropped.
    pub fn admit(&self, now: Instant) -> (bool, u64) {
        // Nothing panics while it holds the lock.
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut dropped = 0;
        if count.second.is_none_or(|second| now.saturating_duration_since(second) >= Duration::from_secs(1)) {
            (count.second, count.said) = (Some(now), 0);
            dropped = std::mem::take(&mut count.dropped);
        }
        if count.said >= LINES_A_SECOND {
            count.dropped += 1;
            return (false, dropped);
        }
        count.said += 1;
        (true, dropped)
    }

    /// Counts lines that the child could not even send.
    pub fn miss(&self, lines: u64) {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        count.dropped = count.dropped.saturating_add(lines);
    }

    /// How many were dropped since that was last told: for the end, when no line follows.
    pub fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).dropped)
    }
}

/// A line as it is logged: no longer than [`LINE_BYTES`], and with spaces for line ends and other control characters
/// but tabs, so that nobody can make two lines of one.
pub fn cleaned(line: &str) -> String {
    let line = &line[..line.floor_char_boundary(LINE_BYTES)];
    line.replace(|c: char| c.is_control() && c != '\t', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted_and_said_once() {
        let (limiter, start) = (Limiter::default(), Instant::now());
        let admitted = (0..250).filter(|_| limiter.admit(start).0).count();
        assert_eq!(admitted, 100);
        let later = start + Duration::from_secs(1);
        assert_eq!((limiter.admit(later), limiter.clone().admit(later)), ((true, 150), (true, 0)));
        assert_eq!((0..250).filter(|_| limiter.clone().admit(later).0).count(), 98, "clones share the count");
        limiter.miss(8);
        assert_eq!((limiter.take_dropped(), limiter.take_dropped()), (160, 0));
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        let line = "ä".repeat(LINE_BYTES);
        assert_eq!(cleaned(&line).len(), LINE_BYTES);
        assert_eq!(cleaned(&line[..LINE_BYTES - 2]).len(), LINE_BYTES - 2);
    }

    #[test]
    fn one_line_stays_one() {
        assert_eq!(cleaned("all\twell\n2026 ERROR forged\x1b[2J"), "all\twell 2026 ERROR forged [2J");
    }
}
