//! Our own links of the library's packet chain: what it lacks, or does in a way that hurts synthesised video.
//!
//! Each is free of clocks and sockets: packets come with their instant, so tests run in no time.

mod bandwidth;
pub(super) use bandwidth::{QueueDelay, SharedTarget};

mod key_frame_requests;
pub(super) use key_frame_requests::KeyFrameRequests;

mod nack_gate;
pub(super) use nack_gate::NackGate;

mod pacer;
pub(super) use pacer::Pacer;

mod sender_reports;
pub(super) use sender_reports::{ReportedTrack, SenderReports};

use std::collections::VecDeque;
use std::time::Instant;

use rtc::interceptor::{Interceptor, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

/// Packets on their way to the next link towards the wire.
type Outbound = VecDeque<TaggedPacket>;

/// What a link does; it hands on unchanged what it does not speak of.
pub(super) trait Link: Send + Sync {
    /// Sees, and may change, a packet from the wire before the links above do.
    fn on_read(&mut self, _packet: &mut TaggedPacket) {}

    /// Takes a packet on its way to the wire; what it puts into `out` goes on, in that order.
    fn on_write(&mut self, packet: TaggedPacket, out: &mut Outbound) {
        out.push_back(packet);
    }

    /// Called when [`next_timeout`](Self::next_timeout) has passed.
    fn on_timeout(&mut self, _now: Instant, _out: &mut Outbound) {}

    /// When it wants to be called next.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }
}

/// A [`Link`] with the queues that make it an interceptor of the library.
pub(super) struct Chained<L> {
    link: L,
    inbound: VecDeque<TaggedPacket>,
    outbound: Outbound,
}

impl<L: Link> Chained<L> {
    /// `link`, ready for the library's registry.
    pub(super) fn new(link: L) -> Self {
        Self { link, inbound: VecDeque::new(), outbound: VecDeque::new() }
    }
}

impl<L: Link> Protocol<TaggedPacket, TaggedPacket, ()> for Chained<L> {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        self.link.on_read(&mut packet);
        self.inbound.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inbound.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.link.on_write(packet, &mut self.outbound);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.link.on_timeout(now, &mut self.outbound);
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.link.next_timeout()
    }
}

impl<L: Link> Interceptor for Chained<L> {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

#[cfg(test)]
mod testing {
    use std::time::Instant;

    use rtc::interceptor::{AttributedPacket, Packet, TaggedPacket};
    use rtc::shared::TransportContext;

    /// `packet` passing a link at `now`.
    pub(super) fn tagged(now: Instant, packet: Packet) -> TaggedPacket {
        TaggedPacket { now, transport: TransportContext::default(), message: AttributedPacket::new(packet) }
    }
}
