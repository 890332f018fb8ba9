//! Values from main memory onto a device, and back.

use lipcast_musetalk::bundle::ports::{Dim, Port};
use lipcast_musetalk::networks::Network;
use lipcast_musetalk::{NetworkError, Tensor};
use tch::{Device, Kind};

use crate::error::failed;

/// `data` as a tensor of `shape` on `device`, converted to `kind`.
pub(crate) fn to_device(
    data: &[f32],
    shape: &[i64],
    device: Device,
    kind: Kind,
) -> Result<tch::Tensor, NetworkError> {
    let place = || -> Result<_, tch::TchError> {
        tch::Tensor::f_from_slice(data)?.f_view(shape)?.f_to_device_(device, kind, false, false)
    };
    place().map_err(failed("copying to the device"))
}

/// A tensor of any device and kind as f32 in main memory.
pub(crate) fn to_host(tensor: &tch::Tensor) -> Result<Tensor, NetworkError> {
    let fetch = || -> Result<_, tch::TchError> {
        let tensor = tensor.f_to_device_(Device::Cpu, Kind::Float, false, false)?.f_contiguous()?;
        let mut data = vec![0.0f32; tensor.numel()];
        tensor.f_copy_data(&mut data, tensor.numel())?;
        // Lengths are never negative.
        let shape: Vec<usize> = tensor.size().iter().map(|&length| length as usize).collect();
        Ok(Tensor::new(shape, data))
    };
    fetch().map_err(failed("copying from the device"))
}

/// A shape as libtorch takes it.
pub(crate) fn shape(lengths: &[usize]) -> Vec<i64> {
    lengths.iter().map(|&length| length as i64).collect()
}

/// The shapes of what `network` takes for a batch of `count`; a free axis has that length too.
pub(crate) fn input_shapes(network: Network, count: usize) -> Vec<Vec<i64>> {
    let length = |dim: &Dim| if let Dim::Fixed(length) = dim { *length } else { count };
    let of = |port: &Port| shape(&port.shape.iter().map(length).collect::<Vec<_>>());
    network.interface().inputs.iter().map(of).collect()
}

/// Values that look like a network's input, for a first run: a wave through -1…1.
pub(crate) fn wave(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.37).sin()).collect()
}
