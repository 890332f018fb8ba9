//! Preparing avatars, and loading what a disk gives back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use lipcast_plugins_api::loader::{NoProgress, Source};
use lipcast_plugins_api::types::{Code, Error};
use serde_json::Value;

use super::create::{Watch, cancelled};
use super::{Check, Needs, check};
use crate::bench::{Bench, Left, Stage, params_of};
use crate::compare::{Shot, same};
use crate::footprint::{Footprint, mib};
use crate::material::{mutants, voice};
use crate::outcome::{Outcome, Passed, Trouble, fails};
use crate::performer::{LEAD_IN, Performer};

pub(super) const CHECKS: &[Check] = &[
    check(
        ("avatar", "prepare"),
        "a clip becomes a blob, and the blob an avatar of its size, rate and length",
        (Needs::Created, 600),
        prepare,
    ),
    check(("avatar", "repeatable"), "the same source gives the same bytes", (Needs::Avatar, 120), repeatable),
    check(
        ("avatar", "frame_without_face"),
        "a frame without a face does not fail the whole",
        (Needs::Avatar, 120),
        frame_without_face,
    ),
    check(
        ("avatar", "unreadable_frame"),
        "a frame that cannot be read, or no frames at all, is an error with text",
        (Needs::Avatar, 120),
        unreadable_frame,
    ),
    check(
        ("avatar", "cancel"),
        "a preparation that is cancelled ends within a second, and another one works after it",
        (Needs::Avatar, 120),
        cancel,
    ),
    check(
        ("avatar", "damaged_blobs"),
        "two hundred damaged blobs are refused, or give an avatar that draws",
        (Needs::Avatar, 120),
        damaged_blobs,
    ),
    check(
        ("avatar", "neighbours"),
        "another avatar that is loaded and unloaded beside it changes nothing",
        (Needs::Frames, 60),
        neighbours,
    ),
    check(
        ("avatar", "reload"),
        "loading and unloading fifty times leaves no memory, files or threads behind",
        (Needs::Avatar, 120),
        reload,
    ),
];

fn prepare(bench: &Bench) -> Outcome {
    let mut passed = Passed::new();
    for index in 0..2 {
        let clip = bench.clip(index);
        let host = bench.ready()?;
        let watch = Watch::default();
        let begin = Instant::now();
        let blob = host.prepare(&mut clip.clone(), &watch)?;
        let took = begin.elapsed();
        watch.is_monotone("prepare_avatar")?;
        let avatar = host.load(&blob)?;
        let (info, (width, height)) = (&avatar.info, clip.size);
        let frames = clip.frames.len() as u32;
        if info.frame_count != 0 && (info.canvas, info.frame_count) != (clip.size, frames) {
            return Err(fails(
                format!(
                    "{frames} frames of {width}x{height} became {} frames of {}x{}",
                    info.frame_count, info.canvas.0, info.canvas.1
                ),
                "an avatar has the source's canvas and as many frames, or none (frame_count 0)",
            ));
        }
        if info.frame_count != 0 && info.fps != clip.fps {
            return Err(fails(
                format!("a source of {:?} frames a second became {:?}", clip.fps, info.fps),
                "the avatar's rate is the source's",
            ));
        }
        host.unload(&avatar)?;
        passed.figure(format!("prepare {frames} frames of {width}x{height}"), took.as_secs_f64() * 1e3, "ms");
        passed.figure(format!("blob of {width}x{height}"), blob.len() as f64 / 1024.0, "KiB");
    }
    bench.blob(0)?;
    Ok(passed)
}

fn repeatable(bench: &Bench) -> Outcome {
    let host = bench.ready()?;
    let twice =
        [host.prepare(&mut bench.clip(0), &NoProgress)?, host.prepare(&mut bench.clip(0), &NoProgress)?];
    let other = bench.ready()?.prepare(&mut bench.clip(0), &NoProgress)?;
    for (what, blob) in [("prepared again", &twice[1]), ("prepared by another process", &other)] {
        if *blob != twice[0] {
            let at = blob
                .iter()
                .zip(&twice[0])
                .position(|(a, b)| a != b)
                .unwrap_or(blob.len().min(twice[0].len()));
            return Err(fails(
                format!(
                    "the same source {what} gave another blob: {} and {} bytes, first difference at {at}",
                    twice[0].len(),
                    blob.len()
                ),
                "leave out times, addresses and random numbers; write containers in a fixed order; zero the padding",
            ));
        }
    }
    Ok(Passed::new())
}

fn frame_without_face(bench: &Bench) -> Outcome {
    let mut clip = bench.clip(0).without_face(0).without_face(2);
    let host = bench.ready()?;
    let blob = host.prepare(&mut clip, &NoProgress)?;
    let avatar = host.load(&blob)?;
    let stage = Stage { host: host.clone(), avatar };
    draw_some(&stage, 6)?;
    Ok(Passed::new())
}

fn unreadable_frame(bench: &Bench) -> Outcome {
    let mut passed = Passed::new();
    let mut broken = bench.clip(1);
    broken.unreadable = Some(1);
    let needs_frames = bench.launch()?.capabilities().prepare.frames;
    for (what, mut clip) in [("frame 1 unreadable", broken), ("no frames", bench.clip(1).without_frames())] {
        let host = bench.ready()?;
        let doing = format!("prepare_avatar with {what}");
        match host.attempt(&doing, |subject| subject.prepare(&mut clip, &Value::Null, &NoProgress))? {
            Err(error) => passed = passed.note(format!("{what}: {error}")),
            Ok(_) if needs_frames && clip.unreadable.is_some() => {
                return Err(fails(
                    format!("{doing} said OK"),
                    "when get_frame fails, return what it said: half an avatar would be kept for good",
                ));
            }
            Ok(blob) => drop(host.attempt("load_avatar", |subject| subject.load(&blob))?),
        }
    }
    Ok(passed)
}

/// A source that is cancelled while its first frame is read.
struct Interrupted<'a> {
    clip: crate::Clip,
    watch: &'a Watch,
    since: &'a std::sync::Mutex<Option<Instant>>,
}

impl Interrupted<'_> {
    fn interrupt(&self) {
        self.watch.cancel.store(true, Ordering::Release);
        crate::bench::lock(self.since).get_or_insert_with(Instant::now);
    }
}

impl Source for Interrupted<'_> {
    fn frame_count(&self) -> u32 {
        self.clip.frame_count()
    }
    fn size(&self) -> (u32, u32) {
        self.clip.size
    }
    fn fps(&self) -> (u32, u32) {
        self.clip.fps
    }
    fn frame(&mut self, index: u32, rgb: &mut Vec<u8>) -> Result<(), Error> {
        self.interrupt();
        self.clip.frame(index, rgb)
    }
    fn landmarks(&self, index: u32) -> Option<[[f32; 2]; 68]> {
        self.interrupt();
        self.clip.landmarks(index)
    }
    fn face_box(&self, index: u32) -> Option<[f32; 4]> {
        self.interrupt();
        self.clip.face_box(index)
    }
    fn assets(&self) -> Vec<String> {
        self.clip.assets()
    }
    fn asset(&self, name: &str) -> Option<Arc<[u8]>> {
        self.clip.asset(name)
    }
}

fn cancel(bench: &Bench) -> Outcome {
    let host = bench.ready()?;
    let (watch, since) = (Watch::default(), std::sync::Mutex::new(None));
    let mut source = Interrupted { clip: bench.clip(0), watch: &watch, since: &since };
    bench.doing("prepare_avatar, cancelled at its first frame");
    let result = host.subject.prepare(&mut source, &Value::Null, &watch);
    let took = crate::bench::lock(&since).map(|since| since.elapsed()).unwrap_or_default();
    let done = cancelled("prepare_avatar", took, result)?;
    // What the cancelled one began must not be in the way of the next.
    let blob = host.prepare(&mut bench.clip(0), &NoProgress)?;
    host.load(&blob)?;
    Ok(Passed::new().note(if done.is_some() { "it was done before it looked" } else { "CANCELLED" }))
}

fn damaged_blobs(bench: &Bench) -> Outcome {
    let (blob, host) = (bench.blob(1)?, bench.ready()?);
    let (mut refused, mut host_refused, mut taken) = (0, 0, 0);
    for (number, mutant) in mutants(&blob, 200, bench.options().seed).into_iter().enumerate() {
        let what = format!("load_avatar of damaged blob {number}: {}", mutant.what);
        let look = "check every length, count and offset of a blob against its size before it is used, and \
                    refuse it with BLOB_INCOMPATIBLE";
        let with_look = |trouble| match trouble {
            Trouble::Fails(failure) => fails(failure.what, look),
            skipped => skipped,
        };
        let avatar = match host.attempt(&what, |subject| subject.load(&mutant.bytes)).map_err(with_look)? {
            Err(error) if error.code == Code::BackendPanic => {
                return Err(fails(format!("{what}: {error}"), look));
            }
            // What cannot be is refused by the host as well; better still by the backend.
            Err(error) if error.code == Code::BadOutput => {
                host_refused += 1;
                continue;
            }
            Err(_) => {
                refused += 1;
                continue;
            }
            Ok(avatar) => avatar,
        };
        if mutant.hopeless && mutant.bytes[..] != blob[..] {
            return Err(fails(format!("{what}: it was taken"), look));
        }
        taken += 1;
        let stage = Stage { host: host.clone(), avatar };
        bench.doing(&what);
        draw_damaged(&stage, &what).map_err(with_look)?;
        host.unload(&stage.avatar)?;
    }
    // After all that the sound blob is still one.
    host.load(&blob)?;
    let seed = bench.options().seed;
    let mut passed = Passed::new().note(format!("{refused} refused, {taken} taken and drawn (seed {seed})"));
    if host_refused > 0 {
        passed = passed
            .note(format!("{host_refused} taken by the backend and refused by the host: impossible numbers"));
    }
    Ok(passed)
}

/// Two frames of an avatar from a damaged blob: whatever it answers, it must not die of it.
fn draw_damaged(stage: &Stage<'_>, what: &str) -> Result<(), Trouble> {
    let mut params = params_of(&stage.avatar.info);
    let (num, den) = params.fps;
    if !(1..=240).contains(&(num / den)) {
        params.fps = (25, 1);
    }
    let Ok(session) = stage.host.attempt(what, |subject| subject.open(stage.avatar.id, &params))? else {
        return Ok(());
    };
    let mut performer = Performer::of(stage, session, params);
    let pcm = voice(0, 0.3);
    stage.host.attempt(what, |subject| subject.push(session, 0, &pcm, true))?.ok();
    for k in 0..2 {
        let asks = [performer.ask(k)];
        drop(stage.host.attempt(what, |subject| subject.infer(&asks))?);
    }
    stage.host.close(session)
}

/// Draws the first frames of a voice.
pub(super) fn draw_some(stage: &Stage<'_>, frames: u64) -> Result<Vec<Shot>, Trouble> {
    let mut performer = Performer::open(stage)?;
    performer.say(&stage.host, LEAD_IN, &voice(0, 1.0))?;
    let shots = performer.play(&stage.host, LEAD_IN..LEAD_IN + frames)?;
    stage.host.close(performer.session)?;
    Ok(shots)
}

fn neighbours(bench: &Bench) -> Outcome {
    let what =
        "a session while another avatar is loaded (from its fifth frame) and unloaded (from its ninth)";
    let look = "keep what belongs to an avatar in the avatar; look for static and shared buffers";
    let alone = draw_some(&bench.stage(0)?, 12)?;
    let other = bench.blob(1)?;
    let stage = bench.stage(0)?;
    let host = &stage.host;
    let mut performer = Performer::open(&stage)?;
    performer.say(host, LEAD_IN, &voice(0, 1.0))?;
    let mut shots = performer.play(host, LEAD_IN..LEAD_IN + 4)?;
    let mut go_on = |shots: &mut Vec<Shot>, from: u64| match performer.play(host, from..from + 4) {
        Ok(more) => {
            shots.extend(more);
            Ok(())
        }
        Err(Trouble::Fails(failure)) => Err(fails(format!("{what}: {}", failure.what), look)),
        Err(skipped) => Err(skipped),
    };
    let neighbour = host.load(&other)?;
    go_on(&mut shots, LEAD_IN + 4)?;
    host.unload(&neighbour)?;
    go_on(&mut shots, LEAD_IN + 8)?;
    same(host.capabilities(), &shots, &alone, what, look)?;
    Ok(Passed::new())
}

fn reload(bench: &Bench) -> Outcome {
    const ROUNDS: u64 = 50;
    let (blob, host) = (bench.blob(0)?, bench.ready()?);
    let round = || host.load(&blob).and_then(|avatar| host.unload(&avatar));
    for _ in 0..5 {
        round()?;
    }
    let most = |before: &Footprint| (4 << 20).max(before.memory / 50);
    let Left { before, after, grown } = host.left_by(most, || (0..ROUNDS).try_for_each(|_| round()))?;
    if !after.is_within(&before) {
        return Err(fails(
            format!("{ROUNDS} rounds of load and unload left {}", after.more_than(&before)),
            "unload_avatar gives back all that load_avatar took",
        ));
    }
    if grown > most(&before) {
        return Err(fails(
            format!("{ROUNDS} rounds of load and unload left {} more memory", mib(grown)),
            "unload_avatar gives back all that load_avatar took",
        ));
    }
    Ok(Passed::new())
}
