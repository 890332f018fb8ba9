//! What stands together in a batch.

use super::batches;
use crate::bench::Bench;
use crate::compare::{Shot, same};
use crate::material::voice;
use crate::outcome::{Outcome, Passed, Trouble, fails};
use crate::performer::{LEAD_IN, Performer, draw, is_canary};
use crate::subject::Ask;

pub(super) fn canary(bench: &Bench) -> Outcome {
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let limit = host.capabilities().max_batch.min(8) as usize;
    let mut performers = Vec::new();
    for who in 0..limit {
        let mut performer = Performer::open(&stage)?;
        performer.say(host, LEAD_IN, &voice(who as u64, 1.0))?;
        performers.push(performer);
    }
    for k in LEAD_IN..LEAD_IN + 10 {
        for size in [1, limit] {
            let mut wanted = Vec::new();
            for performer in &mut performers[..size] {
                performer.feed(host, k)?;
                wanted.push(performer.ask(k));
            }
            // The second time it is asked for the same frame, which only an ANY backend can give.
            if size == limit && limit > 1 && host.capabilities().order == super::FrameOrder::Sequential {
                wanted.remove(0);
            }
            let broken = host.infer(&wanted)?.into_iter().zip(&wanted).find_map(|(answer, ask)| {
                let error = answer.err().filter(is_canary)?;
                Some((ask.frame, error))
            });
            if let Some((frame, error)) = broken {
                return Err(fails(
                    format!("frame {frame} in a batch of {}: {}", wanted.len(), error.message),
                    "slot_len is all there is: 3, 4, 1.5 or 2.5 bytes a pixel of the result's rect, rows packed; \
                     no padding after a row, no rounding up to a vector",
                ));
            }
        }
    }
    Ok(Passed::new())
}

/// A session and its neighbours, together in a batch or one by one; the same audio is there each time.
fn among(bench: &Bench, sessions: usize, together: bool) -> Result<Vec<Shot>, Trouble> {
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let mut performers = Vec::new();
    for who in 0..sessions {
        let mut performer = Performer::open(&stage)?;
        performer.say(host, LEAD_IN, &voice(who as u64, 1.0))?;
        performers.push(performer);
    }
    let mut shots = Vec::new();
    for k in LEAD_IN..LEAD_IN + 10 {
        for performer in &mut performers {
            performer.feed(host, k)?;
        }
        if together {
            // Its place in the batch changes, and so does the batch's size.
            let size = sessions - (k as usize % sessions.min(3)).min(sessions - 2);
            let mut wanted: Vec<(&mut Performer, u64)> =
                performers.iter_mut().take(size).map(|performer| (performer, k)).collect();
            let place = k as usize % size;
            wanted.swap(0, place);
            let mut drawn = draw(host, &mut wanted)?;
            shots.push(drawn.swap_remove(place));
            drop(wanted);
            for performer in &mut performers[size..] {
                draw(host, &mut [(performer, k)])?;
            }
        } else {
            for (who, performer) in performers.iter_mut().enumerate() {
                let drawn = draw(host, &mut [(performer, k)])?;
                if who == 0 {
                    shots.extend(drawn);
                }
            }
        }
    }
    Ok(shots)
}

pub(super) fn neighbours(bench: &Bench) -> Outcome {
    let limit = batches(bench)?.min(8);
    let (alone, among_others) = (among(bench, limit, false)?, among(bench, limit, true)?);
    same(
        bench.launch()?.capabilities(),
        &among_others,
        &alone,
        &format!("a session in batches of up to {limit} sessions, against batches of one"),
        "look for buffers indexed by something else than the request, for normalisation over the batch, for padding \
         of the batch that is drawn in, and for state in the instance that belongs into the session",
    )?;
    Ok(Passed::new())
}

/// Frames of one session, `size` at a time; asked together or one by one.
fn in_groups(bench: &Bench, size: usize, together: bool) -> Result<Vec<Shot>, Trouble> {
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let mut performer = Performer::open(&stage)?;
    performer.say(host, LEAD_IN, &voice(0, 1.0))?;
    let mut shots = Vec::new();
    for group in 0..4 {
        let first = LEAD_IN + group * size as u64;
        let frames = first..first + size as u64;
        for k in frames.clone() {
            performer.feed(host, k)?;
        }
        let asks: Vec<Ask> = frames.map(|k| performer.ask(k)).collect();
        let answers = if together {
            host.infer(&asks)?
        } else {
            let mut answers = Vec::new();
            for ask in &asks {
                answers.extend(host.infer(std::slice::from_ref(ask))?);
            }
            answers
        };
        for (ask, answer) in asks.iter().zip(answers) {
            shots.push(performer.take(ask, answer)?);
        }
    }
    Ok(shots)
}

pub(super) fn of_one_session(bench: &Bench) -> Outcome {
    let size = batches(bench)?.min(4);
    let (singly, together) = (in_groups(bench, size, false)?, in_groups(bench, size, true)?);
    same(
        bench.launch()?.capabilities(),
        &together,
        &singly,
        &format!("{size} frames of one session in each batch, against one"),
        "requests of one session stand in the order of their frames; take each with its own audio window and state",
    )?;
    Ok(Passed::new())
}
