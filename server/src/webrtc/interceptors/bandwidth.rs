//! How much a viewer's link carries, from the delay its queue adds to our packets.
//!
//! The measure is one-way delay over the lowest of the last 15 seconds: what a queue on the way adds. Rising
//! delay lowers the target below what arrives; without delay it rises slowly, and only while what is sent comes
//! near it, since a talking head that needs less tells nothing about what would fit.
//! Made for one flow among patient ones: beside a download that fills every queue it yields down to its floor.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rtc::interceptor::{BandwidthEstimator, PacketReport};

/// The lowest delay seen in this time stands for an empty queue.
const BASE_MEMORY: Duration = Duration::from_secs(15);
/// Time over which arriving bytes are counted.
const RATE_WINDOW: Duration = Duration::from_millis(600);
/// Least time between two reductions: one round trip and a report have to pass before the last one shows.
const REDUCTION_GAP: Duration = Duration::from_millis(350);
/// Queue delay, seconds, above which the target is reduced, and below which it may rise.
const LATE: f64 = 0.060;
const PROMPT: f64 = 0.025;
/// Share of packets lost above which the target is reduced, and below which it may rise.
const LOSSY: f64 = 0.10;
const CLEAN: f64 = 0.05;
/// A reduction for delay or loss, and the rise in a second.
const FOR_DELAY: f64 = 0.88;
const FOR_LOSS: f64 = 0.85;
const RISE: f64 = 0.06;
/// The target rises only while this share of it arrives.
const USED: f64 = 0.65;

/// The estimate of one viewer's link, bits a second, readable from outside the packet chain.
pub(in crate::webrtc) type SharedTarget = Arc<AtomicU32>;

/// Estimates from transport-wide feedback.
pub(in crate::webrtc) struct QueueDelay {
    target: f64,
    floor: f64,
    ceiling: f64,
    shared: SharedTarget,
    first_departure: Option<Instant>,
    /// One-way delays, seconds, on an arbitrary but constant offset between the two clocks.
    delays: VecDeque<(Instant, f64)>,
    arrived: VecDeque<(Instant, usize)>,
    queue_delay: f64,
    loss: f64,
    reduced: Option<Instant>,
    reported: Option<Instant>,
}

impl QueueDelay {
    /// Begins at `start` bits a second and stays between `floor` and `ceiling`.
    pub(in crate::webrtc) fn new(start: u32, floor: u32, ceiling: u32) -> (Self, SharedTarget) {
        let shared = SharedTarget::new(AtomicU32::new(start));
        let estimator = Self {
            target: f64::from(start),
            floor: f64::from(floor),
            ceiling: f64::from(ceiling),
            shared: Arc::clone(&shared),
            first_departure: None,
            delays: VecDeque::new(),
            arrived: VecDeque::new(),
            queue_delay: 0.0,
            loss: 0.0,
            reduced: None,
            reported: None,
        };
        (estimator, shared)
    }

    /// Takes the reports in, and gives the rate at which bits arrived, a second.
    fn measure(&mut self, now: Instant, reports: &[PacketReport]) -> f64 {
        let first = *self.first_departure.get_or_insert(reports[0].departure);
        let (mut lost, mut least) = (0, None::<f64>);
        for report in reports {
            let Some(arrival) = report.arrival.filter(|_| report.arrived) else {
                lost += 1;
                continue;
            };
            let delay =
                arrival.as_secs_f64() - report.departure.saturating_duration_since(first).as_secs_f64();
            self.delays.push_back((now, delay));
            self.arrived.push_back((now, report.size));
            least = Some(least.map_or(delay, |least| least.min(delay)));
        }
        forget(&mut self.delays, now, BASE_MEMORY);
        forget(&mut self.arrived, now, RATE_WINDOW);
        let base = self.delays.iter().map(|(_, delay)| *delay).fold(f64::MAX, f64::min);
        if let Some(least) = least {
            self.queue_delay = 0.5 * self.queue_delay + 0.5 * (least - base);
        }
        self.loss = 0.7 * self.loss + 0.3 * f64::from(lost) / reports.len() as f64;
        self.arrived.iter().map(|(_, bytes)| *bytes as f64 * 8.0).sum::<f64>() / RATE_WINDOW.as_secs_f64()
    }
}

impl BandwidthEstimator for QueueDelay {
    fn on_reports(&mut self, now: Instant, reports: &[PacketReport]) {
        if reports.is_empty() {
            return;
        }
        let received = self.measure(now, reports);
        let passed = self.reported.map_or(0.05, |reported| (now - reported).as_secs_f64()).min(0.3);
        self.reported = Some(now);
        let may_reduce = self.reduced.is_none_or(|reduced| now - reduced > REDUCTION_GAP);
        if self.queue_delay > LATE || self.loss > LOSSY {
            if may_reduce {
                let reduced = match self.queue_delay > LATE {
                    true => self.target.min(received) * FOR_DELAY,
                    false => self.target * FOR_LOSS,
                };
                self.target = reduced.max(self.floor);
                self.reduced = Some(now);
            }
        } else if self.queue_delay < PROMPT && self.loss < CLEAN && received > USED * self.target {
            self.target = (self.target * (1.0 + RISE * passed)).min(self.ceiling);
        }
        self.shared.store(self.target as u32, Ordering::Relaxed);
    }

    fn target_bitrate(&self) -> f64 {
        self.target
    }
}

fn forget<T>(entries: &mut VecDeque<(Instant, T)>, now: Instant, memory: Duration) {
    while entries.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > memory) {
        entries.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use rtc::rtcp::transport_feedbacks::cc_feedback_report::Ecn;

    use super::*;

    /// A link with a queue before it, fed at the estimator's own target: the world in 50 ms steps.
    struct Link {
        estimator: QueueDelay,
        start: Instant,
        elapsed: f64,
        /// Seconds of queue.
        queue: f64,
        dropped: usize,
    }

    impl Link {
        fn new(target: u32) -> Self {
            let (estimator, _) = QueueDelay::new(target, 150_000, 3_000_000);
            Self { estimator, start: Instant::now(), elapsed: 1.0, queue: 0.0, dropped: 0 }
        }

        /// Sends `share` of the target through `capacity` bits a second for `seconds`.
        fn run(&mut self, seconds: f64, capacity: f64, share: f64) {
            let until = self.elapsed + seconds;
            while self.elapsed < until {
                let bits = self.estimator.target * share * 0.05;
                let packets = (bits / 8_000.0).ceil().max(1.0);
                let mut reports = Vec::new();
                for packet in 0..packets as u64 {
                    let departure = self.elapsed + 0.05 * packet as f64 / packets;
                    self.queue += bits / packets / capacity;
                    let dropped = self.queue > 0.2;
                    if dropped {
                        self.queue = 0.2;
                        self.dropped += 1;
                    }
                    reports.push(PacketReport {
                        ssrc: 1,
                        id: packet,
                        rtp_sequence_number: 0,
                        is_twcc: true,
                        twcc_sequence_number: 0,
                        size: (bits / packets / 8.0) as usize,
                        arrived: !dropped,
                        departure: self.start + Duration::from_secs_f64(departure),
                        arrival: (!dropped).then(|| Duration::from_secs_f64(departure + 0.03 + self.queue)),
                        ecn: Ecn::NotEct,
                    });
                    self.queue = (self.queue - 0.05 / packets).max(0.0);
                }
                self.elapsed += 0.05;
                self.estimator.on_reports(self.start + Duration::from_secs_f64(self.elapsed), &reports);
            }
        }
    }

    #[test]
    fn a_bad_first_guess_is_corrected_and_the_queue_stays_short() {
        let mut link = Link::new(1_500_000);
        link.run(5.0, 700_000.0, 0.95);
        assert!(link.estimator.target < 750_000.0, "{}", link.estimator.target);
        let before = link.dropped;
        link.run(30.0, 700_000.0, 0.95);
        assert_eq!(link.dropped, before, "once settled, nothing overflows");
        assert!((450_000.0..800_000.0).contains(&link.estimator.target), "{}", link.estimator.target);
    }

    #[test]
    fn an_idle_sender_learns_nothing_and_a_busy_one_rises() {
        let mut idle = Link::new(600_000);
        idle.run(20.0, 10_000_000.0, 0.4);
        assert_eq!(idle.estimator.target, 600_000.0);
        let mut busy = Link::new(600_000);
        busy.run(20.0, 10_000_000.0, 0.9);
        assert!(busy.estimator.target > 1_200_000.0, "{}", busy.estimator.target);
    }

    #[test]
    fn it_never_leaves_its_range() {
        let mut link = Link::new(300_000);
        link.run(30.0, 20_000.0, 1.0);
        assert_eq!(link.estimator.target, 150_000.0);
        link.run(200.0, 1e9, 1.0);
        assert_eq!(link.estimator.target, 3_000_000.0);
    }
}
