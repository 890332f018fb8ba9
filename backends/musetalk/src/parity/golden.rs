//! Golden tensors: a safetensors file, read and checked.
//!
//! A golden may name an input by formula instead of storing it, and keep a part of an output instead of all.
//! The header then has under `golden` a JSON object that tells how to make the one and take the other:
//!
//! ```text
//! "in.image":         {"picture": "face_parsing.image", "shape": [2, 3, 512, 512], "offset": -128, "scale": 0.015625}
//! "out.logits.sample": {"of": "out.logits", "strides": [1, 1, 16, 16]}
//! "out.logits.argmax": {"of": "out.logits", "axis": 1, "strides": [1, 2, 2]}
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::{ParityError, made};
use crate::networks::Tensor;

/// Values that an input by formula may have at most.
const LARGEST: usize = 1 << 28;

/// The tensors of one file.
pub(super) struct Golden {
    path: PathBuf,
    bytes: Vec<u8>,
    how: BTreeMap<String, How>,
}

/// What the header says of one name.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum How {
    /// A batch of backdrops called `<picture>.0`, `<picture>.1`, …: `(pixel + offset) · scale`, planar RGB.
    Picture { picture: String, shape: [usize; 4], offset: f32, scale: f32 },
    /// The index of the largest value along an axis, and of that every so-manieth of each axis that remains.
    Largest { of: String, axis: usize, strides: Vec<usize> },
    /// Every so-manieth value of each axis.
    Sample { of: String, strides: Vec<usize> },
}

/// What is known of an output.
pub(super) enum Expected {
    /// All of it.
    Whole(Tensor),
    /// Every so-manieth value of each axis.
    Sample { strides: Vec<usize>, values: Tensor },
    /// Indices of the largest values along `axis`, a part of them.
    Largest { axis: usize, strides: Vec<usize>, shape: Vec<usize>, indices: Vec<u32> },
}

impl Golden {
    /// Reads `path`.
    pub(super) fn read(path: PathBuf) -> Result<Self, ParityError> {
        let unusable = |what: String| ParityError::Golden { file: path.clone(), what };
        let bytes = fs::read(&path).map_err(|error| unusable(error.to_string()))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| unusable(error.to_string()))?;
        SafeTensors::deserialize(&bytes).map_err(|error| unusable(error.to_string()))?;
        let how = match how(&header) {
            Some(text) => serde_json::from_str(text)
                .map_err(|error| unusable(format!("what its header says under `golden`: {error}")))?,
            None => BTreeMap::new(),
        };
        Ok(Self { path, bytes, how })
    }

    /// A tensor of floats, all finite: stored, or a picture by formula.
    pub(super) fn floats(&self, name: &str) -> Result<Tensor, ParityError> {
        if let Some(How::Picture { picture, shape, offset, scale }) = self.how.get(name) {
            return self.picture(picture, *shape, *offset, *scale);
        }
        self.view(name, |view| {
            let data: Vec<f32> = match view.dtype() {
                Dtype::F32 => values(view, f32::from_le_bytes),
                Dtype::F16 => values(view, |bytes| half::f16::from_le_bytes(bytes).to_f32()),
                other => return Err(format!("{name} holds {other:?}, not floats")),
            };
            match data.iter().all(|value| value.is_finite()) {
                true => Ok(Tensor::new(view.shape(), data)),
                false => Err(format!("{name} holds NaN or infinity")),
            }
        })
    }

    /// A tensor of bytes, and its shape.
    pub(super) fn bytes(&self, name: &str) -> Result<(Vec<usize>, Vec<u8>), ParityError> {
        self.view(name, |view| match view.dtype() {
            Dtype::U8 => Ok((view.shape().to_vec(), view.data().to_vec())),
            other => Err(format!("{name} holds {other:?}, not bytes")),
        })
    }

    /// A tensor of whole numbers, and its shape.
    pub(super) fn whole(&self, name: &str) -> Result<(Vec<usize>, Vec<i32>), ParityError> {
        self.view(name, |view| {
            let numbers = match view.dtype() {
                Dtype::I32 => values(view, i32::from_le_bytes),
                Dtype::I16 => values(view, |bytes| i32::from(i16::from_le_bytes(bytes))),
                other => return Err(format!("{name} holds {other:?}, not whole numbers")),
            };
            Ok((view.shape().to_vec(), numbers))
        })
    }

    /// Values in double precision.
    pub(super) fn doubles(&self, name: &str) -> Result<Vec<f64>, ParityError> {
        self.view(name, |view| match view.dtype() {
            Dtype::F64 => Ok(values(view, f64::from_le_bytes)),
            other => Err(format!("{name} holds {other:?}, not values in double precision")),
        })
    }

    /// The CRC-32 of what is called `name` and not kept.
    pub(super) fn checksum(&self, name: &str) -> Result<u32, ParityError> {
        let name = format!("crc32.{name}");
        self.view(&name, |view| match (view.dtype(), view.data().first_chunk()) {
            (Dtype::U32, Some(bytes)) if view.data().len() == 4 => Ok(u32::from_le_bytes(*bytes)),
            _ => Err(format!("{name} is not one checksum")),
        })
    }

    /// What is known of the output `name`, by a name for each part; at least one.
    pub(super) fn expected(&self, name: &str) -> Result<Vec<(String, Expected)>, ParityError> {
        let mut parts = Vec::new();
        for (part, how) in &self.how {
            match how {
                How::Sample { of, strides } if of == name => {
                    let values = self.floats(part)?;
                    self.fits(part, strides, values.shape.len())?;
                    parts.push((part.clone(), Expected::Sample { strides: strides.clone(), values }));
                }
                How::Largest { of, axis, strides } if of == name => {
                    let (shape, indices) = self.indices(part)?;
                    self.fits(part, strides, shape.len())?;
                    let (axis, strides) = (*axis, strides.clone());
                    parts.push((part.clone(), Expected::Largest { axis, strides, shape, indices }));
                }
                _ => {}
            }
        }
        if parts.is_empty() {
            parts.push((name.to_owned(), Expected::Whole(self.floats(name)?)));
        }
        Ok(parts)
    }

    /// That this file is not what it should be.
    pub(super) fn unusable(&self, what: String) -> ParityError {
        ParityError::Golden { file: self.path.clone(), what }
    }

    fn picture(
        &self,
        picture: &str,
        shape: [usize; 4],
        offset: f32,
        scale: f32,
    ) -> Result<Tensor, ParityError> {
        let [batch, channels, rows, columns] = shape;
        let size = shape.iter().try_fold(1_usize, |size, &axis| size.checked_mul(axis));
        if channels != 3 || !size.is_some_and(|size| (1..=LARGEST).contains(&size)) {
            return Err(self.unusable(format!("{shape:?} is no shape of pictures")));
        }
        let mut data = vec![0.0; batch * 3 * rows * columns];
        for (item, planes) in data.chunks_exact_mut(3 * rows * columns).enumerate() {
            let pixels = made::backdrop(&format!("{picture}.{item}"), columns, rows);
            for (at, pixel) in pixels.chunks_exact(3).enumerate() {
                for (channel, &value) in pixel.iter().enumerate() {
                    planes[channel * rows * columns + at] = (f32::from(value) + offset) * scale;
                }
            }
        }
        Ok(Tensor::new(shape, data))
    }

    fn indices(&self, name: &str) -> Result<(Vec<usize>, Vec<u32>), ParityError> {
        self.view(name, |view| {
            let indices = match view.dtype() {
                Dtype::U8 => view.data().iter().map(|&index| u32::from(index)).collect(),
                Dtype::I32 => values(view, u32::from_le_bytes),
                other => return Err(format!("{name} holds {other:?}, not indices")),
            };
            Ok((view.shape().to_vec(), indices))
        })
    }

    fn fits(&self, name: &str, strides: &[usize], axes: usize) -> Result<(), ParityError> {
        match strides.len() == axes && !strides.contains(&0) {
            true => Ok(()),
            false => Err(self.unusable(format!("{name} has {axes} axes and strides {strides:?}"))),
        }
    }

    fn view<T>(
        &self,
        name: &str,
        read: impl FnOnce(&TensorView<'_>) -> Result<T, String>,
    ) -> Result<T, ParityError> {
        let unusable = |error: safetensors::SafeTensorError| self.unusable(format!("{name}: {error}"));
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(unusable)?;
        read(&tensors.tensor(name).map_err(unusable)?).map_err(|what| self.unusable(what))
    }
}

fn how(header: &Metadata) -> Option<&str> {
    header.metadata().as_ref()?.get("golden").map(String::as_str)
}

fn values<const N: usize, T>(view: &TensorView<'_>, read: impl Fn([u8; N]) -> T) -> Vec<T> {
    view.data().as_chunks::<N>().0.iter().map(|bytes| read(*bytes)).collect()
}
