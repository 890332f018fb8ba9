//! eventfds: rung by one side, waited for by the other, together with whatever else it waits for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;

/// A counter that can be polled. Rings that nobody heard yet add up to one.
#[derive(Debug)]
pub struct Doorbell(OwnedFd);

impl Doorbell {
    /// A silent one.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// One that the other side made.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Wakes whoever polls it.
    pub fn ring(&self) {
        // Fails only when it was rung 2^64 times unheard, and then it is heard anyway.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Takes back all rings so far.
    pub fn clear(&self) {
        // Nothing to read is as good. The descriptor must not block: the other side made it, perhaps, so ask first.
        let mut ready = [rustix::event::PollFd::new(&self.0, rustix::event::PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        if matches!(rustix::event::poll(&mut ready, Some(&now)), Ok(1)) {
            let _ = rustix::io::read(&self.0, &mut [0; 8]);
        }
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
