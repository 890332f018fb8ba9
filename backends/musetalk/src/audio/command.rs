//! The command that a runtime makes of [`distance`]: `distance BUNDLE LIBRARY SPEECH…`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use super::distance::{Distance, distance};
use super::speech::Hearing;
use super::{ROW_VALUES, SAMPLE_RATE};
use crate::bundle::Bundle;
use crate::networks::{MELS, Network, NetworkError, Networks, Tensor};
use crate::settings::{DeviceChoice, PrecisionChoice, Settings};

/// Video frames a second.
const FPS: (u32, u32) = (25, 1);

/// Prints for each recording how far what a live session hears is from what a session of the whole file hears, by the
/// Whisper encoder of a bundle on the CPU. 0, or 1 when something could not be measured.
pub fn main<N: Networks>() -> ExitCode {
    match measure::<N>(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("distance: {message}");
            ExitCode::FAILURE
        }
    }
}

fn measure<N: Networks>(arguments: Vec<String>) -> Result<(), String> {
    let [folder, library, recordings @ ..] = arguments.as_slice() else {
        return Err("takes BUNDLE LIBRARY SPEECH…".to_owned());
    };
    let mut settings = Settings::default();
    settings.runtime.bundle = PathBuf::from(folder);
    settings.runtime.library = PathBuf::from(library);
    settings.runtime.device = DeviceChoice::Cpu;
    settings.runtime.precision = PrecisionChoice::Fp32;
    let bundle = Bundle::open(&settings.runtime.bundle, N::FORMAT).map_err(|error| error.to_string())?;
    let log = |line: &str| println!("{line}");
    let mut networks = N::open(&bundle, &settings.runtime, &log).map_err(|error| error.to_string())?;
    let hearing = Hearing::new(FPS, &settings);
    for recording in recordings {
        let pcm = decode(Path::new(recording))?;
        let encode = |mel: &[f32], columns: usize| -> Result<Vec<f32>, NetworkError> {
            let mel = Tensor::new([1, MELS, columns], mel.to_vec());
            let mut features = networks.run(Network::WhisperEncoder, &[mel])?.swap_remove(0).data;
            features.truncate(columns / 2 * ROW_VALUES);
            Ok(features)
        };
        let found = distance(&pcm, &hearing, encode).map_err(|error| format!("{recording}: {error}"))?;
        print(recording, pcm.len(), &found);
    }
    println!(
        "of weights that were trained this says how far streaming is from the reference; of random ones nothing"
    );
    Ok(())
}

fn print(recording: &str, samples: usize, found: &Distance) {
    let seconds = samples as f64 / f64::from(SAMPLE_RATE);
    println!("{recording}: {seconds:.1} s, {} frames", found.frames);
    println!(
        "{:>14} {:>10} {:>10} {:>9} {:>10} {:>10}",
        "hidden state", "mean", "worst", "at frame", "cosine", "least"
    );
    for (index, state) in found.states.iter().enumerate() {
        println!(
            "{index:>14} {:>10.4} {:>10.4} {:>9} {:>10.5} {:>10.5}",
            state.mean, state.worst, state.worst_frame, state.cosine, state.least_cosine
        );
    }
}

/// A recording as 16 kHz mono.
fn decode(path: &Path) -> Result<Vec<f32>, String> {
    let mut ffmpeg = Command::new("ffmpeg");
    // The bare path could be taken for an address or an option.
    let input = format!("file:{}", path.display());
    ffmpeg.args(["-nostdin", "-v", "error", "-i", &input, "-f", "f32le", "-ac", "1"]);
    ffmpeg.args(["-ar", &SAMPLE_RATE.to_string(), "-"]).stderr(Stdio::piped());
    let output = ffmpeg.output().map_err(|error| format!("ffmpeg, which reads recordings: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let (samples, _) = output.stdout.as_chunks::<4>();
    match samples {
        [] => Err(format!("{}: there is no sound in it", path.display())),
        samples => Ok(samples.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
    }
}
