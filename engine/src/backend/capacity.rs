//! How much a backend can draw, and whether one more session finds room in it.

use std::time::Duration;

/// What was measured of an instance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    /// Frames per second at its best batch size; 0 for one that was left as too slow before it could be measured.
    pub frames_per_second: f64,
    /// How long ago the last batch came back.
    pub age: Duration,
}

/// Whether a session finds room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It does, as far as is known.
    Free,
    /// The sessions that are there leave too little.
    Full,
    /// It would be too slow for a single session.
    TooSlow,
}

impl Capacity {
    /// The share of what was measured that is given to sessions, where there is more than one. The rest is for calls
    /// between the batches, for batches that are smaller than the best, and for the slower moments of every machine;
    /// a queue that is used to the full has no bound on how long it makes wait.
    pub const SHARE: f64 = 0.8;

    /// Who is slower than real time is avoided, so nobody measures it again; after so long without a batch it gets
    /// another chance, with one session.
    pub const SECOND_CHANCE: Duration = Duration::from_secs(60);

    /// It is known to be too slow for a session of `wanted` frames per second.
    pub fn is_below(&self, wanted: f64) -> bool {
        self.frames_per_second < wanted && self.age < Self::SECOND_CHANCE
    }

    /// Whether a session of `wanted` frames per second finds room beside those that want `load` together. Before
    /// anything was measured there is.
    pub fn room(measured: Option<Self>, load: f64, wanted: f64) -> Room {
        let Some(capacity) = measured else { return Room::Free };
        if capacity.is_below(wanted) {
            Room::TooSlow
        } else if load <= 0.0 || load + wanted <= capacity.frames_per_second * Self::SHARE {
            Room::Free
        } else {
            Room::Full
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(frames_per_second: f64, seconds_ago: u64) -> Option<Capacity> {
        Some(Capacity { frames_per_second, age: Duration::from_secs(seconds_ago) })
    }

    #[test]
    fn sessions_are_taken_up_to_four_fifths_of_what_was_measured() {
        let taken = |rate: f64| {
            (0..100).find(|n| Capacity::room(measured(rate, 0), f64::from(*n) * 25.0, 25.0) != Room::Free)
        };
        assert_eq!(taken(100.0), Some(3));
        assert_eq!(taken(125.0), Some(4));
        assert_eq!(taken(26.0), Some(1), "one that is just fast enough takes one");
        assert_eq!(taken(24.0), Some(0));
        assert_eq!(Capacity::room(None, 1e6, 25.0), Room::Free, "nothing is known");
    }

    #[test]
    fn who_is_too_slow_gets_another_chance_with_one_session() {
        let room = |ago, load| Capacity::room(measured(16.7, ago), load, 25.0);
        assert_eq!((room(0, 0.0), room(59, 25.0)), (Room::TooSlow, Room::TooSlow));
        assert_eq!((room(60, 0.0), room(60, 25.0)), (Room::Free, Room::Full));
    }

    #[test]
    fn what_fits_stays_known_while_nobody_speaks() {
        assert_eq!(Capacity::room(measured(50.0, 3600), 25.0, 25.0), Room::Full);
    }
}
