//! A performance as fast as the backend can: the same pictures as live, frame for frame, and repeatable.

use lipcast_plugins_api::author::Capabilities;

use super::{OpenError, Performance, Stage, Unit};
use crate::audio::{SpeechDecoder, SpeechError};
use crate::session::{SpeechEvent, UtteranceId};
use crate::time::FrameRate;

/// Why a rendering stopped.
#[derive(Debug, thiserror::Error)]
pub enum RenderError<E> {
    /// The session could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The speech cannot be read.
    #[error(transparent)]
    Speech(#[from] SpeechError),
    /// The backend went away.
    #[error("the backend was gone at frame {frame}: {reason}")]
    BackendGone {
        /// First frame without an answer.
        frame: u64,
        /// Its last words.
        reason: String,
    },
    /// The receiver of the frames failed.
    #[error("{0}")]
    Sink(E),
}

/// Frames asked for at once, so that a batching backend gets batches.
const AHEAD: u64 = 8;

/// No backend may look further ahead; samples at 48 kHz.
const LOOKAHEAD_LIMIT: u64 = 48 * Capabilities::LOOKAHEAD_LIMIT_MS as u64;

/// Performs one utterance from frame 0 and hands each unit to `sink`; ends with the speech.
/// Returns the speech's length in samples at 48 kHz.
///
/// # Errors
/// When the session cannot be opened, the speech cannot be read, the backend goes away, or `sink` fails.
pub fn render<E>(
    stage: Stage,
    fps: FrameRate,
    speech: &mut SpeechDecoder,
    mut sink: impl FnMut(Unit) -> Result<(), E>,
) -> Result<u64, RenderError<E>> {
    let mut performance = Performance::open(stage, fps)?;
    // Filled just below, no further than the condition there.
    let (sender, receiver) = crossbeam_channel::unbounded();
    performance.speech_mut().enqueue(UtteranceId(0), receiver);
    let mut sender = Some(sender);
    let (mut samples, mut given) = (0u64, 0u64);
    loop {
        // Decode far enough that no frame planned below can run dry: up to its end and the longest look-ahead.
        let enough = fps.first_sample(given + 2 * AHEAD, 48_000) + LOOKAHEAD_LIMIT;
        while sender.is_some() && samples < enough {
            match speech.read()? {
                Some(chunk) => {
                    samples += chunk.at_48k.len() as u64;
                    // The receiver lives in `performance`.
                    let _ = sender.as_ref().map(|sender| sender.send(SpeechEvent::Chunk(chunk)));
                }
                None => sender = None,
            }
        }
        let known_end = sender.is_none().then(|| fps.frames_covering(samples, 48_000));
        let until = known_end.map_or(given + AHEAD, |end| end.min(given + AHEAD));
        if given >= until {
            return Ok(samples);
        }
        while performance.planned_until() < until {
            performance.plan(None);
        }
        while performance.planned_frames() > 0 {
            while !performance.is_ready() {
                let arrived = performance.replies().recv();
                performance.accept(arrived);
            }
            if let Some(reason) = performance.backend_gone() {
                return Err(RenderError::BackendGone { frame: given, reason: reason.to_owned() });
            }
            if let Some(unit) = performance.give() {
                given = unit.frame + 1;
                sink(unit).map_err(RenderError::Sink)?;
            }
        }
    }
}
