//! `lipcast session dump|replay`: what happened in a session, and the same once more.

mod dump;
mod replay;
mod report;

use std::path::Path;

use clap::Subcommand;

use super::CliError;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Dump(dump::Arguments),
    Replay(replay::Arguments),
}

pub(super) fn run(settings: Option<&Path>, command: Command) -> Result<(), CliError> {
    match command {
        Command::Dump(arguments) => dump::run(settings, arguments),
        Command::Replay(arguments) => replay::run(settings, arguments),
    }
}
