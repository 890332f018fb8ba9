//! The control socket: packets of JSON, with descriptors beside them.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// Bytes of the largest packet.
pub const PACKET_LEN: usize = 65_536;

/// Descriptors beside one packet.
pub const MOST_DESCRIPTORS: usize = 2;

/// One end of the socket.
#[derive(Debug)]
pub struct Control(OwnedFd);

/// A packet as it came.
#[derive(Debug)]
pub struct Packet {
    /// JSON, if the other side is sane.
    pub bytes: Vec<u8>,
    /// What came beside it.
    pub descriptors: Vec<OwnedFd>,
}

impl Control {
    /// Two ends.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (here, there) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(here), Self(there)))
    }

    /// The end that was inherited.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Sends a packet; waits at most `patience` for the other side to make room.
    ///
    /// # Errors
    /// `InvalidInput` when it is larger than a packet may be, `TimedOut` when there is no room, `BrokenPipe` when the
    /// other side is gone.
    pub fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>], patience: Duration) -> io::Result<()> {
        if bytes.len() > PACKET_LEN || descriptors.len() > MOST_DESCRIPTORS {
            let text = format!("a message of {} bytes, {PACKET_LEN} is the most", bytes.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                beside.push(SendAncillaryMessage::ScmRights(descriptors));
            }
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::sendmsg(&self.0, &[IoSlice::new(bytes)], &mut beside, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if self.wait(PollFlags::OUT, Some(patience))? => {}
                Err(Errno::AGAIN) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the other side reads nothing"));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for a packet, for ever or for `patience`; `None` when none came in time.
    ///
    /// # Errors
    /// `UnexpectedEof` when the other side is gone, `InvalidData` for a packet that is too large.
    pub fn receive(&self, patience: Option<Duration>) -> io::Result<Option<Packet>> {
        if !self.wait(PollFlags::IN, patience)? {
            return Ok(None);
        }
        let mut bytes = vec![0; PACKET_LEN];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let parts = &mut [IoSliceMut::new(&mut bytes)];
            match rustix::net::recvmsg(&self.0, parts, &mut beside, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        let mut descriptors = Vec::new();
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                descriptors.extend(fds);
            }
        }
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message that is too large"));
        }
        bytes.truncate(received.bytes);
        Ok(Some(Packet { bytes, descriptors }))
    }

    /// Ends both directions: whoever waits on either side wakes up.
    pub fn shut_down(&self) {
        // An end that is shut already is what was wanted.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }

    fn wait(&self, what: PollFlags, patience: Option<Duration>) -> io::Result<bool> {
        let limit = patience.map(timespec);
        loop {
            let mut here = [PollFd::new(&self.0, what)];
            match rustix::event::poll(&mut here, limit.as_ref()) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(count) => return Ok(count > 0),
            }
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A length of time as the system wants it.
pub fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}
