//! `parity BUNDLE …`: the check-points of a bundle's golden tensors, on libtorch.

use std::process::ExitCode;

fn main() -> ExitCode {
    lipcast_musetalk::parity::main::<lipcast_torch::TorchNetworks>()
}
