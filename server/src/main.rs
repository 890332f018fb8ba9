//! The program `lipcast`. Everything is in the library, so that tests reach it.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    lipcast_server::cli::run()
}
