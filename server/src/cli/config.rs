//! `lipcast config check` and `lipcast config default`.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::CliError;
use crate::config::{Config, SHIPPED};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read the settings and name everything that is wrong with them.
    Check {
        /// The file to check instead of --config or ./config.toml.
        path: Option<PathBuf>,
    },
    /// Print a config.toml with every key at its default, to start from.
    Default,
}

pub(super) fn run(settings: Option<&Path>, command: Command) -> Result<(), CliError> {
    match command {
        Command::Check { path } => {
            let path = path.as_deref().or(settings);
            let config = Config::load(path)?;
            let backends: Vec<_> = config.engine.backends.iter().map(|b| b.name.as_str()).collect();
            println!("ok: serves on {}, backends in order: {}", config.server.bind, backends.join(", "));
        }
        Command::Default => print!("{SHIPPED}"),
    }
    Ok(())
}
