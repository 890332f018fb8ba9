//! Sessions: each for itself, and gone when it is closed.

use lipcast_plugins_api::types::SessionMode;
use serde_json::json;

use super::{Check, Needs, check};
use crate::bench::{Bench, Left, Stage, params_of};
use crate::compare::{Shot, same};
use crate::footprint::mib;
use crate::material::voice;
use crate::outcome::{Outcome, Passed, Trouble, fails};
use crate::performer::{LEAD_IN, Performer, draw};

pub(super) const CHECKS: &[Check] = &[
    check(
        ("session", "cross_talk"),
        "two sessions in turn draw what each draws alone",
        (Needs::Frames, 60),
        cross_talk,
    ),
    check(
        ("session", "reset"),
        "after a reset in the middle of speech it draws like a session that was just opened",
        (Needs::Frames, 60),
        reset,
    ),
    check(
        ("session", "close_busy"),
        "a session that is closed with queued audio leaves nothing to the next",
        (Needs::Frames, 60),
        close_busy,
    ),
    check(
        ("session", "open_close"),
        "a thousand sessions leave no memory, files or threads behind",
        (Needs::Frames, 120),
        open_close,
    ),
    check(
        ("session", "many"),
        "64 sessions at once are served, or refused with text",
        (Needs::Frames, 60),
        many,
    ),
    check(
        ("session", "queue"),
        "audio pushed far ahead is kept or answered with WOULD_BLOCK, and drawing makes room again",
        (Needs::Frames, 60),
        queue,
    ),
    check(
        ("session", "whole"),
        "a session of a whole utterance is drawn, or refused with text",
        (Needs::Frames, 60),
        whole,
    ),
    check(
        ("session", "parameters"),
        "odd session parameters are ignored or refused with text",
        (Needs::Frames, 60),
        parameters,
    ),
];

const FRAMES: u64 = 12;

/// How far ahead audio is pushed to see whether it is kept, in seconds.
const AHEAD: u64 = 30;

/// Voice `who` alone in a host.
fn alone(bench: &Bench, who: u64, from: u64) -> Result<Vec<Shot>, Trouble> {
    let stage = bench.stage(0)?;
    let mut performer = Performer::open(&stage)?;
    performer.say(&stage.host, from, &voice(who, 1.0))?;
    performer.play(&stage.host, from..from + FRAMES)
}

fn cross_talk(bench: &Bench) -> Outcome {
    let expected = [alone(bench, 0, LEAD_IN)?, alone(bench, 1, LEAD_IN)?];
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let (mut one, mut other) = (Performer::open(&stage)?, Performer::open(&stage)?);
    one.say(host, LEAD_IN, &voice(0, 1.0))?;
    other.say(host, LEAD_IN, &voice(1, 1.0))?;
    let mut found = [Vec::new(), Vec::new()];
    for k in LEAD_IN..LEAD_IN + FRAMES {
        one.feed(host, k)?;
        other.feed(host, k)?;
        found[0].extend(draw(host, &mut [(&mut one, k)])?);
        found[1].extend(draw(host, &mut [(&mut other, k)])?);
    }
    for (which, (found, expected)) in ["first", "second"].iter().zip(found.iter().zip(&expected)) {
        same(
            host.capabilities(),
            found,
            expected,
            &format!("the {which} of two sessions that take turns, against the same alone"),
            "sessions hear or see each other: look for static buffers, and for state in the instance or the avatar \
             that belongs into the session",
        )?;
    }
    Ok(Passed::new())
}

fn reset(bench: &Bench) -> Outcome {
    let look = "reset drops all audio and motion, and audio may then begin at any sample: clear queues, filters, \
                running means, and the picture that UNCHANGED would repeat";
    // Later, at the very next samples, which still have those from before the reset behind them, and at the same ones.
    for (when, again) in [("later", 20), ("at once", LEAD_IN + 8), ("from the start", LEAD_IN)] {
        let expected = alone(bench, 1, again)?;
        let stage = bench.stage(0)?;
        let host = &stage.host;
        let mut performer = Performer::open(&stage)?;
        performer.say(host, LEAD_IN, &voice(0, 2.0))?;
        performer.play(host, LEAD_IN..LEAD_IN + 8)?;
        performer.reset(host)?;
        performer.say(host, again, &voice(1, 1.0)).map_err(|trouble| with_look(trouble, look))?;
        let found =
            performer.play(host, again..again + FRAMES).map_err(|trouble| with_look(trouble, look))?;
        same(
            host.capabilities(),
            &found,
            &expected,
            &format!(
                "a session that was reset in mid-speech and speaks again {when}, against one just opened"
            ),
            look,
        )?;
    }
    Ok(Passed::new())
}

fn with_look(trouble: Trouble, look: &str) -> Trouble {
    match trouble {
        Trouble::Fails(failure) => fails(format!("after a reset: {}", failure.what), look),
        skipped => skipped,
    }
}

fn close_busy(bench: &Bench) -> Outcome {
    let expected = alone(bench, 0, LEAD_IN)?;
    let stage = bench.stage(0)?;
    let host = &stage.host;
    for round in 0..3 {
        let mut busy = Performer::open(&stage)?;
        // From the very start of the timeline: the next session hears nothing there.
        busy.say(host, 0, &voice(1, 2.0))?;
        busy.play(host, 0..round * 3)?;
        busy.feed(host, round * 3)?;
        host.close(busy.session)?;
        let mut next = Performer::open(&stage)?;
        next.say(host, LEAD_IN, &voice(0, 1.0))?;
        let found = next.play(host, LEAD_IN..LEAD_IN + FRAMES)?;
        host.close(next.session)?;
        same(
            host.capabilities(),
            &found,
            &expected,
            "a session after one that was closed with queued audio",
            "free or clear all of a session in close_session; look for pools that hand out used state",
        )?;
    }
    Ok(Passed::new())
}

fn open_close(bench: &Bench) -> Outcome {
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let pcm = voice(0, 0.1);
    let round = || {
        let session = host.open(&stage.avatar)?;
        host.push(session, 0, &pcm, false)?;
        host.close(session)
    };
    for _ in 0..100 {
        round()?;
    }
    // Where it runs in this process there is nothing to compare with, and opening and closing is all.
    if host.footprint().is_err() {
        (0..900).try_for_each(|_| round())?;
        return Ok(Passed::new());
    }
    const MOST: u64 = 3 << 20;
    let Left { before, after, grown } = host.left_by(|_| MOST, || (0..900).try_for_each(|_| round()))?;
    if !after.is_within(&before) || grown > MOST {
        return Err(fails(
            format!(
                "900 sessions, opened and closed, left {} more memory, {}",
                mib(grown),
                after.more_than(&before)
            ),
            "close_session gives back all that open_session and push_audio took",
        ));
    }
    let mut passed = Passed::new();
    passed.figure("memory kept per session", grown as f64 / 900.0, "bytes");
    Ok(passed)
}

fn many(bench: &Bench) -> Outcome {
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let params = params_of(&stage.avatar.info);
    let (mut open, mut passed) = (Vec::new(), Passed::new());
    for number in 1..=64 {
        let doing = format!("open_session number {number}");
        match host.attempt(&doing, |subject| subject.open(stage.avatar.id, &params))? {
            Ok(session) => open.push(Performer::of(&stage, session, params.clone())),
            Err(error) => {
                passed = passed.note(format!("{number} sessions are too many: {error}"));
                break;
            }
        }
    }
    for (who, performer) in open.iter_mut().enumerate() {
        performer.say(host, LEAD_IN, &voice(who as u64, 0.2))?;
        performer.play(host, LEAD_IN..LEAD_IN + 2)?;
    }
    for performer in &open {
        host.close(performer.session)?;
    }
    let session = host.open(&stage.avatar)?;
    host.close(session)?;
    Ok(passed)
}

fn queue(bench: &Bench) -> Outcome {
    let pcm = voice(0, AHEAD as f32 + 2.0);
    let begun = |stage: &Stage<'_>| {
        let mut performer = Performer::open(stage)?;
        performer.say(&stage.host, LEAD_IN, &pcm)?;
        Ok::<_, Trouble>(performer)
    };
    let stage = bench.stage(0)?;
    let mut performer = begun(&stage)?;
    let expected = performer.play(&stage.host, LEAD_IN..LEAD_IN + FRAMES)?;

    let stage = bench.stage(0)?;
    let host = &stage.host;
    let mut performer = begun(&stage)?;
    // What its first frame needs must find room, so it is fed as ever; then on and on.
    performer.feed(host, LEAD_IN)?;
    let (mut last, mut blocked) = (LEAD_IN, false);
    while !blocked && performer.sample(last) < AHEAD * 16_000 {
        let offered = performer.offer(host, last + 1);
        blocked = !offered.map_err(|trouble| match trouble {
            Trouble::Fails(failure) => fails(
                format!("far ahead, {}", failure.what),
                "a queue that is full answers WOULD_BLOCK and takes nothing",
            ),
            skipped => skipped,
        })?;
        last += u64::from(!blocked);
    }
    let seconds = performer.needed(last) as f64 / 16_000.0;
    let mut found = performer.play(host, LEAD_IN..LEAD_IN + FRAMES.min(last - LEAD_IN + 1))?;
    same(
        host.capabilities(),
        &found,
        &expected,
        &format!(
            "the first frames after {seconds:.1} s of audio were taken at once, against the same fed as it is drawn"
        ),
        "audio was dropped that frames were still to hear: what finds no room is answered with WOULD_BLOCK",
    )?;
    if !blocked {
        return Ok(Passed::new().note(format!("it took {seconds:.0} s ahead")));
    }
    found.extend(performer.play(host, LEAD_IN + found.len() as u64..=last)?);
    if !performer.offer(host, last + 1)? {
        return Err(fails(
            format!(
                "after WOULD_BLOCK at {seconds:.2} s all {} frames were drawn, and the queue is still full",
                found.len()
            ),
            "what frames that were drawn have heard, and lookbehind_ms, is all that need be kept",
        ));
    }
    Ok(Passed::new().note(format!("the queue is full at {seconds:.2} s")))
}

fn whole(bench: &Bench) -> Outcome {
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let mut params = params_of(&stage.avatar.info);
    params.mode = SessionMode::Whole;
    let doing = "open_session for a whole utterance";
    let session = match host.attempt(doing, |subject| subject.open(stage.avatar.id, &params))? {
        Ok(session) => session,
        Err(error) => return Ok(Passed::new().note(error.to_string())),
    };
    let mut performer = Performer::of(&stage, session, params);
    let pcm = voice(0, 2.0);
    performer.say(host, LEAD_IN, &pcm)?;
    // All of it before the first request.
    let frames = (pcm.len() as u64).div_ceil(performer.sample(1));
    performer.feed(host, LEAD_IN + frames)?;
    performer.play(host, LEAD_IN..LEAD_IN + frames + 5)?;
    host.close(session)?;
    Ok(Passed::new())
}

fn parameters(bench: &Bench) -> Outcome {
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let mut passed = Passed::new();
    for (what, odd) in [
        ("an empty object", json!({})),
        ("an unknown key", json!({"no_such_parameter": [1, {"a": null}]})),
        ("a text of 20000 characters", json!({"long": "x".repeat(20_000)})),
    ] {
        let params =
            lipcast_plugins_api::types::SessionParams { params: odd, ..params_of(&stage.avatar.info) };
        let doing = format!("open_session with {what}");
        match host.attempt(&doing, |subject| subject.open(stage.avatar.id, &params))? {
            Ok(session) => {
                let mut performer = Performer::of(&stage, session, params);
                performer.say(host, LEAD_IN, &voice(0, 0.2))?;
                performer.play(host, LEAD_IN..LEAD_IN + 2)?;
                host.close(session)?;
            }
            Err(error) => passed = passed.note(format!("{what}: {error}")),
        }
    }
    Ok(passed)
}
