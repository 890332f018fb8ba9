//! When a key frame is due: asked for by anybody, sent to everybody, never more often than every 300 ms.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lipcast_engine::time::FrameRate;

/// Requests within this time share one key frame: a key frame costs ten times what another frame does.
const SHORTEST_GAP: Duration = Duration::from_millis(300);

/// The bell that viewers ring; one a codec.
#[derive(Debug, Default)]
pub(super) struct KeyFrameBell(AtomicBool);

impl KeyFrameBell {
    /// Asks for a key frame as soon as the gap allows.
    pub(super) fn ring(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_ringing(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn silence(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The encoder's side: remembers the last key frame, in frames of the session, so that tests need no time.
#[derive(Debug)]
pub(super) struct KeyFrameGate {
    gap_frames: u64,
    last: Option<u64>,
}

impl KeyFrameGate {
    pub(super) fn new(fps: FrameRate) -> Self {
        let gap_frames = (SHORTEST_GAP.as_nanos()).div_ceil(fps.period().as_nanos().max(1)) as u64;
        Self { gap_frames, last: None }
    }

    /// Whether frame `frame` has to be a key frame: when asked for, or anyway because the encoder is new.
    /// A `true` answers every request made so far.
    pub(super) fn is_due(&mut self, frame: u64, bell: &KeyFrameBell, encoder_is_new: bool) -> bool {
        let rested = self.last.is_none_or(|last| frame.saturating_sub(last) >= self.gap_frames);
        let due = encoder_is_new || (rested && bell.is_ringing());
        if due {
            // Silenced before the frame is encoded: a request made meanwhile is answered by the next one.
            bell.silence();
            self.last = Some(frame);
        }
        due
    }

    /// The encoder made frame `frame` a key frame of its own accord.
    pub(super) fn happened(&mut self, frame: u64) {
        self.last = Some(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_within_the_gap_share_one_key_frame() {
        let (bell, mut gate) = (KeyFrameBell::default(), KeyFrameGate::new(FrameRate::FPS_25));
        let mut keys = Vec::new();
        for frame in 0..40 {
            if [3, 4, 5, 20].contains(&frame) {
                bell.ring();
            }
            if gate.is_due(frame, &bell, false) {
                keys.push(frame);
            }
        }
        // 300 ms are 8 frames at 25 fps: those asked for at 4 and 5 come together at 11.
        assert_eq!(keys, [3, 11, 20]);
    }

    #[test]
    fn a_new_encoder_answers_what_was_asked_before() {
        let (bell, mut gate) = (KeyFrameBell::default(), KeyFrameGate::new(FrameRate::FPS_25));
        bell.ring();
        assert!(gate.is_due(0, &bell, true));
        assert!((1..100).all(|frame| !gate.is_due(frame, &bell, false)));
    }

    #[test]
    fn nothing_is_sent_unasked() {
        let (bell, mut gate) = (KeyFrameBell::default(), KeyFrameGate::new(FrameRate::FPS_25));
        assert!((0..100).all(|frame| !gate.is_due(frame, &bell, false)));
    }
}
