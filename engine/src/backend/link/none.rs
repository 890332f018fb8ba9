//! An incarnation that never was: its program was not found, was refused, or could not be started.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::{Link, Load, Opened};
use crate::backend::supervisor::{LinkEvent, Op, Ticket};

/// Says why, and ends.
pub(in crate::backend) struct NoLink(VecDeque<LinkEvent<Load>>);

impl NoLink {
    /// It makes no sense to try again before something changes.
    pub(in crate::backend) fn refused(reason: String) -> Self {
        Self([LinkEvent::StartFailed { reason, retryable: false }].into())
    }

    /// The system had no room. That is no fault of the backend, and does not count as one.
    pub(in crate::backend) fn failed(reason: String) -> Self {
        Self([LinkEvent::StartFailed { reason, retryable: true }].into())
    }
}

impl Link for NoLink {
    fn opened(&self) -> Option<Opened> {
        None
    }

    fn submit(&mut self, _: u64, _: u64, _: Op<Load>) {}

    fn infer(&mut self, _: u64, _: &[Ticket]) {}

    fn take(&mut self) -> Option<LinkEvent<Load>> {
        self.0.pop_front()
    }

    fn kill(&mut self) {
        self.0.push_back(LinkEvent::Died { reason: "it was not started".to_owned(), barred: false });
    }

    fn end(&mut self) {
        self.kill();
    }

    fn wait(&mut self, mailbox: BorrowedFd<'_>, patience: Option<Duration>) {
        // It is started in the middle of the keeper's round, and what it has to say rings no bell.
        if self.0.is_empty() {
            super::sleep(&mut [PollFd::from_borrowed_fd(mailbox, PollFlags::IN)], patience);
        }
    }
}
