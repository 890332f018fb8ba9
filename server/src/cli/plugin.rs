//! `lipcast plugin check|list|new`: does one keep the contract, what the plugin folders hold, and a project to begin with.

mod check;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{CliError, failed, load};
use crate::plugins::{self, Language, Listed, Project, WeightState};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Check(check::Arguments),
    /// Show what lies in the plugin folders of the settings. Opens nothing.
    List {
        /// As a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Begin a plugin: a small one that builds, passes the check and moves a mouth.
    New {
        /// Its name: lower-case letters, digits, '-', '_'. Also that of its folder.
        name: String,
        /// What it is written in.
        #[arg(long = "lang", value_enum, value_name = "LANGUAGE")]
        language: Language,
        /// Where its folder is made; it is made too where it is not there.
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        dir: PathBuf,
        /// The folder plugins-api of Lipcast's sources, for Rust; without it, that of the checkout which this program
        /// or the current folder lies in.
        #[arg(long, value_name = "FOLDER")]
        api: Option<PathBuf>,
    },
}

pub(super) fn run(settings: Option<&Path>, command: Command) -> Result<(), CliError> {
    match command {
        Command::Check(arguments) => check::run(settings, arguments),
        Command::List { json } => {
            let listed = plugins::list(&load(settings)?.engine.plugin_dirs);
            if json {
                println!("{}", serde_json::to_string_pretty(&listed).map_err(failed)?);
            } else if listed.is_empty() {
                println!("no plugins in the folders of engine.plugin_dirs");
            } else {
                listed.iter().for_each(|plugin| println!("{}", lines(plugin)));
            }
            Ok(())
        }
        Command::New { name, language, dir, api } => {
            let project = Project::new(&name, language, &dir, api.as_deref()).map_err(failed)?;
            project.write().map_err(failed)?;
            println!("made {}\n\nNext:\n", project.folder().display());
            project.next_steps().lines().for_each(|line| println!("    {line}"));
            println!("\ndocs/plugin-abi.md of Lipcast's sources is the guide.");
            Ok(())
        }
    }
}

fn lines(plugin: &Listed) -> String {
    let kind = plugin.kind.unwrap_or("?");
    let about = match (&plugin.id, &plugin.version, &plugin.license) {
        (Some(id), Some(version), Some(license)) => format!("{id} {version}, {license}"),
        _ if plugin.problems.is_empty() => "a library without plugin.toml".to_owned(),
        _ => String::new(),
    };
    let pin = if plugin.library == Some(WeightState::Pinned) { ", pin ok" } else { "" };
    let mut lines = format!("{:24} {kind:8} {about}{pin}\n    {}", plugin.name, plugin.path.display());
    for weight in plugin.weights.iter().filter(|weight| weight.state.is_fine()) {
        let pin = if weight.state == WeightState::Pinned { ", pin ok" } else { "" };
        lines += &format!("\n    weights {}{pin}", weight.file.display());
    }
    for weight in plugin.weights.iter().filter(|weight| !weight.state.is_fine() && !weight.source.is_empty())
    {
        lines += &format!("\n    get {} at {}", weight.file.display(), weight.source);
    }
    for problem in &plugin.problems {
        lines += &format!("\n    refused: {problem}");
    }
    lines
}
