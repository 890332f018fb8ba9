//! A viewer from offer to farewell.

use std::sync::Arc;
use std::time::Duration;

use lipcast_codecs::VideoCodec;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::offer::Offer;
use super::peer::{self, MediaPeer, PeerState};
use super::{OfferError, WebrtcSettings};
use crate::live::LiveStream;

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
    if tokio::time::timeout(patience, connected).await.is_err() {
        return "it never connected";
    }
    let Some(mut frames) = stream.subscribe(video) else { return "the session had ended" };
    tracing::info!(?video, "viewer connected");
    while let Some(frame) = frames.next().await {
        if let Err(error) = peer.send(&frame).await {
            tracing::debug!(%error, "sending to a viewer");
            return "nothing could be sent";
        }
    }
    "the session ended"
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
