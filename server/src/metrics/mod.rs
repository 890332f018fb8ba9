//! What the server counts, and its text for Prometheus.
//!
//! In: counters of the engine and of this program, each counted where the thing happens, with atomics alone. Out: one
//! text at each scrape. Labels have few values, which the settings or this program fix; none names a session.

use std::sync::Arc;

use lipcast_engine::meter::{Counter, Histogram};
use lipcast_engine::session::{MoveReason, SessionMeter};

use crate::app::Rejection;

mod exporter;
pub use exporter::Exporter;

/// The counters of one server that no backend keeps.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Frames of all sessions.
    pub sessions: Arc<SessionMeter>,
    /// Encoders of all sessions.
    pub encoders: Arc<EncoderMeter>,
    /// Panics of this process, caught or not, also in backends that run inside it.
    pub panics: Counter,
    failovers: [Counter; MoveReason::ALL.len()],
    rejected: [Counter; Rejection::ALL.len()],
}

impl Metrics {
    /// Another backend draws for a session.
    pub fn moved(&self, reason: MoveReason) {
        // `ALL` stands in the order of the declaration, here and below.
        self.failovers[reason as usize].add(1);
    }

    /// A request was refused.
    pub fn rejected(&self, reason: Rejection) {
        self.rejected[reason as usize].add(1);
    }

    fn moves(&self) -> impl Iterator<Item = (&'static str, u64)> {
        MoveReason::ALL.map(MoveReason::as_str).into_iter().zip(self.failovers.iter().map(Counter::value))
    }

    fn rejections(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Rejection::ALL.map(Rejection::as_str).into_iter().zip(self.rejected.iter().map(Counter::value))
    }
}

/// How long the encoders take.
#[derive(Debug)]
pub struct EncoderMeter {
    /// A frame.
    pub h264: Histogram,
    /// A frame.
    pub vp8: Histogram,
    /// 20 ms of sound.
    pub opus: Histogram,
}

impl Default for EncoderMeter {
    fn default() -> Self {
        Self { h264: Histogram::of_times(), vp8: Histogram::of_times(), opus: Histogram::of_times() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_count() {
        let metrics = Metrics::default();
        for (times, reason) in Rejection::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| metrics.rejected(reason));
        }
        for (times, reason) in MoveReason::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| metrics.moved(reason));
        }
        assert!(metrics.rejections().zip(0..).all(|((_, count), times)| count == times));
        assert!(metrics.moves().zip(0..).all(|((_, count), times)| count == times));
    }
}
