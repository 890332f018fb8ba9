//! The Rust side of `cargo xtask bench-percall`, on libtorch.

use std::process::ExitCode;

fn main() -> ExitCode {
    lipcast_musetalk::percall::main::<lipcast_torch::TorchNetworks>()
}
