//! What may go on beside a batch.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Check, Needs, check};
use crate::bench::{Bench, Stage};
use crate::compare::same;
use crate::footprint::mib;
use crate::material::voice;
use crate::outcome::{Outcome, Passed, fails, unexpected};
use crate::performer::{LEAD_IN, Performer};

pub(super) const CHECKS: &[Check] = &[
    check(
        ("threads", "health"),
        "health answers at once, and with stats while a batch is drawn, not after it",
        (Needs::Frames, 60),
        health,
    ),
    check(
        ("threads", "control"),
        "loading, unloading and describing beside a session that speaks changes nothing",
        (Needs::Frames, 60),
        control,
    ),
    check(
        ("threads", "steady"),
        "drawing on and on takes no more threads, files, processes or memory",
        (Needs::Frames, 120),
        steady,
    ),
];

/// Under 1 ms by the contract; as much more for the way to another process and back on a busy machine.
const SOON: Duration = Duration::from_millis(5);

fn health(bench: &Bench) -> Outcome {
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let mut alone = Vec::new();
    for _ in 0..12 {
        let begin = Instant::now();
        host.health()?;
        alone.push(begin.elapsed());
    }
    alone.sort();
    if alone[alone.len() / 4] > SOON {
        return Err(fails(
            format!(
                "health took {:.1} ms or more in three of four calls, with nothing else to do",
                alone[alone.len() / 4].as_secs_f64() * 1e3
            ),
            "health is asked every second: answer from what is known, and look at devices on a thread of your own",
        ));
    }
    let mut performer = Performer::open(&stage)?;
    performer.say(host, LEAD_IN, &voice(0, 10.0))?;
    // Odd while a batch is being drawn.
    let (batches, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let subject = &*host.subject;
    let (drawn, asked) = thread::scope(|scope| {
        let observer = scope.spawn(|| {
            let (mut beside, mut waited) = (Vec::new(), 0_usize);
            while !over.load(Ordering::Acquire) {
                let batch = batches.load(Ordering::Acquire);
                let begin = Instant::now();
                subject.health()?;
                subject.stats()?;
                let took = begin.elapsed();
                if batch % 2 == 1 {
                    beside.push(took);
                    waited += usize::from(batches.load(Ordering::Acquire) != batch);
                }
                thread::sleep(Duration::from_millis(1));
            }
            Ok((beside, waited))
        });
        let begin = Instant::now();
        let mut drawn = Ok((0_u64, Duration::ZERO));
        for k in LEAD_IN..LEAD_IN + 200 {
            if begin.elapsed() > Duration::from_secs(2) {
                break;
            }
            let result = performer.feed(host, k).and_then(|()| {
                let ask = performer.ask(k);
                batches.fetch_add(1, Ordering::AcqRel);
                let batch = Instant::now();
                let answer = host.infer(&[ask]);
                batches.fetch_add(1, Ordering::AcqRel);
                answer.map(|_| batch.elapsed())
            });
            drawn = match (drawn, result) {
                (Ok((count, sum)), Ok(took)) => Ok((count + 1, sum + took)),
                (_, Err(trouble)) | (Err(trouble), _) => Err(trouble),
            };
            if drawn.is_err() {
                break;
            }
        }
        over.store(true, Ordering::Release);
        let asked = observer.join();
        (drawn, asked)
    });
    let (count, sum) = drawn?;
    let (mut beside, waited) = asked
        .map_err(|_| fails("the observer panicked", "a fault of the check"))?
        .map_err(|fault| unexpected("health and stats beside a batch", fault))?;
    beside.sort();
    let mean = sum / count.max(1) as u32;
    let mut passed = Passed::new();
    let Some(quick) = beside.get(beside.len() / 4).copied() else {
        return Ok(passed.note("batches are too short to be asked beside"));
    };
    passed.figure("health and stats beside a batch, quartile", quick.as_secs_f64() * 1e3, "ms");
    passed.figure("batch", mean.as_secs_f64() * 1e3, "ms");
    // The quickest quarter: what a busy machine delays is not counted.
    if quick > SOON && waited * 2 > beside.len() {
        return Err(fails(
            format!(
                "health and stats took {:.1} ms or more in three of four calls beside batches of {:.1} ms",
                quick.as_secs_f64() * 1e3,
                mean.as_secs_f64() * 1e3
            ),
            "they wait for the batch: keep what they tell in atomics, never behind the lock of infer_batch",
        ));
    }
    Ok(passed)
}

fn control(bench: &Bench) -> Outcome {
    let play = |stage: &Stage<'_>| {
        let mut performer = Performer::open(stage)?;
        performer.say(&stage.host, LEAD_IN, &voice(0, 2.0))?;
        performer.play(&stage.host, LEAD_IN..LEAD_IN + 30)
    };
    let expected = play(&bench.stage(0)?)?;
    let (stage, other) = (bench.stage(0)?, bench.blob(1)?);
    let (subject, over) = (&*stage.host.subject, AtomicBool::new(false));
    let (found, beside) = thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let mut rounds = 0;
            while !over.load(Ordering::Acquire) || rounds == 0 {
                let avatar = subject.load(&other)?;
                subject.describe()?;
                subject.unload(avatar.id)?;
                rounds += 1;
            }
            Ok(rounds)
        });
        let found = play(&stage);
        over.store(true, Ordering::Release);
        (found, beside.join())
    });
    let rounds: u32 = beside
        .map_err(|_| fails("the observer panicked", "a fault of the check"))?
        .map_err(|fault| unexpected("load_avatar, describe and unload_avatar beside batches", fault))?;
    same(
        stage.host.capabilities(),
        &found?,
        &expected,
        "a session while another thread loads, describes and unloads",
        "control calls run beside batches: guard what both touch, or keep them apart",
    )?;
    Ok(Passed::new().note(format!("{rounds} rounds beside 30 frames")))
}

fn steady(bench: &Bench) -> Outcome {
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let mut performer = Performer::open(&stage)?;
    performer.say(host, LEAD_IN, &voice(0, 20.0))?;
    performer.play(host, LEAD_IN..LEAD_IN + 100)?;
    let before = host.footprint()?;
    performer.play(host, LEAD_IN + 100..LEAD_IN + 250)?;
    let middle = host.footprint()?;
    performer.play(host, LEAD_IN + 250..LEAD_IN + 400)?;
    let after = host.footprint_since(&before)?;
    let grown = after.memory.saturating_sub(before.memory);
    // A pool finds its size once, what leaks does not stop.
    let goes_on = after.memory.saturating_sub(middle.memory) > 3 << 20;
    if !after.is_within(&before) || (grown > 6 << 20 && goes_on) {
        return Err(fails(
            format!("300 frames took {} more memory, {}", mib(grown), after.more_than(&before)),
            "allocate when the instance and the session are made, and reuse; give up audio that was heard",
        ));
    }
    let mut passed = Passed::new();
    passed.figure("memory kept per frame", grown as f64 / 300.0, "bytes");
    passed.figure("resident memory", after.memory as f64 / f64::from(1 << 20), "MiB");
    passed.figure("threads", after.threads as f64, "");
    Ok(passed)
}
