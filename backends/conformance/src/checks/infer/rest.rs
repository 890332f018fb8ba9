//! The end of speech, and what comes after.

use lipcast_plugins_api::types::{IdleBy, RestPolicy};

use crate::bench::Bench;
use crate::material::voice;
use crate::outcome::{Outcome, Passed, Trouble, fails, skipped};
use crate::performer::{LEAD_IN, Performer, draw};

/// Frames that a face may take to come to rest.
const PATIENCE: u64 = 75;

/// Frames that Lipcast waits for it.
const WAITED: u64 = 25;

const NEVER: &str = "no result said AT_REST";

/// Asks on after the speech until the face rests; gives the frame that said so.
fn settle(performer: &mut Performer, stage: &crate::bench::Stage<'_>, from: u64) -> Result<u64, Trouble> {
    for k in from..from + PATIENCE {
        if draw(&stage.host, &mut [(performer, k)])?[0].at_rest {
            return Ok(k);
        }
    }
    if stage.avatar.info.rest_policy == RestPolicy::AtOnce || stage.avatar.info.idle == IdleBy::Backend {
        return Ok(from + PATIENCE);
    }
    Err(fails(
        format!("{NEVER} in the {PATIENCE} frames after the end of speech"),
        "bring the face to rest and mark the result AT_REST: Lipcast goes on with the avatar's own frames after a \
         second, and the face jumps. REST_AT_ONCE tells that there is no motion to calm down",
    ))
}

pub(super) fn end(bench: &Bench) -> Outcome {
    let mut passed = Passed::new();
    let cuts: [(&str, usize); 4] =
        [("half a second and a bit", 8_123), ("one sample", 1), ("three frames", 1_920), ("nothing", 0)];
    for (what, samples) in cuts {
        let stage = bench.stage(0)?;
        let mut performer = Performer::open(&stage)?;
        let pcm = &voice(0, 1.0)[..samples];
        performer.say(&stage.host, LEAD_IN, pcm)?;
        let end = performer.sample(LEAD_IN) + samples as u64;
        let after = (LEAD_IN..).find(|k| performer.sample(*k) >= end).unwrap_or(LEAD_IN);
        performer.play(&stage.host, LEAD_IN..after)?;
        performer.feed(&stage.host, after)?;
        let rest = settle(&mut performer, &stage, after).map_err(|trouble| match trouble {
            Trouble::Fails(failure) => fails(format!("{} ({what} of speech)", failure.what), failure.look),
            skipped => skipped,
        })?;
        stage.host.close(performer.session)?;
        if rest - after > WAITED && stage.avatar.info.rest_policy == RestPolicy::Ask {
            let told =
                format!("after {what} it moves for longer than the {WAITED} frames that Lipcast waits");
            if bench.options().strict {
                return Err(fails(told, "after a second the avatar's own frames cut in, and the face jumps"));
            }
            passed = passed.note(told);
        }
        passed.figure(format!("frames until at rest after {what}"), (rest - after) as f64, "");
    }
    Ok(passed)
}

pub(super) fn next_run(bench: &Bench) -> Outcome {
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let draws_idle = stage.avatar.info.idle == IdleBy::Backend;
    let mut performer = Performer::open(&stage)?;
    let mut k = LEAD_IN;
    for (who, pause) in [(0, 40), (1, 1_000), (2, 0)] {
        performer.say(host, k, &voice(who, 0.4))?;
        performer.play(host, k..k + 10)?;
        // Whether it comes to rest at all is told by another check.
        let rest = match settle(&mut performer, &stage, k + 10) {
            Err(Trouble::Fails(failure)) if failure.what.starts_with(NEVER) => k + 10 + PATIENCE,
            other => other?,
        };
        if draws_idle {
            performer.play(host, rest + 1..rest + 1 + pause.min(20))?;
        }
        k = rest + 1 + if draws_idle { pause.min(20) } else { pause };
    }
    host.close(performer.session)?;
    Ok(Passed::new())
}

pub(super) fn idle(bench: &Bench) -> Outcome {
    let stage = bench.stage(0)?;
    let host = &stage.host;
    if stage.avatar.info.idle != IdleBy::Backend {
        return Err(skipped("the host shows this avatar while nobody speaks"));
    }
    let mut performer = Performer::open(&stage)?;
    for (when, from) in [("after open_session", 0), ("after reset", 30)] {
        if from > 0 {
            performer.reset(host)?;
        }
        performer.stay_quiet(host, from)?;
        let shots = performer.play(host, from..from + 15)?;
        if shots[0].repeats_nothing && stage.avatar.info.frame_count == 0 {
            return Err(fails(
                format!("the first frame {when} is UNCHANGED"),
                "there is no picture to repeat yet; draw the first one",
            ));
        }
        if from == 0 {
            performer.say(host, 15, &voice(0, 0.4))?;
            performer.play(host, 15..30)?;
        }
    }
    host.close(performer.session)?;
    Ok(Passed::new())
}
