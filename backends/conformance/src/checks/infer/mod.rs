//! Drawing: what a result may be, and what it may depend on.

mod audio;
mod batch;
mod picture;
mod rest;

use std::time::Instant;

use lipcast_plugins_api::types::{Code, FrameOrder};

use super::{Check, Needs, check};
use crate::bench::{Bench, params_of};
use crate::compare::{Shot, different, same};
use crate::material::voice;
use crate::outcome::{Outcome, Passed, Trouble, fails, skipped};
use crate::performer::{LEAD_IN, Performer, is_canary};

pub(super) const CHECKS: &[Check] = &[
    check(
        ("infer", "results"),
        "a second and a half of speech is drawn, every result within the contract",
        (Needs::Avatar, 120),
        results,
    ),
    check(
        ("infer", "canary"),
        "nothing is written behind the end of a slot, whatever the batch",
        (Needs::Avatar, 60),
        batch::canary,
    ),
    check(
        ("infer", "unwritten"),
        "every byte of a picture is written, whatever its slot held before",
        (Needs::Frames, 60),
        picture::unwritten,
    ),
    check(("infer", "moves"), "speech changes the picture", (Needs::Frames, 60), picture::moves),
    check(
        ("infer", "quiet"),
        "drawing says no more than a few lines a frame",
        (Needs::Frames, 60),
        picture::quiet,
    ),
    check(
        ("infer", "repeatable"),
        "the same audio gives the same frames in another session and in another process",
        (Needs::Frames, 60),
        repeatable,
    ),
    check(
        ("infer", "batch_neighbours"),
        "a frame does not depend on which other sessions are in its batch",
        (Needs::Frames, 60),
        batch::neighbours,
    ),
    check(
        ("infer", "one_session_batches"),
        "several frames of one session in a batch are those of one at a time",
        (Needs::Frames, 60),
        batch::of_one_session,
    ),
    check(
        ("infer", "late_frames"),
        "frames that are too late, or left out where the order is ANY, do not change the others",
        (Needs::Frames, 60),
        late_frames,
    ),
    check(
        ("infer", "lookahead"),
        "audio beyond the look-ahead does not change a frame",
        (Needs::Frames, 60),
        audio::lookahead,
    ),
    check(
        ("infer", "odd_audio"),
        "NaN, infinite, denormal, full-scale and silent audio harm neither the session nor the next one",
        (Needs::Frames, 60),
        audio::odd_audio,
    ),
    check(
        ("infer", "end"),
        "after the end of speech the face comes to rest in time, however the speech is cut",
        (Needs::Frames, 60),
        rest::end,
    ),
    check(
        ("infer", "next_run"),
        "the same session speaks again after a pause",
        (Needs::Frames, 60),
        rest::next_run,
    ),
    check(
        ("infer", "idle"),
        "an avatar that draws its own idle does so before any speech and after a reset",
        (Needs::Frames, 60),
        rest::idle,
    ),
    check(
        ("infer", "frame_rates"),
        "a session of another frame rate than the avatar's is drawn, or refused with text",
        (Needs::Frames, 60),
        frame_rates,
    ),
];

/// A voice from its first frame on, in a host of its own.
fn take(bench: &Bench, who: u64, frames: u64) -> Result<Vec<Shot>, Trouble> {
    let stage = bench.stage(0)?;
    let mut performer = Performer::open(&stage)?;
    performer.say(&stage.host, LEAD_IN, &voice(who, 1.5))?;
    performer.play(&stage.host, LEAD_IN..LEAD_IN + frames)
}

fn results(bench: &Bench) -> Outcome {
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let mut performer = Performer::open(&stage)?;
    let pcm = voice(0, 1.5);
    let mut shots = performer.say(host, LEAD_IN, &pcm)?;
    let begin = Instant::now();
    for k in LEAD_IN.. {
        performer.feed(host, k)?;
        let ask = performer.ask(k);
        let answer = host.infer(&[ask])?.remove(0);
        // What broke the contract is told here, and nowhere else; a write behind a slot by its own check.
        match answer {
            Err(error) if error.code == Code::BadOutput && !is_canary(&error) => {
                return Err(fails(
                    format!("frame {k}: {}", error.message),
                    "lipcast_request in lipcast_backend.h tells what a result may be",
                ));
            }
            other => shots.push(performer.take(&ask, other)?),
        }
        if performer.sample(k + 1) >= performer.sample(LEAD_IN) + pcm.len() as u64 {
            break;
        }
    }
    let each = begin.elapsed().as_secs_f64() * 1e3 / shots.len() as f64;
    let seen = different(&shots);
    let mut passed = Passed::new().note(format!("{seen} different pictures in {} frames", shots.len()));
    if seen == 1 {
        passed = passed.note("the picture never changed: what compares pictures says little");
    }
    passed.figure("a frame, one at a time", each, "ms");
    host.close(performer.session)?;
    Ok(passed)
}

fn repeatable(bench: &Bench) -> Outcome {
    let look = "look for uninitialised memory, clocks, addresses, counters and unseeded random numbers; \
                if it is meant, do not claim `deterministic`";
    let stage = bench.stage(0)?;
    let mut takes = Vec::new();
    for _ in 0..2 {
        let mut performer = Performer::open(&stage)?;
        performer.say(&stage.host, LEAD_IN, &voice(0, 1.5))?;
        takes.push(performer.play(&stage.host, LEAD_IN..LEAD_IN + 16)?);
        stage.host.close(performer.session)?;
    }
    let (capabilities, what) = (stage.host.capabilities(), "the same speech in another");
    same(capabilities, &takes[1], &takes[0], &format!("{what} session"), look)?;
    same(capabilities, &take(bench, 0, 16)?, &takes[0], &format!("{what} process"), look)?;
    Ok(Passed::new())
}

fn late_frames(bench: &Bench) -> Outcome {
    let expected = take(bench, 0, 16)?;
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let order = host.capabilities().order;
    let mut performer = Performer::open(&stage)?;
    performer.say(host, LEAD_IN, &voice(0, 1.5))?;
    let (mut found, mut wanted) = (Vec::new(), Vec::new());
    for (k, shot) in (LEAD_IN..).zip(expected) {
        let late = k % 3 == 1;
        if late && order == FrameOrder::Any && k % 2 == 0 {
            continue;
        }
        performer.feed(host, k)?;
        let mut ask = performer.ask(k);
        if late {
            (ask.discard_ok, ask.deadline_ns) = (true, host.subject.now_ns().saturating_sub(1).max(1));
        }
        let answer = host.infer(&[ask])?.remove(0);
        match answer {
            Err(error) if late && error.code == Code::Deadline => {}
            Err(error) if error.code == Code::Deadline => {
                return Err(fails(
                    format!("frame {k} was answered with DEADLINE"),
                    "only a request marked DISCARD_OK may be",
                ));
            }
            answer => {
                let drawn = performer.take(&ask, answer)?;
                if !late {
                    found.push(drawn);
                    wanted.push(shot);
                }
            }
        }
    }
    let look = match order {
        FrameOrder::Any => {
            "with order ANY a frame depends on its audio only; if it needs all before it, say SEQUENTIAL"
        }
        FrameOrder::Sequential => "a late frame may go without a picture, but the motion must stay in step",
    };
    let what = "a session whose every third frame was late or left out";
    same(host.capabilities(), &found, &wanted, what, look)?;
    Ok(Passed::new())
}

fn frame_rates(bench: &Bench) -> Outcome {
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let mut passed = Passed::new();
    for fps in [(30, 1), (24_000, 1_001), (50, 1)] {
        let mut params = params_of(&stage.avatar.info);
        params.fps = fps;
        let doing = format!("open_session at {}/{} frames a second", fps.0, fps.1);
        let session = match host.attempt(&doing, |subject| subject.open(stage.avatar.id, &params))? {
            Ok(session) => session,
            Err(error) => {
                passed = passed.note(format!("{}/{}: {error}", fps.0, fps.1));
                continue;
            }
        };
        let mut performer = Performer::of(&stage, session, params);
        performer.say(host, LEAD_IN, &voice(2, 0.6))?;
        performer.play(host, LEAD_IN..LEAD_IN + 12)?;
        host.close(session)?;
    }
    Ok(passed)
}

/// Skips where a batch holds one request only.
fn batches(bench: &Bench) -> Result<usize, Trouble> {
    match bench.launch()?.capabilities().max_batch as usize {
        0 | 1 => Err(skipped("max_batch is 1")),
        limit => Ok(limit),
    }
}
