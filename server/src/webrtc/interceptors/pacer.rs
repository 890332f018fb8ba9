//! Spreads video over time, so that a key frame of twenty packets does not fill a narrow link's queue at once.
//!
//! Audio and reports pass: they are small, and sound that comes late is heard before a picture that does is seen.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::interceptor::{Attribute, Packet, TaggedPacket};

use super::{Link, Outbound};

/// Video leaves this much faster than the estimate, so that a queue here empties.
const HEADROOM: f64 = 1.25;

/// What may leave at once: 20 ms at the estimated rate, and never less than one packet.
const BURST: Duration = Duration::from_millis(20);
const SMALLEST_BURST_BITS: f64 = 12_000.0;

/// Packets held at most, several seconds of a slow link; beyond it the oldest is of no use to anybody.
const LONGEST_QUEUE: usize = 400;

/// The timer's grain: finer steps cost wake-ups and smooth nothing.
const STEP: Duration = Duration::from_millis(2);

/// RTP header, authentication tag, UDP and IP, bytes.
const OVERHEAD: usize = 60;

/// Meters the video of one viewer.
pub(in crate::webrtc) struct Pacer {
    video_ssrcs: Vec<u32>,
    /// Bits a second.
    target: f64,
    /// Bits that may leave now; negative after a packet that was larger than what was left.
    budget: f64,
    filled: Option<Instant>,
    queue: VecDeque<TaggedPacket>,
}

impl Pacer {
    /// Meters packets of `video_ssrcs`, the retransmissions' among them, for a link of `target` bits a second.
    pub(in crate::webrtc) fn new(video_ssrcs: Vec<u32>, target: f64) -> Self {
        Self { video_ssrcs, target, budget: SMALLEST_BURST_BITS, filled: None, queue: VecDeque::new() }
    }

    fn rate(&self) -> f64 {
        self.target * HEADROOM
    }

    fn release(&mut self, now: Instant, out: &mut Outbound) {
        let passed = self.filled.map_or(Duration::ZERO, |filled| now.saturating_duration_since(filled));
        let most = (self.rate() * BURST.as_secs_f64()).max(SMALLEST_BURST_BITS);
        self.budget = (self.budget + passed.as_secs_f64() * self.rate()).min(most);
        self.filled = Some(now);
        while self.budget > 0.0 {
            let Some(mut packet) = self.queue.pop_front() else { return };
            if let Packet::Rtp(rtp) = &packet.message.packet {
                self.budget -= ((rtp.payload.len() + OVERHEAD) * 8) as f64;
            }
            // The estimator below measures from the instant a packet leaves, not from when it came here.
            packet.now = now;
            out.push_back(packet);
        }
    }
}

impl Link for Pacer {
    fn on_read(&mut self, packet: &mut TaggedPacket) {
        for attribute in &packet.message.attributes {
            if let Attribute::TargetBitrateChanged { bits_per_second } = attribute {
                self.target = *bits_per_second;
            }
        }
    }

    fn on_write(&mut self, packet: TaggedPacket, out: &mut Outbound) {
        let now = packet.now;
        match &packet.message.packet {
            Packet::Rtp(rtp) if self.video_ssrcs.contains(&rtp.header.ssrc) => {
                if self.queue.len() == LONGEST_QUEUE {
                    self.queue.pop_front();
                }
                self.queue.push_back(packet);
                self.release(now, out);
            }
            _ => out.push_back(packet),
        }
    }

    fn on_timeout(&mut self, now: Instant, out: &mut Outbound) {
        self.release(now, out);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let filled = self.filled.filter(|_| !self.queue.is_empty())?;
        let until_positive = Duration::from_secs_f64((1.0 - self.budget).max(0.0) / self.rate());
        Some(filled + until_positive.max(STEP))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rtc::rtp;
    use rtc::sansio::Protocol;

    use super::super::Chained;
    use super::super::testing::tagged;
    use super::*;

    fn rtp(ssrc: u32, bytes: usize) -> Packet {
        let header = rtp::header::Header { version: 2, ssrc, ..Default::default() };
        Packet::Rtp(rtp::Packet { header, payload: Bytes::from(vec![0; bytes]) })
    }

    /// SSRCs that come out at `now`.
    fn out(link: &mut Chained<Pacer>) -> Vec<u32> {
        std::iter::from_fn(|| link.poll_write())
            .filter_map(|packet| match packet.message.packet {
                Packet::Rtp(rtp) => Some(rtp.header.ssrc),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_key_frame_is_spread_and_audio_overtakes_it() {
        // 800 kb/s leave as 1 Mb/s: a packet of 1000 bits each millisecond.
        let (mut link, start) = (Chained::new(Pacer::new(vec![1], 800_000.0)), Instant::now());
        for _ in 0..20 {
            link.handle_write(tagged(start, rtp(1, 1_000 - OVERHEAD))).unwrap();
        }
        assert_eq!(out(&mut link).len(), 2, "one burst of 12 000 bits leaves at once, the rest waits");
        link.handle_write(tagged(start, rtp(2, 100))).unwrap();
        assert_eq!(out(&mut link), [2]);

        let mut left = 2;
        while let Some(now) = link.poll_timeout() {
            link.handle_timeout(now).unwrap();
            let released = out(&mut link).len();
            assert!(released <= 3, "{released} at once");
            left += released;
            let bits = (now - start).as_secs_f64() * 1_000_000.0 + SMALLEST_BURST_BITS + 8_000.0;
            assert!(left as f64 * 8_000.0 <= bits, "{left} packets after {:?}", now - start);
        }
        assert_eq!(left, 20);
    }

    #[test]
    fn a_full_queue_loses_its_oldest() {
        let (mut link, start) = (Chained::new(Pacer::new(vec![1], 1_000.0)), Instant::now());
        for _ in 0..LONGEST_QUEUE + 50 {
            link.handle_write(tagged(start, rtp(1, 1_000))).unwrap();
        }
        assert!(link.link.queue.len() == LONGEST_QUEUE);
    }
}
