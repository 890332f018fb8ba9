//! What is in a picture, and what is said while it is drawn.

use std::time::Duration;

use crate::bench::Bench;
use crate::compare::{Shot, different};
use crate::material::voice;
use crate::outcome::{Outcome, Passed, Trouble, fails};
use crate::performer::{LEAD_IN, Performer};

/// Frames of a voice, each into a slot full of `blank`.
fn over(bench: &Bench, blank: u8) -> Result<Vec<Shot>, Trouble> {
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let mut performer = Performer::open(&stage)?;
    performer.say(host, LEAD_IN, &voice(0, 1.0))?;
    let mut shots = Vec::new();
    for k in LEAD_IN..LEAD_IN + 12 {
        performer.feed(host, k)?;
        let ask = crate::subject::Ask { blank: Some(blank), ..performer.ask(k) };
        let answer = host.infer(&[ask])?.remove(0);
        shots.push(performer.take(&ask, answer)?);
    }
    Ok(shots)
}

pub(super) fn unwritten(bench: &Bench) -> Outcome {
    let (dark, light) = (over(bench, 0x00)?, over(bench, 0xFF)?);
    for (dark, light) in dark.iter().zip(&light) {
        let (Some(a), Some(b)) = (&dark.painted, &light.painted) else { continue };
        let left = a.picture.iter().zip(b.picture.iter()).filter(|pair| *pair == (&0x00, &0xFF)).count();
        if left > 0 {
            return Err(fails(
                format!(
                    "frame {}: {left} of {} bytes of its picture are what the slot held before",
                    dark.frame,
                    a.picture.len()
                ),
                "a slot comes with anything in it: write all rows and all planes of the rect, the alpha plane too",
            ));
        }
    }
    Ok(Passed::new())
}

pub(super) fn moves(bench: &Bench) -> Outcome {
    let shots = super::take(bench, 0, 30)?;
    let seen = different(&shots);
    if seen > 1 {
        return Ok(Passed::new().note(format!("{seen} different pictures in {} frames", shots.len())));
    }
    let painted = shots.first().and_then(|shot| shot.painted.as_ref());
    let what = painted.map_or("nothing is painted in any of them".to_owned(), |painted| {
        let values: std::collections::BTreeSet<u8> = painted.picture.iter().copied().collect();
        format!("they are all the same, and hold {} different byte values", values.len())
    });
    Err(fails(
        format!("{} frames of speech: {what}", shots.len()),
        "look whether the audio reaches the model, and its output the slot",
    ))
}

/// Lines a frame that are within what a server keeps: a hundred a second.
const LINES: usize = 4;

pub(super) fn quiet(bench: &Bench) -> Outcome {
    const FRAMES: u64 = 20;
    let stage = bench.stage(0)?;
    let mut performer = Performer::open(&stage)?;
    performer.say(&stage.host, LEAD_IN, &voice(0, 1.5))?;
    // What was printed before the first frame is still on its way through a pipe.
    let settle = || std::thread::sleep(Duration::from_millis(100));
    settle();
    let before = stage.host.subject.said();
    performer.play(&stage.host, LEAD_IN..LEAD_IN + FRAMES)?;
    settle();
    let said = stage.host.subject.said() - before;
    if said > LINES * FRAMES as usize {
        return Err(fails(
            format!("it said {said} lines or more during {FRAMES} frames, in its log or past it"),
            "a server keeps a hundred lines a second and counts the rest: log what changes, not every frame",
        ));
    }
    let mut passed = Passed::new();
    passed.figure("lines a frame", said as f64 / FRAMES as f64, "");
    Ok(passed)
}
