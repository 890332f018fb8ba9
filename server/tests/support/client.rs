//! A viewer made of a second peer connection, with a tap on its wire.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use lipcast_server::live::LiveStream;
use lipcast_server::webrtc::{Viewer, WebrtcSettings, connect};
use rtc::interceptor::{Interceptor, Packet, Slot, StreamInfo, TaggedPacket};
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp::header::Header;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use tokio::sync::watch;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCSessionDescription, Registry, SettingEngineBuilder, configure_nack, configure_rtcp_reports,
};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};

/// What came over the wire.
#[derive(Default)]
pub(crate) struct Wire {
    pub packets: Vec<(Header, Bytes)>,
    pub reports: Vec<SenderReport>,
    /// Sequence numbers of video packets that were thrown away.
    pub dropped: Vec<u16>,
    /// Throw away each video packet whose number is divisible by this; 0 throws none away.
    pub drop_each: u16,
}

impl Wire {
    /// Payload types of the media seen, in the order of their first packet.
    pub(crate) fn payload_types(&self) -> Vec<u8> {
        let mut seen = Vec::new();
        for (header, _) in &self.packets {
            if !seen.contains(&header.payload_type) {
                seen.push(header.payload_type);
            }
        }
        seen
    }

    /// Timestamps of one payload type, one a frame.
    pub(crate) fn timestamps(&self, payload_type: u8) -> Vec<u32> {
        let of_type = self.packets.iter().filter(|(header, _)| header.payload_type == payload_type);
        let mut all: Vec<u32> = of_type.map(|(header, _)| header.timestamp).collect();
        all.dedup();
        all
    }

    /// Frames that begin with H.264 parameter sets.
    pub(crate) fn key_frames(&self, payload_type: u8) -> usize {
        let is_key = |(header, payload): &&(Header, Bytes)| {
            header.payload_type == payload_type && payload.first().is_some_and(|nal| nal & 0x1f == 24)
        };
        self.packets.iter().filter(is_key).count()
    }
}

pub(crate) struct Client {
    pub connection: Arc<dyn PeerConnection>,
    pub viewer: Viewer,
    pub wire: Arc<Mutex<Wire>>,
    tracks: watch::Receiver<Vec<Arc<dyn TrackRemote>>>,
}

/// Payload types of the client's offer.
pub(crate) const VIDEO: u8 = 102;
pub(crate) const RTX: u8 = 103;
pub(crate) const AUDIO: u8 = 111;

impl Client {
    /// Offers to receive both tracks of `stream`.
    pub(crate) async fn watch(stream: &Arc<LiveStream>, drop_each: u16) -> Self {
        let wire = Arc::new(Mutex::new(Wire { drop_each, ..Wire::default() }));
        let mut engine = MediaEngine::default();
        register(&mut engine);
        let registry = configure_rtcp_reports(configure_nack(Registry::new(), &mut engine)).with(
            Slot::from(500),
            Tap { wire: Arc::clone(&wire), inbound: VecDeque::new(), outbound: VecDeque::new() },
        );
        let (gathered, mut gathering) = watch::channel(false);
        let (arrived, tracks) = watch::channel(Vec::new());
        let connection = PeerConnectionBuilder::<SocketAddr>::new()
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(SettingEngineBuilder::new().with_include_loopback_candidate(true).build())
            .with_handler(Arc::new(Handler { gathered, arrived }))
            .with_udp_addrs(vec!["127.0.0.1:0".parse().unwrap()])
            .build()
            .await
            .unwrap();
        for kind in [RtpCodecKind::Video, RtpCodecKind::Audio] {
            let direction = RTCRtpTransceiverDirection::Recvonly;
            let init = RTCRtpTransceiverInit { direction, streams: vec![], send_encodings: vec![] };
            connection.add_transceiver_from_kind(kind, Some(init)).await.unwrap();
        }
        let offer = connection.create_offer(None).await.unwrap();
        connection.set_local_description(offer).await.unwrap();
        gathering.wait_for(|done| *done).await.unwrap();
        let offer = connection.local_description().await.unwrap().sdp;
        let settings = WebrtcSettings::for_http_address([127, 0, 0, 1].into());
        let viewer = connect(&offer, stream, &settings).await.unwrap();
        connection
            .set_remote_description(RTCSessionDescription::answer(viewer.answer.clone()).unwrap())
            .await
            .unwrap();
        Self { connection: Arc::new(connection), viewer, wire, tracks }
    }

    /// Waits until what came satisfies `enough`; a minute at most.
    pub(crate) async fn until(&self, enough: impl Fn(&Wire) -> bool) {
        for _ in 0..6_000 {
            if enough(&self.wire.lock().unwrap()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let wire = self.wire.lock().unwrap();
        panic!("a minute was not enough: {} packets, {} reports", wire.packets.len(), wire.reports.len());
    }

    /// The video track, once it has arrived.
    pub(crate) async fn video(&mut self) -> Arc<dyn TrackRemote> {
        loop {
            let tracks = self.tracks.borrow_and_update().clone();
            for track in tracks {
                if track.kind().await == RtpCodecKind::Video {
                    return track;
                }
            }
            self.tracks.changed().await.unwrap();
        }
    }
}

fn register(engine: &mut MediaEngine) {
    use rtc::rtp_transceiver::rtp_sender::{RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters};
    let feedback = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.into(), parameter: parameter.into() };
    let codec = |mime: &str, clock_rate, channels, fmtp: &str, rtcp_feedback| RTCRtpCodec {
        mime_type: mime.into(),
        clock_rate,
        channels,
        sdp_fmtp_line: fmtp.into(),
        rtcp_feedback,
    };
    let h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
    let video_feedback = vec![feedback("nack", ""), feedback("nack", "pli"), feedback("ccm", "fir")];
    for (payload_type, kind, rtp_codec) in [
        (VIDEO, RtpCodecKind::Video, codec("video/H264", 90_000, 0, h264, video_feedback)),
        (RTX, RtpCodecKind::Video, codec("video/rtx", 90_000, 0, "apt=102", vec![])),
        (AUDIO, RtpCodecKind::Audio, codec("audio/opus", 48_000, 2, "minptime=10;useinbandfec=1", vec![])),
    ] {
        engine.register_codec(RTCRtpCodecParameters { rtp_codec, payload_type }, kind).unwrap();
    }
}

struct Handler {
    gathered: watch::Sender<bool>,
    arrived: watch::Sender<Vec<Arc<dyn TrackRemote>>>,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let reader = Arc::clone(&track);
        tokio::spawn(async move { while reader.poll().await.is_some() {} });
        self.arrived.send_modify(|tracks| tracks.push(track));
    }
}

/// Closest to the wire, so that what it drops nobody else of this end has seen.
struct Tap {
    wire: Arc<Mutex<Wire>>,
    inbound: VecDeque<TaggedPacket>,
    outbound: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        let mut wire = self.wire.lock().unwrap();
        match &packet.message.packet {
            Packet::Rtp(rtp) => {
                let number = rtp.header.sequence_number;
                let drop_each = wire.drop_each;
                if rtp.header.payload_type == VIDEO && drop_each > 0 && number.is_multiple_of(drop_each) {
                    wire.dropped.push(number);
                    return Ok(());
                }
                wire.packets.push((rtp.header.clone(), rtp.payload.clone()));
            }
            Packet::Rtcp(packets) => {
                let reports =
                    packets.iter().filter_map(|packet| packet.as_any().downcast_ref::<SenderReport>());
                wire.reports.extend(reports.cloned());
            }
            _ => {}
        }
        drop(wire);
        self.inbound.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inbound.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.outbound.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front()
    }
}

impl Interceptor for Tap {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}
