//! How far streamed features are from those of a whole file, on ONNX Runtime; `cargo xtask distance` runs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    lipcast_musetalk::audio::distance_main::<lipcast_onnx::OnnxNetworks>()
}
