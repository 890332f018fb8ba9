//! Which requests go into the next batch: earliest deadline first, fair to sessions, nothing expired.

use std::collections::HashMap;
use std::time::Duration;

use super::{Rules, Ticket};

/// The requests whose audio the backend has.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Vec<Ticket>,
}

impl Queue {
    /// A session's requests keep their order.
    pub(super) fn push(&mut self, ticket: Ticket) {
        self.waiting.push(ticket);
    }

    /// Before everything that waits: it was out already.
    pub(super) fn put_back(&mut self, ticket: Ticket) {
        self.waiting.insert(0, ticket);
    }

    /// Takes out everything a session asked for.
    pub(super) fn forget(&mut self, session: u64) -> Vec<Ticket> {
        self.waiting.extract_if(.., |ticket| ticket.session == session).collect()
    }

    pub(super) fn holds(&self, session: u64) -> bool {
        self.waiting.iter().any(|ticket| ticket.session == session)
    }

    pub(super) fn count(&self, session: u64) -> usize {
        self.waiting.iter().filter(|ticket| ticket.session == session).count()
    }

    /// When the first frame leaves that somebody is to see.
    pub(super) fn soonest(&self) -> Option<Duration> {
        let shown = self.waiting.iter().filter(|ticket| !ticket.request.flags.discard_ok);
        shown.filter_map(|ticket| ticket.request.deadline).min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes out what nobody sees, because it expired before `now` or was never to be seen, so that no batch slot is
    /// spent on it. Where a session must ask for every frame it stays, marked as discardable. Also tells how many
    /// have expired since the last look.
    pub(super) fn take_unseen<R: Rules>(
        &mut self,
        now: Duration,
        left_out: impl Fn(u64) -> bool,
    ) -> (Vec<Ticket>, u64) {
        let mut missed = 0;
        let unseen = |ticket: &mut Ticket| {
            let (late, discard_ok) = (ticket.request.is_late(now), ticket.request.flags.discard_ok);
            missed += u64::from(late && !discard_ok);
            ticket.request.flags.discard_ok |= late;
            R::is_unseen(late, discard_ok) && left_out(ticket.session)
        };
        (self.waiting.extract_if(.., unseen).collect(), missed)
    }

    /// Takes the next batch of at most `max`: earliest deadline first; a session gets a second place only
    /// when no other session waits, and with `one_per_session` never. A request that is to be alone is.
    pub(super) fn take_batch<R: Rules>(&mut self, max: usize, one_per_session: bool) -> Vec<Ticket> {
        // Round r holds each session's r-th request, so sorting by (round, deadline) is fair and keeps order.
        let mut seen: HashMap<u64, usize> = HashMap::new();
        let mut line: Vec<_> = Vec::with_capacity(self.waiting.len());
        for (index, ticket) in self.waiting.iter().enumerate() {
            let round = seen.entry(ticket.session).or_default();
            if *round == 0 || !one_per_session {
                line.push((R::place(*round, ticket.request.deadline, index), index));
            }
            *round += 1;
        }
        line.sort_unstable();
        let mut chosen: Vec<usize> = line.into_iter().map(|(_, index)| index).collect();
        if let Some(place) = chosen.iter().position(|index| self.waiting[*index].request.flags.alone) {
            // Its turn has come when it is the first. Until then nothing of its session overtakes it: what comes
            // later in that session stands in a later round, and so behind it here.
            chosen.truncate(place.max(1));
        }
        chosen.truncate(max);
        let batch = chosen.iter().map(|index| self.waiting[*index]).collect();
        chosen.sort_unstable();
        for index in chosen.into_iter().rev() {
            self.waiting.remove(index);
        }
        batch
    }
}
