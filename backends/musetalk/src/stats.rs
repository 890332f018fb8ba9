//! Counters of an instance, for `stats`: written by the inference thread, read by any, never waited for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

/// What was done since the instance was created.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Frames that were drawn.
    pub(crate) frames: Count,
    /// Frames that show the avatar as it is, since it has no face there or nothing was spoken.
    pub(crate) plain: Count,
    /// Late frames that were left out.
    pub(crate) left_out: Count,
    /// Frames that failed.
    pub(crate) failed: Count,
    /// Batches that UNet and decoder ran, and places in them that were only filled up.
    pub(crate) batches: Count,
    pub(crate) filled: Count,
    /// Windows that the Whisper encoder ran.
    pub(crate) windows: Count,
    /// Time spent on audio, on UNet and decoder, and on drawing patches; microseconds.
    pub(crate) hearing: Count,
    pub(crate) generating: Count,
    pub(crate) drawing: Count,
    /// Avatars that were prepared.
    pub(crate) prepared: Count,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds so many.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Adds a time, in microseconds.
    pub(crate) fn spend(&self, time: Duration) {
        self.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn milliseconds(&self) -> f64 {
        self.value() as f64 / 1e3
    }
}

impl Counters {
    /// All of them; times in milliseconds.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "frames": self.frames.value(),
            "plain_frames": self.plain.value(),
            "left_out_frames": self.left_out.value(),
            "failed_frames": self.failed.value(),
            "batches": self.batches.value(),
            "filled_places": self.filled.value(),
            "encoder_windows": self.windows.value(),
            "hearing_ms": self.hearing.milliseconds(),
            "generating_ms": self.generating.milliseconds(),
            "drawing_ms": self.drawing.milliseconds(),
            "prepared_avatars": self.prepared.value(),
        })
    }
}
