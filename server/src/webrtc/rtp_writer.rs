//! Turns encoded frames of one track into RTP packets whose timestamps are the session's.

use bytes::Bytes;
use rtc::rtp::Packet;
use rtc::rtp::header::Header;
use rtc::rtp::packetizer::Payloader;
use rtc::shared::error::Result;

/// Largest payload, bytes. With RTP header, header extensions, retransmission header, SRTP tag, UDP and IPv6 the
/// datagram stays below 1280, which every path carries whole.
const LARGEST_PAYLOAD: usize = 1160;

/// Numbers and stamps the packets of one track of one viewer.
#[derive(Debug)]
pub(super) struct RtpWriter {
    ssrc: u32,
    payload_type: u8,
    sequence_number: u16,
    timestamp_offset: u32,
    payloader: Box<dyn Payloader>,
}

impl RtpWriter {
    /// A writer that adds `timestamp_offset` to every timestamp, modulo 2^32.
    pub(super) fn new(
        ssrc: u32,
        payload_type: u8,
        timestamp_offset: u32,
        payloader: Box<dyn Payloader>,
    ) -> Self {
        // The first half of the range: SRTP receivers guess the rollover count wrong from late first packets.
        let sequence_number = rand::random::<u16>() >> 1;
        Self { ssrc, payload_type, sequence_number, timestamp_offset, payloader }
    }

    /// The packets of one frame; all carry its timestamp, the last one the marker.
    ///
    /// # Errors
    /// When `data` is not what the track's codec produces.
    pub(super) fn packets(&mut self, timestamp: i64, data: &Bytes) -> Result<Vec<Packet>> {
        let payloads = self.payloader.payload(LARGEST_PAYLOAD, data)?;
        let last = payloads.len().saturating_sub(1);
        let timestamp = self.timestamp_offset.wrapping_add(timestamp as u32);
        let packet = |(index, payload)| {
            let sequence_number = self.sequence_number;
            self.sequence_number = sequence_number.wrapping_add(1);
            let header = Header {
                version: 2,
                marker: index == last,
                payload_type: self.payload_type,
                sequence_number,
                timestamp,
                ssrc: self.ssrc,
                ..Header::default()
            };
            Packet { header, payload }
        };
        Ok(payloads.into_iter().enumerate().map(packet).collect())
    }
}

#[cfg(test)]
mod tests {
    use rtc::rtp::codec::opus::OpusPayloader;
    use rtc::rtp::codec::vp8::Vp8Payloader;

    use super::*;

    #[test]
    fn a_frame_shares_one_timestamp_and_ends_with_the_marker() {
        let mut writer = RtpWriter::new(7, 96, u32::MAX - 100, Box::<Vp8Payloader>::default());
        let packets = writer.packets(3_600, &Bytes::from(vec![1; 3_000])).unwrap();
        let first = packets[0].header.sequence_number;
        let seen: Vec<_> =
            packets.iter().map(|p| (p.header.sequence_number - first, p.header.marker)).collect();
        assert_eq!(seen, [(0, false), (1, false), (2, true)]);
        assert!(packets.iter().all(|packet| packet.header.timestamp == 3_499 && packet.header.ssrc == 7));
        assert!(packets.iter().all(|packet| packet.payload.len() <= LARGEST_PAYLOAD));
    }

    #[test]
    fn media_before_zero_lie_before_the_offset() {
        let mut writer = RtpWriter::new(7, 111, 1_000, Box::<OpusPayloader>::default());
        assert_eq!(writer.packets(-312, &Bytes::from_static(b"opus")).unwrap()[0].header.timestamp, 688);
    }
}
