//! `cargo xtask bench-percall`: what a call of a network costs from Rust and from Python, in one run on the same files.
//!
//! Each side is a process that runs what it is told (`backends/musetalk/src/percall.rs`, `tools/bench_percall.py`).
//! They take turns, so that whatever else the machine does hits both; processor time is what counts, of calls that follow
//! one another as they do while somebody speaks: the first of a turn, which finds its caches full of the other side's
//! values, is left out. They are started anew several times, since which memory a process happens to get makes a seventh in
//! the larger calls.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::runtimes::{self, Runtime};
use crate::steps::root;
use crate::tools;

/// What is measured, where the bundle has it; `generate` is UNet, decoder and rounding.
const CALLS: [&str; 5] = ["whisper_encoder", "unet", "vae_decoder", "vae_encoder", "generate"];
const BATCHES: &str = "1,4";
/// How far the means of both sides' outputs may be apart, on values of about one.
const TOLERANCE: f64 = 1e-4;
/// What Rust may cost of what Python does.
const AIM: f64 = 1.05;

const USAGE: &str = "`cargo xtask bench-percall` takes --bundle DIR [--runtime onnx] [--calls unet,generate] \
                     [--batches 1,4] [--starts 12] [--rounds 5]";

/// Measures and prints a table.
pub(crate) fn percall(arguments: &[String]) -> Result<()> {
    let (mut bundle, mut runtime, mut batches) = (None, "onnx".to_owned(), BATCHES.to_owned());
    let (mut starts, mut rounds, mut only) = (12, 5, CALLS.join(","));
    for pair in arguments.chunks(2) {
        match pair {
            [key, value] if key == "--bundle" => bundle = Some(PathBuf::from(value)),
            [key, value] if key == "--runtime" => runtime = value.clone(),
            [key, value] if key == "--calls" => only = value.clone(),
            [key, value] if key == "--batches" => batches = value.clone(),
            [key, value] if key == "--starts" => starts = value.parse().context(USAGE)?,
            [key, value] if key == "--rounds" => rounds = value.parse().context(USAGE)?,
            _ => bail!(USAGE),
        }
    }
    let bundle = bundle.context(USAGE)?;
    let bundle = bundle.canonicalize().with_context(|| bundle.display().to_string())?;
    ensure!(starts > 0 && rounds > 0, USAGE);
    let batches: Vec<usize> = batches.split(',').map(str::parse).collect::<Result<_, _>>().context(USAGE)?;
    let runtime = runtimes::named(&runtime)?;
    runtime.install()?;
    let python = python(runtime)?;

    println!("one thread; processor milliseconds of {starts} starts with {rounds} rounds, each side in turn");
    let only: Vec<_> = only.split(',').collect();
    ensure!(only.iter().all(|call| CALLS.contains(call)), "--calls takes {}", CALLS.join(","));
    let calls = CALLS
        .iter()
        .filter(|call| only.contains(call))
        .flat_map(|call| batches.iter().map(move |batch| (*call, *batch)));
    let mut all: Vec<_> = calls.map(|(call, batch)| (call, batch, [Vec::new(), Vec::new()])).collect();
    for start in 0..starts {
        let batches = batches.iter().map(usize::to_string);
        let mut rust = runtime.example("percall");
        let rust = Side::start(rust.arg(&bundle).arg(runtime.folder()).args(batches))?;
        let script = root().join("tools/bench_percall.py");
        let python = Side::start(Command::new(&python).arg(script).arg(&bundle).arg(runtime.format))?;
        if start == 0 {
            println!("Rust:   {}\nPython: {}", rust.name, python.name);
        }
        let mut sides = [rust, python];
        for (call, batch, times) in &mut all {
            measure(&mut sides, call, *batch, rounds, times)?;
        }
    }
    println!("{:<16} batch {:>17} {:>17} {:>17}", "", "Rust", "Python", "ratio");
    println!(
        "{:<16}       {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "call", "least", "median", "least", "median", "least", "median"
    );
    let mut worst: f64 = 0.0;
    for (call, batch, times) in all {
        let [rust, python] = times.map(least_and_median);
        let ratio = [rust[0] / python[0], rust[1] / python[1]];
        let numbers = [rust, python].concat().iter().map(|time| format!("{time:8.2} ")).collect::<String>();
        println!("{call:<16} {batch:>5} {numbers}{:8.3} {:8.3}", ratio[0], ratio[1]);
        worst = worst.max(ratio[1]);
    }
    println!("worst ratio of medians: {worst:.3} (aim: {AIM} at most)");
    Ok(())
}

/// Adds the milliseconds of `rounds` calls on each side.
fn measure(
    sides: &mut [Side; 2],
    call: &str,
    batch: usize,
    rounds: usize,
    times: &mut [Vec<f64>; 2],
) -> Result<()> {
    // The first calls of a shape plan its memory.
    for _ in 0..2 {
        let mut means = [0.0; 2];
        for (mean, side) in means.iter_mut().zip(&mut *sides) {
            *mean = side.call(call, batch)?.mean;
        }
        let apart = (means[0] - means[1]).abs() / means[1].abs().max(1.0);
        ensure!(apart <= TOLERANCE, "{call} {batch}: the sides differ, their means are {means:?}");
    }
    for round in 0..rounds {
        for turn in 0..2 {
            let side = (round + turn) % 2;
            sides[side].call(call, batch)?;
            times[side].push(1e3 * sides[side].call(call, batch)?.seconds);
        }
    }
    Ok(())
}

fn least_and_median(mut times: Vec<f64>) -> [f64; 2] {
    times.sort_by(f64::total_cmp);
    [times[0], times[times.len() / 2]]
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
