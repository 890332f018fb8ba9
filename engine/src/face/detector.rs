//! Finds faces: SeetaFace's cascade through `rustface`, on small grey pictures.
//!
//! The cascade costs 130 ms and more on a full-size frame, so it sees at most a few hundred pixels a side.

use rustface::{Detector, ImageData};

use super::{FaceBox, RgbView};

const MODEL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/seeta_fd_frontal_v1.0.bin"));

/// Below this the cascade's windows do not fit.
const SMALLEST: usize = 41;

/// A detected face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Detection {
    /// Calibrated to the landmark model's convention, in pixels of the frame.
    pub(crate) face_box: FaceBox,
    /// The cascade's own score; real faces are mostly above 5.
    pub(crate) score: f32,
}

/// The detector; a few MB.
pub(crate) struct FaceDetector {
    cascade: Box<dyn Detector>,
}

impl FaceDetector {
    pub(crate) fn new() -> Self {
        // The bytes are part of this program, so that a failure is a broken build.
        let model = rustface::read_model(MODEL).expect("the embedded model is readable");
        let mut cascade = rustface::create_detector_with_model(model);
        cascade.set_min_face_size(20);
        cascade.set_score_thresh(2.0);
        cascade.set_pyramid_scale_factor(0.8);
        cascade.set_slide_window_step(4, 4);
        Self { cascade }
    }

    /// Faces in the whole frame, shrunk so that its longer side has `longest` pixels; best score first.
    /// Faces narrower than about an eighth of that side are not found.
    pub(crate) fn search(&mut self, image: RgbView<'_>, longest: usize) -> Vec<Detection> {
        let whole = [0.0, 0.0, image.width() as f32, image.height() as f32];
        self.look(image, whole, longest)
    }

    /// The face that lies where `face_box` says, if there is one: a look at that place only.
    pub(crate) fn confirm(&mut self, image: RgbView<'_>, face_box: FaceBox) -> Option<Detection> {
        let (x, y) = ((face_box[0] + face_box[2]) / 2.0, (face_box[1] + face_box[3]) / 2.0);
        let reach = face_box[2] - face_box[0];
        let found = self.look(image, [x - reach, y - reach, x + reach, y + reach], 112);
        found.into_iter().find(|detection| super::geometry::overlap(detection.face_box, face_box) > 0.3)
    }

    fn look(&mut self, image: RgbView<'_>, region: FaceBox, longest: usize) -> Vec<Detection> {
        let Some(grey) = Grey::shrunk(image, region, longest) else { return Vec::new() };
        let found = self.cascade.detect(&ImageData::new(&grey.data, grey.width as u32, grey.height as u32));
        let mut detections: Vec<Detection> = found
            .iter()
            .map(|info| {
                let (found, scale) = (info.bbox(), grey.scale);
                let side = found.width() as f32 * scale;
                let x = grey.origin[0] + found.x() as f32 * scale;
                let y = grey.origin[1] + found.y() as f32 * scale;
                Detection { face_box: calibrated(x, y, side), score: info.score() as f32 }
            })
            .collect();
        detections.sort_by(|a, b| b.score.total_cmp(&a.score));
        detections
    }
}

/// SeetaFace's square to the landmark model's.
fn calibrated(x: f32, y: f32, side: f32) -> FaceBox {
    let (left, top) = (x + CALIBRATION[0] * side, y + CALIBRATION[1] * side);
    [left, top, left + CALIBRATION[2] * side, top + CALIBRATION[2] * side]
}

/// Shift right, shift down, and side, as parts of SeetaFace's side: medians over seven detections on one photographed
/// and two drawn faces, against the boxes that their landmarks (checked by eye) ask for. Single detections are
/// off by a tenth of the side, which is why the landmarks' own box is what goes on.
const CALIBRATION: [f32; 3] = [0.0, 0.08, 0.95];

/// A grey picture of a part of a frame.
struct Grey {
    width: usize,
    height: usize,
    data: Vec<u8>,
    /// Frame pixels per grey pixel.
    scale: f32,
    /// Where the grey picture begins in the frame.
    origin: [f32; 2],
}

impl Grey {
    /// Averages blocks of the frame, so that the longer side of `region` (clamped to the frame) has
    /// `longest` pixels. `None` if what is left is too narrow to look at.
    fn shrunk(image: RgbView<'_>, region: FaceBox, longest: usize) -> Option<Self> {
        let clamp = |value: f32, side: usize| value.round().clamp(0.0, side as f32) as usize;
        let (x0, x1) = (clamp(region[0], image.width()), clamp(region[2], image.width()));
        let (y0, y1) = (clamp(region[1], image.height()), clamp(region[3], image.height()));
        if x1 <= x0 || y1 <= y0 {
            return None;
        }
        let scale = (x1 - x0).max(y1 - y0) as f32 / longest as f32;
        let width = ((x1 - x0) as f32 / scale).round() as usize;
        let height = ((y1 - y0) as f32 / scale).round() as usize;
        if width < SMALLEST || height < SMALLEST {
            return None;
        }
        let span = |index: usize, from: usize, to: usize| {
            let start = (from + (index as f32 * scale) as usize).min(to - 1);
            let end = (from + ((index + 1) as f32 * scale) as usize).clamp(start + 1, to);
            (start, end)
        };
        let columns: Vec<_> = (0..width).map(|x| span(x, x0, x1)).collect();
        let mut data = Vec::with_capacity(width * height);
        for y in 0..height {
            let (top, bottom) = span(y, y0, y1);
            for &(left, right) in &columns {
                let mut sum = 0_u64;
                for row in top..bottom {
                    let at = row * image.width() * 3;
                    sum += image.data()[at + left * 3..at + right * 3]
                        .iter()
                        .map(|&v| u64::from(v))
                        .sum::<u64>();
                }
                data.push((sum / ((right - left) * (bottom - top) * 3) as u64) as u8);
            }
        }
        Some(Self { width, height, data, scale, origin: [x0 as f32, y0 as f32] })
    }
}
