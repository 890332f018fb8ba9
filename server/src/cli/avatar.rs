//! `lipcast avatar prepare|import|list|show|delete`: the store of the settings' data folder, without a server.
//!
//! A server that runs beside sees what changes here.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use lipcast_engine::avatar::{Avatar, AvatarId, Job};
use lipcast_musetalk::import::MuseTalkAvatar;

use super::{CliError, failed, load, progress};
use crate::app::AvatarSummary;
use crate::config::Config;
use crate::studio::{Gallery, Stages};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Prepare an avatar from a video, an image, or a folder of images.
    Prepare {
        /// Its name: letters, digits, '_', '-', '.'. Without it, the file's own name.
        #[arg(long)]
        id: Option<AvatarId>,
        /// The video, image or folder.
        path: PathBuf,
    },
    /// Take over an avatar that MuseTalk prepared, with its face boxes and masks.
    Import {
        /// Its name; without it, the folder's.
        #[arg(long)]
        id: Option<AvatarId>,
        /// MuseTalk's folder: results/v15/avatars/NAME or results/avatars/NAME.
        folder: PathBuf,
    },
    /// List the avatars.
    List,
    /// Show one avatar.
    Show {
        /// Its name.
        id: AvatarId,
    },
    /// Delete an avatar.
    Delete {
        /// Its name.
        id: AvatarId,
    },
}

pub(super) fn run(settings: Option<&Path>, command: Command) -> Result<(), CliError> {
    let config = load(settings)?;
    let gallery =
        || Gallery::open(&config.media).map_err(|error| CliError::Setup(format!("media.data_dir: {error}")));
    match command {
        Command::Prepare { id, path } => {
            let stages = Stages::open(&config).map_err(|error| CliError::Setup(error.to_string()))?;
            prepare(&stages, id, &path)
        }
        Command::Import { id, folder } => import(&config, id, &folder),
        Command::List => {
            for avatar in gallery()?.avatars().map_err(failed)? {
                println!("{}", line(&avatar));
            }
            Ok(())
        }
        Command::Show { id } => {
            let avatar = gallery()?.avatar(&id).map_err(failed)?;
            println!("{}", line(&AvatarSummary::of(&avatar)));
            print_report(&avatar);
            Ok(())
        }
        Command::Delete { id } => {
            gallery()?.delete(&id).map_err(failed)?;
            println!("deleted {id}");
            Ok(())
        }
    }
}

fn prepare(stages: &Stages, id: Option<AvatarId>, path: &Path) -> Result<(), CliError> {
    let id = id.map_or_else(|| name_of(path), Ok)?;
    stages.settle_backends();
    let job = Job::new();
    let prepared = progress::of_job(&job, || stages.prepare(&id, path, &job)).map_err(failed)?;
    println!("{}", line(&AvatarSummary::of(&prepared)));
    print_report(&prepared);
    job.notes().iter().for_each(|note| println!("    {note}"));
    // All of them now: when this process ends, nobody goes on with it in the background.
    let can_show: Vec<_> =
        stages.stages_for(&prepared).map(|(stage, _)| stage.instance.name().to_owned()).collect();
    println!("    ready to be shown on {}", can_show.join(", "));
    Ok(())
}

fn import(config: &Config, id: Option<AvatarId>, folder: &Path) -> Result<(), CliError> {
    let found = MuseTalkAvatar::read(folder).map_err(failed)?;
    let id = id.map_or_else(|| name_of(Path::new(&found.id)), Ok)?;
    // Beside the avatars, so that images can be linked; the avatar keeps a copy of its own.
    let stages = Stages::open(config).map_err(|error| CliError::Setup(error.to_string()))?;
    let source =
        tempfile::Builder::new().prefix(".import-").tempdir_in(&config.media.data_dir).map_err(failed)?;
    found.write_source(source.path()).map_err(failed)?;
    let faces = found.boxes.iter().flatten().count();
    let masks = if found.masks.is_empty() { "no masks" } else { "their masks" };
    println!("{} frames, {faces} with a face box, {masks}", found.frames.len());
    if found.version == "v1" {
        println!(
            "    its boxes and masks are those of version 1: serve it with a bundle of version 1's weights"
        );
    }
    // What was laid out aside has a name that says nothing to whoever reads of it.
    let aside = source.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    prepare(&stages, Some(id), source.path()).map_err(|error| match error {
        CliError::Failed(text) => CliError::Failed(text.replace(&aside, &folder.display().to_string())),
        error => error,
    })
}

fn print_report(avatar: &Avatar) {
    let report = avatar.report();
    println!(
        "    a face in {} of {} frames, {} pixels wide",
        report.frames_with_face, report.frames, report.face_width
    );
    for note in &report.notes {
        println!("    {note}");
    }
    for run in &report.issues {
        let issue = format!("{:?}", run.issue);
        println!("    frames {} to {}: {issue}", run.first, run.last);
    }
}

fn name_of(path: &Path) -> Result<AvatarId, CliError> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    AvatarId::parse(&stem)
        .map_err(|error| CliError::Failed(format!("{error}\n    help: choose a name with --id")))
}

fn line(avatar: &AvatarSummary) -> String {
    let seconds = avatar.frame_count as f64 / avatar.fps;
    let note = if avatar.builtin { ", built in" } else { "" };
    format!(
        "{:24} {}x{}, {} frames ({seconds:.1} s) at {:.3} fps{note}",
        avatar.id.as_str(),
        avatar.width,
        avatar.height,
        avatar.frame_count,
        avatar.fps
    )
}
