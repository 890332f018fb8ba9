//! Where a session stands in media time, and what the wall clock said then.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lipcast_engine::time::FrameRate;

/// The one mapping from media time to wall time that both tracks and their sender reports use.
///
/// Frame k of the session is shown at media time k / fps; sample n is heard at n / 48000.
/// The wall clock is read once: a correction of the machine's time never reaches a running session.
#[derive(Debug, Clone, Copy)]
pub struct MediaClock {
    /// A monotonic instant whose media time is known.
    anchor: Instant,
    /// Media time at `anchor`.
    anchor_media: Duration,
    /// Time since the Unix epoch at `anchor`.
    anchor_unix: Duration,
}

impl MediaClock {
    /// Frame `frame` of a session at `fps` is due at `instant`.
    pub fn anchored(instant: Instant, frame: u64, fps: FrameRate) -> Self {
        let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (now, ahead) = (Instant::now(), instant.saturating_duration_since(Instant::now()));
        let behind = now.saturating_duration_since(instant);
        Self {
            anchor: instant,
            anchor_media: fps.start_of(frame),
            anchor_unix: (unix_now + ahead).saturating_sub(behind),
        }
    }

    /// Media time at `instant`; zero before the session began.
    pub fn media_time(&self, instant: Instant) -> Duration {
        match instant.checked_duration_since(self.anchor) {
            Some(after) => self.anchor_media + after,
            None => self.anchor_media.saturating_sub(self.anchor.duration_since(instant)),
        }
    }

    /// Ticks of a clock of `rate` Hz at `instant`, rounded down.
    pub fn ticks(&self, instant: Instant, rate: u32) -> u64 {
        (self.media_time(instant).as_nanos() * u128::from(rate) / 1_000_000_000) as u64
    }

    /// When tick `ticks` of a clock of `rate` Hz is due; for media before the anchor, the anchor itself.
    pub fn instant_of(&self, ticks: i64, rate: u32) -> Instant {
        let nanos = u128::from(ticks.max(0) as u64) * 1_000_000_000 / u128::from(rate);
        self.anchor + Duration::from_nanos(nanos as u64).saturating_sub(self.anchor_media)
    }

    /// `instant` as a 64-bit NTP timestamp: seconds since 1900 in the high half, binary fraction in the low.
    pub fn ntp(&self, instant: Instant) -> u64 {
        const SECONDS_FROM_1900_TO_1970: u64 = 2_208_988_800;
        let unix = match instant.checked_duration_since(self.anchor) {
            Some(after) => self.anchor_unix + after,
            None => self.anchor_unix.saturating_sub(self.anchor.duration_since(instant)),
        };
        let seconds = (unix.as_secs() + SECONDS_FROM_1900_TO_1970) << 32;
        seconds | ((u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_rates_tell_the_same_instant() {
        let start = Instant::now();
        let clock = MediaClock::anchored(start, 50, FrameRate::FPS_25);
        let later = start + Duration::from_millis(1_500);
        assert_eq!(clock.media_time(start), Duration::from_secs(2));
        assert_eq!(clock.ticks(later, 90_000), 315_000);
        assert_eq!(clock.ticks(later, 48_000), 168_000);
        assert_eq!(clock.instant_of(168_000, 48_000), later);
        assert_eq!(clock.instant_of(-312, 48_000), start);
    }

    #[test]
    fn ntp_advances_with_the_monotonic_clock() {
        let start = Instant::now();
        let clock = MediaClock::anchored(start, 0, FrameRate::FPS_25);
        let half = clock.ntp(start + Duration::from_millis(500)) - clock.ntp(start);
        assert!(half.abs_diff(1 << 31) <= 8, "half a second is half of 2^32, got {half}");
        assert!(clock.ntp(start - Duration::from_secs(1)) < clock.ntp(start));
    }
}
