//! One run through the speaking half: mel → features → tokens → latent → frames, each step from our own step
//! before.

use super::compare::of_deviation;
use super::golden::Golden;
use super::sheet::{Point, Sheet, Unit};
use super::{ParityError, Precision, network};
use crate::networks::{
    FEATURES, HIDDEN_STATES, Network, NetworkError, Networks, TOKENS, Tensor, WINDOW_STEPS,
};

/// Rows of the encoder before a frame's own that it hears, of its [`WINDOW_STEPS`].
const BEFORE: usize = 4;
/// Rows from one frame to the next, at the 25 frames a second of the golden.
const STRIDE: usize = 2;

/// Runs `golden/pipeline.safetensors`. `frames` tells whether the golden frames are of the decoder in use.
pub(super) fn compare<N: Networks>(
    networks: &mut N,
    golden: &Golden,
    frames: bool,
    sheet: &mut Sheet<'_>,
) -> Result<(), ParityError> {
    let mel = golden.floats("mel")?;
    let latents = golden.floats("latents")?;
    let [audio, latent] = [golden.floats("audio")?, golden.floats("latent")?];
    let count = *latents.shape.first().unwrap_or(&0);
    let expected = super::frames(golden, "frames", count)?;
    let takes = |network: Network, inputs: &[Tensor]| {
        network.check(inputs).map(|_| ()).map_err(|error| golden.unusable(error.to_string()))
    };
    takes(Network::WhisperEncoder, std::slice::from_ref(&mel))?;
    takes(Network::Unet, &[latents.clone(), audio.clone()])?;

    let tolerance = Precision::of(networks).tolerance(1e-4);
    let step = |id, name: &str, found: &Tensor, golden: &Tensor, sheet: &mut Sheet<'_>| {
        let worst = match found.shape == golden.shape {
            true => of_deviation(&found.data, &golden.data),
            false => f64::NAN,
        };
        sheet.point(&Point { id, name, shape: &golden.shape, worst, unit: Unit::Deviation, tolerance })
    };
    let features = match first(networks.run(Network::WhisperEncoder, &[mel])) {
        Ok(features) => features,
        Err(error) => return Ok(sheet.broken("G15", "pipeline: audio", error)?),
    };
    let heard = tokens(&features, count);
    step("G15", "pipeline: audio", &heard, &audio, sheet)?;
    match first(networks.run(Network::Unet, &[latents.clone(), heard.clone()])) {
        Ok(found) => step("G18", "pipeline: latent", &found, &latent, sheet)?,
        Err(error) => sheet.broken("G18", "pipeline: latent", error)?,
    }
    if !frames {
        return Ok(sheet.note("pipeline: frames are not compared, they were made by the other decoder")?);
    }
    network::generate(networks, "pipeline: frames", &latents, &heard, &expected, sheet)
}

/// Runs `golden/generator.safetensors`: UNet, decoder and rounding.
pub(super) fn generator<N: Networks>(
    networks: &mut N,
    golden: &Golden,
    sheet: &mut Sheet<'_>,
) -> Result<(), ParityError> {
    let inputs = [golden.floats("in.latents")?, golden.floats("in.audio")?];
    let count = Network::Unet.check(&inputs).map_err(|error| golden.unusable(error.to_string()))?;
    let expected = super::frames(golden, "out.frames", count)?;
    let [latents, audio] = inputs;
    network::generate(networks, "generator: frames", &latents, &audio, &expected, sheet)
}

/// The tokens of frames 0 to `count`, `[count, 50, 384]`, of features `[1, rows, 5, 384]`; zeros where there
/// are none.
fn tokens(features: &Tensor, count: usize) -> Tensor {
    const ROW: usize = HIDDEN_STATES * FEATURES;
    let rows = features.data.len() / ROW;
    let mut tokens = vec![0.0; count * WINDOW_STEPS * ROW];
    for (step, to) in tokens.chunks_exact_mut(ROW).enumerate() {
        let row = (step / WINDOW_STEPS * STRIDE + step % WINDOW_STEPS).checked_sub(BEFORE);
        if let Some(row) = row.filter(|row| *row < rows) {
            to.copy_from_slice(&features.data[row * ROW..][..ROW]);
        }
    }
    Tensor::new([count, TOKENS, FEATURES], tokens)
}

fn first(outputs: Result<Vec<Tensor>, NetworkError>) -> Result<Tensor, NetworkError> {
    outputs?.into_iter().next().ok_or_else(|| NetworkError::Runtime("no output came back".to_owned()))
}
