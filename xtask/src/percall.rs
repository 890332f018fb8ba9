//! `cargo xtask bench-percall`: what a call of a network costs from Rust and from Python, in one run on the same files.
//!
//! Each side is a process that runs what it is told (`backends/musetalk/src/percall.rs`, `tools/bench_percall.py`).
//! They take turns call by call, so that whatever else the machine does hits both; processor time is what counts.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::runtimes::{self, Runtime};
use crate::steps::root;
use crate::tools;

/// What is measured, where the bundle has it; `generate` is UNet, decoder and rounding.
const CALLS: [&str; 5] = ["whisper_encoder", "unet", "vae_decoder", "vae_encoder", "generate"];
const BATCHES: [usize; 2] = [1, 4];
/// How far the means of both sides' outputs may be apart, on values of about one.
const TOLERANCE: f64 = 1e-4;
/// What Rust may cost of what Python does.
const AIM: f64 = 1.05;

const USAGE: &str = "`cargo xtask bench-percall` takes --bundle DIR [--runtime onnx] [--rounds 30]";

/// Measures and prints a table.
pub(crate) fn percall(arguments: &[String]) -> Result<()> {
    let (mut bundle, mut runtime, mut rounds) = (None, "onnx".to_owned(), 30);
    for pair in arguments.chunks(2) {
        match pair {
            [key, value] if key == "--bundle" => bundle = Some(PathBuf::from(value)),
            [key, value] if key == "--runtime" => runtime = value.clone(),
            [key, value] if key == "--rounds" => rounds = value.parse().context(USAGE)?,
            _ => bail!(USAGE),
        }
    }
    let bundle = bundle.context(USAGE)?;
    let bundle = bundle.canonicalize().with_context(|| bundle.display().to_string())?;
    ensure!(rounds > 0, USAGE);
    let runtime = runtimes::named(&runtime)?;
    runtime.install()?;
    let python = python(runtime)?;

    let batches = BATCHES.map(|batch| batch.to_string());
    let mut rust = runtime.example("percall");
    let mut rust = Side::start(rust.arg(&bundle).arg(runtime.folder()).args(&batches))?;
    let script = root().join("tools/bench_percall.py");
    let mut python = Side::start(Command::new(python).arg(script).arg(&bundle).arg(runtime.format))?;
    println!("one thread; processor milliseconds, least and median of {rounds} rounds, each side in turn");
    println!("Rust:   {}\nPython: {}", rust.name, python.name);
    println!("{:<16} batch      Rust           Python         ratio of least, of medians", "call");
    let mut worst: f64 = 0.0;
    for call in CALLS {
        for batch in BATCHES {
            worst = worst.max(compare(&mut rust, &mut python, call, batch, rounds)?);
        }
    }
    println!("worst ratio of medians: {worst:.3} (aim: {AIM} at most)");
    Ok(())
}

/// Measures one call on both sides, prints its line, and gives the ratio of the medians.
fn compare(rust: &mut Side, python: &mut Side, call: &str, batch: usize, rounds: usize) -> Result<f64> {
    // The first call of a shape plans its memory.
    let warm = [rust.call(call, batch)?, python.call(call, batch)?];
    let scale = warm[1].mean.abs().max(1.0);
    let apart = (warm[0].mean - warm[1].mean).abs() / scale;
    ensure!(
        apart <= TOLERANCE,
        "{call} {batch}: the sides differ: means {} and {}",
        warm[0].mean,
        warm[1].mean
    );
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        let mut turn = |side: usize| -> Result<()> {
            let seconds = if side == 0 { rust.call(call, batch)? } else { python.call(call, batch)? }.seconds;
            times[side].push(1e3 * seconds);
            Ok(())
        };
        let first = round % 2;
        turn(first)?;
        turn(1 - first)?;
    }
    let [(rust, rust_median), (python, python_median)] = times.map(least_and_median);
    let ratios = [rust / python, rust_median / python_median];
    println!(
        "{call:<16} {batch:>5} {rust:8.2} {rust_median:8.2} {python:8.2} {python_median:8.2} {:8.3} {:8.3}",
        ratios[0], ratios[1]
    );
    Ok(ratios[1])
}

fn least_and_median(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[0], times[times.len() / 2])
}

/// Python with the same runtime in it.
fn python(runtime: &Runtime) -> Result<PathBuf> {
    let wanted = root().join(format!("tools/bench_percall.{}.requirements.txt", runtime.name));
    tools::environment(&format!("percall-{}", runtime.name), &wanted)
}

/// A process that runs calls.
struct Side {
    name: String,
    process: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

struct Answer {
    seconds: f64,
    mean: f64,
}

impl Side {
    fn start(command: &mut Command) -> Result<Self> {
        let shown = command.get_program().to_string_lossy().into_owned();
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().with_context(|| shown.clone())?;
        let orders = process.stdin.take();
        let mut answers = BufReader::new(process.stdout.take().context("no pipe")?).lines();
        let name = answers.next().with_context(|| format!("{shown} ended at once"))??;
        Ok(Self { name, process, orders, answers })
    }

    fn call(&mut self, call: &str, batch: usize) -> Result<Answer> {
        writeln!(self.orders.as_mut().context("it has been told to end")?, "{call} {batch}")?;
        let line =
            self.answers.next().with_context(|| format!("{}: ended at {call} {batch}", self.name))??;
        let numbers: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [seconds, mean] = numbers[..] else { bail!("{}: {line}", self.name) };
        Ok(Answer { seconds, mean })
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // It ends when nobody can tell it anything any more.
        self.orders = None;
        let _ = self.process.wait();
    }
}
