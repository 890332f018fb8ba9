//! Random operations, as many as the time allows; the seed makes them again.

use std::time::Instant;

use lipcast_plugins_api::types::Code;

use super::{Check, Needs, check};
use crate::bench::Bench;
use crate::footprint::mib;
use crate::material::{Dice, voice};
use crate::outcome::{Outcome, Passed, Trouble, fails, skipped};
use crate::performer::{LEAD_IN, Performer, draw};

pub(super) const CHECKS: &[Check] = &[check(
    ("soak", "random"),
    "random sessions, pushes, batches, resets and closes do no harm (--soak)",
    (Needs::Frames, 60),
    random,
)];

/// Sessions at once.
const SESSIONS: usize = 6;

fn random(bench: &Bench) -> Outcome {
    let (length, seed) = (bench.options().soak, bench.options().seed);
    if length.is_zero() {
        return Err(skipped("not asked for (--soak 60s)"));
    }
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let mut dice = Dice::new(seed);
    let voices: Vec<Vec<f32>> = (0..4).map(|who| voice(who, 4.0)).collect();
    let limit = host.capabilities().max_batch.min(64) as usize;
    let mut sessions: Vec<(Performer, u64)> = Vec::new();
    let (begin, mut operations, mut frames, mut before) = (Instant::now(), 0_u64, 0_u64, None);
    let told = |operations: u64, trouble: Trouble| match trouble {
        Trouble::Fails(failure) => {
            fails(format!("operation {operations} of seed {seed}: {}", failure.what), failure.look)
        }
        skipped => skipped,
    };
    while begin.elapsed() < length {
        operations += 1;
        let mut step = || -> Result<(), Trouble> {
            match dice.below(40) {
                0 | 1 if sessions.len() < SESSIONS => {
                    let mut performer = Performer::open(&stage)?.telling();
                    performer.say(host, LEAD_IN, &voices[dice.below(4)])?;
                    sessions.push((performer, LEAD_IN));
                }
                2 if !sessions.is_empty() => {
                    let which = dice.below(sessions.len());
                    let (performer, _) = sessions.swap_remove(which);
                    host.close(performer.session)?;
                }
                3 if !sessions.is_empty() => {
                    let which = dice.below(sessions.len());
                    let (performer, next) = &mut sessions[which];
                    performer.reset(host)?;
                    *next += 10;
                    performer.say(host, *next, &voices[dice.below(4)])?;
                }
                4 => drop(host.health()?),
                5 => drop(host.stats()?),
                6 if !sessions.is_empty() => {
                    let (performer, next) = &mut sessions[0];
                    performer.feed(host, *next)?;
                    let ask = performer.ask(*next);
                    *next += 1;
                    let late = crate::subject::Ask { deadline_ns: 1, discard_ok: true, ..ask };
                    if let Err(error) = host.infer(&[late])?.remove(0)
                        && error.code != Code::Deadline
                    {
                        return Err(fails(format!("a late frame failed: {error}"), "DEADLINE, or a picture"));
                    }
                }
                _ if !sessions.is_empty() => {
                    let size = 1 + dice.below(sessions.len().min(limit));
                    let mut wanted: Vec<_> =
                        sessions.iter_mut().take(size).map(|(performer, next)| (performer, *next)).collect();
                    draw(host, &mut wanted)?;
                    sessions.iter_mut().take(size).for_each(|(_, next)| *next += 1);
                    frames += size as u64;
                    let turn = size % sessions.len();
                    sessions.rotate_left(turn);
                }
                _ => {}
            }
            Ok(())
        };
        step().map_err(|trouble| told(operations, trouble))?;
        if before.is_none() && begin.elapsed() > length / 4 {
            before = host.footprint().ok();
        }
    }
    for (performer, _) in &sessions {
        host.close(performer.session)?;
    }
    let mut passed = Passed::new().note(format!("{operations} operations, {frames} frames, seed {seed}"));
    if let Some(before) = before {
        let after = host.footprint_since(&before)?;
        let grown = after.memory.saturating_sub(before.memory);
        if !after.is_within(&before) || grown > (8 << 20).max(before.memory / 20) {
            return Err(fails(
                format!(
                    "since a quarter of the time it grew by {}: {} (seed {seed})",
                    mib(grown),
                    after.more_than(&before)
                ),
                "what is opened must be closed, also on the way of an error",
            ));
        }
        passed.figure("memory grown", grown as f64 / 1024.0, "KiB");
    }
    Ok(passed)
}
