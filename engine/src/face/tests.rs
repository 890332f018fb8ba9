//! Faces as their users see them: on drawn pictures, with the real detector and the real landmark model.

use std::path::Path;

use super::geometry::overlap;
use super::*;
use crate::avatar::builtin::Builtin;

fn model() -> DlibModel {
    DlibModel::load(Path::new(DEFAULT_MODEL)).expect("these tests need the package libdlib-data")
}

fn analyzer() -> FaceAnalyzer {
    FaceAnalyzer::with_model(Some(Box::new(model())), None)
}

/// The built-in portrait on a larger canvas, moved and shrunk.
struct Canvas {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Canvas {
    fn grey(width: usize, height: usize, level: u8) -> Self {
        Self { width, height, rgb: vec![level; width * height * 3] }
    }

    /// Draws a portrait with its corner at `(x, y)`, `shrink` times smaller, and tells where its face is.
    fn draw(
        mut self,
        portrait: &[u8],
        face: &FrameFace,
        x: usize,
        y: usize,
        shrink: usize,
    ) -> (Self, FrameFace) {
        for row in 0..(Builtin::HEIGHT / shrink).min(self.height - y) {
            for column in 0..(Builtin::WIDTH / shrink).min(self.width - x) {
                let from = (row * shrink * Builtin::WIDTH + column * shrink) * 3;
                let to = ((y + row) * self.width + x + column) * 3;
                self.rgb[to..to + 3].copy_from_slice(&portrait[from..from + 3]);
            }
        }
        let moved = |[px, py]: [f32; 2]| [px / shrink as f32 + x as f32, py / shrink as f32 + y as f32];
        let [x0, y0, x1, y1] = face.face_box;
        let ([x0, y0], [x1, y1]) = (moved([x0, y0]), moved([x1, y1]));
        let face =
            FrameFace { face_box: [x0, y0, x1, y1], landmarks: face.landmarks.map(moved), confidence: 1.0 };
        (self, face)
    }

    fn view(&self) -> RgbView<'_> {
        RgbView::new(self.width, self.height, &self.rgb)
    }
}

fn portrait() -> (Vec<u8>, FrameFace) {
    let mut rgb = Vec::new();
    let face = Builtin::new().render(0, &mut rgb);
    (rgb, face)
}

fn mean_distance(one: &FrameFace, other: &FrameFace) -> f32 {
    let sum: f32 = one.landmarks.iter().zip(&other.landmarks).map(|(a, b)| geometry::distance(*a, *b)).sum();
    sum / 68.0
}

/// A face of ellipses, by whole numbers only.
fn ellipses() -> Vec<u8> {
    let inside = |x: i64, y: i64, cx: i64, cy: i64, rx: i64, ry: i64| {
        ((x - cx) * ry).pow(2) + ((y - cy) * rx).pow(2) <= (rx * ry).pow(2)
    };
    let level = |x: i64, y: i64| {
        let mut level = if inside(x, y, 120, 125, 70, 92) { 150 + x / 8 } else { 210 - y / 4 };
        for cx in [92, 148] {
            for (cy, rx, ry, shade) in [(105, 14, 7, 235), (105, 6, 6, 30), (84, 18, 4, 60)] {
                if inside(x, y, cx, cy, rx, ry) {
                    level = shade;
                }
            }
        }
        for (cy, rx, ry, shade) in [(140, 10, 5, 110), (172, 26, 8, 90)] {
            if inside(x, y, 120, cy, rx, ry) {
                level = shade;
            }
        }
        level as u8
    };
    (0..240 * 240).flat_map(|at| [level(at % 240, at / 240); 3]).collect()
}

/// What dlib 20.0.1 itself answers for that picture and the rectangle (52, 66) to (188, 202), in whole pixels.
#[rustfmt::skip]
const GOLDEN: [[i32; 2]; 68] = [
    [59, 117], [59, 133], [60, 150], [64, 167], [70, 182], [78, 196], [89, 210], [102, 220],
    [119, 223], [137, 220], [152, 212], [166, 200], [177, 186], [184, 170], [188, 152], [191, 133],
    [192, 116], [70, 90], [77, 82], [88, 80], [99, 80], [110, 84], [130, 84], [140, 80],
    [152, 80], [163, 82], [172, 91], [118, 102], [118, 111], [117, 120], [116, 129], [107, 143],
    [112, 144], [117, 145], [123, 144], [129, 144], [79, 108], [86, 99], [97, 99], [105, 109],
    [96, 113], [85, 113], [135, 108], [142, 99], [153, 98], [161, 107], [154, 112], [143, 112],
    [93, 174], [100, 167], [111, 163], [117, 165], [124, 163], [135, 166], [146, 175], [137, 185],
    [126, 190], [118, 190], [111, 190], [101, 185], [97, 174], [111, 169], [117, 170], [124, 169],
    [142, 175], [125, 180], [118, 181], [111, 180],
];

#[test]
fn landmarks_are_those_of_dlib() {
    let picture = ellipses();
    let found = model().landmarks(RgbView::new(240, 240, &picture), [52.0, 66.0, 188.0, 202.0]);
    for (point, (ours, theirs)) in found.iter().zip(GOLDEN).enumerate() {
        for axis in 0..2 {
            let apart = (ours[axis] - theirs[axis] as f32).abs();
            // Theirs are rounded to whole pixels.
            assert!(apart <= 0.51, "point {point}: {ours:?} where dlib has {theirs:?}");
        }
    }
}

#[test]
fn a_face_is_found_and_followed_while_it_moves() {
    let (rgb, face) = portrait();
    let mut analyzer = analyzer();
    let mut exact = Vec::new();
    for frame in 0..12 {
        let (canvas, face) = Canvas::grey(900, 700, 90).draw(&rgb, &face, 20 + frame * 15, 30, 1);
        assert!(analyzer.push(canvas.view()).unwrap() > 0.5, "frame {frame}");
        exact.push(face);
    }
    let clip = analyzer.finish();
    assert_eq!(clip.seen, 12);
    assert!(clip.issues.iter().all(Vec::is_empty), "{:?}", clip.issues);
    for (found, exact) in clip.faces.iter().zip(&exact) {
        let found = found.expect("a face");
        let apart = mean_distance(&found, exact);
        assert!(apart < 0.04 * exact.box_width(), "{apart} px of a face {} px wide", exact.box_width());
        assert!(overlap(found.face_box, exact.face_box) > 0.5);
    }
}

#[test]
fn the_larger_of_two_faces_is_taken_and_kept() {
    let (rgb, face) = portrait();
    let mut analyzer = analyzer();
    let mut large = face;
    for _ in 0..3 {
        let (canvas, _) = Canvas::grey(1000, 700, 90).draw(&rgb, &face, 20, 200, 2);
        let (canvas, face) = canvas.draw(&rgb, &face, 420, 20, 1);
        analyzer.push(canvas.view()).unwrap();
        large = face;
    }
    for found in analyzer.finish().faces {
        assert!(overlap(found.expect("a face").face_box, large.face_box) > 0.5);
    }
}

#[test]
fn cuts_small_faces_and_frames_without_a_face_are_reported() {
    let (rgb, face) = portrait();
    let mut analyzer = analyzer();
    let small = Canvas::grey(240, 240, 90).draw(&rgb, &face, 40, 10, 4).0;
    let other = Canvas::grey(240, 240, 220).draw(&rgb, &face, 60, 60, 4).0;
    let nobody = Canvas::grey(240, 240, 220);
    for canvas in [&small, &small, &other, &other, &nobody] {
        analyzer.push(canvas.view()).unwrap();
    }
    let clip = analyzer.finish();
    assert_eq!(clip.seen, 4);
    assert_eq!(clip.issues[0], [FrameIssue::TooSmall]);
    assert!(clip.issues[2].contains(&FrameIssue::Cut), "{:?}", clip.issues);
    assert!(clip.issues[4].contains(&FrameIssue::NoFace), "{:?}", clip.issues);
    assert!(
        clip.issues[4].contains(&FrameIssue::Cut) && clip.faces[4].is_none(),
        "no face is lent across a cut"
    );
}

#[test]
fn a_picture_without_a_face_has_none() {
    let mut analyzer = analyzer();
    let pattern: Vec<u8> =
        (0..400 * 300 * 3_usize).map(|at| (at.wrapping_mul(2_654_435_761) >> 9) as u8).collect();
    assert_eq!(analyzer.push(RgbView::new(400, 300, &pattern)).unwrap(), 0.0);
    assert_eq!(analyzer.push(RgbView::new(400, 300, &[0; 400 * 300 * 3])).unwrap(), 0.0);
    assert_eq!(FaceAnalyzer::with_model(None, None).push(RgbView::new(2, 2, &[0; 12])).unwrap(), 0.0);
    let clip = analyzer.finish();
    assert_eq!((clip.seen, clip.faces), (0, vec![None, None]));
}

#[test]
fn a_model_that_is_none_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.dat");
    let refusal = |path: &Path| DlibModel::load(path).err().expect("a refusal").to_string();
    assert!(refusal(&path).contains("libdlib-data"));
    std::fs::write(&path, b"<html>not a model</html>").unwrap();
    assert!(refusal(&path).contains("is no 68-point landmark model"));
    let mut head = vec![0; 100_000];
    std::io::Read::read_exact(&mut std::fs::File::open(DEFAULT_MODEL).unwrap(), &mut head).unwrap();
    std::fs::write(&path, head).unwrap();
    assert!(refusal(&path).contains("ends too early"));
    assert!(refusal(folder.path()).contains(folder.path().to_str().unwrap()));
}
