//! What goes in and what comes out: one RGB frame, one face.

use serde::{Deserialize, Serialize};

/// The 68 points of the iBUG 300-W scheme, x then y, in pixels of the source frame:
/// 0–16 jaw, 17–26 brows, 27–35 nose, 36–47 eyes, 48–59 outer lips, 60–67 inner lips.
/// Left and right are the viewer's.
pub type Landmarks = [[f32; 2]; 68];

/// `[x0, y0, x1, y1]` in pixels.
pub type FaceBox = [f32; 4];

/// The face of one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameFace {
    /// `[x0, y0, x1, y1]` in pixels: a square from the brows to the chin that goes with the landmarks
    /// (the convention of dlib's frontal detector).
    /// It may reach outside the picture when the face does.
    pub face_box: FaceBox,
    /// In pixels; a point may lie outside the picture.
    pub landmarks: Landmarks,
    /// 0 (a guess) to 1 (certain). Below 0.5 the points should not be trusted to a few pixels;
    /// faces bridged over a gap stay below that.
    pub confidence: f32,
}

impl FrameFace {
    /// Width of the box, in pixels.
    pub fn box_width(&self) -> f32 {
        self.face_box[2] - self.face_box[0]
    }
}

/// Why a frame is worth a second look. None of these stops a preparation by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameIssue {
    /// Nobody was found; if neighbours have a face, theirs bridges the gap.
    NoFace,
    /// The face is narrower than 60 px: there is little to redraw.
    TooSmall,
    /// A scene cut: this frame does not continue the one before.
    Cut,
    /// The head is turned so far that one half of the face is hidden.
    SideFace,
    /// A face, but the landmarks disagree with each other.
    Uncertain,
}

/// One borrowed frame, RGB24, tightly packed, full-range sRGB.
#[derive(Debug, Clone, Copy)]
pub struct RgbView<'a> {
    width: usize,
    height: usize,
    data: &'a [u8],
}

impl<'a> RgbView<'a> {
    /// Views `data` as `height` rows of `width` pixels of 3 bytes.
    ///
    /// # Panics
    /// When the length is not `width * height * 3`: the caller holds a frame of another size.
    pub fn new(width: usize, height: usize, data: &'a [u8]) -> Self {
        assert_eq!(data.len(), width * height * 3, "a packed {width}x{height} RGB frame");
        Self { width, height, data }
    }

    /// Pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The packed pixels.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Mean of the three channels, 0 to 255; 0 outside the picture.
    pub(crate) fn intensity(&self, x: i64, y: i64) -> f32 {
        if x < 0 || y < 0 || x >= self.width as i64 || y >= self.height as i64 {
            return 0.0;
        }
        let at = (y as usize * self.width + x as usize) * 3;
        let pixel = &self.data[at..at + 3];
        ((u32::from(pixel[0]) + u32::from(pixel[1]) + u32::from(pixel[2])) / 3) as f32
    }
}
