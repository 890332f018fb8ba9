//! Follows one face through a clip: found once, then tracked, looked for again when it seems lost.

use std::path::PathBuf;

use super::detector::FaceDetector;
use super::geometry::{area, box_of, distance, is_face_like, overlap, strangeness, turn_aside};
use super::model::{DEFAULT_MODEL, DlibModel, LandmarkModel};
use super::scene::SceneWatch;
use super::smooth::{Sighting, smooth};
use super::template::TEMPLATE;
use super::{FaceBox, FaceError, FrameFace, FrameIssue, Landmarks, RgbView};

/// How faces are looked for.
#[derive(Debug, Clone, Default)]
pub struct FaceOptions {
    /// A file in dlib's format; [`DEFAULT_MODEL`] if not given.
    pub landmark_model: Option<PathBuf>,
    /// A box by hand, `[x0, y0, x1, y1]` in pixels, brows to chin, which the face stays in.
    /// With it nothing has to be found, and a missing landmark model is no error.
    pub face_box: Option<FaceBox>,
}

/// The faces of a clip, and what is wrong with which frame.
#[derive(Debug, Clone, Default)]
pub struct ClipFaces {
    /// One entry a frame.
    pub faces: Vec<Option<FrameFace>>,
    /// One list a frame.
    pub issues: Vec<Vec<FrameIssue>>,
    /// Frames in which a face was seen, bridged ones not counted.
    pub seen: usize,
}

/// Looks at the frames of one clip in order.
pub struct FaceAnalyzer {
    detector: FaceDetector,
    model: Option<Box<dyn LandmarkModel>>,
    mean: Landmarks,
    by_hand: Option<FaceBox>,
    scene: SceneWatch,
    track: Option<Track>,
    sightings: Vec<Sighting>,
    /// Frames since somebody was seen last.
    unseen: usize,
}

#[derive(Debug, Clone, Copy)]
struct Track {
    face_box: FaceBox,
    /// Looks of the detector in a row that did not confirm the face.
    doubts: usize,
    frames: usize,
}

/// Landmarks with what speaks for them.
#[derive(Debug, Clone, Copy)]
struct Placed {
    landmarks: Landmarks,
    face_box: FaceBox,
    confidence: f32,
}

/// The detector looks at a tracked face every so many frames.
const CONFIRM_EVERY: usize = 5;
/// A tracked face is given up when the detector has missed it so often.
const MOST_DOUBTS: usize = 3;
/// While nobody is seen, small faces are looked for every so many frames, at more cost.
const LOOK_CLOSER_EVERY: usize = 25;
/// Longer side of what the detector sees, in pixels: normally, and looking closer, which finds faces of 60 px in a
/// frame of 1920.
const SEARCH: usize = 320;
const SEARCH_CLOSER: usize = 1280;
/// Narrower faces have too few pixels for a mouth, px.
const SMALL: f32 = 60.0;
/// [`turn_aside`] beyond which one half of the face is hidden: a head turned by about 35 degrees.
const ASIDE: f32 = 0.5;
/// What a face needs to be kept, and to be trusted.
const KEPT: f32 = 0.25;
const TRUSTED: f32 = 0.5;
/// Boxes that the model is asked about, as shifts and sizes in parts of the box. Their mean is calmer than one answer,
/// and their disagreement tells how sure the model is.
const NUDGES: [[f32; 3]; 5] =
    [[0.0, 0.0, 1.0], [0.03, 0.0, 0.98], [-0.03, 0.0, 1.02], [0.0, 0.03, 1.02], [0.0, -0.03, 0.98]];

impl FaceAnalyzer {
    /// Loads the detector and the landmark model, about a second of work.
    ///
    /// # Errors
    /// [`FaceError`] when the landmark model is missing or unreadable, unless a box was given by hand.
    pub fn new(options: &FaceOptions) -> Result<Self, FaceError> {
        let path = options.landmark_model.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_MODEL));
        let model: Option<Box<dyn LandmarkModel>> = match DlibModel::load(&path) {
            Ok(model) => Some(Box::new(model)),
            Err(error) if options.face_box.is_some() => {
                tracing::warn!(%error, "only the face box given by hand is used");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self::with_model(model, options.face_box))
    }

    /// Uses another landmark model. Without one, a box by hand is all there is, and without either nobody is seen.
    pub fn with_model(model: Option<Box<dyn LandmarkModel>>, face_box: Option<FaceBox>) -> Self {
        Self {
            detector: FaceDetector::new(),
            mean: model.as_ref().map_or(TEMPLATE, |model| model.mean_shape()),
            model,
            by_hand: face_box,
            scene: SceneWatch::default(),
            track: None,
            sightings: Vec::new(),
            unseen: 0,
        }
    }

    /// Looks at the next frame; all frames of a clip have one size. Returns how sure the face is, 0 if there is none.
    ///
    /// # Errors
    /// [`FaceError::BadBox`] when the box given by hand does not fit the picture.
    pub fn push(&mut self, image: RgbView<'_>) -> Result<f32, FaceError> {
        let cut = self.scene.is_cut(image);
        if cut {
            self.track = None;
        }
        let placed = match self.by_hand {
            Some(face_box) => Some(self.follow_by_hand(image, face_box)?),
            None => self.follow(image).or_else(|| self.search(image)),
        };
        self.unseen = if placed.is_some() { 0 } else { self.unseen + 1 };
        let face = placed.map(|placed| FrameFace {
            face_box: placed.face_box,
            landmarks: placed.landmarks,
            confidence: placed.confidence,
        });
        self.sightings.push(Sighting { face, cut });
        Ok(face.map_or(0.0, |face| face.confidence))
    }

    /// Bridges, smooths and judges what was seen.
    pub fn finish(self) -> ClipFaces {
        let faces = smooth(&self.sightings, &self.mean);
        let issues =
            self.sightings.iter().zip(&faces).map(|(sighting, face)| judge(sighting, face)).collect();
        let seen = self.sightings.iter().filter(|sighting| sighting.face.is_some()).count();
        ClipFaces { faces, issues, seen }
    }

    /// The face where it was in the last frame.
    fn follow(&mut self, image: RgbView<'_>) -> Option<Placed> {
        let mut track = self.track.take()?;
        let placed = self.place(image, track.face_box)?;
        track.frames += 1;
        if track.frames.is_multiple_of(CONFIRM_EVERY) || placed.confidence < TRUSTED {
            track.doubts = match self.detector.confirm(image, placed.face_box) {
                Some(_) => 0,
                None => track.doubts + 1,
            };
        }
        if placed.confidence < KEPT || track.doubts >= MOST_DOUBTS {
            return None;
        }
        track.face_box = placed.face_box;
        self.track = Some(track);
        Some(placed)
    }

    /// Any face: the one nearest to the last known one, or else the largest.
    fn search(&mut self, image: RgbView<'_>) -> Option<Placed> {
        let mut found = self.detector.search(image, SEARCH);
        // Enlarging more than twice shows nothing new.
        let closer = SEARCH_CLOSER.min(2 * image.width().max(image.height()));
        if found.is_empty() && closer > SEARCH && self.unseen.is_multiple_of(LOOK_CLOSER_EVERY) {
            found = self.detector.search(image, closer);
        }
        let last = self.sightings.iter().rev().find_map(|sighting| sighting.face).map(|face| face.face_box);
        let rank = |face_box: FaceBox| {
            let near = last.map_or(0.0, |last| overlap(last, face_box));
            area(face_box) * (1.0 + 4.0 * near)
        };
        found.sort_by(|a, b| rank(b.face_box).total_cmp(&rank(a.face_box)));
        for detection in found {
            let Some(first) = self.place(image, detection.face_box) else { continue };
            // The second look starts from the box that the first one's landmarks ask for.
            let Some(placed) = self.place(image, first.face_box) else { continue };
            if placed.confidence >= KEPT && overlap(placed.face_box, detection.face_box) > 0.3 {
                self.track = Some(Track { face_box: placed.face_box, doubts: 0, frames: 0 });
                return Some(placed);
            }
        }
        None
    }

    /// Landmarks inside the box that a person drew; the template where the model finds nothing in it.
    fn follow_by_hand(&mut self, image: RgbView<'_>, by_hand: FaceBox) -> Result<Placed, FaceError> {
        let inside = overlap(by_hand, [0.0, 0.0, image.width() as f32, image.height() as f32]) > 0.0;
        let [x0, y0, x1, y1] = by_hand;
        if !by_hand.iter().all(|value| value.is_finite()) || !inside || x1 - x0 < 16.0 || y1 - y0 < 16.0 {
            return Err(FaceError::BadBox(x0, y0, x1, y1));
        }
        let start = self.track.map_or(by_hand, |track| track.face_box);
        let placed = self
            .place(image, start)
            .filter(|placed| placed.confidence >= KEPT && overlap(placed.face_box, by_hand) > 0.3);
        self.track = placed.map(|placed| Track { face_box: placed.face_box, doubts: 0, frames: 0 });
        Ok(placed.unwrap_or_else(|| Placed {
            landmarks: TEMPLATE.map(|[x, y]| [x0 + x * (x1 - x0), y0 + y * (y1 - y0)]),
            face_box: by_hand,
            confidence: 0.2,
        }))
    }

    /// Landmarks for a face near `face_box`; `None` if they do not make a face.
    fn place(&self, image: RgbView<'_>, face_box: FaceBox) -> Option<Placed> {
        let model = self.model.as_ref()?;
        let [x0, y0, x1, y1] = face_box;
        let side = x1 - x0;
        let answers = NUDGES.map(|[right, down, size]| {
            let (x, y) = ((x0 + x1) / 2.0 + right * side, (y0 + y1) / 2.0 + down * side);
            let half = side * size / 2.0;
            model.landmarks(image, [x - half, y - half, x + half, y + half])
        });
        let landmarks: Landmarks = std::array::from_fn(|point| {
            std::array::from_fn(|axis| answers.iter().map(|answer| answer[point][axis]).sum::<f32>() / 5.0)
        });
        if !is_face_like(&landmarks) {
            return None;
        }
        let apart: f32 = answers
            .iter()
            .flat_map(|answer| answer.iter().zip(&landmarks))
            .map(|(a, b)| distance(*a, *b))
            .sum();
        let disagreement = apart / (answers.len() * landmarks.len()) as f32 / side;
        let strange = strangeness(&self.mean, &landmarks);
        let confidence = falling(disagreement, SURE, UNSURE) * falling(strange, USUAL, STRANGE);
        Some(Placed { landmarks, face_box: box_of(&self.mean, &landmarks), confidence })
    }
}

/// Mean distance between answers to nudged boxes, as a part of the box: at which the landmarks are certain, and at
/// which they are worthless. On real and drawn faces 0.004 to 0.008 was measured; at random places of pictures the
/// answers just follow the box, and 95 of 100 are above 0.021.
const SURE: f32 = 0.008;
const UNSURE: f32 = 0.024;
/// [`strangeness`] of a face that is one for certain, and of none. A head turned by 30 degrees has 0.07.
const USUAL: f32 = 0.1;
const STRANGE: f32 = 0.22;

/// 1 up to `good`, 0 from `bad` on.
fn falling(value: f32, good: f32, bad: f32) -> f32 {
    ((bad - value) / (bad - good)).clamp(0.0, 1.0)
}

fn judge(sighting: &Sighting, face: &Option<FrameFace>) -> Vec<FrameIssue> {
    let mut issues = Vec::new();
    if sighting.cut {
        issues.push(FrameIssue::Cut);
    }
    if sighting.face.is_none() {
        issues.push(FrameIssue::NoFace);
    }
    if let Some(face) = face {
        if face.box_width() < SMALL {
            issues.push(FrameIssue::TooSmall);
        }
        if turn_aside(&face.landmarks).abs() > ASIDE {
            issues.push(FrameIssue::SideFace);
        }
        if sighting.face.is_some_and(|face| face.confidence < TRUSTED) {
            issues.push(FrameIssue::Uncertain);
        }
    }
    issues
}
