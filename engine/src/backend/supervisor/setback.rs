//! What losses lead to: a back-off that doubles, and a circuit that opens when they come thick.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Policy, Rules};

/// How long to wait after a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setback {
    /// A back-off.
    Wait(Duration),
    /// The circuit is open.
    Quarantine,
}

/// The record of one backend's losses.
#[derive(Debug)]
pub(super) struct Setbacks {
    jitter: Jitter,
    /// Back-offs since the last healthy incarnation.
    level: u32,
    /// When, and what it counts.
    deaths: VecDeque<(Duration, u32)>,
    /// The circuit was open and nothing has proved healthy since: the next death opens it again.
    on_probation: bool,
}

impl Setbacks {
    pub(super) fn new(seed: u64) -> Self {
        Self { jitter: Jitter(seed), level: 0, deaths: VecDeque::new(), on_probation: false }
    }

    /// An incarnation served for as long as a healthy one does.
    pub(super) fn healthy(&mut self) {
        self.level = 0;
        self.on_probation = false;
    }

    /// As if nothing had ever happened.
    pub(super) fn forgive(&mut self) {
        self.healthy();
        self.deaths.clear();
    }

    /// The circuit lets one through.
    pub(super) fn probe(&mut self) {
        self.deaths.clear();
        self.on_probation = true;
    }

    /// A death, which counts as `weight` of them.
    pub(super) fn death<R: Rules>(&mut self, weight: u32, now: Duration, policy: &Policy) -> Setback {
        self.deaths.push_back((now, weight));
        while self.deaths.front().is_some_and(|(at, _)| now.saturating_sub(*at) > policy.circuit_window) {
            self.deaths.pop_front();
        }
        let counted = self.deaths.iter().map(|(_, weight)| weight).sum();
        if self.on_probation || R::circuit_opens(counted, policy) {
            return Setback::Quarantine;
        }
        self.refusal::<R>(policy)
    }

    /// The backend itself said that it cannot start now; no death, so the circuit stays closed.
    pub(super) fn refusal<R: Rules>(&mut self, policy: &Policy) -> Setback {
        let wait = R::backoff(self.level, policy);
        self.level = self.level.saturating_add(1);
        let percent = u64::from(policy.jitter_percent);
        let share = 100 - percent + self.jitter.next() % (2 * percent + 1);
        Setback::Wait(wait * share as u32 / 100)
    }
}

/// A small generator (splitmix64), so that backends that fell together do not come back together.
#[derive(Debug)]
struct Jitter(u64);

impl Jitter {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::supervisor::Sound;

    fn wait(setback: Setback) -> Duration {
        match setback {
            Setback::Wait(wait) => wait,
            Setback::Quarantine => panic!("the circuit opened"),
        }
    }

    #[test]
    fn the_wait_doubles_within_its_jitter_up_to_the_cap() {
        let (policy, mut setbacks) = (Policy::default(), Setbacks::new(7));
        for level in 0..12 {
            let middle = (policy.backoff_base * 2u32.pow(level)).min(policy.backoff_cap);
            let wait = wait(setbacks.refusal::<Sound>(&policy));
            assert!(wait >= middle * 4 / 5 && wait <= middle * 6 / 5, "{wait:?} at level {level}");
        }
        setbacks.healthy();
        assert!(wait(setbacks.refusal::<Sound>(&policy)) <= policy.backoff_base * 6 / 5);
    }

    #[test]
    fn jitter_differs_from_seed_to_seed() {
        let policy = Policy::default();
        let first = |seed| wait(Setbacks::new(seed).refusal::<Sound>(&policy));
        assert!((1..20).any(|seed| first(seed) != first(0)));
    }

    #[test]
    fn five_deaths_in_a_minute_open_the_circuit_and_slower_ones_do_not() {
        let policy = Policy::default();
        let opens_after = |gap: u64, weight: u32| {
            let mut setbacks = Setbacks::new(1);
            (1..=20).find(|death| {
                let now = Duration::from_secs(gap * death);
                setbacks.death::<Sound>(weight, now, &policy) == Setback::Quarantine
            })
        };
        assert_eq!(opens_after(1, 1), Some(5));
        assert_eq!(opens_after(15, 1), Some(5));
        assert_eq!(opens_after(16, 1), None);
        assert_eq!(opens_after(1, 2), Some(3));
    }

    #[test]
    fn one_that_is_on_probation_goes_back_at_once() {
        let (policy, mut setbacks) = (Policy::default(), Setbacks::new(1));
        setbacks.probe();
        assert_eq!(setbacks.death::<Sound>(1, Duration::ZERO, &policy), Setback::Quarantine);
        setbacks.forgive();
        wait(setbacks.death::<Sound>(1, Duration::ZERO, &policy));
    }
}
