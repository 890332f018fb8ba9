//! `lipcast plugin check`: does a plugin keep the contract? Every check in a fresh process of its own.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use lipcast_conformance::subject::{Launcher, ProcessLauncher};
use lipcast_conformance::{Clip, Entry, Format, Options, Report, Verdict, check};
use lipcast_engine::avatar::{AvatarId, AvatarStore};
use lipcast_plugins_api::loader::Source;
use lipcast_wire::spawn::ChildCommand;
use serde_json::Value;

use super::super::CliError;
use crate::plugins::{self, PluginError, Program};

/// Checks a shared library, a plugin folder, or (after `--`) a program that speaks the exec protocol.
///
/// Ends with 0 when nothing failed, 1 when something did, 2 when nothing could be checked.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// A shared library, or a folder with a plugin.toml.
    #[arg(required_unless_present = "command")]
    path: Option<PathBuf>,
    /// A library that is opened before it, and may be named more than once; instead of those of its plugin.toml.
    #[arg(long, value_name = "LIBRARY")]
    preload: Vec<PathBuf>,
    /// The backend's own settings, a JSON file; without it none. No config.toml is read.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of a prepared avatar, `data/avatars/ID`; without it, drawn faces of two sizes are used.
    #[arg(long, value_name = "DIR")]
    avatar: Option<PathBuf>,
    /// What the report is written as.
    #[arg(long, value_enum, default_value = "text")]
    format: FormatName,
    /// Where the report is written; standard output then says how each check went.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Slower than real time is a failure too, and a face that comes to rest too late.
    #[arg(long)]
    strict: bool,
    /// Try random operations for so long, like 60s or 5m.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0s")]
    soak: Duration,
    /// What damaged blobs and random operations are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this group (load, create, avatar, infer, session, threads, panic, speed, soak), or one check: group.name.
    #[arg(long, value_name = "GROUP")]
    only: Option<String>,
    /// How long a call of a session or a batch may take before it counts as hanging; no check takes longer than ten
    /// times that.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    patience: Duration,
    /// A program and its arguments, instead of a path.
    #[arg(last = true)]
    command: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatName {
    Text,
    Json,
    Junit,
}

/// `config`: what --config named before the word `plugin`.
pub(super) fn run(config: Option<&Path>, arguments: Arguments) -> Result<(), CliError> {
    let config = arguments.config.as_deref().or(config);
    if let Some(only) = arguments.only.as_deref().filter(|only| !lipcast_conformance::knows(only)) {
        let groups = lipcast_conformance::groups().join(", ");
        let text = format!("there is no check or group \"{only}\"; the groups are {groups}");
        return Err(CliError::Unchecked(text));
    }
    let (launcher, expected_id) = launcher(&arguments)?;
    let options = Options {
        config: config.map_or(Ok(Value::Null), backend_settings)?,
        config_file: config.map(Path::to_owned),
        expected_id,
        clip: arguments.avatar.as_deref().map(clip_of).transpose()?,
        only: arguments.only.clone(),
        strict: arguments.strict,
        soak: arguments.soak,
        seed: arguments.seed,
        patience: arguments.patience.max(Duration::from_secs(1)),
    };
    let format = match arguments.format {
        FormatName::Text => Format::Text,
        FormatName::Json => Format::Json,
        FormatName::Junit => Format::Junit,
    };
    // Told as it goes, unless the report itself is all that standard output shall hold.
    let live = arguments.output.is_some() || format == Format::Text;
    if live {
        println!("{}", launcher.origin());
    }
    let mut group = "";
    let report = check(launcher, options, &mut |entry| {
        let live = live && !entry.is_closed();
        if live && entry.group != group {
            group = entry.group;
            println!("\n{group}");
        }
        if live {
            print!("{}", entry.text());
        }
    });
    if live && report.entries.iter().any(Entry::is_closed) {
        print!("\n{}", report.closed());
    }
    match &arguments.output {
        Some(path) => std::fs::write(path, report.write(format))
            .map_err(|error| CliError::Unchecked(format!("{}: {error}", path.display())))?,
        None if format != Format::Text => print!("{}", report.write(format)),
        None => {}
    }
    let summary = summary(&report);
    match report.exit_code() {
        0 => {
            if live {
                println!("\n{summary}");
            }
            Ok(())
        }
        1 => Err(CliError::Failed(format!("\n{summary}"))),
        _ => Err(CliError::Unchecked(format!("\nnothing could be checked: {summary}"))),
    }
}

fn summary(report: &Report) -> String {
    let count = |verdict| report.count(verdict);
    let (passed, failed) = (count(Verdict::Passed), count(Verdict::Failed));
    let skipped = count(Verdict::Skipped);
    format!("{passed} passed, {failed} failed, {skipped} skipped in {:.1} s", report.seconds)
}

/// What starts the plugin (`backend-host` for libraries, the program itself otherwise), and the id in its plugin.toml.
fn launcher(arguments: &Arguments) -> Result<(Arc<dyn Launcher>, Option<String>), CliError> {
    let Some(path) = &arguments.path else {
        return Ok((Arc::new(exec(&arguments.command, None)?), None));
    };
    let path = std::path::absolute(path).map_err(|error| CliError::Unchecked(error.to_string()))?;
    let preload = &arguments.preload;
    if !path.is_dir() {
        if let Some(missing) = preload.iter().find(|library| !library.exists()) {
            return Err(CliError::Unchecked(PluginError::Preload(missing.clone()).to_string()));
        }
        return Ok((library(&path, preload)?, None));
    }
    // The files that it names are compared with their pins, as before a server opens it.
    let found = plugins::find_in(&path, preload).map_err(|error| CliError::Unchecked(error.to_string()))?;
    let launcher = match found.program {
        Program::Library { file, preload } => library(&file, &preload)?,
        Program::Exec { command, folder } => Arc::new(exec(&command, Some(folder))?),
    };
    Ok((launcher, found.manifest.map(|manifest| manifest.id)))
}

fn library(path: &Path, preload: &[PathBuf]) -> Result<Arc<dyn Launcher>, CliError> {
    if !path.is_file() {
        let text = format!("{}: there is no such file; has it been built?", path.display());
        return Err(CliError::Unchecked(text));
    }
    if !begins_as_library(path) {
        let text = format!(
            "{}: not a shared library; of an exec backend give the folder, or its command after --",
            path.display()
        );
        return Err(CliError::Unchecked(text));
    }
    let own = std::env::current_exe().map_err(|error| CliError::Unchecked(error.to_string()))?;
    let host = own.with_file_name("backend-host");
    if !host.is_file() {
        return Err(CliError::Unchecked(format!(
            "{} is missing: it belongs beside this program",
            host.display()
        )));
    }
    Ok(Arc::new(ProcessLauncher::library(&host, path, preload)))
}

/// Whether it has the first bytes of an ELF file. What cannot be read is left to those who say why.
fn begins_as_library(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    !(read.is_ok() && magic != *b"\x7fELF")
}

fn exec(command: &[String], folder: Option<PathBuf>) -> Result<ProcessLauncher, CliError> {
    let [program, rest @ ..] = command else {
        return Err(CliError::Unchecked("there is no program to start".into()));
    };
    // A relative path with a folder in it lies in the plugin's own; a bare name is looked up in PATH.
    let program = match &folder {
        Some(folder) if program.contains('/') => folder.join(program),
        _ => PathBuf::from(program),
    };
    Ok(ProcessLauncher {
        origin: command.join(" "),
        command: ChildCommand {
            program,
            arguments: rest.iter().map(Into::into).collect(),
            folder,
            core_dumps: false,
        },
        library: None,
        preload: Vec::new(),
    })
}

fn backend_settings(path: &Path) -> Result<Value, CliError> {
    let unreadable = |error: String| {
        let text = "--config names the backend's own settings here, a JSON object";
        CliError::Unchecked(format!("{}: {error}\n    help: {text}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))
}

/// Frames of a prepared avatar that are used at most: every one is kept in memory.
const FRAMES: usize = 40;

fn clip_of(folder: &Path) -> Result<Clip, CliError> {
    let failed = |error: String| CliError::Unchecked(format!("{}: {error}", folder.display()));
    let folder = folder.canonicalize().map_err(|error| failed(error.to_string()))?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let id = AvatarId::parse(&name).map_err(|error| failed(error.to_string()))?;
    let store =
        AvatarStore::open(folder.parent().unwrap_or(&folder)).map_err(|error| failed(error.to_string()))?;
    let avatar = store.avatar(&id).map_err(|error| failed(error.to_string()))?;
    let mut source = avatar.open_source().map_err(|error| failed(error.to_string()))?;
    let count = source.frame_count().min(FRAMES);
    let (width, height) = source.size();
    let mut clip = Clip {
        size: (width as u32, height as u32),
        fps: (avatar.fps().num(), avatar.fps().den()),
        frames: Vec::with_capacity(count),
        landmarks: Vec::new(),
        boxes: Vec::new(),
        assets: Vec::new(),
        unreadable: None,
    };
    let mut rgb = Vec::new();
    for index in 0..count {
        source.frame(index, &mut rgb).map_err(|error| failed(error.to_string()))?;
        clip.frames.push(rgb.as_slice().into());
        let face = avatar.face(index);
        clip.landmarks.push(face.map(|face| face.landmarks));
        clip.boxes.push(face.map(|face| face.face_box));
    }
    debug_assert_eq!(clip.frame_count() as usize, count);
    Ok(clip)
}

fn duration(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().map_err(|_| "a number with s, m or h, like 60s".to_owned())?;
    let seconds = match unit {
        "" | "s" => number,
        "m" => number * 60,
        "h" => number * 3_600,
        _ => return Err("a number with s, m or h, like 60s".to_owned()),
    };
    Ok(Duration::from_secs(seconds))
}
