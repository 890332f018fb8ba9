//! What a process of its own costs a frame: one backend in its own process and in this one, in turn, in the same run.
//!
//! In: a canvas, a format, a pace. Out: time and processor time of a frame, from its request to its pixels, which are
//! read once in the session's thread, as composing does. The backend paints the whole canvas and does nothing else, so
//! that what is around it shows. Processor time is that of both processes together.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use lipcast_engine::time::FrameRate;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use super::cpu::CpuTimes;
use super::stand::{Line, Stand, StandError, backend};
use crate::config::{EngineConfig, Isolation};

/// What is drawn, and how fast.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Columns and rows of the canvas.
    pub size: (u32, u32),
    /// As the probe's setting `format`: "rgb" or "i420".
    pub format: &'static str,
    /// At 25 frames a second; otherwise the next frame follows the last at once.
    pub paced: bool,
    /// Frames whose audio is pushed at once: 1 as a live session does, when its request waits for the push to come back
    /// well; more to see the frame alone.
    pub pushed: u64,
    /// Frames of a round.
    pub frames: u32,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((width, height), pace) = (self.size, if self.paced { "25 a second" } else { "back to back" });
        write!(f, "{width}x{height} {}, {pace}, ", self.format)?;
        match self.pushed {
            1 => f.write_str("each with its audio"),
            frames => write!(f, "audio for {frames} frames at once"),
        }
    }
}

/// What a frame costs, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// From request to reply, the median.
    pub wall: f64,
    /// The 99th percentile of the same.
    pub wall_p99: f64,
    /// Processor time, the median of the rounds.
    pub cpu: f64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7.1} us (p99 {:7.1}), {:7.1} us of processor time", self.wall, self.wall_p99, self.cpu)
    }
}

/// The same frames both ways.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// In this process.
    pub inside: Cost,
    /// In a process of its own.
    pub outside: Cost,
}

/// Draws the frames of `case` in a process and in this one, `rounds` times in turn.
///
/// # Errors
/// When the probe does not come up in either way, or a frame is not answered.
pub fn measure(engine: &EngineConfig, case: &Case, rounds: u32) -> Result<Comparison, StandError> {
    const WAYS: [(&str, Isolation); 2] = [("inside", Isolation::InProcess), ("outside", Isolation::Process)];
    let config = json!({ "mode": "canvas", "format": case.format });
    let wanted = WAYS.map(|(name, way)| backend(name, "liblipcast_probe.so", way, config.clone()));
    let stand = Stand::open(engine, &wanted, |_| ())?;
    let mut series = WAYS.map(|_| Series::default());
    let mut lines = Vec::new();
    for (name, _) in WAYS {
        let mut line = Line::open(&*stand.instance(name)?, case.size)?;
        // The ring goes round once, and every place was touched.
        for _ in 0..40 {
            line.draw()?;
        }
        lines.push((line, stand.report(name)?.process));
    }
    for round in 0..rounds {
        // Who begins takes turns too: the machine's caches are not the same to the first and to the second.
        for turn in 0..WAYS.len() {
            let way = (turn + round as usize) % WAYS.len();
            let (line, process) = &mut lines[way];
            series[way].add(case, line, *process)?;
        }
    }
    let [inside, outside] = series.map(Series::cost);
    Ok(Comparison { inside, outside })
}

/// What was measured one way.
#[derive(Default)]
struct Series {
    walls: Vec<f64>,
    cpus: Vec<f64>,
    /// Where the pixels go.
    read: Vec<u8>,
}

impl Series {
    /// One round; `process` is the backend's own.
    fn add(&mut self, case: &Case, line: &mut Line, process: Option<u32>) -> Result<(), StandError> {
        let before = Clocks::read(process)?;
        let begun = Instant::now();
        for frame in 0..case.frames {
            if case.paced {
                let due = FrameRate::FPS_25.start_of(u64::from(frame));
                thread::sleep(due.saturating_sub(begun.elapsed()));
            }
            let asked = Instant::now();
            line.hear(case.pushed);
            let picture = line.draw()?;
            self.read.clear();
            self.read.extend_from_slice(&picture.pixels);
            self.walls.push(asked.elapsed().as_secs_f64() * 1e6);
        }
        self.cpus.push(before.spent(process)?.as_secs_f64() * 1e6 / f64::from(case.frames));
        Ok(())
    }

    fn cost(mut self) -> Cost {
        let wall_p99 = percentile(&mut self.walls, 99);
        Cost { wall: percentile(&mut self.walls, 50), wall_p99, cpu: percentile(&mut self.cpus, 50) }
    }
}

/// Processor time of this process and of another one.
struct Clocks {
    own: Duration,
    other: Option<CpuTimes>,
}

impl Clocks {
    fn read(process: Option<u32>) -> Result<Self, StandError> {
        let system = |source| StandError::System { what: "read a process's times", source };
        let other = process.map(CpuTimes::of).transpose().map_err(system)?;
        let own = clock_gettime(ClockId::ProcessCPUTime);
        Ok(Self { own: Duration::new(own.tv_sec as u64, own.tv_nsec as u32), other })
    }

    fn spent(&self, process: Option<u32>) -> Result<Duration, StandError> {
        let now = Self::read(process)?;
        let other = match (&self.other, &now.other) {
            (Some(before), Some(now)) => now.since(before, ""),
            _ => Duration::ZERO,
        };
        Ok(now.own.saturating_sub(self.own) + other)
    }
}

/// The value that `percent` per cent of `values` do not exceed; 0 of none.
pub fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(rank).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let mut hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(
            [1, 50, 99, 100].map(|percent| percentile(&mut hundred, percent)),
            [1.0, 50.0, 99.0, 100.0]
        );
        assert_eq!(percentile(&mut [7.0], 99), 7.0);
        assert_eq!(percentile(&mut [], 50), 0.0);
    }
}
