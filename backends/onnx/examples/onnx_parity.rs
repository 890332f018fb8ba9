//! ONNX Runtime against the golden tensors of a bundle; `cargo xtask parity` runs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    lipcast_musetalk::parity::main::<lipcast_onnx::OnnxNetworks>()
}
