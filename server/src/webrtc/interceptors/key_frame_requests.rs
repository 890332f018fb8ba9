//! Hears the viewer ask for a key frame (PLI or FIR), which the library keeps to itself.

use rtc::interceptor::{Packet, TaggedPacket};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;

use super::Link;

/// Calls a function for every inbound packet that asks for a key frame. The function limits the rate.
pub(in crate::webrtc) struct KeyFrameRequests {
    on_request: Box<dyn Fn() + Send + Sync>,
}

impl KeyFrameRequests {
    pub(in crate::webrtc) fn new(on_request: impl Fn() + Send + Sync + 'static) -> Self {
        Self { on_request: Box::new(on_request) }
    }
}

impl Link for KeyFrameRequests {
    fn on_read(&mut self, packet: &mut TaggedPacket) {
        let Packet::Rtcp(packets) = &packet.message.packet else { return };
        let asks = |packet: &dyn std::any::Any| {
            packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>()
        };
        if packets.iter().any(|packet| asks(packet.as_any())) {
            (self.on_request)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use rtc::rtcp::receiver_report::ReceiverReport;
    use rtc::sansio::Protocol;

    use super::super::Chained;
    use super::super::testing::tagged;
    use super::*;

    #[test]
    fn hears_both_kinds_and_nothing_else() {
        let heard = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&heard);
        let mut link = Chained::new(KeyFrameRequests::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        let packets: [Box<dyn rtc::rtcp::Packet>; 3] = [
            Box::new(PictureLossIndication::default()),
            Box::new(ReceiverReport::default()),
            Box::new(FullIntraRequest::default()),
        ];
        for packet in packets {
            link.handle_read(tagged(Instant::now(), Packet::Rtcp(vec![packet]))).unwrap();
            assert!(link.poll_read().is_some(), "every packet is handed on");
        }
        assert_eq!(heard.load(Ordering::Relaxed), 2);
    }
}
