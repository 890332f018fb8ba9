//! Cargo commands about all crates, or about all that can be built here.
//!
//! The crates on libtorch are no default members of the workspace. They take part where it is installed, always with
//! the same variables, since another value of one of them would build its bindings anew, for minutes.

use std::process::Command;

use crate::runtimes::{Runtime, torch};
use crate::steps::cargo;

/// `cargo ARGUMENTS` for every crate that can be built here. Where those on libtorch cannot, a line says so.
pub(crate) fn cargo_everything(arguments: &[&str]) -> Command {
    let (subcommand, rest) = arguments.split_first().expect("a cargo command has a name");
    let runtime = torch();
    if !runtime.is_there() {
        println!("   {}", left_out(runtime));
        return cargo(arguments);
    }
    let mut command = cargo(&[subcommand, "--workspace"]);
    command.args(rest).envs(runtime.variables());
    command
}

fn left_out(runtime: &Runtime) -> String {
    format!(
        "left out: the crates on {}, which is not installed; `cargo xtask runtimes {}` does that",
        runtime.title, runtime.name
    )
}
