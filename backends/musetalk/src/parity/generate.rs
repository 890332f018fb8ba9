//! UNet, decoder and rounding in one call, at each batch size that is run.

use super::golden::Golden;
use super::network::slice;
use super::sheet::{Point, Sheet};
use super::{ParityError, Precision};
use crate::networks::{FACE, FACE_BYTES, Network, Networks, Tensor};

/// Compares [`Networks::generate`]. `latents` `[n, 8, 32, 32]`, `audio` `[n, 50, 384]`, `golden` `[n, 256,
/// 256, 3]`, RGB; the frames are repeated until they fill a batch.
pub(super) fn compare<N: Networks>(
    networks: &mut N,
    name: &str,
    latents: &Tensor,
    audio: &Tensor,
    golden: &[u8],
    sheet: &mut Sheet<'_>,
) -> Result<Option<Vec<u8>>, ParityError> {
    let count = latents.shape[0];
    let mut last = None;
    let precision = Precision::of(networks);
    for batch in networks.device().buckets {
        let name = format!("{name}, batches of {batch}");
        let (mut found, mut expected) = (Vec::new(), Vec::new());
        let mut failed = None;
        for first in (0..count).step_by(batch.max(1)) {
            let which = (first..first + batch).map(|frame| frame % count);
            let take =
                |tensor: &Tensor| which.clone().flat_map(|at| slice(tensor, at).data).collect::<Vec<_>>();
            let mut frames = vec![0; batch * FACE_BYTES];
            if let Err(error) = networks.generate(&take(latents), &take(audio), &mut frames) {
                failed = Some(error);
                break;
            }
            found.extend(frames);
            which.for_each(|at| expected.extend_from_slice(&golden[at * FACE_BYTES..][..FACE_BYTES]));
        }
        if let Some(error) = failed {
            sheet.broken("G20", &name, error)?;
            continue;
        }
        let (worst, unit, tolerance) = precision.of_pixels(&found, &expected);
        let shape = &[count, FACE, FACE, 3];
        sheet.point(&Point { id: "G20", name: &name, shape, worst, unit, tolerance })?;
        found.truncate(count * FACE_BYTES);
        last = Some(found);
    }
    Ok(last)
}

/// Runs `golden/generator.safetensors`.
pub(super) fn golden<N: Networks>(
    networks: &mut N,
    golden: &Golden,
    sheet: &mut Sheet<'_>,
) -> Result<(), ParityError> {
    let inputs = [golden.floats("in.latents")?, golden.floats("in.audio")?];
    let count = Network::Unet.check(&inputs).map_err(|error| golden.unusable(error.to_string()))?;
    let expected = frames(golden, "out.frames", count)?;
    let [latents, audio] = inputs;
    compare(networks, "generator: frames", &latents, &audio, &expected, sheet).map(drop)
}

/// Frames `[n, 256, 256, 3]` of a golden, which has them as BGR, as RGB.
pub(super) fn frames(golden: &Golden, name: &str, count: usize) -> Result<Vec<u8>, ParityError> {
    let (shape, mut pixels) = golden.bytes(name)?;
    if shape != [count, FACE, FACE, 3] {
        return Err(golden.unusable(format!("{name} is {shape:?}, where {count} frames were expected")));
    }
    pixels.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| pixel.swap(0, 2));
    Ok(pixels)
}
