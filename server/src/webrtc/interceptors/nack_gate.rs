//! Keeps retransmissions from becoming a storm.
//!
//! A receiver behind a full queue repeats its NACKs before an answer can have arrived. The library's responder
//! answers each one, which fills the queue further until nothing but copies gets through.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rtc::interceptor::{Packet, TaggedPacket};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};

use super::Link;

/// A packet sent again is given this long to arrive before it is sent once more: longer than most round trips.
const PATIENCE: Duration = Duration::from_millis(120);

/// Share of the media rate that retransmissions may take in the long run.
const SHARE: f64 = 0.15;

/// Retransmissions allowed at once: one lost key frame of 512×512 and some.
const BURST: f64 = 30.0;

/// Bytes of a usual packet, to turn a bit rate into packets.
const USUAL_PACKET: f64 = 1_100.0;

/// Sequence numbers remembered before those past their patience are forgotten.
const MEMORY: usize = 2_048;

/// Sits before the NACK responder and lets through only what is worth answering.
pub(in crate::webrtc) struct NackGate {
    answered: HashMap<(u32, u16), Instant>,
    allowance: f64,
    packets_per_second: f64,
    counted_until: Option<Instant>,
}

impl NackGate {
    /// A gate for media of `bitrate` bits a second.
    pub(in crate::webrtc) fn new(bitrate: u32) -> Self {
        Self {
            answered: HashMap::new(),
            allowance: BURST,
            packets_per_second: (f64::from(bitrate) * SHARE / 8.0 / USUAL_PACKET).max(10.0),
            counted_until: None,
        }
    }

    fn refill(&mut self, now: Instant) {
        let passed = self.counted_until.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.allowance = (self.allowance + passed.as_secs_f64() * self.packets_per_second).min(BURST);
        self.counted_until = Some(now);
        if self.answered.len() > MEMORY {
            self.answered.retain(|_, answered| now.saturating_duration_since(*answered) < PATIENCE);
        }
    }

    fn lets_through(&mut self, now: Instant, ssrc: u32, sequence_number: u16) -> bool {
        let last = self.answered.get(&(ssrc, sequence_number));
        let is_new = last.is_none_or(|last| now.saturating_duration_since(*last) >= PATIENCE);
        if !is_new || self.allowance < 1.0 {
            return false;
        }
        self.allowance -= 1.0;
        self.answered.insert((ssrc, sequence_number), now);
        true
    }
}

impl Link for NackGate {
    fn on_read(&mut self, packet: &mut TaggedPacket) {
        let now = packet.now;
        let Packet::Rtcp(packets) = &mut packet.message.packet else { return };
        for packet in packets {
            let Some(nack) = packet.as_any().downcast_ref::<TransportLayerNack>() else { continue };
            self.refill(now);
            let asked = nack.nacks.iter().flat_map(|pair| pair.packet_list());
            let kept: Vec<u16> =
                asked.filter(|number| self.lets_through(now, nack.media_ssrc, *number)).collect();
            *packet = Box::new(TransportLayerNack {
                sender_ssrc: nack.sender_ssrc,
                media_ssrc: nack.media_ssrc,
                nacks: nack_pairs_from_sequence_numbers(&kept),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use rtc::sansio::Protocol;

    use super::super::Chained;
    use super::super::testing::tagged;
    use super::*;

    /// Sequence numbers that get through when `asked` arrives.
    fn pass(gate: &mut Chained<NackGate>, now: Instant, asked: &[u16]) -> Vec<u16> {
        let nacks = nack_pairs_from_sequence_numbers(asked);
        let nack = TransportLayerNack { sender_ssrc: 1, media_ssrc: 2, nacks };
        gate.handle_read(tagged(now, Packet::Rtcp(vec![Box::new(nack)]))).unwrap();
        let Packet::Rtcp(packets) = gate.poll_read().unwrap().message.packet else {
            panic!("RTCP stays RTCP")
        };
        let nack = packets[0].as_any().downcast_ref::<TransportLayerNack>().unwrap();
        nack.nacks.iter().flat_map(|pair| pair.packet_list()).collect()
    }

    #[test]
    fn a_repeat_within_the_round_trip_is_not_answered() {
        let (mut gate, start) = (Chained::new(NackGate::new(1_000_000)), Instant::now());
        assert_eq!(pass(&mut gate, start, &[10, 11]), [10, 11]);
        assert_eq!(pass(&mut gate, start + Duration::from_millis(50), &[10, 11, 12]), [12]);
        assert_eq!(pass(&mut gate, start + PATIENCE, &[10]), [10]);
    }

    #[test]
    fn in_the_long_run_no_more_than_the_share_is_sent_again() {
        let (mut gate, start) = (Chained::new(NackGate::new(1_000_000)), Instant::now());
        let mut sent = 0;
        for round in 0..100_u16 {
            let asked: Vec<u16> = (0..50).map(|number| round * 50 + number).collect();
            sent += pass(&mut gate, start + Duration::from_millis(100) * u32::from(round), &asked).len();
        }
        // 30 at once, then 17 packets a second for 9.9 seconds.
        assert!((150..=200).contains(&sent), "{sent} of 5000");
    }
}
