//! The 68 points of the drawn face, in the order of the iBUG annotation, before any motion.

use super::curves::along;
use super::shape::{BROW, EYE_X, LID_X, MOUTH_X, Outline, lids, lips};

/// Landmarks in portrait coordinates, with the lids `closed` (0 open, 1 shut).
pub(super) fn landmarks(outline: &Outline, closed: f32) -> [[f32; 2]; 68] {
    let mut points = Vec::with_capacity(68);
    // 0..17, jaw, from the viewer's left at eye height round the chin.
    for i in 0..17i32 {
        let from_chin = (8 - i) as f32 / 8.0 * 1.62;
        points.push(outline.point(std::f32::consts::PI + from_chin));
    }
    // 17..27, brows, left to right.
    for t in [0.98, 0.76, 0.52, 0.28, 0.04] {
        let (x, y) = along(&BROW, t);
        points.push((-x, y - 1.5));
    }
    for t in [0.04, 0.28, 0.52, 0.76, 0.98] {
        let (x, y) = along(&BROW, t);
        points.push((x, y - 1.5));
    }
    // 27..31, the bridge; 31..36, the nose's base.
    points.extend([(0.0, -5.0), (0.0, 15.0), (0.0, 35.0), (0.0, 54.0)]);
    points.extend([(-15.5, 65.5), (-8.0, 68.5), (0.0, 70.5), (8.0, 68.5), (15.5, 65.5)]);
    // 36..48, eyes, each from its left corner over the upper lid.
    for side in [-1.0f32, 1.0] {
        let edge = |u: f32, lower: usize| ((EYE_X + u) * side, lids(u, closed)[lower]);
        let place = |across: f32, lower: usize| edge(across * side, lower);
        let third = LID_X * 0.36;
        points.extend([
            place(-LID_X, 0),
            place(-third, 0),
            place(third, 0),
            place(LID_X, 0),
            place(third, 1),
            place(-third, 1),
        ]);
    }
    // 48..60, the lips' outer contour from the left corner; 60..68, the inner one.
    let [upper, line, lower] = [0, 1, 2].map(|curve| move |x: f32| (x, lips(x)[curve]));
    points.push(line(-MOUTH_X));
    points.extend([-20.5, -7.5, 0.0, 7.5, 20.5].map(upper));
    points.push(line(MOUTH_X));
    points.extend([20.0, 9.5, 0.0, -9.5, -20.0].map(lower));
    points.extend([-28.5, -9.5, 0.0, 9.5, 28.5].map(|x| (x, line(x).1 - 0.2)));
    points.extend([9.5, 0.0, -9.5].map(|x| (x, line(x).1 + 0.2)));
    let points: [(f32, f32); 68] = points.try_into().expect("sixty-eight points");
    points.map(|(x, y)| [x, y])
}
