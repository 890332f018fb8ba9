//! Which requests go into the next batch: earliest deadline first, fair to sessions, nothing expired.
//!
//! A pure queue: time is an argument, so that its order can be tested without a clock.

use std::time::Instant;

use super::FrameRequest;

/// A queued request and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The session that asked.
    pub session: u64,
    /// What it asked for.
    pub request: FrameRequest,
}

/// The waiting requests of one instance.
#[derive(Debug, Default)]
pub struct Batcher {
    waiting: Vec<Ticket>,
}

impl Batcher {
    /// Queues a request. A session's requests keep their order.
    pub fn push(&mut self, ticket: Ticket) {
        self.waiting.push(ticket);
    }

    /// Takes out everything a session asked for.
    pub fn forget(&mut self, session: u64) -> Vec<Ticket> {
        let (forgotten, kept) = self.waiting.drain(..).partition(|ticket| ticket.session == session);
        self.waiting = kept;
        forgotten
    }

    /// Something that a session asked for waits.
    pub fn holds(&self, session: u64) -> bool {
        self.waiting.iter().any(|ticket| ticket.session == session)
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waiting requests.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes out what expired before `now`, so that no batch slot is spent on it. Late requests of sessions that
    /// must see every frame stay, marked as discardable.
    pub fn take_expired(&mut self, now: Instant, sees_all: impl Fn(u64) -> bool) -> Vec<Ticket> {
        let mut expired = Vec::new();
        self.waiting.retain_mut(|ticket| {
            if ticket.request.deadline.is_none_or(|deadline| deadline > now) {
                return true;
            }
            ticket.request.flags.discard_ok = sees_all(ticket.session);
            if !ticket.request.flags.discard_ok {
                expired.push(*ticket);
            }
            ticket.request.flags.discard_ok
        });
        expired
    }

    /// Takes the next batch of at most `max`: earliest deadline first; a session gets a second place only
    /// when no other session waits, and with `one_per_session` never. A request that is to be alone is.
    pub fn take_batch(&mut self, max: usize, one_per_session: bool) -> Vec<Ticket> {
        // Round r holds each session's r-th request, so sorting by (round, deadline) is fair and keeps order.
        let mut rounds: Vec<(usize, usize)> = Vec::with_capacity(self.waiting.len());
        for (index, ticket) in self.waiting.iter().enumerate() {
            let round = self.waiting[..index].iter().filter(|other| other.session == ticket.session).count();
            rounds.push((round, index));
        }
        if one_per_session {
            rounds.retain(|(round, _)| *round == 0);
        }
        rounds.sort_by_key(|(round, index)| {
            let deadline = self.waiting[*index].request.deadline;
            (*round, deadline.is_none(), deadline, *index)
        });
        if let Some(place) = rounds.iter().position(|(_, index)| self.waiting[*index].request.flags.alone) {
            // Its turn has come when it is the first. Until then nothing of its session overtakes it: what comes
            // later in that session stands in a later round, and so behind it here.
            rounds.truncate(place.max(1));
        }
        rounds.truncate(max);
        let mut chosen: Vec<usize> = rounds.iter().map(|(_, index)| *index).collect();
        let batch = chosen.iter().map(|index| self.waiting[*index]).collect();
        chosen.sort_unstable();
        for index in chosen.into_iter().rev() {
            self.waiting.remove(index);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::RequestFlags;

    fn ticket(session: u64, seq: u64, deadline: Option<Instant>) -> Ticket {
        let flags = RequestFlags::default();
        let request = FrameRequest { seq, epoch: 0, frame: seq, avatar_frame: 0, deadline, flags };
        Ticket { session, request }
    }

    fn order(batch: &[Ticket]) -> Vec<(u64, u64)> {
        batch.iter().map(|ticket| (ticket.session, ticket.request.seq)).collect()
    }

    #[test]
    fn earliest_deadline_first_but_every_session_before_anyones_second() {
        let start = Instant::now();
        let at = |ms| Some(start + Duration::from_millis(ms));
        let mut batcher = Batcher::default();
        for (session, seq, ms) in [(1, 0, 40), (1, 1, 41), (2, 0, 30), (3, 0, 90), (2, 1, 35)] {
            batcher.push(ticket(session, seq, at(ms)));
        }
        assert_eq!(order(&batcher.take_batch(4, false)), [(2, 0), (1, 0), (3, 0), (2, 1)]);
        assert_eq!(order(&batcher.take_batch(4, false)), [(1, 1)]);
        assert!(batcher.is_empty());
    }

    #[test]
    fn sequential_sessions_get_one_place_a_batch_and_keep_order() {
        let mut batcher = Batcher::default();
        for seq in 0..3 {
            batcher.push(ticket(7, seq, None));
        }
        for seq in 0..3 {
            assert_eq!(order(&batcher.take_batch(8, true)), [(7, seq)]);
        }
    }

    #[test]
    fn expired_requests_cost_no_slot() {
        let start = Instant::now();
        let mut batcher = Batcher::default();
        batcher.push(ticket(1, 0, Some(start)));
        batcher.push(ticket(1, 1, Some(start + Duration::from_secs(1))));
        assert_eq!(order(&batcher.take_expired(start, |_| false)), [(1, 0)]);
        assert_eq!(batcher.len(), 1);
        assert!(batcher.take_expired(start + Duration::from_secs(2), |_| true).is_empty());
        assert!(batcher.take_batch(1, true)[0].request.flags.discard_ok);
    }

    #[test]
    fn a_suspect_shares_its_batch_with_nobody_and_is_not_overtaken_by_its_own_session() {
        let mut batcher = Batcher::default();
        for (session, seq) in [(1, 0), (2, 0), (2, 1), (3, 0)] {
            batcher.push(ticket(session, seq, None));
        }
        batcher.waiting[1].request.flags.alone = true;
        let batches: Vec<_> = std::iter::from_fn(|| {
            Some(order(&batcher.take_batch(8, false))).filter(|batch| !batch.is_empty())
        })
        .collect();
        assert_eq!(batches, [vec![(1, 0)], vec![(2, 0)], vec![(2, 1), (3, 0)]]);
    }

    #[test]
    fn a_closed_session_is_forgotten() {
        let mut batcher = Batcher::default();
        batcher.push(ticket(1, 0, None));
        batcher.push(ticket(2, 0, None));
        assert_eq!(order(&batcher.forget(1)), [(1, 0)]);
        assert_eq!((batcher.holds(1), batcher.holds(2)), (false, true));
        assert_eq!(order(&batcher.take_batch(8, false)), [(2, 0)]);
    }
}
