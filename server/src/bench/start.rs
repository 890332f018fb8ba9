//! How fast things begin: the server, the first frame of speech, the first picture at a viewer.

use std::time::{Duration, Instant};

use lipcast_codecs::{CodecError, VideoCodec, VideoConfig, video_encoder};
use lipcast_engine::audio::SpeechDecoder;
use lipcast_engine::session::live::{LiveConfig, LiveSession};
use lipcast_engine::session::{Stage, UnitKind};
use lipcast_engine::time::FrameRate;

/// Why the first frame of speech could not be timed.
#[derive(Debug, thiserror::Error)]
pub enum SpeechStartError {
    /// The session did not open.
    #[error(transparent)]
    Open(#[from] lipcast_engine::session::OpenError),
    /// The encoder.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The session took no speech.
    #[error(transparent)]
    Speak(#[from] lipcast_engine::session::live::SpeakError),
    /// The session ended early.
    #[error("the session ended before it spoke")]
    Ended,
}

/// From the call that hands speech to a running session to its first lip-synced frame out of the encoder.
///
/// The session has been playing idle frames for a second, as it does with a connected viewer.
///
/// # Errors
/// When the session or the encoder cannot be opened, or the session ends early.
pub fn first_speech_frame(
    stage: Stage,
    speech: SpeechDecoder,
    fps: FrameRate,
) -> Result<Duration, SpeechStartError> {
    let (width, height) = stage.canvas.size();
    let config = LiveConfig {
        fps,
        first_viewer_wait: Duration::from_secs(5),
        render_ahead: Duration::from_millis(200),
        max_queued: 1,
        black_box: None,
        meter: Default::default(),
    };
    let (session, units) = LiveSession::open("bench", stage, config)?;
    let video = VideoConfig { width, height, fps: (fps.num(), fps.den()), bitrate: 1_500_000 };
    let mut encoder = video_encoder(VideoCodec::H264, &video)?;
    session.begin();
    let mut speech = Some(speech);
    let mut spoken_at = None;
    for unit in units {
        encoder.encode(unit.picture.as_view(), unit.frame == 0)?;
        if unit.frame == u64::from(fps.num() / fps.den()) {
            spoken_at = Some(Instant::now());
            if let Some(speech) = speech.take() {
                session.speak(speech)?;
            }
        }
        if unit.kind == UnitKind::Speech
            && let Some(spoken_at) = spoken_at
        {
            return Ok(spoken_at.elapsed());
        }
    }
    Err(SpeechStartError::Ended)
}
