//! Making an avatar: every frame is decoded once, searched for a face, converted and written, one at a time,
//! into a temporary folder that takes the avatar's place when all of it is on disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use lipcast_codecs::I420;
use serde::{Deserialize, Serialize};

use super::frames::{FrameFormat, FrameStream, Next, RgbSource, Spool};
use super::manifest::{FACES, FORMAT_VERSION, FRAMES, FileEntry, MANIFEST, POSTER, RECIPE, SOURCE};
use super::source::{Stored, copy_in};
use super::store::Reserved;
use super::{
    Avatar, AvatarError, AvatarId, AvatarStore, Job, LoopMode, Manifest, PrepareSource, Report, SourceKind,
    SourceRecord, Stage, faces_file,
};
use crate::face::{ClipFaces, FaceAnalyzer, FaceBox, FaceOptions, FrameFace, RgbView};
use crate::media::{file_name, rgb_to_i420};

/// How an avatar is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareOptions {
    /// A face box by hand, `[x0, y0, x1, y1]` in pixels of the source, from the brows to the chin:
    /// for faces that are not found. The face has to stay in it.
    pub face_box: Option<FaceBox>,
    /// Frames that are taken at most, at least 1; the rest of a longer video is left out and the report says so.
    pub max_frames: usize,
    /// Order of playing. If not given, videos play back and forth, and the built-in avatar loops.
    pub loop_mode: Option<LoopMode>,
}

impl Default for PrepareOptions {
    /// A minute at 25 fps: at 1024×1024 that is 2.4 GB.
    fn default() -> Self {
        Self { face_box: None, max_frames: 1_500, loop_mode: None }
    }
}

impl AvatarStore {
    /// Makes an avatar, or makes it again: the former one stays in use until the new one is complete.
    /// Works on the calling thread, about as long as a third of the clip plays; `job` tells how far it is and can
    /// stop it. Whatever goes wrong, the former avatar stays and nothing is left behind.
    ///
    /// # Errors
    /// [`AvatarError::Busy`] while the same avatar is prepared; [`AvatarError::Source`] and [`AvatarError::Media`]
    /// for what cannot be read; [`AvatarError::NoFace`]; [`AvatarError::Face`] without a landmark model;
    /// [`AvatarError::Cancelled`]; [`AvatarError::Io`] from the disk.
    pub fn prepare(
        &self,
        id: &AvatarId,
        source: PrepareSource,
        options: &PrepareOptions,
        job: &Job,
    ) -> Result<Arc<Avatar>, AvatarError> {
        Ok(self.prepare_with_frames(id, source, options, job)?.0)
    }

    /// As [`AvatarStore::prepare`], and keeps the source's frames for the backends that make their blobs next, which
    /// saves decoding it again.
    ///
    /// # Errors
    /// As [`AvatarStore::prepare`].
    pub fn prepare_with_frames(
        &self,
        id: &AvatarId,
        source: PrepareSource,
        options: &PrepareOptions,
        job: &Job,
    ) -> Result<(Arc<Avatar>, RgbSource), AvatarError> {
        let claim = self.reserve(id)?;
        let prepare = || {
            let (draft, frames) = self.draft(&claim, &source, options, job)?;
            self.publish(&claim, draft, |_| Ok(()))?;
            Ok((self.avatar(id)?, RgbSource::of(frames)))
        };
        let result = prepare();
        job.set(Stage::Done, if result.is_ok() { 1000 } else { job.progress().permille });
        result
    }

    /// Writes everything but the manifest. Also returns the frames as they were decoded.
    pub(super) fn draft(
        &self,
        claim: &Reserved<'_>,
        source: &PrepareSource,
        options: &PrepareOptions,
        job: &Job,
    ) -> Result<(Draft<'_>, Spool), AvatarError> {
        job.set(Stage::Opening, 0);
        let (folder, held) = self.temp_folder(&claim.id)?;
        let mut draft = Draft { store: self, folder, _held: held, files: BTreeMap::new(), manifest: None };
        let (stored, copied) = copy_in(&self.disk, &draft.folder, source, job)?;
        draft.files.extend(copied);
        let recipe = Recipe { stored: stored.clone(), options: options.clone() };
        draft.write(&format!("{SOURCE}/{RECIPE}"), &recipe.to_json())?;
        self.disk.sync_dir(&draft.folder.join(SOURCE))?;

        let name = match source {
            PrepareSource::File(path) => file_name(path),
            PrepareSource::Builtin => String::new(),
        };
        let stream = FrameStream::open(stored.kind, &stored.path(&draft.folder))?;
        let (clip, frames) = draft.frames(stream, options, self.landmark_model.clone(), job)?;
        if clip.faces.seen == 0 && options.face_box.is_none() {
            return Err(AvatarError::NoFace { name, frames: clip.faces.faces.len() });
        }
        job.set(Stage::Saving, 920);
        draft.write(FACES, &faces_file::encode(&clip.faces.faces))?;
        draft.write(POSTER, &clip.poster)?;
        let default_loop =
            if stored.kind == SourceKind::Builtin { LoopMode::Loop } else { LoopMode::PingPong };
        draft.manifest = Some(Manifest {
            format_version: FORMAT_VERSION,
            id: claim.id.clone(),
            fps: clip.format.fps,
            width: clip.format.width,
            height: clip.format.height,
            frame_count: clip.faces.faces.len(),
            loop_mode: options.loop_mode.unwrap_or(default_loop),
            source: SourceRecord {
                kind: stored.kind,
                name: stored.name,
                blake3: stored.blake3,
                color_matrix: clip.format.color_matrix,
                color_range: clip.format.color_range,
            },
            options: options.clone(),
            report: Report::new(&clip.faces, clip.truncated)
                .cut_off(clip.format.declared)
                .scaled(clip.format.source_size, (clip.format.width, clip.format.height)),
            files: draft.files.clone(),
            blobs: BTreeMap::new(),
            seal: String::new(),
        });
        Ok((draft, frames))
    }

    /// Writes the manifest and puts the draft in place; `keep` is given the former folder before it is removed.
    pub(super) fn publish(
        &self,
        claim: &Reserved<'_>,
        mut draft: Draft<'_>,
        keep: impl FnOnce(&Path) -> Result<(), AvatarError>,
    ) -> Result<(), AvatarError> {
        // `draft` sets it as its last act.
        let manifest = draft.manifest.take().expect("a finished draft");
        self.disk.write(&draft.folder.join(MANIFEST), &manifest.to_sealed_json())?;
        self.disk.sync_dir(&draft.folder)?;
        let former = self.put_in_place(&draft.folder, &claim.id)?;
        // From here on the new avatar stands, whatever becomes of the former one.
        if let Some(former) = former
            && let Err(error) = keep(&former).and_then(|()| self.disk.remove(&former))
        {
            tracing::warn!(%error, "the former avatar's folder stays until the next start");
        }
        draft.folder = PathBuf::new();
        Ok(())
    }
}

/// How to make an avatar again from its own folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Recipe {
    pub(super) stored: Stored,
    pub(super) options: PrepareOptions,
}

#[derive(Serialize, Deserialize)]
struct SealedRecipe {
    recipe: Recipe,
    blake3: String,
}

impl Recipe {
    fn seal(&self) -> String {
        // Plain data: infallible.
        blake3::hash(&serde_json::to_vec(self).expect("a recipe is plain data")).to_hex().to_string()
    }

    fn to_json(&self) -> Vec<u8> {
        let sealed = SealedRecipe { recipe: self.clone(), blake3: self.seal() };
        serde_json::to_vec_pretty(&sealed).expect("a recipe is plain data")
    }

    pub(super) fn from_json(text: &[u8]) -> Result<Self, String> {
        let sealed: SealedRecipe = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let name = &sealed.recipe.stored.name;
        if sealed.recipe.seal() != sealed.blake3 || name.contains('/') || name == ".." {
            return Err("its seal does not match its content".to_owned());
        }
        Ok(sealed.recipe)
    }
}

/// An avatar that is being written. Dropped before it is published, it disappears.
pub(super) struct Draft<'a> {
    store: &'a AvatarStore,
    /// Empty once published.
    pub(super) folder: PathBuf,
    /// Keeps other processes from taking the folder for stale.
    _held: File,
    files: BTreeMap<String, FileEntry>,
    pub(super) manifest: Option<Manifest>,
}

struct Clip {
    format: FrameFormat,
    faces: ClipFaces,
    poster: Vec<u8>,
    truncated: bool,
}

impl Draft<'_> {
    fn write(&mut self, name: &str, data: &[u8]) -> Result<(), AvatarError> {
        let entry = self.store.disk.write(&self.folder.join(name), data)?;
        self.files.insert(name.to_owned(), entry);
        Ok(())
    }

    /// Decodes, looks at, converts and writes all frames; at no time is more than one in memory, and the poster.
    fn frames(
        &mut self,
        mut stream: FrameStream,
        options: &PrepareOptions,
        landmark_model: Option<PathBuf>,
        job: &Job,
    ) -> Result<(Clip, Spool), AvatarError> {
        let format = stream.format();
        let (width, height) = (format.width, format.height);
        let mut faces = match stream {
            FrameStream::Builtin { .. } => Faces::Known(Vec::new()),
            FrameStream::Video(_) => {
                let face_box = options.face_box.map(|edges| format.scale_box(edges));
                let options = FaceOptions { landmark_model, face_box };
                Faces::Sought(Box::new(FaceAnalyzer::new(&options)?))
            }
        };
        let mut picture = I420::black(width, height)
            .map_err(|error| AvatarError::Source { name: "source".to_owned(), reason: error.to_string() })?;
        let path = self.folder.join(FRAMES);
        let mut file = self.store.disk.create(&path)?;
        let mut spool = Spool::create(&self.folder, (width, height))?;
        let most = options.max_frames.max(1);
        let expected = format.expected.unwrap_or(most).clamp(1, most);
        let (mut rgb, mut poster, mut poster_certain, mut count) = (Vec::new(), Vec::new(), -1.0, 0);
        let mut truncated = false;
        loop {
            if job.is_cancelled() {
                return Err(AvatarError::Cancelled);
            }
            let Next::Frame(known) = stream.next(&mut rgb)? else { break };
            if count == most {
                truncated = true;
                break;
            }
            let certain = faces.push(RgbView::new(width, height, &rgb), known)?;
            // The first frame whose face is certain, or else the first of all.
            if poster_certain < 0.0 || (poster_certain < 0.5 && certain >= 0.5) {
                poster.clone_from(&rgb);
                poster_certain = certain;
            }
            rgb_to_i420(&rgb, width, height, &mut picture);
            file.write_all(picture.data()).map_err(AvatarError::io("write", &path))?;
            spool.push(&rgb)?;
            count += 1;
            job.set(Stage::Frames, 50 + (850 * count.min(expected) / expected) as u16);
        }
        job.set(Stage::Saving, 900);
        self.files.insert(FRAMES.to_owned(), file.finish()?);
        let poster = jpeg(&poster, width, height)?;
        Ok((Clip { format, faces: faces.finish(), poster, truncated }, spool))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.folder.as_os_str().is_empty()
            && let Err(error) = self.store.disk.remove(&self.folder)
        {
            tracing::warn!(%error, "an unfinished avatar stays until the next start");
        }
    }
}

enum Faces {
    Known(Vec<Option<FrameFace>>),
    Sought(Box<FaceAnalyzer>),
}

impl Faces {
    fn push(&mut self, image: RgbView<'_>, known: Option<Box<FrameFace>>) -> Result<f32, AvatarError> {
        match self {
            Self::Known(faces) => {
                let certain = known.as_ref().map_or(0.0, |face| face.confidence);
                faces.push(known.map(|face| *face));
                Ok(certain)
            }
            Self::Sought(analyzer) => Ok(analyzer.push(image)?),
        }
    }

    fn finish(self) -> ClipFaces {
        match self {
            Self::Known(faces) => {
                ClipFaces { issues: vec![Vec::new(); faces.len()], seen: faces.len(), faces }
            }
            Self::Sought(analyzer) => analyzer.finish(),
        }
    }
}

fn jpeg(rgb: &[u8], width: usize, height: usize) -> Result<Vec<u8>, AvatarError> {
    let mut data = Vec::new();
    let encoded = JpegEncoder::new_with_quality(&mut data, 85).encode(
        rgb,
        width as u32,
        height as u32,
        ExtendedColorType::Rgb8,
    );
    encoded.map_err(|error| AvatarError::Source { name: POSTER.to_owned(), reason: error.to_string() })?;
    Ok(data)
}
