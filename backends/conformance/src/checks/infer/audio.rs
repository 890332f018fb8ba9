//! What a frame hears.

use super::take;
use crate::bench::Bench;
use crate::compare::{Shot, same};
use crate::material::{noise, voice};
use crate::outcome::{Outcome, Passed, Trouble, fails};
use crate::performer::{LEAD_IN, Performer, draw};

/// How far beyond the look-ahead the audio is changed: 400 ms.
const BEYOND: u64 = 6_400;

/// A signal by the number of its sample.
type Signal = fn(usize) -> f32;

/// Frame `k`, reached frame by frame; `beyond` is then pushed behind all that it may hear.
fn at(bench: &Bench, k: u64, beyond: &[f32]) -> Result<Vec<Shot>, Trouble> {
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let mut performer = Performer::open(&stage)?;
    performer.say(host, LEAD_IN, &voice(0, 4.0))?;
    performer.play(host, LEAD_IN..k)?;
    performer.feed(host, k)?;
    // As much of it as finds room.
    let (mut from, chunk) = (performer.needed(k), 640);
    for pcm in beyond.chunks(chunk) {
        let doing = "push_audio beyond the look-ahead";
        let pushed = host.attempt(doing, |subject| subject.push(performer.session, from, pcm, false))?;
        if pushed.is_err() {
            break;
        }
        from += pcm.len() as u64;
    }
    draw(host, &mut [(&mut performer, k)])
}

pub(super) fn lookahead(bench: &Bench) -> Outcome {
    let lookahead = bench.launch()?.capabilities().lookahead_ms;
    for k in [LEAD_IN, LEAD_IN + 3, LEAD_IN + 7] {
        let nothing = at(bench, k, &[])?;
        for (what, beyond) in
            [("noise", noise(3, BEYOND as usize)), ("another voice", voice(5, BEYOND as f32 / 16_000.0))]
        {
            let found = at(bench, k, &beyond)?;
            same(
                bench.launch()?.capabilities(),
                &found,
                &nothing,
                &format!(
                    "frame {k} with {what} pushed beyond its look-ahead of {lookahead} ms, against nothing there yet"
                ),
                "read audio up to the frame's end plus lookahead_ms and take the rest as zero, or declare a longer \
                 lookahead_ms; convolutions that are centred look ahead by half their width",
            )?;
        }
    }
    Ok(Passed::new())
}

pub(super) fn odd_audio(bench: &Bench) -> Outcome {
    let expected = take(bench, 0, 8)?;
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let mut passed = Passed::new();
    let odd: [(&str, Signal); 8] = [
        ("silence", |_| 0.0),
        ("NaN", |_| f32::NAN),
        ("infinity", |_| f32::INFINITY),
        ("NaN and both infinities between ordinary samples", |n| match n % 97 {
            0 => f32::NAN,
            1 => f32::INFINITY,
            2 => f32::NEG_INFINITY,
            _ => (n as f32 * 0.1).sin() * 0.3,
        }),
        ("denormals", |n| f32::from_bits(1 + n as u32 % 1_000)),
        ("a full-scale square wave", |n| if n / 40 % 2 == 0 { 1.0 } else { -1.0 }),
        ("1e30", |n| if n % 2 == 0 { 1e30 } else { -1e30 }),
        ("negative zero", |_| -0.0),
    ];
    for (what, sample) in odd {
        let pcm: Vec<f32> = (0..9_600).map(sample).collect();
        let mut performer = Performer::open(&stage)?;
        bench.doing(format!("speech of {what}"));
        // A refusal of such audio is fine; a result outside the contract or a death is not.
        let doing = format!("push_audio of {what}");
        let first = performer.sample(LEAD_IN);
        performer.stay_quiet(host, 0)?;
        if let Err(error) =
            host.attempt(&doing, |subject| subject.push(performer.session, first, &pcm, true))?
        {
            passed = passed.note(format!("{what}: {error}"));
        }
        for k in LEAD_IN..LEAD_IN + 8 {
            let ask = performer.ask(k);
            if let Err(error) = host.infer(&[ask])?.remove(0) {
                if [super::Code::BadOutput, super::Code::BackendPanic].contains(&error.code) {
                    return Err(fails(
                        format!("frame {k} of {what}: {error}"),
                        "clean or clamp samples as they come in: decoders and microphones do send such values",
                    ));
                }
                passed = passed.note(format!("frame {k} of {what}: {error}"));
            }
        }
        host.close(performer.session)?;
        let mut next = Performer::open(&stage)?;
        next.say(host, LEAD_IN, &voice(0, 1.5))?;
        let found = next.play(host, LEAD_IN..LEAD_IN + 8)?;
        same(
            host.capabilities(),
            &found,
            &expected,
            &format!("an ordinary session after one of {what}"),
            "what a session heard must not outlive it: look for running means and filters outside the session",
        )?;
        host.close(next.session)?;
    }
    Ok(passed)
}
