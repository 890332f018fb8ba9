//! Golden tensors: a safetensors file, read and checked.

use std::fs;
use std::path::PathBuf;

use safetensors::{Dtype, SafeTensors};

use super::ParityError;
use crate::networks::Tensor;

/// The tensors of one file.
pub(super) struct Golden {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Golden {
    /// Reads `path`.
    pub(super) fn read(path: PathBuf) -> Result<Self, ParityError> {
        let unusable = |what: String| ParityError::Golden { file: path.clone(), what };
        let bytes = fs::read(&path).map_err(|error| unusable(error.to_string()))?;
        SafeTensors::deserialize(&bytes).map_err(|error| unusable(error.to_string()))?;
        Ok(Self { path, bytes })
    }

    /// A tensor of floats, all finite.
    pub(super) fn floats(&self, name: &str) -> Result<Tensor, ParityError> {
        self.view(name, |view| {
            let data: Vec<f32> = match view.dtype() {
                Dtype::F32 => {
                    view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
                }
                Dtype::F16 => view
                    .data()
                    .as_chunks()
                    .0
                    .iter()
                    .map(|bytes| half::f16::from_le_bytes(*bytes).to_f32())
                    .collect(),
                other => return Err(format!("{name} holds {other:?}, not floats")),
            };
            match data.iter().all(|value| value.is_finite()) {
                true => Ok(Tensor::new(view.shape(), data)),
                false => Err(format!("{name} holds NaN or infinity")),
            }
        })?
        .map_err(|what| self.unusable(what))
    }

    /// A tensor of bytes, and its shape.
    pub(super) fn bytes(&self, name: &str) -> Result<(Vec<usize>, Vec<u8>), ParityError> {
        self.view(name, |view| match view.dtype() {
            Dtype::U8 => Ok((view.shape().to_vec(), view.data().to_vec())),
            other => Err(format!("{name} holds {other:?}, not bytes")),
        })?
        .map_err(|what| self.unusable(what))
    }

    /// That this file is not what it should be.
    pub(super) fn unusable(&self, what: String) -> ParityError {
        ParityError::Golden { file: self.path.clone(), what }
    }

    fn view<T>(
        &self,
        name: &str,
        read: impl FnOnce(&safetensors::tensor::TensorView<'_>) -> T,
    ) -> Result<T, ParityError> {
        let unusable = |error: safetensors::SafeTensorError| self.unusable(format!("{name}: {error}"));
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(unusable)?;
        Ok(read(&tensors.tensor(name).map_err(unusable)?))
    }
}
