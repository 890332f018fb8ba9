//! The built-in avatar: a presenter drawn and moved by code, with landmarks exact by construction.
//!
//! Nothing comes in; out come RGB pictures of a loop that closes seamlessly, each with its face box
//! and 68 landmarks in picture pixels. The parts are painted once, then moved per frame.

mod backdrop;
mod body;
mod brows;
mod curves;
mod eyes;
mod hair;
mod landmarks;
mod light;
mod maths;
mod motion;
mod paint;
mod shape;
mod skin;
mod stage;

use std::thread;

use crate::face::FrameFace;
use crate::time::FrameRate;

use eyes::{Look, paint_eyes};
use motion::pose;
use paint::{Area, Layer};
use skin::LitFace;
use stage::{Part, Sprite};

/// The built-in avatar's id.
pub const ID: &str = "linh";

const WIDTH: usize = 512;
const HEIGHT: usize = 640;
const FRAME_COUNT: usize = 200;

/// Bands of a picture that are painted side by side, at most: beyond that, starting threads costs what they gain.
const MOST_BANDS: usize = 4;

/// Paints the frames of the built-in avatar.
pub struct Builtin {
    backdrop: Vec<[f32; 4]>,
    back: Sprite,
    body: Sprite,
    /// The head with its eyes shut away: bare lids.
    bare: Layer,
    /// The head with the eyes of `look`.
    head: Sprite,
    look: Option<Look>,
    lit: LitFace,
    picture: Vec<[f32; 4]>,
}

impl Builtin {
    /// Width of a frame, pixels.
    pub const WIDTH: usize = WIDTH;
    /// Height of a frame, pixels.
    pub const HEIGHT: usize = HEIGHT;
    /// Distinct frames; the one after the last is the first.
    pub const FRAME_COUNT: usize = FRAME_COUNT;

    /// Paints the parts: about half a second of work, on as many cores as there are parts.
    pub fn new() -> Self {
        let lit = LitFace::new(Area { x: -120, y: -180, width: 240, height: 360 });
        let paint = |x, y, width, height, paint: fn(&mut Layer)| {
            let mut layer = Layer::new(Area { x, y, width, height });
            paint(&mut layer);
            layer
        };
        let (wall, back, body, bare) = thread::scope(|scope| {
            let wall = scope.spawn(move || paint(-256, -262, WIDTH, HEIGHT, backdrop::paint_backdrop));
            let back = scope.spawn(move || paint(-150, -205, 300, 450, hair::paint_back));
            let body = scope.spawn(move || paint(-272, 70, 544, 326, body::paint_body));
            let mut bare = Layer::new(Area { x: -150, y: -205, width: 300, height: 460 });
            skin::paint_face(&mut bare, &lit);
            brows::paint_brows(&mut bare);
            hair::paint_front(&mut bare);
            let [wall, back, body] =
                [wall, back, body].map(|part| part.join().expect("painters do not panic"));
            (wall, back, body, bare)
        });
        let mut backdrop = vec![[0.0; 4]; WIDTH * HEIGHT];
        let wall = Sprite::new(wall, Part::Backdrop);
        stage::lay(&[&wall], &mut backdrop, WIDTH, 0, &motion::pose(0));
        let head = Sprite::new(bare.clone(), Part::Head);
        let (back, body) = (Sprite::new(back, Part::Back), Sprite::new(body, Part::Body));
        Self { backdrop, back, body, bare, head, look: None, lit, picture: Vec::new() }
    }

    /// Frames a second.
    pub fn fps() -> FrameRate {
        FrameRate::FPS_25
    }

    /// Paints frame `index` (taken modulo [`Self::FRAME_COUNT`]) as packed RGB, full-range sRGB,
    /// [`Self::WIDTH`] by [`Self::HEIGHT`], into `rgb`, and returns where its face is.
    pub fn render(&mut self, index: usize, rgb: &mut Vec<u8>) -> FrameFace {
        let pose = pose(index % FRAME_COUNT);
        if self.look != Some(pose.look) {
            paint_eyes(&mut self.head.layer, &self.bare, pose.look);
            self.look = Some(pose.look);
        }
        self.picture.resize(WIDTH * HEIGHT, [0.0; 4]);
        rgb.resize(WIDTH * HEIGHT * 3, 0);
        let sprites = [&self.back, &self.body, &self.head];
        let rows = HEIGHT.div_ceil(thread::available_parallelism().map_or(1, usize::from).min(MOST_BANDS));
        let bands = self.picture.chunks_mut(rows * WIDTH).zip(rgb.chunks_mut(rows * WIDTH * 3));
        thread::scope(|scope| {
            for (band, (picture, rgb)) in bands.enumerate() {
                let (first, pose, backdrop) = (band * rows * WIDTH, &pose, &self.backdrop);
                scope.spawn(move || {
                    picture.copy_from_slice(&backdrop[first..][..picture.len()]);
                    stage::lay(&sprites, picture, WIDTH, band * rows, pose);
                    stage::develop(picture, first, rgb);
                });
            }
        });
        let landmarks = landmarks::landmarks(&self.lit.outline, pose.look.closed)
            .map(|[x, y]| stage::seen(&pose, (x, y)));
        FrameFace { face_box: face_box(&landmarks), landmarks, confidence: 1.0 }
    }
}

impl Default for Builtin {
    fn default() -> Self {
        Self::new()
    }
}

/// The square from brows to chin that goes with the landmarks: left, top, right, bottom.
fn face_box(landmarks: &[[f32; 2]; 68]) -> [f32; 4] {
    let [left, top, right, bottom] =
        landmarks.iter().fold([f32::MAX, f32::MAX, f32::MIN, f32::MIN], |[l, t, r, b], &[x, y]| {
            [l.min(x), t.min(y), r.max(x), b.max(y)]
        });
    let (middle, half) = ((left + right) / 2.0, (bottom - top) / 2.0);
    [middle - half, top, middle + half, bottom]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far the lids of the left eye stand apart, pixels.
    fn opening(face: &FrameFace) -> f32 {
        face.landmarks[41][1] - face.landmarks[37][1]
    }

    fn pixel(rgb: &[u8], [x, y]: [f32; 2]) -> [i32; 3] {
        let at = (y as usize * WIDTH + x as usize) * 3;
        [rgb[at], rgb[at + 1], rgb[at + 2]].map(i32::from)
    }

    #[test]
    fn the_same_frame_is_the_same_bytes_whatever_came_before() {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let mut painter = Builtin::new();
        let face = painter.render(7, &mut first);
        painter.render(50, &mut second);
        let again = painter.render(FRAME_COUNT + 7, &mut second);
        assert_eq!(first.len(), WIDTH * HEIGHT * 3);
        assert_eq!((first == second, face), (true, again));
    }

    #[test]
    fn landmarks_lie_on_what_is_drawn_and_follow_the_motion() {
        let (mut painter, mut rgb) = (Builtin::new(), Vec::new());
        let mut noses = Vec::new();
        for index in [0, 25, 49, 150] {
            let face = painter.render(index, &mut rgb);
            let points = face.landmarks;
            assert!(points.iter().all(|&[x, y]| x > 0.0 && x < WIDTH as f32 && y > 0.0 && y < HEIGHT as f32));
            // The lips are redder than the skin just outside their contour, above and below.
            for (contour, inwards) in [(50, 3.0), (52, 3.0), (57, -4.0)] {
                let [x, y] = points[contour];
                let redness = |[r, g, _]: [i32; 3]| r - g;
                let (lip, skin) = (pixel(&rgb, [x, y + inwards]), pixel(&rgb, [x, y - inwards]));
                assert!(
                    redness(lip) > redness(skin) + 10,
                    "frame {index}, point {contour}: {lip:?} on {skin:?}"
                );
            }
            noses.push(points[33][0]);
        }
        assert!(noses[1] - noses[3] > 4.0, "the head sways: {noses:?}");
    }

    #[test]
    fn the_lids_landmarks_meet_in_a_blink() {
        let (mut painter, mut rgb) = (Builtin::new(), Vec::new());
        let (open, shut) = (painter.render(0, &mut rgb), painter.render(49, &mut rgb));
        assert!(opening(&open) > 12.0, "{}", opening(&open));
        assert!(opening(&shut) < 2.0, "{}", opening(&shut));
    }
}
