//! Media time: frames and samples on one rational clock, so that they cannot drift.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Frames per second as a fraction, in lowest terms: 25/1, 30000/1001.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FrameRate {
    num: u32,
    den: u32,
}

impl FrameRate {
    /// 25 frames a second: what the MuseTalk family was trained for.
    pub const FPS_25: Self = Self { num: 25, den: 1 };

    /// A rate in lowest terms; `None` when either part is zero.
    pub fn new(num: u32, den: u32) -> Option<Self> {
        if num == 0 || den == 0 {
            return None;
        }
        let divisor = gcd(num, den);
        Some(Self { num: num / divisor, den: den / divisor })
    }

    /// Numerator, frames.
    pub fn num(self) -> u32 {
        self.num
    }

    /// Denominator, seconds.
    pub fn den(self) -> u32 {
        self.den
    }

    /// Frames per second, for display and for statistics.
    pub fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }

    /// First sample of frame `frame` at `sample_rate`: floor(frame · rate · den / num).
    /// Frame k owns the samples from here up to those of k + 1.
    pub fn first_sample(self, frame: u64, sample_rate: u32) -> u64 {
        let exact = u128::from(frame) * u128::from(sample_rate) * u128::from(self.den) / u128::from(self.num);
        exact as u64
    }

    /// Frames that begin before `samples` samples have passed: what a clip of that length needs.
    pub fn frames_covering(self, samples: u64, sample_rate: u32) -> u64 {
        let numerator = u128::from(samples) * u128::from(self.num);
        numerator.div_ceil(u128::from(sample_rate) * u128::from(self.den)) as u64
    }

    /// When frame `frame` begins, counted from frame 0.
    pub fn start_of(self, frame: u64) -> Duration {
        let nanos = u128::from(frame) * 1_000_000_000 * u128::from(self.den) / u128::from(self.num);
        Duration::from_nanos(nanos as u64)
    }

    /// Length of one frame.
    pub fn period(self) -> Duration {
        self.start_of(1)
    }
}

/// The greatest number that divides both.
pub(crate) fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_partition_the_samples() {
        for (num, den) in [(25, 1), (30, 1), (30_000, 1001), (24_000, 1001), (50, 2)] {
            let rate = FrameRate::new(num, den).unwrap();
            let mut end = 0;
            for frame in 0..5_000 {
                assert_eq!(rate.first_sample(frame, 48_000), end);
                end = rate.first_sample(frame + 1, 48_000);
                assert_eq!(rate.frames_covering(end, 48_000), frame + 1);
            }
        }
    }

    #[test]
    fn zero_rates_are_refused() {
        assert_eq!(FrameRate::new(0, 1), None);
        assert_eq!(FrameRate::new(25, 0), None);
        assert_eq!(FrameRate::new(50, 2), Some(FrameRate::FPS_25));
    }
}
