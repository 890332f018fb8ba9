//! The Rust side of `cargo xtask bench-percall`, on ONNX Runtime.

use std::process::ExitCode;

fn main() -> ExitCode {
    lipcast_musetalk::percall::main::<lipcast_onnx::OnnxNetworks>()
}
