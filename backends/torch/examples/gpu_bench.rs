//! What a bundle does on a device: start to ready, frames a second by batch, memory, and what preparing costs.
//!
//! ```text
//! gpu_bench --bundle DIR [--device cuda] [--precision auto] [--batches 1,4,8,16] [--rate TFLOPS] [--gflop 800]
//!           [--decoder sd-vae] [--seconds 2] [--options JSON]
//! ```
//!
//! `--rate` is what the device reaches in multiplying large matrices of the same precision; the share of it that is
//! used counts `--gflop` a frame, which is that of UNet and SD decoder at full size. Every figure is of one process:
//! run it once for each set of options that is to be compared.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use lipcast_musetalk::bundle::Bundle;
use lipcast_musetalk::networks::{FACE, FACE_BYTES, FEATURES, LATENTS, MELS, Network, TOKENS};
use lipcast_musetalk::settings::{DeviceChoice, RuntimeSettings, Settings};
use lipcast_musetalk::{Networks, Tensor};
use lipcast_torch::TorchNetworks;
use lipcast_torch_native::gpu;
use serde_json::json;

/// Runs that are not timed before those that are.
const UNTIMED: usize = 3;
/// Fewest that are timed.
const FEWEST: usize = 5;

struct Arguments {
    settings: RuntimeSettings,
    /// TFLOP/s of the device; 0: unknown.
    rate: f64,
    /// GFLOP of a frame.
    gflop: f64,
    /// How long each figure is measured for.
    span: Duration,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { settings, rate, gflop, span } = arguments()?;
    let begun = Instant::now();
    let bundle = Bundle::open(&settings.bundle, TorchNetworks::FORMAT)?.with_decoder(settings.decoder)?;
    let mut networks = TorchNetworks::open(&bundle, &settings, &|line| println!("log: {line}"))?;
    let device = networks.device();
    println!("options: {}", settings.options);
    println!("start to ready: {:.1} s", begun.elapsed().as_secs_f64());

    println!("batch   median ms   UNet alone   ms a frame   frames/s   TFLOP/s   share of the rate");
    // Of the same inputs in every run: what is compared draws the same pictures.
    let mut level = 0.0;
    for &batch in &device.buckets {
        let latents = wave(batch * LATENTS);
        let audio = wave(batch * TOKENS * FEATURES);
        let mut frames = vec![0; batch * FACE_BYTES];
        let whole = median(span, || networks.generate(&latents, &audio, &mut frames))?;
        level = frames.iter().map(|&value| f64::from(value)).sum::<f64>() / frames.len() as f64;
        let inputs =
            [Tensor::new([batch, 8, 32, 32], latents), Tensor::new([batch, TOKENS, FEATURES], audio)];
        let unet = median(span / 2, || networks.run(Network::Unet, &inputs).map(drop))?;
        let fps = batch as f64 / whole.as_secs_f64();
        let tflops = fps * gflop / 1000.0;
        let share = if rate > 0.0 { format!("{:.1} %", 100.0 * tflops / rate) } else { "unknown".to_owned() };
        println!(
            "{batch:5} {:11.2} {:12.2} {:12.2} {fps:10.1} {tflops:9.1}   {share}",
            ms(whole),
            ms(unet),
            ms(whole) / batch as f64
        );
    }

    println!("mean level of the last batch: {level:.3}");
    for batch in [1, 8] {
        let image = Tensor::new([batch, 3, FACE, FACE], wave(batch * 3 * FACE * FACE));
        let time =
            median(span / 2, || networks.run(Network::VaeEncoder, std::slice::from_ref(&image)).map(drop))?;
        let rate = batch as f64 / time.as_secs_f64();
        println!("VAE encoder, batch {batch}: {:.2} ms, {rate:.1} pictures/s", ms(time));
    }
    for mels in [200, 3000] {
        let mel = Tensor::new([1, MELS, mels], wave(MELS * mels));
        let time =
            median(span / 2, || networks.run(Network::WhisperEncoder, std::slice::from_ref(&mel)).map(drop))?;
        println!("Whisper, {} s of speech: {:.2} ms", mels / 100, ms(time));
    }
    if let Some(index) = device.name.strip_prefix("cuda:") {
        let memory = gpu::memory(index.parse()?)?;
        let mb = |bytes: u64| bytes as f64 / 1e6;
        println!("tensors at most {:.0} MB, held {:.0} MB", mb(memory.allocated), mb(memory.reserved));
        let query =
            ["--query-gpu=name,memory.used,clocks.sm,power.draw", "--format=csv,noheader", "-i", index];
        match Command::new("nvidia-smi").args(query).output() {
            Ok(output) => println!("nvidia-smi: {}", String::from_utf8_lossy(&output.stdout).trim()),
            Err(error) => println!("nvidia-smi: {error}"),
        }
    }
    Ok(())
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let settings = RuntimeSettings { device: DeviceChoice::Cuda(0), ..RuntimeSettings::default() };
    let mut all = Arguments { settings, rate: 0.0, gflop: 800.0, span: Duration::from_secs(2) };
    let mut words = std::env::args().skip(1);
    while let Some(name) = words.next() {
        let value = words.next().ok_or_else(|| format!("{name} takes a value"))?;
        match name.as_str() {
            "--bundle" => all.settings.bundle = PathBuf::from(value),
            "--decoder" => all.settings.decoder = serde_json::from_value(value.into())?,
            "--device" => all.settings.device = value.parse()?,
            "--precision" => all.settings.precision = value.parse()?,
            "--batches" => {
                let sizes: Vec<usize> = value.split(',').map(str::parse).collect::<Result<_, _>>()?;
                let read = Settings::read(json!({ "batches": sizes })).map_err(|error| error.to_string())?;
                all.settings.batches = read.runtime.batches;
            }
            "--threads" => all.settings.threads = value.parse()?,
            "--options" => all.settings.options = serde_json::from_str(&value)?,
            "--rate" => all.rate = value.parse()?,
            "--gflop" => all.gflop = value.parse()?,
            "--seconds" => all.span = Duration::from_secs_f64(value.parse()?),
            _ => return Err(format!("unknown argument {name}").into()),
        }
    }
    Ok(all)
}

/// The median of the times of `call` within `span`.
fn median<E>(span: Duration, mut call: impl FnMut() -> Result<(), E>) -> Result<Duration, E> {
    for _ in 0..UNTIMED {
        call()?;
    }
    let begun = Instant::now();
    let mut times = Vec::new();
    while times.len() < FEWEST || begun.elapsed() < span {
        let at = Instant::now();
        call()?;
        times.push(at.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Values in -1…1.
fn wave(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.37).sin()).collect()
}
