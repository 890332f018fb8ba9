//! One run through the speaking half: mel → features → tokens → latent → frames, each step from our own step
//! before.

use super::golden::Golden;
use super::sheet::{Point, Sheet};
use super::{ParityError, Precision, generate};
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
    let expected = generate::frames(golden, "frames", count)?;
    let takes = |network: Network, inputs: &[Tensor]| {
        network.check(inputs).map(|_| ()).map_err(|error| golden.unusable(error.to_string()))
    };
    takes(Network::WhisperEncoder, std::slice::from_ref(&mel))?;
    takes(Network::Unet, &[latents.clone(), audio.clone()])?;

    let precision = Precision::of(networks);
    let step = |id, name: &str, found: &Tensor, golden: &Tensor, sheet: &mut Sheet<'_>| {
        if found.shape != golden.shape {
            let why = format!("{:?}, where {:?} was expected", found.shape, golden.shape);
            return sheet.broken(id, name, why);
        }
        let (worst, unit, tolerance) = precision.of_floats(&found.data, &golden.data, 1e-4, false);
        sheet.point(&Point { id, name, shape: &golden.shape, worst, unit, tolerance })
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
    generate::compare(networks, "pipeline: frames", &latents, &heard, &expected, sheet).map(drop)
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
