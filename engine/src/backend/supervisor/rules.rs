//! The decisions that must not be wrong, one function each.
//!
//! They are a trait so that tests can get one of them wrong on purpose and see that it is noticed; the program only
//! knows [`Sound`].

use std::time::Duration;

use super::Policy;

/// The decisions of a supervisor.
pub trait Rules {
    /// Whether `heard` speaks of the incarnation or call that is `expected`, and not of one before.
    fn is_current(heard: u64, expected: u64) -> bool {
        heard == expected
    }

    /// Whether an incarnation may be started.
    fn may_spawn(one_lives: bool) -> bool {
        !one_lives
    }

    /// Whether enough deaths are remembered to stop trying.
    fn circuit_opens(deaths: u32, policy: &Policy) -> bool {
        deaths >= policy.circuit_deaths
    }

    /// How long to wait after `level` losses in a row, before jitter.
    fn backoff(level: u32, policy: &Policy) -> Duration {
        let doubled = 1u32.checked_shl(level).and_then(|factor| policy.backoff_base.checked_mul(factor));
        doubled.unwrap_or(Duration::MAX).min(policy.backoff_cap)
    }
}

/// The rules as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sound;

impl Rules for Sound {}
