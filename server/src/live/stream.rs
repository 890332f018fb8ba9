//! The handle on a session's encoded media, and a viewer's share of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use lipcast_codecs::VideoCodec;
use lipcast_engine::time::FrameRate;
use tokio::sync::{broadcast, watch};

use super::encode;
use super::key_frames::KeyFrameBell;
use super::{LiveUnit, MediaClock};
use crate::metrics::EncoderMeter;

/// Encoded frames kept for a slow viewer: a good second of 25 video and 50 audio frames.
/// One that is further behind continues with the next key frame.
const BACKLOG: usize = 96;

/// Below this a face is no longer worth showing; a viewer whose link carries less loses frames instead of taking
/// the picture from everybody.
const LEAST_VIDEO_BITRATE: u32 = 200_000;

/// What a session's media look like; fixed while it lives.
#[derive(Debug, Clone, Copy)]
pub struct StreamFormat {
    /// Pixels, even.
    pub width: usize,
    /// Pixels, even.
    pub height: usize,
    /// Frames a second.
    pub fps: FrameRate,
    /// Video, bits a second, each codec in demand.
    pub video_bitrate: u32,
    /// Opus, bits a second.
    pub audio_bitrate: u32,
}

/// Which medium an encoded frame is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// One access unit: H.264 in Annex B with its parameter sets before each key frame, or one VP8 frame.
    Video {
        /// Who can read it.
        codec: VideoCodec,
        /// Decodable without any frame before it.
        key: bool,
    },
    /// One Opus frame of 20 ms.
    Audio,
}

/// One encoded frame and its place on the session's clock.
#[derive(Debug, Clone)]
pub struct EncodedFrame {
    /// What it is.
    pub medium: Medium,
    /// Ticks from media instant 0: 90 kHz for video, 48 kHz for audio.
    /// Audio is stamped with the instant its decoded samples belong to, so the encoder's own delay is taken
    /// off, and the first frame of a session lies before 0.
    pub timestamp: i64,
    /// The payload, shared by all viewers.
    pub data: Bytes,
}

/// A running session's encoded media. Clones of the `Arc` it comes in are handed to viewers.
pub struct LiveStream {
    pub(super) format: StreamFormat,
    pub(super) clock: Arc<OnceLock<MediaClock>>,
    pub(super) h264: Lane,
    pub(super) vp8: Lane,
    subscriptions: AtomicU64,
    /// `None` once the session has ended.
    frames: Mutex<Option<broadcast::Sender<Arc<EncodedFrame>>>>,
    viewers: watch::Sender<usize>,
    over: watch::Sender<bool>,
    on_first_viewer: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

/// What viewers want of one codec.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) viewers: AtomicUsize,
    pub(super) bell: KeyFrameBell,
    /// What the encoder aims at, bits a second.
    pub(super) bitrate: AtomicU32,
    /// What single viewers can take, by subscription.
    limits: Mutex<HashMap<u64, u32>>,
}

impl Lane {
    fn new(bitrate: u32) -> Self {
        Self {
            viewers: AtomicUsize::new(0),
            bell: KeyFrameBell::default(),
            bitrate: AtomicU32::new(bitrate),
            limits: Mutex::default(),
        }
    }

    /// One encode serves all viewers of a codec, so the slowest of them sets its rate.
    fn limit(&self, subscription: u64, limit: Option<u32>, most: u32) {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        match limit {
            Some(limit) => limits.insert(subscription, limit),
            None => limits.remove(&subscription),
        };
        let least = limits.values().copied().fold(most, u32::min);
        self.bitrate.store(least.max(LEAST_VIDEO_BITRATE.min(most)), Ordering::Relaxed);
    }
}

impl LiveStream {
    /// Starts the encoder thread. It ends, and every viewer with it, when `units` does.
    ///
    /// `units` blocks until the next unit's send time; the iterator of a channel's receiver is the usual one.
    /// `on_first_viewer` is called once, from the first [`subscribe`](Self::subscribe), when the session's
    /// clock should start; it must not block.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start<U, I>(
        format: StreamFormat,
        units: I,
        on_first_viewer: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Arc<Self>>
    where
        U: LiveUnit,
        I: IntoIterator<Item = U> + Send + 'static,
    {
        Self::start_with(format, Arc::default(), units, on_first_viewer)
    }

    /// As [`start`](Self::start); `meter` is told how long encoding takes.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with<U, I>(
        format: StreamFormat,
        meter: Arc<EncoderMeter>,
        units: I,
        on_first_viewer: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Arc<Self>>
    where
        U: LiveUnit,
        I: IntoIterator<Item = U> + Send + 'static,
    {
        let stream = Arc::new(Self {
            format,
            clock: Arc::default(),
            h264: Lane::new(format.video_bitrate),
            vp8: Lane::new(format.video_bitrate),
            subscriptions: AtomicU64::new(0),
            frames: Mutex::new(Some(broadcast::Sender::new(BACKLOG))),
            viewers: watch::Sender::new(0),
            over: watch::Sender::new(false),
            on_first_viewer: Mutex::new(Some(Box::new(on_first_viewer))),
        });
        let shared = Arc::clone(&stream);
        let span = tracing::Span::current();
        std::thread::Builder::new().name("live-encode".into()).spawn(move || {
            let _entered = span.enter();
            // Ends the stream however the thread ends, a panic included: viewers must not wait for ever.
            let _ends = EndOnDrop(&shared);
            encode::run(&shared, &meter, units);
        })?;
        Ok(stream)
    }

    /// What the media look like.
    pub fn format(&self) -> StreamFormat {
        self.format
    }

    /// The session's clock: known from the first unit on, or from [`set_clock`](Self::set_clock).
    pub fn clock(&self) -> Option<MediaClock> {
        self.clock.get().copied()
    }

    /// The clock's place, for those who must be there before it starts.
    pub(crate) fn shared_clock(&self) -> Arc<OnceLock<MediaClock>> {
        Arc::clone(&self.clock)
    }

    /// Frame 0 is due at `start`. Without it the first unit's arrival tells when its frame was due.
    /// Only the first call counts, and only before the first unit.
    pub fn set_clock(&self, start: Instant) {
        // A second start is ignored: RTP time never jumps.
        let _ = self.clock.set(MediaClock::anchored(start, 0, self.format.fps));
    }

    /// How many viewers watch now; changes can be awaited.
    pub fn viewers(&self) -> watch::Receiver<usize> {
        self.viewers.subscribe()
    }

    /// Whether the session has ended.
    pub fn has_ended(&self) -> bool {
        self.sender().is_none()
    }

    /// Returns when the session has ended.
    pub async fn ended(&self) {
        // The sender lives as long as `self`.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// Asks for a key frame: at once, or 300 ms after the last one.
    pub fn request_key_frame(&self, codec: VideoCodec) {
        self.lane(codec).bell.ring();
    }

    /// What the encoder of `codec` aims at now, bits a second: the format's rate, or what its slowest viewer takes.
    pub fn video_bitrate(&self, codec: VideoCodec) -> u32 {
        self.lane(codec).bitrate.load(Ordering::Relaxed)
    }

    /// Counts one more viewer, who gets audio and, with a codec, video beginning at a key frame.
    /// Dropping the subscription counts it off again. `None` when the session has ended.
    pub fn subscribe(self: &Arc<Self>, video: Option<VideoCodec>) -> Option<Subscription> {
        let frames = self.sender()?.subscribe();
        if let Some(codec) = video {
            self.lane(codec).viewers.fetch_add(1, Ordering::AcqRel);
            self.request_key_frame(codec);
        }
        self.viewers.send_modify(|viewers| *viewers += 1);
        let first = self.on_first_viewer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(first) = first {
            first();
        }
        let id = self.subscriptions.fetch_add(1, Ordering::Relaxed);
        Some(Subscription { stream: Arc::clone(self), id, video, frames, awaits_key: true })
    }

    pub(super) fn lane(&self, codec: VideoCodec) -> &Lane {
        match codec {
            VideoCodec::H264 => &self.h264,
            VideoCodec::Vp8 => &self.vp8,
        }
    }

    pub(super) fn has_viewers(&self) -> bool {
        *self.viewers.borrow() > 0
    }

    pub(super) fn send(&self, frame: EncodedFrame) {
        if let Some(frames) = &*self.frames.lock().unwrap_or_else(PoisonError::into_inner) {
            // An error means that nobody watches just now.
            let _ = frames.send(Arc::new(frame));
        }
    }

    fn sender(&self) -> Option<broadcast::Sender<Arc<EncodedFrame>>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for LiveStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveStream").field("format", &self.format).field("viewers", &self.viewers).finish()
    }
}

struct EndOnDrop<'a>(&'a LiveStream);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.frames.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.0.over.send_replace(true);
    }
}

/// One viewer's share of a stream.
#[derive(Debug)]
pub struct Subscription {
    stream: Arc<LiveStream>,
    id: u64,
    video: Option<VideoCodec>,
    frames: broadcast::Receiver<Arc<EncodedFrame>>,
    /// Video is of no use before the next key frame.
    awaits_key: bool,
}

impl Subscription {
    /// The next frame this viewer can use; `None` when the session has ended. May be dropped while waiting.
    ///
    /// A viewer that fell too far behind loses what it missed and continues with the next key frame,
    /// which is asked for here.
    pub async fn next(&mut self) -> Option<Arc<EncodedFrame>> {
        loop {
            match self.frames.recv().await {
                Ok(frame) if self.wants(frame.medium) => return Some(frame),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "viewer fell behind: on to the next key frame");
                    self.awaits_key = true;
                    if let Some(codec) = self.video {
                        self.stream.request_key_frame(codec);
                    }
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Tells that this viewer's link carries at most `bits_per_second` of video.
    pub fn limit_video(&self, bits_per_second: u32) {
        if let Some(codec) = self.video {
            let most = self.stream.format.video_bitrate;
            self.stream.lane(codec).limit(self.id, Some(bits_per_second), most);
        }
    }

    fn wants(&mut self, medium: Medium) -> bool {
        match medium {
            Medium::Audio => true,
            Medium::Video { codec, key } => {
                if self.video != Some(codec) || (self.awaits_key && !key) {
                    return false;
                }
                self.awaits_key = false;
                true
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(codec) = self.video {
            let lane = self.stream.lane(codec);
            lane.limit(self.id, None, self.stream.format.video_bitrate);
            lane.viewers.fetch_sub(1, Ordering::AcqRel);
        }
        self.stream.viewers.send_modify(|viewers| *viewers -= 1);
    }
}
