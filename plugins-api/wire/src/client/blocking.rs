//! Calls over the ring, each waited for: for tools that want an answer before they go on.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use lipcast_plugins_api::types::{Descriptor, Error};
use rustix::event::{PollFd, PollFlags};

use super::{CallError, Calls, Host};
use crate::control::timespec;
use crate::op::{Drawn, Op, Request};
use crate::ring::{Completion, Submissions};
use crate::spawn::Child;

/// How often it is looked at whether the child has closed its socket.
const LOOK: Duration = Duration::from_millis(200);

/// Between two things that a child does one right after the other, amply: the closing of its socket and its end, what is
/// done and its bell.
const A_MOMENT: Duration = Duration::from_millis(50);

/// A child and its ring. Dropping it kills the child.
#[derive(Debug)]
pub struct Blocking {
    child: Child,
    calls: Arc<Calls>,
    ring: Submissions,
    descriptor: Descriptor,
    origin: String,
}

impl Blocking {
    pub(super) fn new(host: Host) -> Self {
        let Host { child, calls, ring, descriptor, origin } = host;
        Self { child, calls, ring, descriptor, origin }
    }

    /// Its control calls.
    pub fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    /// Who it is.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// What was opened, for people.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its heartbeat.
    pub fn beat(&self) -> u32 {
        self.ring.beat()
    }

    /// A session call: anything but a batch.
    ///
    /// # Errors
    /// The backend's own, the child's end, or that `patience` was over. After the last two it is of no more use.
    pub fn run(&mut self, op: &Op, patience: Duration) -> Result<(), CallError> {
        Ok(self.complete(op, patience)?.status?)
    }

    /// Draws a batch, and gives what the child wrote for each request; check it against the avatar.
    ///
    /// # Errors
    /// As [`run`](Self::run), where the backend's own is the failure of the whole batch.
    pub fn infer(
        &mut self,
        requests: &[Request],
        patience: Duration,
    ) -> Result<Vec<Result<Drawn, Error>>, CallError> {
        let op = Op::Infer { requests: requests.to_vec() };
        let Completion { status, results } = self.complete(&op, patience)?;
        status?;
        Ok(results)
    }

    /// How the process ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        self.child.ended()
    }

    fn complete(&mut self, op: &Op, patience: Duration) -> Result<Completion, CallError> {
        if let Some(how) = self.child.ended() {
            return Err(CallError::Gone(how));
        }
        self.ring.submit(op);
        let limit = Instant::now() + patience;
        let mut unrung = false;
        loop {
            let broken = |error: crate::op::Malformed| CallError::Gone(format!("it broke the ring: {error}"));
            if let Some(completion) = self.ring.complete().map_err(broken)? {
                // It may be about to; a host that does nothing else than wait would wait for ever.
                if unrung {
                    if !self.is_rung(A_MOMENT) {
                        let reason = "it finished an operation and did not ring for it";
                        return Err(CallError::Gone(reason.to_owned()));
                    }
                    self.ring.wake(true);
                }
                return Ok(completion);
            }
            if let Some(how) = self.child.ended() {
                return Err(CallError::Gone(how));
            }
            // What it did last is done all the same.
            if let Some(reason) = self.calls.closed() {
                // One that is ending closes it a moment before, and how it ended says more.
                thread::sleep(A_MOMENT);
                return Err(CallError::Gone(self.child.ended().unwrap_or(reason)));
            }
            let left = limit.saturating_duration_since(Instant::now()).min(LOOK);
            if Instant::now() >= limit {
                return Err(CallError::TimedOut { call: "an operation", after: patience });
            }
            let mut rung = false;
            unrung = false;
            if self.ring.sleep() {
                let pidfd = self.child.pidfd();
                let mut ends =
                    [PollFd::new(self.ring.bell(), PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
                // A signal wakes it too: it looks again.
                let _ = rustix::event::poll(&mut ends, Some(&timespec(left)));
                rung = !ends[0].revents().is_empty();
                unrung = !rung;
            }
            // Until it rang, it knows that it has to.
            if !unrung {
                self.ring.wake(rung);
            }
        }
    }

    /// Whether the bell rings within `patience`.
    fn is_rung(&self, patience: Duration) -> bool {
        let mut bell = [PollFd::new(self.ring.bell(), PollFlags::IN)];
        matches!(rustix::event::poll(&mut bell, Some(&timespec(patience))), Ok(1))
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.child.kill();
        self.calls.hang_up();
    }
}
