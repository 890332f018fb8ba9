//! Each network by itself: its golden inputs, all together and one by one, against its golden outputs.

use std::io;

use super::compare::{index_of_largest, strided, unequal};
use super::golden::{Expected, Golden};
use super::sheet::{Point, Sheet, Unit};
use super::{FEW, ParityError, Precision};
use crate::networks::{Network, NetworkError, Networks, Tensor};

/// How the outputs of one network are judged.
#[derive(Clone, Copy)]
struct Rule {
    precision: Precision,
    id: &'static str,
    /// Largest difference in fp32: of a picture, whose range is 1, or over the standard deviation.
    fp32: f64,
    picture: bool,
    /// The axis along which the index of the largest value is what counts.
    axis: Option<usize>,
    /// Share of those indices that may differ.
    indices: f64,
}

impl Rule {
    fn of(network: Network, precision: Precision) -> Self {
        let (id, fp32, axis, indices) = match network {
            Network::WhisperEncoder => ("G13", 1e-4, None, FEW),
            Network::Unet => ("G18", 1e-4, None, FEW),
            Network::VaeEncoder => ("G8", 1e-4, None, FEW),
            Network::VaeDecoder => ("G19", 1e-4, None, FEW),
            // Labels.
            Network::FaceParsing => ("G26", 1e-3, Some(1), FEW),
            // Where a point is: one of a hundred may be a bin away.
            Network::Landmarks => ("G22", 1e-3, Some(2), 1e-2),
            Network::FaceDetector => ("G24", 1e-3, None, FEW),
        };
        // Where two values are nearly equal, half precision often takes the other.
        let indices = if precision == Precision::Fp16 { 5e-2 } else { indices };
        Self { precision, id, fp32, picture: network == Network::VaeDecoder, axis, indices }
    }
}

/// Compares `network`, which the bundle calls `name`.
pub(super) fn compare<N: Networks>(
    networks: &mut N,
    network: Network,
    name: &str,
    golden: &Golden,
    sheet: &mut Sheet<'_>,
) -> Result<(), ParityError> {
    let ports = network.interface();
    let inputs = ports
        .inputs
        .iter()
        .map(|port| golden.floats(&format!("in.{}", port.name)))
        .collect::<Result<Vec<_>, _>>()?;
    let expected = ports
        .outputs
        .iter()
        .map(|port| golden.expected(&format!("out.{}", port.name)))
        .collect::<Result<Vec<_>, _>>()?;
    let batch = network.check(&inputs).map_err(|error| golden.unusable(error.to_string()))?;

    let rule = Rule::of(network, Precision::of(networks));
    let together = networks.run(network, &inputs);
    judge(network, rule, &format!("{name}, {batch} together"), together, &expected, sheet)?;
    let one_by_one = (0..batch)
        .map(|item| networks.run(network, &inputs.iter().map(|input| slice(input, item)).collect::<Vec<_>>()))
        .collect::<Result<Vec<_>, _>>()
        .map(join);
    Ok(judge(network, rule, &format!("{name}, one by one"), one_by_one, &expected, sheet)?)
}

/// Compares what came out of one network with what is known of each output.
fn judge(
    network: Network,
    rule: Rule,
    name: &str,
    found: Result<Vec<Tensor>, NetworkError>,
    expected: &[Vec<(String, Expected)>],
    sheet: &mut Sheet<'_>,
) -> io::Result<()> {
    let ports = network.interface().outputs;
    let found = match found {
        Ok(found) if found.len() == ports.len() => found,
        Ok(found) => {
            let why = format!("{} outputs, where {} were expected", found.len(), ports.len());
            return sheet.broken(rule.id, name, why);
        }
        Err(error) => return sheet.broken(rule.id, name, error),
    };
    for ((port, found), parts) in ports.iter().zip(&found).zip(expected) {
        let name = |part: &str| format!("{name}: {part}");
        if !port.takes(&found.shape) {
            let why = format!("{:?}, where {port} was expected", found.shape);
            sheet.broken(rule.id, &name(port.name), why)?;
            continue;
        }
        for (part, expected) in parts {
            rule.judge(&name(part.trim_start_matches("out.")), found, expected, sheet)?;
        }
    }
    Ok(())
}

impl Rule {
    /// Compares an output with one thing that is known of it.
    fn judge(
        &self,
        name: &str,
        found: &Tensor,
        expected: &Expected,
        sheet: &mut Sheet<'_>,
    ) -> io::Result<()> {
        match expected {
            Expected::Whole(golden) => {
                self.floats(name, &found.shape, &found.data, golden, sheet)?;
                let Some(axis) = self.axis.filter(|_| found.shape == golden.shape) else { return Ok(()) };
                let name = format!("{name}.argmax");
                let Some((shape, golden)) = index_of_largest(golden, axis) else { return Ok(()) };
                self.indices(&name, found, (axis, &vec![1; shape.len()]), (&shape, &golden), sheet)
            }
            Expected::Sample { strides, values } if strides.len() == found.shape.len() => {
                let (shape, sample) = strided(&found.shape, &found.data, strides);
                self.floats(name, &shape, &sample, values, sheet)
            }
            Expected::Largest { axis, strides, shape, indices }
                if *axis < found.shape.len() && strides.len() + 1 == found.shape.len() =>
            {
                self.indices(name, found, (*axis, strides), (shape, indices), sheet)
            }
            Expected::Sample { .. } | Expected::Largest { .. } => {
                sheet.broken(self.id, name, format!("{:?} has other axes than the golden", found.shape))
            }
        }
    }

    fn floats(
        &self,
        name: &str,
        shape: &[usize],
        found: &[f32],
        golden: &Tensor,
        sheet: &mut Sheet<'_>,
    ) -> io::Result<()> {
        if shape != golden.shape {
            let why = format!("{shape:?}, where {:?} was expected", golden.shape);
            return sheet.broken(self.id, name, why);
        }
        let (worst, unit, tolerance) = self.precision.of_floats(found, &golden.data, self.fp32, self.picture);
        sheet.point(&Point { id: self.id, name, shape, worst, unit, tolerance })
    }

    fn indices(
        &self,
        name: &str,
        found: &Tensor,
        (axis, strides): (usize, &[usize]),
        (shape, golden): (&[usize], &[u32]),
        sheet: &mut Sheet<'_>,
    ) -> io::Result<()> {
        let taken = index_of_largest(found, axis).map(|(all, indices)| strided(&all, &indices, strides));
        let worst = match &taken {
            Some((taken, indices)) if taken == shape => unequal(indices, golden),
            _ => f64::NAN,
        };
        let (unit, tolerance) = (Unit::Unequal, self.indices);
        sheet.point(&Point { id: self.id, name, shape, worst, unit, tolerance })
    }
}

/// Item `item` of a batch, as a batch of one.
pub(super) fn slice(tensor: &Tensor, item: usize) -> Tensor {
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
