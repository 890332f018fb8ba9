//! Each network by itself: its golden inputs, all together and one by one, against its golden outputs.

use super::compare::{mean_level, of_deviation, other_label, over_one_level};
use super::golden::Golden;
use super::sheet::{Point, Sheet, Unit};
use super::{FEW, ParityError, Precision};
use crate::networks::{FACE, FACE_BYTES, Network, NetworkError, Networks, Tensor};

/// How the outputs of one network are judged.
struct Rule {
    id: &'static str,
    /// Largest difference over the standard deviation, in fp32.
    fp32: f64,
}

fn rule(network: Network) -> Rule {
    let (id, fp32) = match network {
        Network::WhisperEncoder => ("G13", 1e-4),
        Network::Unet => ("G18", 1e-4),
        Network::VaeEncoder => ("G8", 1e-4),
        Network::VaeDecoder => ("G19", 1e-4),
        Network::FaceParsing => ("G26", 1e-3),
        Network::Landmarks => ("G22", 1e-3),
        Network::FaceDetector => ("G24", 1e-3),
    };
    Rule { id, fp32 }
}

/// Compares `network`, which the bundle calls `name`.
pub(super) fn compare<N: Networks>(
    networks: &mut N,
    network: Network,
    name: &str,
    golden: &Golden,
    sheet: &mut Sheet<'_>,
) -> Result<(), ParityError> {
    let interface = network.interface();
    let read = |prefix: &str, port: &str| golden.floats(&format!("{prefix}.{port}"));
    let inputs = interface.inputs.iter().map(|port| read("in", port.name)).collect::<Result<Vec<_>, _>>()?;
    let outputs =
        interface.outputs.iter().map(|port| read("out", port.name)).collect::<Result<Vec<_>, _>>()?;
    let batch = network.check(&inputs).map_err(|error| golden.unusable(error.to_string()))?;
    if let Some(odd) = outputs.iter().find(|output| output.shape.first() != Some(&batch)) {
        let what = format!("its inputs are a batch of {batch}, an output is {:?}", odd.shape);
        return Err(golden.unusable(what));
    }

    let together = networks.run(network, &inputs);
    judge(networks, network, &format!("{name}, {batch} together"), together, &outputs, sheet)?;
    let one_by_one = (0..batch)
        .map(|item| networks.run(network, &inputs.iter().map(|input| slice(input, item)).collect::<Vec<_>>()))
        .collect::<Result<Vec<_>, _>>()
        .map(join);
    judge(networks, network, &format!("{name}, one by one"), one_by_one, &outputs, sheet)
}

fn judge<N: Networks>(
    networks: &N,
    network: Network,
    name: &str,
    found: Result<Vec<Tensor>, NetworkError>,
    golden: &[Tensor],
    sheet: &mut Sheet<'_>,
) -> Result<(), ParityError> {
    let rule = rule(network);
    let found = match found {
        Ok(found) => found,
        Err(error) => return Ok(sheet.broken(rule.id, name, error)?),
    };
    let ports = network.interface().outputs;
    if found.len() != ports.len() {
        let why = format!("{} outputs, where {} were expected", found.len(), ports.len());
        return Ok(sheet.broken(rule.id, name, why)?);
    }
    let tolerance = Precision::of(networks).tolerance(rule.fp32);
    for ((port, found), golden) in ports.iter().zip(&found).zip(golden) {
        let name = format!("{name}: {}", port.name);
        if found.shape != golden.shape {
            let why = format!("{:?}, where {:?} was expected", found.shape, golden.shape);
            sheet.broken(rule.id, &name, why)?;
            continue;
        }
        sheet.point(&Point {
            id: rule.id,
            name: &name,
            shape: &golden.shape,
            worst: of_deviation(&found.data, &golden.data),
            unit: Unit::Deviation,
            tolerance,
        })?;
        if let (Network::FaceParsing, [_, labels, rows, columns]) = (network, golden.shape.as_slice()) {
            sheet.point(&Point {
                id: rule.id,
                name: &format!("{name}, labels"),
                shape: &golden.shape,
                worst: other_label(&found.data, &golden.data, *labels, rows * columns),
                unit: Unit::Unequal,
                tolerance: FEW,
            })?;
        }
    }
    Ok(())
}

/// Compares [`Networks::generate`] at each batch size that is run. `latents` `[n, 8, 32, 32]`, `audio` `[n,
/// 50, 384]`, `golden` `[n, 256, 256, 3]`, RGB; the frames are repeated until they fill a batch.
pub(super) fn generate<N: Networks>(
    networks: &mut N,
    name: &str,
    latents: &Tensor,
    audio: &Tensor,
    golden: &[u8],
    sheet: &mut Sheet<'_>,
) -> Result<(), ParityError> {
    let count = latents.shape[0];
    let precision = Precision::of(networks);
    let (unit, tolerance) = precision.of_frames();
    for batch in networks.device().buckets {
        let name = format!("{name}, batches of {batch}");
        let (mut found, mut expected) = (Vec::new(), Vec::new());
        let mut failed = None;
        for first in (0..count).step_by(batch) {
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
        let worst = match precision {
            Precision::Fp32 => over_one_level(&found, &expected),
            Precision::Fp16 => mean_level(&found, &expected),
        };
        let shape = &[count, FACE, FACE, 3];
        sheet.point(&Point { id: "G20", name: &name, shape, worst, unit, tolerance })?;
    }
    Ok(())
}

/// Item `item` of a batch, as a batch of one.
fn slice(tensor: &Tensor, item: usize) -> Tensor {
    let size = tensor.data.len() / tensor.shape[0];
    let mut shape = tensor.shape.clone();
    shape[0] = 1;
    Tensor::new(shape, tensor.data[item * size..][..size].to_vec())
}

/// Batches of one, each with all outputs, as outputs of one batch.
fn join(items: Vec<Vec<Tensor>>) -> Vec<Tensor> {
    let mut items = items.into_iter();
    let mut joined = items.next().unwrap_or_default();
    for item in items {
        for (all, one) in joined.iter_mut().zip(item) {
            all.shape[0] += one.shape[0];
            all.data.extend(one.data);
        }
    }
    joined
}
