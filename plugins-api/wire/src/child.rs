//! How a child finds its ends of the socket and the ring: they were opened for it before it began.
#![allow(unsafe_code, reason = "takes over descriptors that were inherited by number")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::FdFlags;

use crate::control::Control;
use crate::doorbell::Doorbell;
use crate::layout::{CONTROL_FD, DONE_FD, RING_FD, RING_LEN, WORK_FD};
use crate::memory::SharedMemory;
use crate::ring::Work;

/// What a parent left open for its child.
#[derive(Debug)]
pub struct Inherited {
    /// The control socket.
    pub control: Control,
    /// The ring.
    pub work: Work,
}

impl Inherited {
    /// Takes them. Call it once, before anything else opens a file.
    ///
    /// # Errors
    /// When they are not there: this program was not started by a parent that speaks the protocol.
    pub fn take() -> io::Result<Self> {
        let [control, ring, work, done] = [CONTROL_FD, RING_FD, WORK_FD, DONE_FD].map(take);
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        let ring = SharedMemory::open(ring?, RING_LEN).map_err(|error| invalid(error.to_string()))?;
        let work = Work::open(ring, Doorbell::from_fd(work?), Doorbell::from_fd(done?));
        Ok(Self {
            control: Control::from_fd(control?),
            work: work.map_err(|error| invalid(error.to_string()))?,
        })
    }
}

fn take(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: only asks whether there is such a descriptor.
    let there = unsafe { rustix::fd::BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(there)?;
    // SAFETY: it is open, as was just asked, and nobody in this process owns it: it was opened for us under this
    // number, and this is the first thing that the program does.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    // What the plugin starts must not have it.
    rustix::io::fcntl_setfd(&owned, FdFlags::CLOEXEC)?;
    Ok(owned)
}
