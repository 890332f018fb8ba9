//! The command line: `lipcast serve`, `render`, `avatar`, `plugin`, `session`, `config check`, `doctor`, `bench`.
//!
//! Every command works from the folder of a `config.toml`, or of none, without further arguments.

#[macro_use]
mod output;

mod avatar;
mod bench;
mod client;
mod config;
mod doctor;
mod opening;
mod plugin;
mod progress;
mod render;
mod serve;
mod session;
mod telemetry;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, ConfigError};

/// A real-time talking-avatar server: speech in, a lip-synced face out, over WebRTC.
#[derive(Debug, Parser)]
#[command(name = "lipcast", version, propagate_version = true)]
struct Arguments {
    /// Settings; without it ./config.toml is read if it is there, else the defaults hold.
    #[arg(long, short, global = true, value_name = "PATH")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the page and the APIs (what `lipcast` alone does).
    Serve(serve::Arguments),
    /// Render an avatar saying a speech file to an mp4.
    Render(render::Arguments),
    /// Prepare, list, show and delete avatars.
    #[command(subcommand)]
    Avatar(avatar::Command),
    /// Plugins: begin one, check it, see what the plugin folders hold.
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// What happened in a session: write its last minutes to a file, repeat them.
    #[command(subcommand)]
    Session(session::Command),
    /// Measure: lip-sync, A/V sync, how fast things begin, what a process costs.
    #[command(subcommand)]
    Bench(bench::Command),
    /// Look at the settings.
    #[command(subcommand)]
    Config(config::Command),
    /// What is missing or damaged: programs, models, plugins, bundles of networks.
    Doctor(doctor::Arguments),
}

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The settings are wrong, or ask for what this machine does not give.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// As before, found only when it was tried: a port in use, a certificate that does not load.
    #[error("{0}")]
    Setup(String),
    /// A backend that the settings insist on did not come up: trying again with the same settings would not help.
    #[error("{0}")]
    Required(String),
    /// Nobody is there to do what was asked.
    #[error("{0}")]
    Unavailable(String),
    /// A plugin could not be checked at all, a recording not be repeated.
    #[error("{0}")]
    Unchecked(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    /// Codes as in `sysexits.h`: 78 for settings, 69 for a missing service; 2 for a check that did not take place.
    fn code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Setup(_) | Self::Required(_) => 78,
            Self::Unavailable(_) => 69,
            Self::Unchecked(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = arguments.config.as_deref();
    let quiet = !matches!(arguments.command, None | Some(Command::Serve(_)));
    let _log = quiet.then(telemetry::start_quietly);
    outlive_file_limits();
    let outcome = match arguments.command {
        None => serve::run(settings, serve::Arguments::default()),
        Some(Command::Serve(own)) => serve::run(settings, own),
        Some(Command::Render(own)) => render::run(settings, own),
        Some(Command::Avatar(command)) => avatar::run(settings, command),
        Some(Command::Plugin(command)) => plugin::run(settings, command),
        Some(Command::Session(command)) => session::run(settings, command),
        Some(Command::Bench(command)) => bench::run(settings, command),
        Some(Command::Config(command)) => config::run(settings, command),
        Some(Command::Doctor(own)) => doctor::run(settings, &own),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody has to read it: the code says that it failed.
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::from(error.code())
        }
    }
}

/// A file that would grow beyond the process's limit (`ulimit -f`) is an error of whoever writes it, as a full disk is,
/// and not the end of the program, which is what the signal would be that comes with it.
fn outlive_file_limits() {
    let listen = |runtime: tokio::runtime::Runtime| {
        let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        runtime.block_on(async { signal(kind).map(drop) })
    };
    // The handler stays when its stream is dropped. Without one everything else works as well.
    let listening = tokio::runtime::Builder::new_current_thread().enable_io().build().and_then(listen);
    if let Err(error) = listening {
        tracing::debug!(%error, "no handler for SIGXFSZ");
    }
}

/// The settings that a command works with.
fn load(path: Option<&std::path::Path>) -> Result<Config, CliError> {
    Ok(Config::load(path)?)
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}
