//! One peer connection, as far as the rest of the server knows it, on the `webrtc` crate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::webrtc::media_stream::track_local::{TrackLocal, static_rtp::TrackLocalStaticRTP};
use ::webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceCandidateType,
    RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription, Registry, SettingEngine,
    SettingEngineBuilder, configure_twcc_sender_only,
};
use async_trait::async_trait;
use lipcast_codecs::VideoCodec;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{CongestionControlBuilder, NackResponderBuilder, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpRtxParameters, RtpCodecKind,
};
use rtc::shared::error::Error;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::Instrument;

use super::interceptors::{
    Chained, KeyFrameRequests, NackGate, Pacer, QueueDelay, ReportedTrack, SenderReports, SharedTarget,
};
use super::offer::{Offer, OfferedCodec, OfferedVideo};
use super::rtp_writer::RtpWriter;
use super::{OfferError, WebrtcSettings};
use crate::live::{EncodedFrame, LiveStream, Medium};

/// Name of the media stream in the answer, and canonical name in the reports: one for both tracks, which is what
/// makes a receiver keep them in step.
const STREAM: &str = "lipcast";

/// The estimate goes no lower, bits a second: a loss-based flow beside ours would otherwise starve it.
const LEAST_TARGET: u32 = 250_000;

/// Whether media reach the viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerState {
    /// Not yet.
    Connecting,
    /// Yes.
    Connected,
    /// Not at the moment.
    Disconnected,
    /// Never again.
    Closed,
}

/// What the server needs of a WebRTC library, once an offer has been answered.
#[async_trait]
pub(super) trait MediaPeer: Send {
    /// Sends one frame; waits while the connection's queue is full. Frames of a track that the viewer did not ask
    /// for are left out.
    async fn send(&mut self, frame: &EncodedFrame) -> Result<(), Error>;

    /// What the viewer's link is estimated to carry of everything sent to it, bits a second.
    fn target_bitrate(&self) -> u32;

    /// How the connection stands; changes can be awaited.
    fn state(&self) -> watch::Receiver<PeerState>;

    /// Ends the connection and frees its sockets. Dropping the peer does so too, a little later.
    async fn close(self);
}

/// Answers `offer`: the peer, not yet connected, and the SDP of the answer with all own addresses in it.
pub(super) async fn answer(
    sdp: String,
    offer: &Offer,
    stream: &Arc<LiveStream>,
    settings: &WebrtcSettings,
) -> Result<(WebrtcPeer, String), OfferError> {
    let tracks = Tracks::for_offer(offer);
    let mut engine = media_engine(offer)?;
    let (registry, target) = interceptors(&tracks, offer, stream, &mut engine)?;
    let (gathered, mut gathering) = watch::channel(false);
    let (state, states) = watch::channel(PeerState::Connecting);
    let connection = PeerConnectionBuilder::<SocketAddr>::new()
        .with_media_engine(engine)
        .with_interceptor_registry(registry)
        .with_setting_engine(setting_engine(settings))
        .with_handler(Arc::new(Events { gathered, state }))
        .with_udp_addrs(settings.addresses.clone())
        .build()
        .await?;
    let connection = Connection(Some(Box::new(connection)));
    let peer = connection.get();

    let sdp = RTCSessionDescription::offer(sdp).map_err(|error| OfferError::Malformed(error.to_string()))?;
    let refused = |error: Error| OfferError::Malformed(error.to_string());
    peer.set_remote_description(sdp).await.map_err(refused)?;
    // Only now: a track added before would keep our own numbering of header extensions and payload types.
    let (mut video, mut audio) = (None, None);
    if let (Some(track), Some(offered)) = (&tracks.video, &offer.video) {
        video = Some(track.attach(peer, &offered.offered).await?);
    }
    if let (Some(track), Some(offered)) = (&tracks.audio, &offer.audio) {
        audio = Some(track.attach(peer, offered).await?);
    }
    let answer = peer.create_answer(None).await.map_err(refused)?;
    peer.set_local_description(answer).await.map_err(refused)?;
    // Late addresses are left out; those of the host itself are there at once.
    let _ = tokio::time::timeout(settings.gather_timeout, gathering.wait_for(|done| *done)).await;
    let answer = peer.local_description().await.ok_or(OfferError::SessionEnded)?.sdp;
    Ok((WebrtcPeer { connection, video, audio, target, states }, answer))
}

impl From<Error> for OfferError {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// [`MediaPeer`] on the `webrtc` crate.
pub(super) struct WebrtcPeer {
    connection: Connection,
    video: Option<Sender>,
    audio: Option<Sender>,
    target: SharedTarget,
    states: watch::Receiver<PeerState>,
}

struct Sender {
    track: Arc<TrackLocalStaticRTP>,
    writer: RtpWriter,
}

#[async_trait]
impl MediaPeer for WebrtcPeer {
    async fn send(&mut self, frame: &EncodedFrame) -> Result<(), Error> {
        let sender = match frame.medium {
            Medium::Video { .. } => &mut self.video,
            Medium::Audio => &mut self.audio,
        };
        let Some(Sender { track, writer }) = sender else { return Ok(()) };
        for packet in writer.packets(frame.timestamp, &frame.data)? {
            track.write_rtp(packet).await?;
        }
        Ok(())
    }

    fn target_bitrate(&self) -> u32 {
        self.target.load(Ordering::Relaxed)
    }

    fn state(&self) -> watch::Receiver<PeerState> {
        self.states.clone()
    }

    async fn close(mut self) {
        if let Some(connection) = self.connection.0.take() {
            close(connection).await;
        }
    }
}

/// A connection of the library, which would keep its sockets and its task for good when it is dropped: whoever
/// drops this, by whatever way out, has it closed.
struct Connection(Option<Box<dyn PeerConnection>>);

impl Connection {
    fn get(&self) -> &dyn PeerConnection {
        // Taken out by `WebrtcPeer::close` and `drop` alone, and both end this value.
        self.0.as_deref().expect("a connection that was not closed")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Without a runtime there is no task of the connection either.
        if let (Some(connection), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(close(connection).in_current_span());
        }
    }
}

async fn close(connection: Box<dyn PeerConnection>) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "closing a peer connection");
    }
}

/// Our tracks, with the numbers that packets, reports and the answer share.
struct Tracks {
    video: Option<LocalTrack>,
    audio: Option<LocalTrack>,
}

struct LocalTrack {
    kind: RtpCodecKind,
    codec: RTCRtpCodec,
    reported: ReportedTrack,
    retransmission_ssrc: Option<u32>,
}

impl Tracks {
    fn for_offer(offer: &Offer) -> Self {
        let video = offer.video.as_ref().map(|video| LocalTrack {
            kind: RtpCodecKind::Video,
            codec: video_codec(video),
            reported: reported(90_000),
            retransmission_ssrc: video.rtx.map(|_| rand::random()),
        });
        let audio = offer.audio.as_ref().map(|_| LocalTrack {
            kind: RtpCodecKind::Audio,
            codec: opus_codec(),
            reported: reported(48_000),
            retransmission_ssrc: None,
        });
        Self { video, audio }
    }
}

/// Random, as RFC 3550 asks: neither number may be guessed, and each viewer has its own.
fn reported(clock_rate: u32) -> ReportedTrack {
    ReportedTrack { ssrc: rand::random(), clock_rate, timestamp_offset: rand::random() }
}

impl LocalTrack {
    async fn attach(
        &self,
        connection: &dyn PeerConnection,
        offered: &OfferedCodec,
    ) -> Result<Sender, OfferError> {
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(self.reported.ssrc),
                rtx: self.retransmission_ssrc.map(|ssrc| RTCRtpRtxParameters { ssrc }),
                ..Default::default()
            },
            codec: self.codec.clone(),
            ..Default::default()
        };
        let name = self.kind.to_string();
        let track =
            MediaStreamTrack::new(STREAM.into(), format!("{STREAM}-{name}"), name, self.kind, vec![encoding]);
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        let sender = connection.add_track(Arc::clone(&track) as Arc<dyn TrackLocal>).await?;
        let negotiated = sender.get_parameters().await?.rtp_parameters.codecs;
        let payload_type = negotiated.first().map_or(offered.payload_type, |codec| codec.payload_type);
        let ReportedTrack { ssrc, timestamp_offset, .. } = self.reported;
        let writer = RtpWriter::new(ssrc, payload_type, timestamp_offset, self.codec.payloader()?);
        Ok(Sender { track, writer })
    }
}

/// Only what was chosen from the offer, under the offer's own payload types: nothing is left to negotiate.
fn media_engine(offer: &Offer) -> Result<MediaEngine, OfferError> {
    let mut engine = MediaEngine::default();
    if let Some(video) = &offer.video {
        let codec = video_codec(video);
        let payload_type = video.offered.payload_type;
        engine
            .register_codec(RTCRtpCodecParameters { rtp_codec: codec, payload_type }, RtpCodecKind::Video)?;
        if let Some(rtx) = video.rtx {
            let codec = RTCRtpCodec {
                mime_type: "video/rtx".into(),
                clock_rate: 90_000,
                sdp_fmtp_line: format!("apt={payload_type}"),
                ..Default::default()
            };
            engine.register_codec(
                RTCRtpCodecParameters { rtp_codec: codec, payload_type: rtx },
                RtpCodecKind::Video,
            )?;
        }
    }
    if let Some(audio) = &offer.audio {
        let codec = RTCRtpCodecParameters { rtp_codec: opus_codec(), payload_type: audio.payload_type };
        engine.register_codec(codec, RtpCodecKind::Audio)?;
    }
    Ok(engine)
}

fn video_codec(video: &OfferedVideo) -> RTCRtpCodec {
    let (mime_type, sdp_fmtp_line) = match video.codec {
        // The offer's own parameters: they were checked to contain what is sent.
        VideoCodec::H264 => ("video/H264", video.offered.fmtp.clone()),
        VideoCodec::Vp8 => ("video/VP8", String::new()),
    };
    let feedback = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.into(), parameter: parameter.into() };
    RTCRtpCodec {
        mime_type: mime_type.into(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line,
        rtcp_feedback: vec![feedback("ccm", "fir"), feedback("nack", ""), feedback("nack", "pli")],
    }
}

fn opus_codec() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: "audio/opus".into(),
        clock_rate: 48_000,
        // What SDP says for mono too (RFC 7587).
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".into(),
        rtcp_feedback: Vec::new(),
    }
}

/// From the wire up: the estimator and the numbers its feedback names, the pacer, the gate before the responder it
/// guards, our sender reports, the ear for key frame requests.
fn interceptors(
    tracks: &Tracks,
    offer: &Offer,
    stream: &Arc<LiveStream>,
    engine: &mut MediaEngine,
) -> Result<(Registry, SharedTarget), OfferError> {
    let format = stream.format();
    // Begins with what everything takes at full rate: a wrong guess is corrected within a second or two.
    let full = (f64::from(format.video_bitrate + format.audio_bitrate) * 1.25) as u32;
    let (estimator, target) = QueueDelay::new(full, LEAST_TARGET.min(full), full);
    let reported = [&tracks.video, &tracks.audio].into_iter().flatten().map(|track| track.reported);
    let reports = SenderReports::new(stream.shared_clock(), STREAM, reported);
    let video_ssrcs = tracks
        .video
        .iter()
        .flat_map(|track| [Some(track.reported.ssrc), track.retransmission_ssrc])
        .flatten();
    let mut registry = configure_twcc_sender_only(Registry::new(), engine)?
        .with(Slot::CongestionControl, CongestionControlBuilder::new(estimator).build())
        .with(Slot::Pacer, Chained::new(Pacer::new(video_ssrcs.collect(), f64::from(full))))
        .with(Slot::from(3_900), Chained::new(NackGate::new(format.video_bitrate)))
        .with(Slot::NackResponder, NackResponderBuilder::new().build())
        .with(Slot::SenderReport, Chained::new(reports));
    if let Some(OfferedVideo { codec, .. }) = offer.video {
        // Weak: a peer connection must not keep a session's media alive.
        let stream = Arc::downgrade(stream);
        let requests = KeyFrameRequests::new(move || {
            if let Some(stream) = stream.upgrade() {
                stream.request_key_frame(codec);
            }
        });
        registry = registry.with(Slot::from(20_000), Chained::new(requests));
    }
    Ok((registry, target))
}

fn setting_engine(settings: &WebrtcSettings) -> SettingEngine {
    let mut engine = SettingEngineBuilder::new()
        .with_include_loopback_candidate(true)
        // Viewers that hide their address behind an mDNS name are found when they call us.
        .with_multicast_dns_mode(MulticastDnsMode::Disabled);
    if !settings.public_addresses.is_empty() {
        let addresses = settings.public_addresses.iter().map(ToString::to_string).collect();
        engine = engine.with_nat_1to1_ips(addresses, RTCIceCandidateType::Host);
    }
    engine.build()
}

/// The library's events, kept as the latest value each.
struct Events {
    gathered: watch::Sender<bool>,
    state: watch::Sender<PeerState>,
}

#[async_trait]
impl PeerConnectionEventHandler for Events {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        tracing::debug!(%state, "peer connection");
        self.state.send_replace(match state {
            RTCPeerConnectionState::Connected => PeerState::Connected,
            RTCPeerConnectionState::Disconnected => PeerState::Disconnected,
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => PeerState::Closed,
            _ => return,
        });
    }
}
