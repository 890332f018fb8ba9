//! `lipcast session replay`: one line of a recording told to a backend once more, and its answers compared.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use lipcast_engine::avatar::{Avatar, AvatarId};
use lipcast_engine::session::black_box::replay::{Options, replay};
use lipcast_engine::session::black_box::{AvatarMark, BackendMark, Begins, Recording, Script, Subject};

use super::super::opening::{choose, keep_only};
use super::super::{CliError, failed, load, progress};
use super::report::Report;
use crate::config::Config;
use crate::studio::{Stages, settings_mark};

/// How long an answer may take; a process that hangs is ended long before.
const PATIENCE: Duration = Duration::from_secs(60);

/// Repeats what a recorded session told one of its backends, and compares what that answers with what it answered then.
///
/// The backend is opened as the settings say. Ends with 0 when all is as recorded (a crash in the same frame included),
/// 1 when something differs, 2 when the file cannot be repeated. Another backend than the recorded one has pictures of
/// its own: none are compared, and 0 means that it answered every frame.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// A file of `lipcast session dump`.
    file: PathBuf,
    /// The backend to tell it to; without it, the one that was recorded.
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// The line to repeat, by its number; without it, the last one whose backend broke, or the busiest.
    #[arg(long, value_name = "N")]
    line: Option<u32>,
    /// Let requests wait beside each other as they did, so that batches form again; without it, one by one, so that a
    /// crash names one frame.
    #[arg(long)]
    together: bool,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(settings: Option<&Path>, arguments: Arguments) -> Result<(), CliError> {
    let mut config = load(settings)?;
    let unusable = |reason: String| CliError::Unchecked(format!("{}: {reason}", arguments.file.display()));
    let file = File::open(&arguments.file).map_err(|error| unusable(error.to_string()))?;
    let recording = Recording::read(BufReader::new(file)).map_err(|error| unusable(error.to_string()))?;
    let line = arguments.line.or_else(|| recording.telling_line());
    let line = line.ok_or_else(|| unusable("no backend was asked for anything".to_owned()))?;
    let script = recording.script(line).map_err(|error| unusable(error.to_string()))?;

    let name = arguments.backend.as_ref().unwrap_or(&script.line.backend.name);
    keep_only(&mut config.engine.backends, name)?;
    let stages = Stages::open(&config).map_err(|error| CliError::Setup(error.to_string()))?;
    let avatar = same_avatar(&stages, &recording.subject).map_err(unusable)?;
    stages.settle_backends();
    let stage = choose(&stages, &avatar, Some(name))?;
    let now = BackendMark::of(&*stage.instance);
    let pictures = now.id == script.line.backend.id;
    let mut notes = notes(&script, &now, &recording.subject, &config);
    if !pictures {
        notes.push("it is another backend than the recorded one: no pictures are compared".to_owned());
    }

    let bar = progress::bar(script.requests().count() as u64);
    bar.set_message("replaying");
    let options = Options { together: arguments.together, patience: PATIENCE };
    let replayed = replay(&script, &*stage.instance, &stage.avatar, options, pictures, &mut || bar.inc(1));
    bar.finish_and_clear();
    let replayed = replayed.map_err(failed)?;
    let report = Report::of(&recording, &script, &now, &replayed, notes, pictures);
    if arguments.json {
        println!("{:#}", report.json());
    } else {
        print!("{report}");
    }
    if report.compared_nothing() {
        return Err(CliError::Unchecked(report.verdict()));
    }
    if report.is_as_recorded() { Ok(()) } else { Err(CliError::Failed(report.verdict())) }
}

/// The avatar of the recording, if the store has that very one.
fn same_avatar(stages: &Stages, subject: &Subject) -> Result<Arc<Avatar>, String> {
    let recorded = &subject.avatar;
    let id = AvatarId::parse(&recorded.id).map_err(|error| format!("line 1: {error}"))?;
    let avatar = stages.avatar(&id).map_err(|error| format!("its avatar: {error}"))?;
    if AvatarMark::of(&avatar) == *recorded {
        return Ok(avatar);
    }
    let AvatarMark { width, height, frame_count, .. } = recorded;
    Err(format!(
        "avatar \"{id}\" is not the one that was recorded, which has {frame_count} frames of {width}x{height} with \
         other contents"
    ))
}

/// What else may make a difference.
fn notes(script: &Script, now: &BackendMark, subject: &Subject, config: &Config) -> Vec<String> {
    let then = &script.line.backend;
    let mut notes = Vec::new();
    match script.line.begins {
        Begins::Opened | Begins::Reset => {}
        Begins::Run | Begins::Middle => notes.push(format!(
            "what was said before is not kept: pictures are compared from frame {} on, after its look-behind",
            script.comparable_from
        )),
    }
    if then.id == now.id && then.summary != now.summary {
        notes.push(format!("then it was {}, now it is {}", then.summary, now.summary));
    }
    let mark_now = config.engine.backends.iter().find(|backend| backend.name == now.name).map(settings_mark);
    let mark_then = subject.settings.get(&then.name);
    if then.id == now.id && mark_then.is_some() && mark_then != mark_now.as_ref() {
        notes.push("its settings are not those of then".to_owned());
    }
    notes
}
