//! Sender reports that map both tracks onto the session's one clock.
//!
//! The library's own reports say when a packet was written; a frame written late would then be shown late.
//! These say which media instant it is now, whatever was written when.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::interceptor::{AttributedPacket, Packet, TaggedPacket};
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::source_description::{
    SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem,
};
use rtc::shared::TransportContext;

use super::{Link, Outbound};
use crate::live::MediaClock;

/// Time between reports, and thus the longest a viewer plays without knowing how the tracks relate.
const INTERVAL: Duration = Duration::from_secs(1);

/// A track whose reports are written here.
#[derive(Debug, Clone, Copy)]
pub(in crate::webrtc) struct ReportedTrack {
    pub(in crate::webrtc) ssrc: u32,
    /// Ticks a second of its RTP clock.
    pub(in crate::webrtc) clock_rate: u32,
    /// RTP timestamp of media instant 0.
    pub(in crate::webrtc) timestamp_offset: u32,
}

/// Writes a report for each track before its first packet and once a second from then on.
pub(in crate::webrtc) struct SenderReports {
    clock: Arc<OnceLock<MediaClock>>,
    cname: Bytes,
    tracks: Vec<Counted>,
    next: Option<Instant>,
}

struct Counted {
    track: ReportedTrack,
    packets: u32,
    octets: u32,
}

impl SenderReports {
    /// Reports on `tracks` under one canonical name, which is what tells a receiver to keep them in step.
    pub(in crate::webrtc) fn new(
        clock: Arc<OnceLock<MediaClock>>,
        cname: &str,
        tracks: impl IntoIterator<Item = ReportedTrack>,
    ) -> Self {
        Self {
            clock,
            cname: Bytes::copy_from_slice(cname.as_bytes()),
            tracks: tracks.into_iter().map(|track| Counted { track, packets: 0, octets: 0 }).collect(),
            next: None,
        }
    }

    /// Whether this was a track's first packet.
    fn count(&mut self, packet: &Packet) -> bool {
        let Packet::Rtp(rtp) = packet else { return false };
        let ours = self.tracks.iter_mut().find(|counted| counted.track.ssrc == rtp.header.ssrc);
        ours.is_some_and(|counted| {
            counted.packets = counted.packets.wrapping_add(1);
            counted.octets = counted.octets.wrapping_add(rtp.payload.len() as u32);
            counted.packets == 1
        })
    }

    fn report(&mut self, now: Instant, out: &mut Outbound) {
        let Some(clock) = self.clock.get() else { return };
        let (ntp_time, cname) = (clock.ntp(now), &self.cname);
        let reports = self.tracks.iter().filter(|counted| counted.packets > 0).map(|counted| {
            let ReportedTrack { ssrc, clock_rate, timestamp_offset } = counted.track;
            let report = SenderReport {
                ssrc,
                ntp_time,
                rtp_time: timestamp_offset.wrapping_add(clock.ticks(now, clock_rate) as u32),
                packet_count: counted.packets,
                octet_count: counted.octets,
                ..SenderReport::default()
            };
            let name = SourceDescriptionItem { sdes_type: SdesType::SdesCname, text: cname.clone() };
            let chunk = SourceDescriptionChunk { source: ssrc, items: vec![name] };
            let message: Vec<Box<dyn rtc::rtcp::Packet>> =
                vec![Box::new(report), Box::new(SourceDescription { chunks: vec![chunk] })];
            TaggedPacket {
                now,
                transport: TransportContext::default(),
                message: AttributedPacket::new(Packet::Rtcp(message)),
            }
        });
        out.extend(reports);
        self.next = Some(now + INTERVAL);
    }
}

impl Link for SenderReports {
    fn on_write(&mut self, packet: TaggedPacket, out: &mut Outbound) {
        if self.count(&packet.message.packet) {
            self.report(packet.now, out);
        }
        out.push_back(packet);
    }

    fn on_timeout(&mut self, now: Instant, out: &mut Outbound) {
        if self.next.is_some_and(|next| now >= next) {
            self.report(now, out);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use lipcast_engine::time::FrameRate;
    use rtc::rtp;
    use rtc::sansio::Protocol;

    use super::super::Chained;
    use super::super::testing::tagged;
    use super::*;

    const VIDEO: ReportedTrack =
        ReportedTrack { ssrc: 1, clock_rate: 90_000, timestamp_offset: u32::MAX - 9 };
    const AUDIO: ReportedTrack = ReportedTrack { ssrc: 2, clock_rate: 48_000, timestamp_offset: 5 };

    fn rtp(ssrc: u32) -> Packet {
        let header = rtp::header::Header { version: 2, ssrc, ..Default::default() };
        Packet::Rtp(rtp::Packet { header, payload: Bytes::from_static(&[0; 100]) })
    }

    /// Reports waiting to be sent, and how many other packets.
    fn drain(link: &mut Chained<SenderReports>) -> (Vec<SenderReport>, usize) {
        let (mut reports, mut media) = (Vec::new(), 0);
        while let Some(packet) = link.poll_write() {
            match packet.message.packet {
                Packet::Rtcp(packets) => {
                    reports.extend(packets[0].as_any().downcast_ref::<SenderReport>().cloned());
                    assert!(packets[1].as_any().is::<SourceDescription>());
                }
                _ => media += 1,
            }
        }
        (reports, media)
    }

    #[test]
    fn both_tracks_report_the_media_time_of_now_however_late_they_write() {
        let start = Instant::now();
        let clock = Arc::new(OnceLock::from(MediaClock::anchored(start, 0, FrameRate::FPS_25)));
        let mut link = Chained::new(SenderReports::new(clock, "session", [VIDEO, AUDIO]));

        let late = start + Duration::from_millis(80);
        link.handle_write(tagged(late, rtp(1))).unwrap();
        let (reports, media) = drain(&mut link);
        assert_eq!((reports.len(), media), (1, 1), "audio has sent nothing to report on yet");
        assert_eq!(reports[0].rtp_time, VIDEO.timestamp_offset.wrapping_add(7_200));

        link.handle_write(tagged(late, rtp(2))).unwrap();
        drain(&mut link);
        let now = link.poll_timeout().unwrap();
        link.handle_timeout(now).unwrap();
        let (reports, _) = drain(&mut link);
        assert_eq!(reports.len(), 2);
        assert_eq!(reports[0].ntp_time, reports[1].ntp_time);
        assert_eq!(reports[0].rtp_time.wrapping_sub(VIDEO.timestamp_offset), 97_200);
        assert_eq!(reports[1].rtp_time.wrapping_sub(AUDIO.timestamp_offset), 51_840);
        assert_eq!((reports[0].packet_count, reports[0].octet_count), (1, 100));
    }
}
