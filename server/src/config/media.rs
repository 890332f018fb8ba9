//! `[media]` and `[session]`: folders, limits of files, and how sessions run.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use toml_edit::Item;

use super::reader::Section;
use super::report::{Complaint, closest};
use super::values::{duration, integer, list, size, text, wrong_type};

/// Folders and limits of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaConfig {
    /// Where avatars and uploads are kept.
    pub data_dir: PathBuf,
    /// Further folders that clients may name files in.
    pub roots: Vec<RootConfig>,
    /// Bytes of all uploads together.
    pub max_uploads: u64,
    /// Longest speech file.
    pub max_speech: Duration,
    /// How many frames of an avatar's source video are used.
    pub max_frames: usize,
    /// dlib's 68-point predictor.
    pub landmarks: PathBuf,
}

/// A folder that clients may name files in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootConfig {
    /// The folder.
    pub path: PathBuf,
    /// What a client's path starts with to mean this folder; `None` for no prefix.
    pub prefix: Option<String>,
}

/// How sessions run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// Wait for the first viewer.
    pub first_viewer_wait: Duration,
    /// Life without any viewer.
    pub viewer_grace: Duration,
    /// The most a session runs ahead of its send time.
    pub render_ahead: Duration,
    /// Utterances waiting in the queue.
    pub max_queued: usize,
    /// How far back a session's black box reaches; zero: there is none.
    pub black_box: Duration,
}

impl MediaConfig {
    /// Where prepared avatars are kept.
    pub fn avatars_dir(&self) -> PathBuf {
        self.data_dir.join("avatars")
    }

    /// Where uploads are kept: the first folder that client paths are looked up in.
    pub fn media_dir(&self) -> PathBuf {
        self.data_dir.join("media")
    }

    pub(super) fn read(section: Section<'_, '_>, base: &Path) -> Self {
        let seconds = Duration::from_secs;
        let media = Self {
            data_dir: section.read("data_dir", base.join("data"), |item| path(item, base)),
            roots: section.read("roots", Vec::new(), list(|item| root(item, base))),
            max_uploads: section.read("max_uploads", 20 << 30, size(1 << 20..=64 << 40)),
            max_speech: section.read("max_speech", seconds(7_200), duration(seconds(1)..=seconds(86_400))),
            max_frames: section.read("max_frames", 1_500, integer(1..=100_000)),
            landmarks: section.read(
                "landmarks",
                PathBuf::from("/usr/share/dlib/shape_predictor_68_face_landmarks.dat"),
                |item| path(item, base),
            ),
        };
        section.finish();
        media
    }
}

impl SessionConfig {
    pub(super) fn read(section: Section<'_, '_>) -> Self {
        let seconds = Duration::from_secs;
        let session = Self {
            first_viewer_wait: section.read(
                "first_viewer_wait",
                seconds(30),
                duration(seconds(1)..=seconds(600)),
            ),
            viewer_grace: section.read("viewer_grace", seconds(20), duration(seconds(1)..=seconds(3_600))),
            render_ahead: section.read(
                "render_ahead",
                Duration::from_millis(200),
                duration(Duration::from_millis(40)..=seconds(2)),
            ),
            max_queued: section.read("max_queued", 32, integer(1..=1_000)),
            black_box: section.read("black_box", seconds(120), duration(seconds(0)..=seconds(600))),
        };
        section.finish();
        session
    }
}

fn path(item: &Item, base: &Path) -> Result<PathBuf, Complaint> {
    let path = text(item)?;
    if path.is_empty() {
        return Err(Complaint::new("a path is needed here"));
    }
    Ok(base.join(path))
}

/// `"folder"` or `{ path = "folder", prefix = "../MuseTalk" }`.
fn root(item: &Item, base: &Path) -> Result<RootConfig, Complaint> {
    const HELP: &str = "\"folder\" or { path = \"folder\", prefix = \"../MuseTalk\" }";
    if item.is_str() {
        return Ok(RootConfig { path: existing(path(item, base)?)?, prefix: None });
    }
    let table = item.as_table_like().ok_or_else(|| wrong_type("a folder", item.type_name()).help(HELP))?;
    let known = ["path", "prefix"];
    if let Some((wrong, _)) = table.iter().find(|(key, _)| !known.contains(key)) {
        let meant = closest(wrong, known).map_or(HELP.to_owned(), |meant| format!("did you mean `{meant}`?"));
        return Err(Complaint::new(format!("unknown key `{wrong}`")).help(meant));
    }
    let folder = table.get("path").ok_or_else(|| Complaint::new("`path` is missing").help(HELP))?;
    let prefix = table.get("prefix").map(text).transpose()?;
    let prefix = prefix.map(|prefix| prefix.trim_end_matches('/').to_owned());
    if prefix.as_deref().is_some_and(|prefix| Path::new(prefix).components().all(|c| c == Component::CurDir))
    {
        return Err(Complaint::new("an empty prefix says nothing").help("leave `prefix` out"));
    }
    Ok(RootConfig { path: existing(path(folder, base)?)?, prefix })
}

fn existing(path: PathBuf) -> Result<PathBuf, Complaint> {
    if path.is_dir() {
        return Ok(path);
    }
    Err(Complaint::new(format!("{} is not a folder", path.display()))
        .help("relative paths start at the folder of the configuration file"))
}
