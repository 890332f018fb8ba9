//! The black boxes of sessions that have ended, for a while: whoever asks what happened asks afterwards.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lipcast_engine::session::black_box::BlackBox;

/// The last few, the oldest first.
#[derive(Debug, Default)]
pub(super) struct BlackBoxes(Mutex<VecDeque<(Instant, BlackBox)>>);

impl BlackBoxes {
    /// Sessions.
    const MOST: usize = 8;
    /// Bytes of all but the last: that one is kept whatever it holds.
    const BYTES: usize = 64 << 20;
    /// How long after the end.
    const KEPT: Duration = Duration::from_secs(1_800);

    /// Keeps the black box of a session that has ended; telling it twice is no harm.
    pub(super) fn keep(&self, black_box: &BlackBox, now: Instant) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.iter().any(|(_, known)| known.is(black_box)) {
            kept.push_back((now, black_box.clone()));
        }
        kept.retain(|(ended, _)| is_fresh(*ended, now));
        let bytes =
            |kept: &VecDeque<(Instant, BlackBox)>| kept.iter().map(|(_, one)| one.bytes()).sum::<usize>();
        while kept.len() > Self::MOST || (kept.len() > 1 && bytes(&kept) > Self::BYTES) {
            kept.pop_front();
        }
    }

    /// The black box of the session that last ended under `name`.
    pub(super) fn find(&self, name: &str, now: Instant) -> Option<BlackBox> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(ended, _)| is_fresh(*ended, now));
        let found = kept.iter().rev().find(|(_, one)| one.subject().session == name);
        found.map(|(_, black_box)| black_box.clone())
    }
}

fn is_fresh(ended: Instant, now: Instant) -> bool {
    now.saturating_duration_since(ended) < BlackBoxes::KEPT
}

#[cfg(test)]
mod tests {
    use lipcast_engine::session::black_box::{AvatarMark, Event, Limits, Subject};
    use lipcast_engine::time::FrameRate;

    use super::*;

    fn black_box(session: &str) -> BlackBox {
        let id = "anna".to_owned();
        let avatar = AvatarMark { id, frames_blake3: String::new(), frame_count: 1, width: 2, height: 2 };
        let (session, program) = (session.to_owned(), String::new());
        let subject =
            Subject { session, program, avatar, fps: FrameRate::FPS_25, settings: Default::default() };
        BlackBox::new(subject, Limits { window: Duration::MAX, bytes: usize::MAX })
    }

    #[test]
    fn the_last_few_are_kept_for_a_while() {
        let (boxes, now) = (BlackBoxes::default(), Instant::now());
        let names: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        for name in &names {
            let one = black_box(name);
            boxes.keep(&one, now);
            boxes.keep(&one, now);
        }
        let found: Vec<bool> = names.iter().map(|name| boxes.find(name, now).is_some()).collect();
        assert_eq!(found.iter().filter(|found| **found).count(), BlackBoxes::MOST);
        assert_eq!(found[..2], [false, false], "the oldest went");
        // A name that was used again means the last session of that name.
        let again = black_box("9");
        boxes.keep(&again, now);
        assert!(boxes.find("9", now).unwrap().is(&again));
        assert!(boxes.find("9", now + BlackBoxes::KEPT).is_none());
    }

    #[test]
    fn their_bytes_are_bounded() {
        let (boxes, now) = (BlackBoxes::default(), Instant::now());
        let large = |name: &str| {
            let one = black_box(name);
            let reason = "x".repeat(40 << 20);
            one.note(None, Event::Held { reason });
            boxes.keep(&one, now);
        };
        large("first");
        assert!(boxes.find("first", now).is_some());
        large("second");
        assert!(boxes.find("first", now).is_none() && boxes.find("second", now).is_some());
    }
}
