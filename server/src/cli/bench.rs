//! `lipcast bench`: the figures of `docs/performance.md`, each by one command.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use lipcast_engine::audio::SpeechDecoder;
use lipcast_engine::avatar::{Avatar, AvatarId};
use lipcast_engine::backend::PixelFormat;

use super::opening::Opening;
use super::{CliError, failed, load, progress};
use crate::bench::crash::{self, Death};
use crate::bench::isolation::{self, Comparison, percentile};
use crate::bench::lipsync::{LipSync, Phone, Recording, phones, record};
use crate::bench::rig::{Client, Rig};
use crate::bench::{around, black_box, compose, sessions, start, sync};
use crate::config::Config;
use crate::studio::{Stages, speech_limits};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Lip-sync of the serving backend, measured from its output pixels.
    Lipsync(LipsyncArguments),
    /// A/V sync at the receiver, in aiortc and in Chromium, with a control of +80 ms.
    Sync(SyncArguments),
    /// Start to listening, speech to first frame, offer to first picture.
    Start,
    /// What composing a frame costs.
    Compose,
    /// What everything around MuseTalk's networks costs a frame, beside the reference's own steps.
    Around(AroundArguments),
    /// What recording the last minutes of a session costs.
    BlackBox,
    /// Sessions a core, beside a Python server that does the same work.
    Sessions(SessionsArguments),
    /// What a process of its own costs a frame, beside the same backend inside this one.
    Isolation(IsolationArguments),
    /// How soon a session hears of its backend's death, and how soon there is another.
    Crash(CrashArguments),
}

#[derive(Debug, Args)]
pub(super) struct AroundArguments {
    /// A Python with numpy, OpenCV 4.9 and Pillow 10.4; without it, only our side is measured.
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// The checkout that holds tools/bench_around.py.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    checkout: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct LipsyncArguments {
    /// Whom to measure; without it, the built-in avatar.
    #[arg(long)]
    avatar: Option<AvatarId>,
    /// What is said; without it, the built-in clip.
    #[arg(long, value_name = "FILE")]
    audio: Option<PathBuf>,
    /// The flite voice whose phones are known. demo was not trained on this one.
    #[arg(long, default_value = "rms")]
    voice: String,
}

#[derive(Debug, Args)]
pub(super) struct SyncArguments {
    /// Length of each run in seconds; from the 15th on, it counts.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(18..=3600))]
    seconds: u32,
    /// The checkout that holds the measuring clients.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    checkout: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct SessionsArguments {
    /// Sessions at once, one viewer each.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    sessions: u32,
    /// How long each server is watched, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(5..=3600))]
    seconds: u32,
    /// The checkout that holds the measuring clients.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    checkout: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct IsolationArguments {
    /// How often the two take turns. A round of those at 25 frames a second takes two seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Only the n-th case.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=7))]
    only: Option<u8>,
}

#[derive(Debug, Args)]
pub(super) struct CrashArguments {
    /// How often it dies in each way.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    times: u32,
}

pub(super) fn run(settings: Option<&Path>, command: Command) -> Result<(), CliError> {
    let config = load(settings)?;
    match command {
        Command::Lipsync(arguments) => lipsync(&config, &arguments),
        Command::Sync(arguments) => measure_sync(&arguments),
        Command::Start => measure_start(&config),
        Command::Compose => measure_compose(),
        Command::Around(arguments) => measure_around(&arguments),
        Command::BlackBox => {
            measure_black_box();
            Ok(())
        }
        Command::Sessions(arguments) => measure_sessions(&arguments),
        Command::Isolation(arguments) => measure_isolation(&config, &arguments),
        Command::Crash(arguments) => measure_crash(&config, &arguments),
    }
}

/// Sentences rich in closures, spread and rounded vowels, with a pause in the middle.
const TEXT: &str = "Peter bought a bright blue paper map, and Bobby may keep the money. \
     You two should move through the new room soon. Maybe people believe me, please see the green tree. \
     My mother and papa jump up and bump the big drum, while we choose blue shoes.";

fn lipsync(config: &Config, arguments: &LipsyncArguments) -> Result<(), CliError> {
    let Opening { stages, avatar, speech } =
        Opening::of(config, arguments.avatar.as_ref(), arguments.audio.as_deref())?;
    let name = arguments.audio.as_ref().map_or("built-in clip".to_owned(), |path| path.display().to_string());
    let first = lipsync_of(&stages, &avatar, speech, None, &name)?;

    let folder = tempfile::tempdir().map_err(failed)?;
    let spoken = phones::speak(TEXT, &arguments.voice, &folder.path().join("phones.wav")).map_err(failed)?;
    let speech = SpeechDecoder::open(&spoken.audio, &speech_limits(config)).map_err(failed)?;
    let name = format!("flite, voice {}", arguments.voice);
    let second = lipsync_of(&stages, &avatar, speech, Some(&spoken.phones), &name)?;
    if first.controls.hold() && second.controls.hold() {
        return Ok(());
    }
    Err(CliError::Failed("a control did not hold: the figures above cannot be trusted".to_owned()))
}

fn lipsync_of(
    stages: &Stages,
    avatar: &Arc<Avatar>,
    mut speech: SpeechDecoder,
    phones: Option<&[Phone]>,
    name: &str,
) -> Result<LipSync, CliError> {
    let (stage, _) = stages
        .stages_for(avatar)
        .next()
        .ok_or_else(|| CliError::Unavailable("no backend can show this avatar".to_owned()))?;
    println!("{name}, {} on {}", avatar.id(), stage.instance.name());
    let frames = speech.info().seconds.map_or(0.0, |seconds| seconds * avatar.fps().as_f64()).ceil();
    let bar = progress::bar(frames as u64);
    bar.set_message("measuring");
    let recorded = record::record(stage, avatar, &mut speech, || bar.inc(1)).map_err(failed)?;
    bar.finish_and_clear();
    let recording = Recording {
        fps: recorded.fps,
        mouth: &recorded.mouth,
        pcm: &recorded.pcm,
        sample_rate: 48_000,
        phones,
    };
    let figures = LipSync::of(&recording);
    print_lipsync(&figures);
    Ok(figures)
}

fn print_lipsync(figures: &LipSync) {
    let LipSync { envelope, closures, width_auc, silence, controls } = figures;
    println!(
        "  opening against envelope  {:.3} within 40 ms (aim 0.6), lag {:+.1} ms",
        envelope.correlation, envelope.lag_ms
    );
    if let Some(closures) = closures {
        println!(
            "  closures of p, b, m       {:.0} % of {} hit (aim 80 %); a control in open vowels reads {:.0} %",
            closures.hit * 100.0,
            closures.count,
            closures.hit_in_vowels * 100.0
        );
    }
    if let Some(auc) = width_auc {
        println!("  spread against rounded    {auc:.3} AUC (aim 0.8)");
    }
    if let Some(silence) = silence {
        println!(
            "  movement in silence       {:.1} % of the speaking range in {} frames (aim 2 %)",
            silence.movement * 100.0,
            silence.frames
        );
    }
    println!(
        "  controls                  200 ms shift reads {:.0} ms, shuffled {:.3}, frozen {:.3}: {}",
        controls.shifted_ms,
        controls.shuffled,
        controls.frozen,
        if controls.hold() { "they hold" } else { "THEY DO NOT HOLD" }
    );
}

fn measure_sync(arguments: &SyncArguments) -> Result<(), CliError> {
    let program = std::env::current_exe().map_err(failed)?;
    let measure = |client, seconds, late| sync::measure(&program, &arguments.checkout, client, seconds, late);
    println!("sound after picture from second {} on, one click a second", sync::FROM_SECOND);
    let show = |name: &str, found: &sync::Sync| {
        println!(
            "  {name:9} mean {:+6.1} ms (aim 20), worst {:5.1} ms (aim 45), {} clicks",
            found.mean_ms, found.worst_ms, found.pairs
        );
    };
    let plain = measure(Client::Aiortc, arguments.seconds, 0).map_err(failed)?;
    show("aiortc", &plain);
    show("Chromium", &measure(Client::Browser, arguments.seconds, 0).map_err(failed)?);
    // A flash two frames late is a sound that comes 80 ms early.
    let late = measure(Client::Aiortc, arguments.seconds, 2).map_err(failed)?;
    let read = plain.mean_ms - late.mean_ms;
    println!("  control   a picture 80 ms late reads {read:.1} ms");
    if (read - 80.0).abs() <= 10.0 {
        return Ok(());
    }
    Err(CliError::Failed("the control did not hold: the figures above cannot be trusted".to_owned()))
}

fn measure_start(config: &Config) -> Result<(), CliError> {
    let program = std::env::current_exe().map_err(failed)?;
    let mut listening: Vec<f64> = Vec::new();
    for _ in 0..5 {
        let rig = Rig::start(&program, "", &[]).map_err(failed)?;
        listening.push(rig.started_in().as_secs_f64() * 1000.0);
    }
    println!("start to listening: {} ms (aim 500)", spread(&mut listening));

    let Opening { stages, avatar, .. } = Opening::of(config, None, None)?;
    let mut speaking = Vec::new();
    let mut lookahead = 0.0;
    for _ in 0..5 {
        let (stage, _) = stages
            .stages_for(&avatar)
            .next()
            .ok_or_else(|| CliError::Unavailable("no backend can show this avatar".to_owned()))?;
        lookahead = stage.instance.lookahead_samples() as f64 / 16.0;
        let speech = stages.builtin_speech().map_err(failed)?;
        let took = start::first_speech_frame(stage, speech, avatar.fps()).map_err(failed)?;
        speaking.push(took.as_secs_f64() * 1000.0);
    }
    println!(
        "speech to first lip-synced frame out of the encoder: {} ms (aim: look-ahead of {lookahead:.0} + 120)",
        spread(&mut speaking)
    );

    let rig = Rig::start(&program, "", &[]).map_err(failed)?;
    let mut first = Vec::new();
    for run in 0..3 {
        let session = format!("bench-{run}");
        let arguments = ["--seconds", "2", "--session", &session, "--start", "", "--measure", "none"];
        let report = Client::Browser.watch(Path::new("."), &rig, &arguments).map_err(failed)?;
        first.extend(report["first_frame_ms"].as_f64());
    }
    println!("offer to first picture in Chromium: {} ms (aim 500)", spread(&mut first));
    Ok(())
}

fn measure_compose() -> Result<(), CliError> {
    let (patch, formats) = (256, [("I420", PixelFormat::I420), ("RGB24", PixelFormat::Rgb24)]);
    for size @ (width, height) in [(512, 512), (704, 1216), (1024, 1024)] {
        for (name, format) in formats {
            let took = compose::per_frame_ms(size, patch, format).map_err(failed)?;
            println!(
                "{width}x{height}, a patch of {patch}x{patch} in {name}: {took:.3} ms of processor time"
            );
        }
    }
    Ok(())
}

fn measure_black_box() {
    for (name, format) in [("I420", PixelFormat::I420), ("RGB24", PixelFormat::Rgb24)] {
        let black_box::Costs { patch, no_picture, idle } = black_box::per_frame_ms(256, format);
        println!(
            "a patch of 256x256 in {name}: {patch:.4} ms of processor time, {no_picture:.4} without its hash; \
             an idle frame {:.0} ns",
            idle * 1e6
        );
    }
}

fn measure_sessions(arguments: &SessionsArguments) -> Result<(), CliError> {
    let program = std::env::current_exe().map_err(failed)?;
    let SessionsArguments { sessions, seconds, checkout } = arguments;
    println!("{sessions} sessions of the built-in avatar, {seconds} s each, no model on either side");
    let costs = sessions::measure(&program, checkout, *sessions, *seconds).map_err(failed)?;
    costs.iter().for_each(|cost| println!("  {cost}"));
    let [ours, others @ ..] = costs.as_slice() else { return Ok(()) };
    for other in others {
        println!(
            "  {}: {:.1} times the processor time, {:.1} times without the encoders (aims 4 to 6, and 8)",
            other.server,
            other.all / ours.all,
            other.around / ours.around
        );
    }
    Ok(())
}

fn measure_isolation(config: &Config, arguments: &IsolationArguments) -> Result<(), CliError> {
    let (small, large) = ((256, 256), (1920, 1080));
    let cases = [
        (small, "rgb", false, 1, 1_000),
        (small, "rgb", true, 1, 25),
        (small, "rgb", true, 25, 25),
        (large, "rgb", false, 1, 100),
        (large, "rgb", true, 1, 25),
        (large, "i420", false, 1, 100),
        (large, "i420", true, 1, 25),
    ];
    println!("a frame of a backend in a process of its own, and of the same inside this one");
    for (number, (size, format, paced, pushed, frames)) in (1..).zip(cases) {
        if arguments.only.is_some_and(|only| only != number) {
            continue;
        }
        let case = isolation::Case { size, format, paced, pushed, frames };
        let Comparison { inside, outside } =
            isolation::measure(&config.engine, &case, arguments.rounds).map_err(failed)?;
        let aim = if size == small { "100 us" } else { "10 %" };
        println!("{case} (aim: less than {aim} more)\n  inside   {inside}\n  outside  {outside}");
        let compare = |outside: f64, inside: f64| {
            format!("{:+.1} us, {:+.1} %", outside - inside, (outside / inside - 1.0) * 100.0)
        };
        println!(
            "  more     {}; of processor time {}",
            compare(outside.wall, inside.wall),
            compare(outside.cpu, inside.cpu)
        );
    }
    Ok(())
}

fn measure_crash(config: &Config, arguments: &CrashArguments) -> Result<(), CliError> {
    let times = arguments.times;
    println!("a backend that dies inside a call, {times} times each way: median / p99 / worst");
    for death in Death::ALL {
        let mut found = crash::measure(&config.engine, death, times).map_err(failed)?;
        let spread = |values: &mut [f64]| {
            let [median, p99, worst] = [50, 99, 100].map(|percent| percentile(values, percent));
            format!("{median:.2} / {p99:.2} / {worst:.2} ms")
        };
        println!(
            "  {:9} heard after {} (aim 5 ms); the next one is ready {} later, not counting {} ms of back-off",
            death.name(),
            spread(&mut found.heard),
            spread(&mut found.ready),
            crash::BACKOFF.as_millis()
        );
    }
    Ok(())
}

/// Smallest, median and largest of some runs.
fn spread(values: &mut [f64]) -> String {
    values.sort_by(f64::total_cmp);
    match values {
        [] => "none".to_owned(),
        values => {
            format!("{:.0} / {:.0} / {:.0}", values[0], values[values.len() / 2], values[values.len() - 1])
        }
    }
}

/// Rounds in which the two take turns; the fastest of each counts, since the machine's others only ever add.
const AROUND_ROUNDS: usize = 3;

fn measure_around(arguments: &AroundArguments) -> Result<(), CliError> {
    let script = arguments.checkout.join("tools/bench_around.py");
    println!("ms of processor time a frame: tokens + patch + compose; the reference; ratio");
    for scene in &around::SCENES {
        let (mut best, mut theirs) = (None::<around::Ours>, f64::INFINITY);
        for _ in 0..AROUND_ROUNDS {
            let ours = around::ours(scene).map_err(failed)?;
            best = Some(best.filter(|best| best.sum() <= ours.sum()).unwrap_or(ours));
            if let Some(python) = &arguments.python {
                let said = around::reference(python, &script, scene).map_err(CliError::Failed)?;
                theirs = theirs.min(said["ms"].as_f64().unwrap_or(f64::INFINITY));
            }
        }
        // At least one round.
        let ours = best.unwrap_or_default();
        let ((width, height), [x1, y1, x2, y2]) = (scene.frame, scene.face);
        print!(
            "{width}x{height}, face {}x{}: {:.3} + {:.3} + {:.3} = {:.3}",
            x2 - x1,
            y2 - y1,
            ours.tokens,
            ours.patch,
            ours.compose,
            ours.sum()
        );
        match arguments.python {
            Some(_) => println!("; {theirs:.2}; {:.0}", theirs / ours.sum()),
            None => println!(""),
        }
    }
    Ok(())
}
