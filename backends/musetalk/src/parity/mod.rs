//! Check-points against golden tensors.
