//! One side of `cargo xtask bench-percall`: runs networks when it is told to, and says what each call cost.
//!
//! In: lines on standard input, `NETWORK BATCH` like `unet 4`, or `generate BATCH`. Out: after a first line that says what
//! the networks run on, one line each, `SECONDS MEAN`: processor time of the whole process during the call, and the mean
//! of all values that came out, by which who asks sees that two sides computed the same.
//! `tools/bench_percall.py` is the other side, with the same inputs.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::bundle::Bundle;
use crate::bundle::ports::{Dim, Port};
use crate::networks::{FACE_BYTES, Network, Networks, Tensor};
use crate::settings::Settings;

/// The length of a free axis: 2 s of mel frames, or the sides of the picture in which a face is looked for.
const FREE: usize = 200;

/// The program: `percall BUNDLE LIBRARY BATCH…`, on the CPU, with one thread.
pub fn main<N: Networks>() -> ExitCode {
    match serve::<N>(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("percall: {message}");
            ExitCode::FAILURE
        }
    }
}

fn serve<N: Networks>(arguments: Vec<String>) -> Result<(), String> {
    let [folder, library, batches @ ..] = arguments.as_slice() else {
        return Err("takes BUNDLE LIBRARY BATCH…".to_owned());
    };
    let batches: Result<Vec<usize>, _> = batches.iter().map(|batch| batch.parse()).collect();
    let batches = batches.map_err(|error| error.to_string())?;
    let settings = Settings::read(json!({
        "bundle": folder, "library": library, "device": "cpu", "precision": "fp32", "threads": 1, "batches": batches,
    }));
    let settings = settings.map_err(|error| error.to_string())?.runtime;
    let bundle = Bundle::open(&settings.bundle, N::FORMAT).map_err(|error| error.to_string())?;
    let log = |line: &str| eprintln!("{line}");
    let mut networks = N::open(&bundle, &settings, &log).map_err(|error| error.to_string())?;
    let mut out = std::io::stdout();
    let mut say =
        |line: String| writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|e| e.to_string());
    say(format!("{}, Rust", networks.device().runtime))?;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let (name, batch) = line.split_once(' ').ok_or_else(|| format!("`{line}` is no NETWORK BATCH"))?;
        let batch: usize = batch.parse().map_err(|_| format!("`{batch}` is no batch"))?;
        let (seconds, mean) = call(&mut networks, name, batch)?;
        say(format!("{seconds} {mean}"))?;
    }
    Ok(())
}

/// Runs one call; gives its seconds and the mean of its output.
fn call<N: Networks>(networks: &mut N, name: &str, batch: usize) -> Result<(f64, f64), String> {
    if name == "generate" {
        let [latents, audio] = [0, 1].map(|i| input(&Network::Unet.interface().inputs[i], batch));
        let mut frames = vec![0; batch * FACE_BYTES];
        let (seconds, done) = timed(|| networks.generate(&latents.data, &audio.data, &mut frames));
        done.map_err(|error| error.to_string())?;
        return Ok((seconds, frames.iter().map(|&byte| f64::from(byte)).sum::<f64>() / frames.len() as f64));
    }
    let network = Network::ALL
        .into_iter()
        .find(|network| network.name() == name)
        .ok_or_else(|| format!("there is no network `{name}`"))?;
    let inputs: Vec<_> = network.interface().inputs.iter().map(|port| input(port, batch)).collect();
    let (seconds, outputs) = timed(|| networks.run(network, &inputs));
    let outputs = outputs.map_err(|error| error.to_string())?;
    let values = outputs.iter().flat_map(|tensor| &tensor.data);
    let count = outputs.iter().map(|tensor| tensor.data.len()).sum::<usize>();
    Ok((seconds, values.map(|&value| f64::from(value)).sum::<f64>() / count as f64))
}

/// The processor time of this process while `work` is done.
fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let now = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
    };
    let started = now();
    let value = work();
    (now() - started, value)
}

/// Values in -1…1 that Python makes alike: Knuth's multiplicative hash of the index, its upper 24 bits.
fn input(port: &Port, batch: usize) -> Tensor {
    let shape: Vec<usize> = port
        .shape
        .iter()
        .map(|dim| match dim {
            Dim::Batch => batch,
            Dim::Fixed(length) => *length,
            Dim::Any => FREE,
        })
        .collect();
    let value = |i: u32| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    let count = shape.iter().product::<usize>() as u32;
    Tensor::new(shape, (0..count).map(value).collect())
}
