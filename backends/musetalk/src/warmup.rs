//! The first run of every network, before anybody waits for one.
//!
//! In: loaded networks. Out: the same, warm, each of them known to give finite numbers on a plausible input,
//! or an error that names the network and its file. Weights with NaN in them, and numbers beyond half
//! precision, are found here and not by a viewer.
//!
//! A made-up picture and a made-up sound go through the whole flow, so that each network meets numbers of the
//! size that it is going to meet.

use std::cell::Cell;

use lipcast_plugins_api::author::{Code, Error, Operation};

use crate::bundle::Bundle;
use crate::bundle::ports::{PARSED, POSE_COLUMNS, POSE_ROWS};
use crate::networks::{FACE, FACE_BYTES, LATENTS, MELS, Network, TOKENS, Tensor, all_finite};
use crate::worker::{Faces, Urgency, Worker};

/// Mel frames in a second.
const MEL_RATE: f32 = 100.0;

/// Runs each network once, and UNet and decoder together at each batch size. `context`: seconds that the encoder
/// of a live session sees.
///
/// # Errors
/// `MODEL_CORRUPT` when the output of a network is not finite; what the runtime said; `CANCELLED`.
pub(crate) fn warm_up(
    worker: &Worker,
    bundle: &Bundle,
    context: f32,
    operation: &Operation<'_>,
) -> Result<(), Error> {
    let trial = Trial { worker, bundle, operation, done: Cell::new(0) };
    let picture = |shape: [usize; 4]| Tensor::new(shape, wave(shape.iter().product(), -1.0, 1.0));
    // As long as the windows of a live session are once it has spoken for a while.
    let frames = (context * MEL_RATE / 2.0).round() as usize * 2;
    let mel = Tensor::new([1, MELS, frames], wave(MELS * frames, -1.0, 1.5));
    let features = trial.run(Network::WhisperEncoder, vec![mel])?.swap_remove(0);
    let Some(audio) = features.data.get(..TOKENS * crate::networks::FEATURES) else {
        return Err(trial.corrupt(Network::WhisperEncoder, "gives fewer features than it should"));
    };

    let latents = if worker.has(Network::VaeEncoder) {
        let mean = trial.run(Network::VaeEncoder, vec![picture([1, 3, FACE, FACE])])?.swap_remove(0);
        [&mean.data[..], &mean.data[..]].concat()
    } else {
        wave(LATENTS, -1.0, 1.0)
    };
    if latents.len() != LATENTS {
        return Err(trial.corrupt(Network::VaeEncoder, "gives a latent of another size than it should"));
    }
    let inputs = vec![
        Tensor::new([1, 8, 32, 32], latents.clone()),
        Tensor::new([1, TOKENS, crate::networks::FEATURES], audio.to_vec()),
    ];
    let latent = trial.run(Network::Unet, inputs)?.swap_remove(0);
    trial.run(Network::VaeDecoder, vec![latent])?;

    for (network, shape) in [
        (Network::FaceParsing, [1, 3, PARSED, PARSED]),
        (Network::Landmarks, [1, 3, POSE_ROWS, POSE_COLUMNS]),
    ] {
        if worker.has(network) {
            trial.run(network, vec![picture(shape)])?;
        }
    }
    if worker.has(Network::FaceDetector) {
        // It takes bytes less their means.
        let bytes = Tensor::new([1, 3, FACE, FACE], wave(3 * FACE * FACE, -110.0, 140.0));
        trial.run(Network::FaceDetector, vec![bytes])?;
    }

    let buckets = &worker.device().buckets;
    for (done, &bucket) in buckets.iter().enumerate() {
        operation.progress(900 + (100 * done / buckets.len()) as u32, "warming up");
        operation.check()?;
        let mut faces = Faces {
            latents: latents.repeat(bucket),
            audio: audio.repeat(bucket),
            frames: vec![0; bucket * FACE_BYTES],
        };
        worker
            .generate(&mut faces, Urgency::Background(operation))
            .map_err(|error| trial.blame(Network::Unet, error))?;
    }
    Ok(())
}

struct Trial<'a> {
    worker: &'a Worker,
    bundle: &'a Bundle,
    operation: &'a Operation<'a>,
    /// Networks that were run.
    done: Cell<u32>,
}

impl Trial<'_> {
    fn run(&self, network: Network, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, Error> {
        let done = self.done.replace(self.done.get() + 1);
        self.operation.progress(800 + 100 * done / Network::ALL.len() as u32, network.name());
        self.operation.check()?;
        let ran = self.worker.run(network, inputs, Urgency::Background(self.operation));
        let (_, outputs) = ran.map_err(|error| self.blame(network, error))?;
        let expected = network.interface().outputs;
        if outputs.len() != expected.len() {
            return Err(self.corrupt(network, "gives another number of outputs than it should"));
        }
        for (output, port) in outputs.iter().zip(expected) {
            if !port.takes(&output.shape) {
                return Err(
                    self.corrupt(network, &format!("gives {:?} where {port} was expected", output.shape))
                );
            }
            if !all_finite(&output.data) {
                return Err(self.corrupt(network, NOT_FINITE));
            }
        }
        Ok(outputs)
    }

    /// Unusable output before any session is the file's fault.
    fn blame(&self, network: Network, error: Error) -> Error {
        if error.code == Code::BadOutput { self.corrupt(network, NOT_FINITE) } else { error }
    }

    fn corrupt(&self, network: Network, what: &str) -> Error {
        let device = self.worker.device();
        let chosen = self.bundle.chosen(network, &device.precision);
        let (file, precision) = match &chosen {
            Some((file, precision)) => (file.as_path(), *precision),
            None => (self.bundle.folder(), device.precision.as_str()),
        };
        let (file, name) = (file.display(), network.name());
        Error::new(Code::ModelCorrupt, format!("{file}: {name} {what} ({precision} on {})", device.name))
    }
}

const NOT_FINITE: &str = "gives NaN or infinity: damaged weights, or too large for this precision";

/// Smooth values from `least` to `most` that do not repeat.
fn wave(count: usize, least: f32, most: f32) -> Vec<f32> {
    (0..count)
        .map(|n| {
            let n = n as f32;
            let part = 0.5 + 0.3 * (n * 0.071).sin() + 0.2 * (n * 0.000_93).cos();
            least + (most - least) * part
        })
        .collect()
}
