//! From an avatar's frames to its blob.
//!
//! In: RGB frames, landmarks where the bundle has no network for them. Out: the bytes of [`crate::avatar`]'s
//! blob, in order. The frames pass twice, since a box depends on those before and after it; no more are held
//! at a time than the encoder takes in one batch. What comes with the source from an avatar that MuseTalk had
//! prepared is not looked for again.
//!
//! ```text
//! pass 1   frame ─► landmarks, detector ─► box ─► smoothed over time
//! pass 2   frame ─► box ─┬─► 256×256 ─► encoder ─────────────────► latents ─┐
//!                        └─► square ─► labels ─► region ─► mask ─► patch ───┴─► blob
//! ```

mod faces;

mod frames;

mod given;

mod latents;

mod noise;

pub(crate) use latents::to_pair;

use std::collections::VecDeque;

use lipcast_plugins_api::author::{AvatarSource, Code, Error, Operation};

use self::faces::{Face, Found};
use self::frames::Frames;
use self::given::Given;
use self::latents::Encoder;
use crate::avatar::{Fingerprint, Header, PreparedFace, Writer};
use crate::face::{boxes, outline, parsing};
use crate::image::{Picture, View, lanczos4};
use crate::mask::{self, FEATHER, Mask, MaskPatch, OFFLINE_FEATHER, region};
use crate::networks::{FACE, Network, Tensor};
use crate::settings::Settings;
use crate::worker::{Urgency, Worker};

/// Faces that are encoded in one batch at most; so long does speech wait for preparation.
const MOST_ENCODED: usize = 4;

/// What a preparation works with.
pub(crate) struct Preparation<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) settings: &'a Settings,
    pub(crate) fingerprint: &'a Fingerprint,
    pub(crate) source: &'a AvatarSource<'a>,
    pub(crate) operation: &'a Operation<'a>,
}

/// What there is to tell of one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Summary {
    /// Frames, and how many of them show a face that is drawn over.
    pub(crate) frames: u32,
    pub(crate) faces: u32,
    /// How much the boxes trembled before they were smoothed, and after; pixels.
    pub(crate) jitter: [f64; 2],
}

impl Preparation<'_> {
    /// Writes the blob to `sink`.
    ///
    /// # Errors
    /// `INVALID_ARG` when no frame shows a face, `MODEL_MISSING` when the bundle has no encoder, what the
    /// host or the runtime said, `CANCELLED`. What was written by then is worth nothing.
    pub(crate) fn run(&self, sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<Summary, Error> {
        if !self.worker.has(Network::VaeEncoder) {
            let message = "the bundle has no vae_encoder, without which no avatar can be prepared";
            return Err(Error::new(Code::ModelMissing, message));
        }
        let frames = self.source.frame_count();
        let given = Given::read(self.source)?;
        let found = match &given.boxes {
            Some(boxes) => faces::given(boxes, self.source),
            None => {
                let mut step = |index| self.step(0, index, "faces");
                faces::find(self.source, self.worker, self.settings, self.operation, &mut step)?
            }
        };
        self.expect_a_face(&found)?;
        let (canvas, fps) = (self.source.size(), self.source.fps());
        let header = Header {
            canvas: [canvas.0, canvas.1],
            fps: [fps.0, fps.1],
            frames,
            shifted: self.settings.compat.shift_latents,
        };
        let writer = Writer::new(&header, self.fingerprint, sink)?;
        let faces = self.write(found.faces, &given, writer)?;
        Ok(Summary { frames, faces, jitter: found.jitter })
    }

    /// The second pass. Gives the number of frames that are drawn on.
    fn write(
        &self,
        faces: Vec<Option<Face>>,
        given: &Given<'_>,
        mut writer: Writer<'_>,
    ) -> Result<u32, Error> {
        let batch = self.worker.device().buckets.iter().max().copied().unwrap_or(1).min(MOST_ENCODED);
        let mut encoder = Encoder::new(self.worker, self.settings.compat.sample);
        let mut waiting: VecDeque<Option<PreparedFace>> = VecDeque::new();
        let mut frames = Frames::new(self.source);
        let (width, height) = self.source.size();
        let canvas = [width, height];
        let mut drawn = 0;
        for (index, face) in (0..).zip(faces) {
            self.step(1, index, "masks and latents")?;
            let prepared = match face {
                None => None,
                Some(face) => {
                    frames.read(index)?;
                    let patch = match given.mask(index) {
                        Some(mask) => Some(mask.patch(face.bounds, canvas)),
                        None => self.patch(frames.view(), &face)?,
                    };
                    patch.and_then(|patch| cut(frames.view(), &face, patch, &mut encoder))
                }
            };
            drawn += u32::from(prepared.is_some());
            waiting.push_back(prepared);
            if encoder.len() >= batch {
                self.encode(&mut encoder, &mut waiting, &mut writer)?;
            }
        }
        self.encode(&mut encoder, &mut waiting, &mut writer)?;
        writer.finish()?;
        if drawn == 0 {
            let what =
                "no frame shows a face whose parts are known, by landmarks or by the bundle's face parsing";
            return Err(Error::invalid_arg(what));
        }
        Ok(drawn)
    }

    /// Encodes what waits and writes all frames up to it.
    fn encode(
        &self,
        encoder: &mut Encoder<'_>,
        waiting: &mut VecDeque<Option<PreparedFace>>,
        writer: &mut Writer<'_>,
    ) -> Result<(), Error> {
        let mut latents = encoder.encode(Urgency::Background(self.operation))?.into_iter();
        for frame in waiting.drain(..) {
            let frame = match frame {
                None => None,
                Some(face) => {
                    let latents = latents.next().ok_or_else(|| Error::internal("a face without latents"))?;
                    Some(PreparedFace { latents, ..face })
                }
            };
            writer.frame(frame.as_ref())?;
        }
        Ok(())
    }

    /// The part of the canvas that is drawn over; `None`: nobody knows the parts of this face.
    fn patch(&self, frame: View<'_, 3>, face: &Face) -> Result<Option<MaskPatch>, Error> {
        let unfit = |error: mask::BoxError| Error::internal(error.to_string());
        let square = mask::square(face.bounds).map_err(unfit)?;
        let labels = if self.worker.has(Network::FaceParsing) {
            self.parse(frame, square)?
        } else {
            let Some(points) = &face.points else { return Ok(None) };
            outline::by_landmarks(points, square)
        };
        let feather = if self.settings.compat.offline_blur { OFFLINE_FEATHER } else { FEATHER };
        let shown = region(labels.view(), self.settings.mask, self.settings.cheeks);
        let mask = Mask::new(shown.view(), face.bounds, feather).map_err(unfit)?;
        Ok(Some(mask.patch(face.bounds, [frame.width() as u32, frame.height() as u32])))
    }

    fn parse(&self, frame: View<'_, 3>, square: [i32; 4]) -> Result<Picture<1>, Error> {
        let mut image = vec![0.0; parsing::INPUT];
        parsing::input(frame, square, &mut image);
        let inputs = vec![Tensor::new([1, 3, parsing::SIDE, parsing::SIDE], image)];
        let urgency = Urgency::Background(self.operation);
        let (_, outputs) = self.worker.run(Network::FaceParsing, inputs, urgency)?;
        match outputs.first() {
            Some(logits) if logits.data.len() == parsing::LOGITS => Ok(parsing::labels(&logits.data)),
            _ => Err(Error::internal("the face parsing gave an output of another size")),
        }
    }

    fn expect_a_face(&self, found: &Found) -> Result<(), Error> {
        let drawable = found.faces.iter().flatten().count();
        if drawable > 0 {
            return Ok(());
        }
        let ((width, height), count) = (self.source.size(), found.faces.len());
        Err(Error::invalid_arg(match (count, found.seen) {
            (0, _) => "there are no frames to prepare".to_owned(),
            (_, 0) => format!("none of the {count} frames of {width}x{height} shows a face"),
            (_, seen) => format!(
                "{seen} of the {count} frames of {width}x{height} show a face, and each of them is smaller than {} \
                 pixels, larger than three pictures, or outside the picture",
                boxes::LEAST_SIDE
            ),
        }))
    }

    /// Tells how far it is, before frame `index` of a pass, and looks whether to go on.
    fn step(&self, pass: u64, index: u32, stage: &str) -> Result<(), Error> {
        self.operation.check()?;
        let all = u64::from(self.source.frame_count().max(1));
        // The second pass is the longer one.
        let [from, to] = [[0, 400], [400, 1000]][pass as usize];
        self.operation.progress((from + (to - from) * u64::from(index) / all) as u32, stage);
        Ok(())
    }
}

/// Hands the face to the encoder. `None`: its mask shows nothing of it.
fn cut(
    frame: View<'_, 3>,
    face: &Face,
    MaskPatch { rect, alpha }: MaskPatch,
    encoder: &mut Encoder<'_>,
) -> Option<PreparedFace> {
    if rect.is_empty() {
        return None;
    }
    // Like a slice of the reference's array, it ends where the picture does.
    let (width, height) = (frame.width() as u32, frame.height() as u32);
    let [left, top, right, bottom] = boxes::clamped(face.bounds, width, height).map(|at| at as usize);
    let part = frame.window(left, top, right - left, bottom - top);
    encoder.push(lanczos4(part, [FACE, FACE]).pixels());
    Some(PreparedFace { patch: rect, face: face.bounds, latents: Vec::new(), alpha })
}
