//! One running session: the engine's performance, its encoders, and the viewers that watch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use lipcast_codecs::I420Ref;
use lipcast_engine::avatar::{AvatarId, Job};
use lipcast_engine::session::live::{LiveConfig, LiveEvent, LiveSession};
use lipcast_engine::session::{self as engine, OpenError, Stage, Unit};
use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use super::CancelOnDrop;
use super::backends::mode_of;
use super::black_boxes::BlackBoxes;
use crate::app::{BackendChange, Mode, Rejection, SessionEvent, SessionEvents, SessionReport, StudioError};
use crate::live::{LiveStream, LiveUnit, StreamFormat};
use crate::metrics::Metrics;
use crate::webrtc::{self, WebrtcSettings};

/// A session that runs until its viewers leave it or somebody stops it.
pub(super) struct Performance {
    pub(super) avatar: AvatarId,
    /// The backend that it began with.
    pub(super) backend: String,
    pub(super) mode: Mode,
    pub(super) live: Arc<LiveSession>,
    pub(super) events: Arc<SessionEvents>,
    _casting: CancelOnDrop,
    black_boxes: Arc<BlackBoxes>,
    stream: Arc<LiveStream>,
    /// Answered offers whose connection has not ended, connected or not.
    viewers: Arc<AtomicUsize>,
    span: Span,
}

/// What a performance is made of.
pub(super) struct Cast {
    pub(super) session: String,
    pub(super) avatar: AvatarId,
    pub(super) mode: Mode,
    pub(super) stage: Stage,
    pub(super) live: LiveConfig,
    /// Who takes over.
    pub(super) cast: engine::Cast,
    /// Stops what is prepared for those, when the session is over.
    pub(super) casting: Job,
    /// Where its black box is kept when it is over.
    pub(super) black_boxes: Arc<BlackBoxes>,
    /// Bits per second.
    pub(super) video_bitrate: u32,
    /// Bits per second.
    pub(super) audio_bitrate: u32,
    /// Where it is counted.
    pub(super) metrics: Arc<Metrics>,
}

/// Told when a performance's last unit has been given.
pub(super) type Ended = oneshot::Receiver<()>;

/// Why a performance could not begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum BeginError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("no thread for the encoders: {0}")]
    Thread(#[from] std::io::Error),
}

impl Performance {
    /// Opens the session; its clock starts with the first viewer.
    pub(super) fn begin(cast: Cast) -> Result<(Self, Ended), BeginError> {
        let span = tracing::info_span!(parent: None, "session", id = cast.session, avatar = %cast.avatar);
        let _entered = span.enter();
        let backend = cast.stage.instance.name().to_owned();
        let (width, height) = cast.stage.canvas.size();
        let fps = cast.live.fps;
        let events = Arc::new(SessionEvents::new());
        let (told, stage, session) = (events.clone(), cast.stage, cast.session.clone());
        let metrics = cast.metrics.clone();
        let observer = Box::new(move |event| {
            if let LiveEvent::Moved(change) = &event {
                metrics.moved(change.reason);
            }
            tell(&told, &session, event);
        });
        let (live, units) = LiveSession::open_with(&cast.session, stage, cast.live, cast.cast, observer)?;
        let (ends, ended) = oneshot::channel();
        let format = StreamFormat {
            width,
            height,
            fps,
            video_bitrate: cast.video_bitrate,
            audio_bitrate: cast.audio_bitrate,
        };
        let stream_slot = Arc::new(OnceLock::new());
        let feed = Feed { units, live: Arc::downgrade(&live), stream: stream_slot.clone(), _ends: ends };
        let starter = Arc::downgrade(&live);
        let meter = cast.metrics.encoders.clone();
        let stream = LiveStream::start_with(format, meter, feed, move || {
            if let Some(live) = starter.upgrade() {
                live.begin();
            }
        })?;
        // Set once, here.
        let _ = stream_slot.set(Arc::downgrade(&stream));
        tracing::info!(backend, width, height, fps = fps.as_f64(), "session opened");
        drop(_entered);
        let viewers = Arc::default();
        let (avatar, mode, black_boxes) = (cast.avatar, cast.mode, cast.black_boxes);
        let _casting = CancelOnDrop(cast.casting);
        let performance =
            Self { avatar, backend, mode, live, events, _casting, black_boxes, stream, viewers, span };
        Ok((performance, ended))
    }

    /// Answers a viewer's offer.
    pub(super) async fn connect(
        &self,
        sdp: &str,
        settings: &WebrtcSettings,
        max_viewers: usize,
    ) -> Result<String, StudioError> {
        let seat = Seat::take(&self.viewers, max_viewers).ok_or_else(|| StudioError::Busy {
            detail: format!("{max_viewers} viewers watch this session, the most there may be"),
            retry_after: 5,
            reason: Rejection::Viewers,
        })?;
        let viewer = webrtc::connect(sdp, &self.stream, settings).instrument(self.span.clone()).await;
        let mut viewer = viewer.map_err(|error| {
            if error.is_clients_fault() { StudioError::Invalid(error.to_string()) } else { refuse(error) }
        })?;
        let answer = std::mem::take(&mut viewer.answer);
        tokio::spawn(async move {
            viewer.finished().await;
            drop(seat);
        });
        Ok(answer)
    }

    /// Returns when nobody has watched for `grace` after somebody did, or when `ended` tells the end.
    pub(super) async fn until_over(stream: Arc<LiveStream>, ended: Ended, grace: Duration) -> &'static str {
        let mut viewers = stream.viewers();
        let abandoned = async {
            loop {
                if viewers.wait_for(|viewers| *viewers > 0).await.is_err() {
                    return;
                }
                if viewers.wait_for(|viewers| *viewers == 0).await.is_err() {
                    return;
                }
                let back = viewers.wait_for(|viewers| *viewers > 0);
                if tokio::time::timeout(grace, back).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = abandoned => "nobody watches any more",
            _ = ended => "it is over",
        }
    }

    /// Ends it; viewers are told why.
    pub(super) fn end(&self, reason: &str) {
        self.events.push(SessionEvent::Ended { reason: reason.to_owned() });
        if let Some(black_box) = self.live.black_box() {
            black_box.end(reason);
            self.black_boxes.keep(black_box, Instant::now());
        }
        self.live.end();
    }

    /// Somebody watches and something is being said.
    pub(super) fn is_busy(&self) -> bool {
        self.live.status().speaking && *self.stream.viewers().borrow() > 0
    }

    pub(super) fn viewers(&self) -> usize {
        *self.stream.viewers().borrow()
    }

    pub(super) fn stream(&self) -> Arc<LiveStream> {
        self.stream.clone()
    }

    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    pub(super) fn report(&self, session: &str) -> SessionReport {
        let status = self.live.status();
        SessionReport {
            session_id: session.to_owned(),
            avatar_id: self.avatar.clone(),
            backend: status.backend,
            mode: status.backend_id.as_deref().map_or(self.mode, mode_of),
            moves: status.stats.moves,
            last_move: self.events.last_change(),
            fps: self.stream.format().fps.as_f64(),
            sample_rate: 16_000,
            video_queue: status.planned_frames,
            audio_queue: status.queued_samples,
            is_generating: status.speaking,
            utterances: status.utterances,
            viewers: self.viewers(),
            held_frames: status.stats.held,
        }
    }
}

/// Hands an event of the engine on to those who watch.
fn tell(events: &SessionEvents, session: &str, event: LiveEvent) {
    match event {
        LiveEvent::Moved(engine::Move { from, to, reason, frame }) => {
            let reason = reason.as_str();
            events.push(SessionEvent::Backend(BackendChange { from, to, reason, frame }));
        }
        LiveEvent::Ended { error: Some(reason) } => {
            tracing::error!(
                reason,
                "ended by a fault; `lipcast session dump {session}` writes what happened"
            );
            events.push(SessionEvent::Ended { reason });
        }
        // Whoever ended it tells why.
        LiveEvent::Ended { error: None } => {}
    }
}

fn refuse(error: webrtc::OfferError) -> StudioError {
    match error {
        webrtc::OfferError::SessionEnded => StudioError::Unknown(error.to_string()),
        other => StudioError::internal(other),
    }
}

/// One place among the viewers; given back when dropped.
struct Seat(Arc<AtomicUsize>);

impl Seat {
    fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let more = |taken: usize| (taken < most).then_some(taken + 1);
        taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Self(taken.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A session's units on their way to the encoders.
struct Feed {
    units: Receiver<Unit>,
    live: Weak<LiveSession>,
    stream: Arc<OnceLock<Weak<LiveStream>>>,
    /// Dropped with the feed, which tells whoever waits for the end.
    _ends: oneshot::Sender<()>,
}

impl Iterator for Feed {
    type Item = PerformedUnit;

    fn next(&mut self) -> Option<PerformedUnit> {
        let unit = self.units.recv().ok()?;
        if unit.frame == 0 {
            self.set_clock();
        }
        Some(PerformedUnit(unit))
    }
}

impl Feed {
    /// Both tracks are stamped by the instant that the session itself counts from.
    fn set_clock(&self) {
        let stream = self.stream.get().and_then(Weak::upgrade);
        let start = self.live.upgrade().and_then(|live| live.started_at());
        if let (Some(stream), Some(start)) = (stream, start) {
            stream.set_clock(start);
        }
    }
}

/// A unit as the live stage sees it.
struct PerformedUnit(Unit);

impl LiveUnit for PerformedUnit {
    fn frame(&self) -> u64 {
        self.0.frame
    }

    fn picture(&self) -> I420Ref<'_> {
        self.0.picture.as_view()
    }

    fn pcm_48k(&self) -> &[f32] {
        &self.0.pcm_48k
    }
}
