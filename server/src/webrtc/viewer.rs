//! A viewer from offer to farewell.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lipcast_codecs::VideoCodec;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::offer::Offer;
use super::peer::{self, MediaPeer, PeerState};
use super::{OfferError, WebrtcSettings};
use crate::live::{EncodedFrame, LiveStream, Medium};

/// How often the encoder is told what a viewer's link carries.
const RATE_INTERVAL: Duration = Duration::from_millis(250);

/// RTP, SRTP, UDP and IP headers of fifty audio packets a second, bits.
const AUDIO_HEADERS: u32 = 50 * 60 * 8;

/// A viewer whose offer was answered. Dropping it changes nothing: the viewer watches until it leaves, the session
/// ends, or [`close`](Self::close) is called.
#[derive(Debug)]
pub struct Viewer {
    /// The SDP answer, with all of the server's addresses: nothing more is to be signalled.
    pub answer: String,
    /// The video codec chosen, when the offer asked for video.
    pub video: Option<VideoCodec>,
    /// Whether the offer asked for audio.
    pub audio: bool,
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Viewer {
    /// Ends the connection soon.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Waits until the connection has ended and its sockets are free.
    pub async fn finished(&mut self) {
        // An error is a panic of that task, which has been logged and freed everything as well.
        let _ = (&mut self.task).await;
    }
}

/// Answers a viewer's `offer` and sends it `stream` from the moment it connects.
///
/// The viewer counts in [`LiveStream::viewers`] while it is connected, so the session's clock starts with the
/// first one. Everything is freed when it disconnects for longer than the grace, when it never connects, and when
/// the stream ends. Must be called within a tokio runtime; the connection lives on it.
///
/// # Errors
/// Says what is wrong with the offer, or with this server; the stream and its other viewers are untouched.
pub async fn connect(
    offer: &str,
    stream: &Arc<LiveStream>,
    settings: &WebrtcSettings,
) -> Result<Viewer, OfferError> {
    let read = Offer::read(offer, &settings.video_codecs)?;
    if stream.has_ended() {
        return Err(OfferError::SessionEnded);
    }
    let (video, audio) = (read.video.as_ref().map(|video| video.codec), read.audio.is_some());
    let (sdp, shared, own) = (offer.to_owned(), Arc::clone(stream), settings.clone());
    // In a task of its own, so that an offer that makes the library panic is one client's error and nothing more.
    let answering =
        tokio::spawn(async move { peer::answer(sdp, &read, &shared, &own).await }.in_current_span());
    let (peer, answer) = answering
        .await
        .map_err(|_| OfferError::Malformed("it contradicts itself in a way that nobody foresaw".into()))??;

    let (closing, asked_to_close) = watch::channel(false);
    let watching = watch_stream(peer, Arc::clone(stream), video, settings.clone(), asked_to_close);
    let task = tokio::spawn(watching.in_current_span());
    Ok(Viewer { answer, video, audio, closing, task })
}

/// The life of one viewer after the answer.
async fn watch_stream(
    mut peer: impl MediaPeer,
    stream: Arc<LiveStream>,
    video: Option<VideoCodec>,
    settings: WebrtcSettings,
    asked_to_close: watch::Receiver<bool>,
) {
    let states = peer.state();
    let reason = tokio::select! {
        reason = send_when_connected(&mut peer, &stream, video, settings.connect_timeout) => reason,
        () = gone(states, settings.disconnect_grace) => "it left",
        () = asked(asked_to_close) => "it was asked to",
    };
    peer.close().await;
    tracing::info!(reason, "viewer gone");
}

async fn send_when_connected(
    peer: &mut impl MediaPeer,
    stream: &Arc<LiveStream>,
    video: Option<VideoCodec>,
    patience: Duration,
) -> &'static str {
    let mut states = peer.state();
    let connected = states.wait_for(|state| *state == PeerState::Connected);
    tokio::select! {
        waited = tokio::time::timeout(patience, connected) => if waited.is_err() {
            return "it never connected";
        },
        // Its sockets must not outlive the session that they were opened for.
        () = stream.ended() => return "the session ended before it connected",
    }
    let Some(mut frames) = stream.subscribe(video) else { return "the session had ended" };
    tracing::info!(?video, "viewer connected");
    let mut asked = Instant::now();
    let mut sound = EvenSound::default();
    loop {
        if asked.elapsed() >= RATE_INTERVAL {
            asked = Instant::now();
            frames.limit_video(video_share(peer.target_bitrate(), stream.format().audio_bitrate));
        }
        let frame = tokio::select! {
            frame = sound.next_due() => frame,
            frame = frames.next() => match (frame, stream.clock()) {
                (None, _) => return "the session ended",
                (Some(frame), Some(clock)) if frame.medium == Medium::Audio => {
                    sound.hold(clock.instant_of(frame.timestamp, 48_000), frame);
                    continue;
                }
                (Some(frame), _) => frame,
            },
        };
        if let Err(error) = peer.send(&frame).await {
            tracing::debug!(%error, "sending to a viewer");
            return "nothing could be sent";
        }
    }
}

/// Sends the Opus frames of a unit one after the other when each is due, instead of all when the unit is.
///
/// A receiver takes the unevenness of packets for that of the network and delays the sound by as much: a unit's two
/// frames sent at once cost the listener, and the picture with him, 20 ms.
#[derive(Default)]
struct EvenSound(VecDeque<(Instant, Arc<EncodedFrame>)>);

impl EvenSound {
    /// Frames held at most, 160 ms: a session that runs faster than the clock is not slowed down here.
    const MOST: usize = 8;

    fn hold(&mut self, due: Instant, frame: Arc<EncodedFrame>) {
        self.0.push_back((due, frame));
    }

    /// The next frame, at its time; for ever when there is none. May be dropped while waiting.
    async fn next_due(&mut self) -> Arc<EncodedFrame> {
        let Some((due, _)) = self.0.front() else { return std::future::pending().await };
        if self.0.len() <= Self::MOST {
            tokio::time::sleep_until((*due).into()).await;
        }
        self.0.pop_front().expect("the frame that was waited for").1
    }
}

/// What is left for video of a link that carries `target` bits a second, with room for headers and retransmissions.
fn video_share(target: u32, audio_bitrate: u32) -> u32 {
    (target / 10 * 9).saturating_sub(audio_bitrate + AUDIO_HEADERS)
}

/// Waits until the peer is lost: closed, or disconnected for longer than `grace`.
async fn gone(mut states: watch::Receiver<PeerState>, grace: Duration) {
    loop {
        let state = *states.borrow_and_update();
        let changed = match state {
            PeerState::Closed => return,
            PeerState::Disconnected => match tokio::time::timeout(grace, states.changed()).await {
                Ok(changed) => changed,
                Err(_) => return,
            },
            PeerState::Connecting | PeerState::Connected => states.changed().await,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Waits until closing is asked for; for ever when nobody can ask any more.
async fn asked(mut asked_to_close: watch::Receiver<bool>) {
    if asked_to_close.wait_for(|asked| *asked).await.is_err() {
        std::future::pending().await
    }
}
