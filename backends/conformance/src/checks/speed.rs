//! How fast it is. Never a failure, unless asked to be strict.

use std::time::{Duration, Instant};

use super::{Check, Needs, check};
use crate::bench::Bench;
use crate::material::voice;
use crate::outcome::{Outcome, Passed, fails};
use crate::performer::{LEAD_IN, Performer, draw};

pub(super) const CHECKS: &[Check] = &[check(
    ("speed", "ladder"),
    "batches of 1, 2, 4 and so on: median and worst times, and how many sessions that carries",
    (Needs::Frames, 120),
    ladder,
)];

/// Time for each rung, and the most batches it takes.
const RUNG: (Duration, usize) = (Duration::from_millis(1_200), 60);

fn ladder(bench: &Bench) -> Outcome {
    let begin = Instant::now();
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let mut passed = Passed::new();
    passed.figure("start with an avatar", begin.elapsed().as_secs_f64() * 1e3, "ms");

    let begin = Instant::now();
    let mut first = Performer::open(&stage)?;
    first.say(host, LEAD_IN, &voice(0, 0.5))?;
    first.play(host, LEAD_IN..=LEAD_IN)?;
    passed.figure("session to first frame", begin.elapsed().as_secs_f64() * 1e3, "ms");
    host.close(first.session)?;

    let rate = f64::from(stage.avatar.info.fps.0) / f64::from(stage.avatar.info.fps.1);
    // A batch of the protocol holds no more than 64.
    let limit = host.capabilities().max_batch.min(64) as usize;
    let sizes = (0..).map(|power| 1 << power).take_while(|size| *size < limit).chain([limit]);
    let mut best = 0.0_f64;
    for size in sizes.collect::<Vec<usize>>() {
        let mut performers = Vec::new();
        for who in 0..size {
            let mut performer = Performer::open(&stage)?;
            performer.say(host, LEAD_IN, &voice(who as u64 % 8, 3.0))?;
            performers.push(performer);
        }
        let (begin, mut times) = (Instant::now(), Vec::new());
        for k in LEAD_IN.. {
            let mut wanted: Vec<_> = performers.iter_mut().map(|performer| (performer, k)).collect();
            for (performer, k) in &mut wanted {
                performer.feed(host, *k)?;
            }
            let batch = Instant::now();
            draw(host, &mut wanted)?;
            times.push(batch.elapsed());
            if times.len() >= RUNG.1 || (begin.elapsed() > RUNG.0 && times.len() >= 5) {
                break;
            }
        }
        for performer in &performers {
            host.close(performer.session)?;
        }
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[(times.len() * 99 / 100).min(times.len() - 1)]);
        let frames = size as f64 / median.as_secs_f64();
        best = best.max(frames);
        passed.figure(format!("batch of {size}, median"), median.as_secs_f64() * 1e3, "ms");
        passed.figure(format!("batch of {size}, 99 %"), worst.as_secs_f64() * 1e3, "ms");
        passed.figure(format!("batch of {size}, real time"), frames / rate, "sessions");
    }
    if let Ok(footprint) = host.footprint() {
        passed.figure("resident memory", footprint.memory as f64 / f64::from(1 << 20), "MiB");
    }
    let sessions = best / rate;
    if sessions < 1.0 && bench.options().strict {
        return Err(fails(
            format!("it draws {best:.1} frames a second at most, and its avatar plays {rate:.1}"),
            "use smaller models, fewer steps or another device; without --strict this is only told",
        ));
    }
    Ok(passed
        .note(format!("{best:.1} frames a second: real time for {sessions:.1} sessions at {rate:.1} fps")))
}
