//! The project's own commands: `cargo xtask run`, `build`, `test` and those that measure.
//!
//! Each installs what it needs, says what it does, and can be run twice.
#![forbid(unsafe_code)]

mod distance;
mod everything;
mod packages;
mod parity;
mod percall;
mod reliability;
mod runtimes;
mod stage;
mod steps;
mod test;
mod tools;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask run [ARGUMENTS…]    build, stage and start the server; arguments go to `lipcast serve`
cargo xtask build [--onnx] [--torch]
                                build and stage: target/release/lipcast, its plugins beside it; --onnx installs ONNX
                                Runtime first, --torch libtorch (540 MB), with which its plugin is built too
cargo xtask test [STEP…]        the whole check, or only the steps that are named
cargo xtask test --list         the steps of the check
cargo xtask runtimes [NAME…]    installs the libraries that run neural networks: onnx, torch; all, or those named
cargo xtask parity …            every runtime against the golden tensors of a bundle: --bundle DIR [--runtime NAME]
cargo xtask distance …          how far streamed features are from those of a whole file: --bundle DIR RECORDING…
cargo xtask bench-percall …     what a call of a network costs from Rust and from Python
cargo xtask reliability         docs/reliability.md from the records of the fault matrix; --run runs it first
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((command, rest)) = arguments.split_first() else {
        print!("{HELP}");
        return Ok(());
    };
    match command.as_str() {
        "run" => stage::serve(rest),
        "build" => stage::build(rest),
        "test" => test::test(rest),
        "parity" => parity::parity(rest),
        "distance" => distance::distance(rest),
        "bench-percall" => percall::percall(rest),
        "runtimes" => runtimes::runtimes(rest),
        "reliability" => reliability::reliability(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("there is no `{other}`\n\n{HELP}"),
    }
}
