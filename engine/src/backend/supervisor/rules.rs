//! The decisions that must not be wrong, one function each.
//!
//! They are a trait so that tests can get one of them wrong on purpose and see that it is noticed; the program only
//! knows [`Sound`].

use std::time::Duration;

use super::Policy;

/// The decisions of a supervisor.
pub trait Rules {
    /// Whether `heard` speaks of the incarnation that lives, and not of one before.
    fn is_current(heard: u64, living: u64) -> bool {
        heard == living
    }

    /// Whether a frame of `epoch` comes too late for a session that is in epoch `now`.
    fn is_stale(epoch: u32, now: u32) -> bool {
        epoch != now
    }

    /// Whether a batch may go out.
    fn may_infer(one_is_out: bool) -> bool {
        !one_is_out
    }

    /// Whether a call of a session may go out.
    fn may_call(session_is_in_batch: bool) -> bool {
        !session_is_in_batch
    }

    /// Whether a request has to wait for a call of its session.
    fn waits(behind_a_call: bool) -> bool {
        behind_a_call
    }

    /// Whether a request is of no use to those who see the pictures: its frame has left, or was never to be seen.
    fn is_unseen(late: bool, discard_ok: bool) -> bool {
        late || discard_ok
    }

    /// Whether a request that nobody sees is left out of the batches. Who draws in order sees every frame, and a backend whose
    /// queue is full has to be asked for every frame, or the queue stays full.
    fn leaves_out(sequential: bool, audio_is_held: bool) -> bool {
        !sequential && !audio_is_held
    }

    /// Whether the first and last mark of a request that was left out pass to the next one.
    fn carries_marks() -> bool {
        true
    }

    /// Where a request stands in line, smallest first: `round` counts those before it in its session.
    fn place(
        round: usize,
        deadline: Option<Duration>,
        arrival: usize,
    ) -> (usize, bool, Option<Duration>, usize) {
        (round, deadline.is_none(), deadline, arrival)
    }

    /// Whether one that expired is answered.
    fn answers_expired() -> bool {
        true
    }

    /// Whether those in the batch of a dying incarnation are answered.
    fn answers_the_dying() -> bool {
        true
    }

    /// Whether a reset answers what is in the batch; the batch's own end does.
    fn reset_answers_batch() -> bool {
        false
    }

    /// How long a call may be out.
    fn hard_deadline(batch_p99: Duration, policy: &Policy) -> Duration {
        policy.hard_floor.max(batch_p99 * policy.hard_factor)
    }

    /// How much of the time between two looks a host lived through, by its own `beats`.
    fn lived(passed: Duration, beats: Duration) -> Duration {
        passed.min(beats)
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
