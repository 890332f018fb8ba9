//! Where the face is in each frame of an avatar's source.
//!
//! In: the frames, one after the other. Out: of each its landmarks and its face box, as far as there are any;
//! a frame without a face is an ordinary thing.
//!
//! | the bundle has | landmarks | is there a face, and the box where landmarks make none |
//! | --- | --- | --- |
//! | landmarks and detector | the network's | the detector's surest face, as in the reference |
//! | landmarks | the network's, which finds some in any picture | what the host says |
//! | detector | the host's | the detector's |
//! | neither | the host's | the host's |

use lipcast_plugins_api::author::{AvatarSource, Error, Operation};

use super::frames::Frames;
use crate::face::boxes::{self, FaceBox, PixelBox, Points};
use crate::face::{detector, pose, smooth};
use crate::networks::{Network, Tensor};
use crate::settings::Settings;
use crate::worker::{Urgency, Worker};

/// Shape of the landmark network's input for one frame.
const POSE_INPUT: [usize; 4] = [1, 3, pose::HEIGHT, pose::WIDTH];

/// The face of one frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Face {
    /// `None` where a box was given or detected without them.
    pub(super) points: Option<Points>,
    /// What is cut out and drawn over. It may leave the picture where the settings or an import say so.
    pub(super) bounds: PixelBox,
}

/// What was found, and what smoothing did to it.
#[derive(Debug)]
pub(super) struct Found {
    /// As many as there are frames.
    pub(super) faces: Vec<Option<Face>>,
    /// Of the boxes on whole pixels, before and after: see [`smooth::jitter`].
    pub(super) jitter: [f64; 2],
    /// Frames with a face before their boxes were looked at.
    pub(super) seen: usize,
}

/// What one frame shows.
#[derive(Debug, Clone, Default)]
struct Sight {
    points: Option<Points>,
    detected: Option<FaceBox>,
    face: bool,
}

/// Looks at all frames. `step` is told before each.
///
/// # Errors
/// What the host said of a frame, or the runtime; `CANCELLED`.
pub(super) fn find(
    source: &AvatarSource<'_>,
    worker: &Worker,
    settings: &Settings,
    operation: &Operation<'_>,
    step: &mut dyn FnMut(u32) -> Result<(), Error>,
) -> Result<Found, Error> {
    let mut looker = Looker { source, worker, settings, operation, frames: Frames::new(source) };
    let mut sights = Vec::with_capacity(source.frame_count() as usize);
    for index in 0..source.frame_count() {
        step(index)?;
        sights.push(looker.look(index)?);
    }
    Ok(bound(sights, source, settings))
}

/// The boxes that an import brought, as they are, with the host's landmarks.
pub(super) fn given(boxes: &[Option<PixelBox>], source: &AvatarSource<'_>) -> Found {
    let (width, height) = source.size();
    let face = |(index, bounds): (u32, &Option<PixelBox>)| {
        let bounds = bounds.filter(|bounds| boxes::is_drawable(*bounds, width, height))?;
        Some(Face { points: source.landmarks(index), bounds })
    };
    let faces: Vec<Option<Face>> = (0..).zip(boxes).map(face).collect();
    let jitter = smooth::jitter(&on_pixels(&faces));
    Found { seen: boxes.iter().flatten().count(), faces, jitter: [jitter; 2] }
}

struct Looker<'a> {
    source: &'a AvatarSource<'a>,
    worker: &'a Worker,
    settings: &'a Settings,
    operation: &'a Operation<'a>,
    frames: Frames<'a>,
}

impl Looker<'_> {
    fn look(&mut self, index: u32) -> Result<Sight, Error> {
        let (has_landmarks, has_detector) =
            (self.worker.has(Network::Landmarks), self.worker.has(Network::FaceDetector));
        let mut sight = Sight::default();
        if has_landmarks || has_detector {
            self.frames.read(index)?;
        }
        if has_detector {
            sight.detected = self.detect()?;
            sight.face = sight.detected.is_some();
            // What comes below is dear, and would be of no use.
            if !sight.face {
                return Ok(sight);
            }
        }
        let of_host = if has_landmarks && has_detector { None } else { self.source.landmarks(index) };
        if !has_detector {
            let face_box = self.source.face_box(index);
            sight.detected = face_box.map(|sides| FaceBox::from_sides(sides.map(f64::from)));
            sight.face = of_host.is_some() || sight.detected.is_some();
        }
        sight.points = if has_landmarks && sight.face { Some(self.landmarks()?) } else { of_host };
        Ok(sight)
    }

    fn landmarks(&mut self) -> Result<Points, Error> {
        let frame = self.frames.view();
        let size = [frame.width(), frame.height()];
        let mut image = vec![0.0; pose::INPUT];
        pose::input(frame, &mut image);
        let mut mirrored = Vec::new();
        if !self.settings.compat.no_flip {
            mirrored.resize(pose::INPUT, 0.0);
            pose::mirror(&image, &mut mirrored);
        }
        let [mut x, mut y] = self.simcc(image)?;
        if !mirrored.is_empty() {
            let [mirrored_x, mirrored_y] = self.simcc(mirrored)?;
            pose::merge_mirrored(&mut x, &mut y, &mirrored_x, &mirrored_y);
        }
        let points = pose::face(&pose::decode(&x, &y, size, self.settings.refine));
        Ok(points.map(|point| point.at.map(|at| at as f32)))
    }

    fn simcc(&self, image: Vec<f32>) -> Result<[Vec<f32>; 2], Error> {
        let inputs = vec![Tensor::new(POSE_INPUT, image)];
        let (_, outputs) =
            self.worker.run(Network::Landmarks, inputs, Urgency::Background(self.operation))?;
        let sizes = [pose::POINTS * pose::BINS_X, pose::POINTS * pose::BINS_Y];
        match <[Tensor; 2]>::try_from(outputs) {
            Ok([x, y]) if [x.data.len(), y.data.len()] == sizes => Ok([x.data, y.data]),
            _ => Err(Error::internal("the landmark network gave outputs of other sizes")),
        }
    }

    fn detect(&self) -> Result<Option<FaceBox>, Error> {
        let frame = self.frames.view();
        let (width, height) = (frame.width(), frame.height());
        let mut image = vec![0.0; 3 * width * height];
        detector::input(frame, &mut image);
        let inputs = vec![Tensor::new([1, 3, height, width], image)];
        let (_, maps) =
            self.worker.run(Network::FaceDetector, inputs, Urgency::Background(self.operation))?;
        let faces = detector::faces(&maps).map_err(|error| Error::internal(error.to_string()))?;
        Ok(faces.first().map(|face| FaceBox::from_sides(face.to_box().map(f64::from))))
    }
}

/// Chooses, smooths and cuts the boxes.
fn bound(sights: Vec<Sight>, source: &AvatarSource<'_>, settings: &Settings) -> Found {
    let (width, height) = source.size();
    let compat = &settings.compat;
    // As the reference takes them: on whole pixels, towards zero. What is smoothed or refined has a use for
    // the rest.
    let whole = !settings.smooth && !settings.refine;
    let mut chosen: Vec<Option<FaceBox>> = sights
        .iter()
        .map(|sight| {
            let points = sight.points.filter(|_| sight.face);
            let points = if whole { points.as_ref().map(boxes::truncated) } else { points };
            boxes::choose(points.as_ref(), compat.bbox_shift, sight.detected)
        })
        .collect();
    let seen = chosen.iter().flatten().count();
    let finish = |chosen: &[Option<FaceBox>]| -> Vec<Option<PixelBox>> {
        let finish = |face: FaceBox| {
            let bounds = face.extended(settings.extra_margin, height).rounded();
            let cut = boxes::clamped(bounds, width, height);
            let bounds = if compat.unclamped_box { bounds } else { cut };
            boxes::is_drawable(bounds, width, height).then_some(bounds)
        };
        chosen.iter().map(|face| face.and_then(finish)).collect()
    };
    let before = smooth::jitter(&to_boxes(&finish(&chosen)));
    if settings.smooth {
        let (num, den) = source.fps();
        smooth::smooth(&mut chosen, f64::from(num) / f64::from(den.max(1)));
    }
    let bounds = finish(&chosen);
    let after = smooth::jitter(&to_boxes(&bounds));
    let faces = sights.into_iter().zip(bounds);
    let faces = faces.map(|(sight, bounds)| Some(Face { points: sight.points, bounds: bounds? })).collect();
    Found { faces, jitter: [before, after], seen }
}

fn to_boxes(bounds: &[Option<PixelBox>]) -> Vec<Option<FaceBox>> {
    bounds.iter().map(|bounds| bounds.map(|sides| FaceBox::from_sides(sides.map(f64::from)))).collect()
}

fn on_pixels(faces: &[Option<Face>]) -> Vec<Option<FaceBox>> {
    let bounds: Vec<_> = faces.iter().map(|face| face.as_ref().map(|face| face.bounds)).collect();
    to_boxes(&bounds)
}
