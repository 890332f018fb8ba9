//! The measure of a network's outputs: how far they may be from golden ones.

use std::io;

use super::compare::{index_of_largest, strided, unequal};
use super::golden::Expected;
use super::sheet::{Point, Sheet, Unit};
use super::{FEW, Precision};
use crate::networks::{Network, Tensor};

/// How the outputs of one network are judged.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    precision: Precision,
    /// The check-point's id.
    pub(super) id: &'static str,
    /// Largest difference in fp32: of a picture, whose range is 1, or over the standard deviation.
    fp32: f64,
    picture: bool,
    /// The axis along which the index of the largest value is what counts.
    axis: Option<usize>,
    /// Share of those indices that may differ.
    pub(super) indices: f64,
}

impl Rule {
    /// The rule for `network`.
    pub(super) fn of(network: Network, precision: Precision) -> Self {
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

    /// The same for a check-point of another id.
    pub(super) fn at(self, id: &'static str) -> Self {
        Self { id, ..self }
    }

    /// Compares an output with one thing that is known of it.
    pub(super) fn judge(
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

    /// Compares values of `shape` with all or a part of an output.
    pub(super) fn floats(
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
