//! Shapes: fitting one onto another, boxes from landmarks, how plausible a face is and where it looks.

use super::{FaceBox, Landmarks};

/// Turn, scale and shift without shear: `(x, y) → (a·x − b·y + tx, b·x + a·y + ty)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Similarity {
    pub(crate) a: f32,
    pub(crate) b: f32,
    pub(crate) shift: [f32; 2],
}

impl Similarity {
    /// The one that brings `from` closest to `to`, in least squares.
    pub(crate) fn between(from: &[[f32; 2]], to: &[[f32; 2]]) -> Self {
        let (from_mean, to_mean) = (centre(from), centre(to));
        let (mut dot, mut cross, mut norm) = (0.0, 0.0, 0.0);
        for (f, t) in from.iter().zip(to) {
            let (fx, fy) = (f[0] - from_mean[0], f[1] - from_mean[1]);
            let (tx, ty) = (t[0] - to_mean[0], t[1] - to_mean[1]);
            dot += fx * tx + fy * ty;
            cross += fx * ty - fy * tx;
            norm += fx * fx + fy * fy;
        }
        let norm = if norm > 0.0 { norm } else { 1.0 };
        let (a, b) = (dot / norm, cross / norm);
        let shift = [
            to_mean[0] - a * from_mean[0] + b * from_mean[1],
            to_mean[1] - b * from_mean[0] - a * from_mean[1],
        ];
        Self { a, b, shift }
    }

    pub(crate) fn apply(&self, point: [f32; 2]) -> [f32; 2] {
        let [x, y] = self.apply_to_vector(point);
        [x + self.shift[0], y + self.shift[1]]
    }

    /// Turns and scales without the shift.
    pub(crate) fn apply_to_vector(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [self.a * x - self.b * y, self.b * x + self.a * y]
    }

    pub(crate) fn scale(&self) -> f32 {
        self.a.hypot(self.b)
    }
}

/// The square box, upright, in which `mean` (in the unit square) lies best over `landmarks`:
/// what the predictor would have wanted to be given.
pub(crate) fn box_of(mean: &Landmarks, landmarks: &Landmarks) -> FaceBox {
    let fit = Similarity::between(mean, landmarks);
    let [x, y] = fit.apply([0.5, 0.5]);
    let half = fit.scale() / 2.0;
    [x - half, y - half, x + half, y + half]
}

/// How far a shape is from a turned and scaled mean face: root mean square over the points, as a part of the box's side.
/// Faces that look at the camera have 0.02 to 0.05, those turned by 30 degrees 0.07.
pub(crate) fn strangeness(mean: &Landmarks, landmarks: &Landmarks) -> f32 {
    let fit = Similarity::between(mean, landmarks);
    let sum: f32 = mean.iter().zip(landmarks).map(|(&m, l)| distance(fit.apply(m), *l).powi(2)).sum();
    (sum / mean.len() as f32).sqrt() / fit.scale().max(1e-6)
}

/// Whether the parts of a face are where they belong: brows over eyes over nose over mouth over chin, seen in the
/// head's own direction, and a size that is no accident.
pub(crate) fn is_face_like(landmarks: &Landmarks) -> bool {
    let mean_of = |range: std::ops::Range<usize>| centre(&landmarks[range]);
    let (left, right) = (mean_of(36..42), mean_of(42..48));
    let across = [right[0] - left[0], right[1] - left[1]];
    let apart = across[0].hypot(across[1]);
    if !landmarks.as_flattened().iter().all(|value| value.is_finite()) || apart < 4.0 {
        return false;
    }
    let down = [-across[1] / apart, across[0] / apart];
    let depth = |point: [f32; 2]| (point[0] - left[0]) * down[0] + (point[1] - left[1]) * down[1];
    let order = [
        depth(mean_of(17..27)),
        depth(mean_of(36..48)),
        depth(landmarks[33]),
        depth(mean_of(48..68)),
        depth(landmarks[8]),
    ];
    let face = order[4] - order[0];
    across[0] > 0.0 && order.windows(2).all(|pair| pair[0] < pair[1]) && (0.8..6.0).contains(&(face / apart))
}

/// How far the head is turned aside: 0 looking at the camera, towards ±1 in profile.
/// Positive when the nose points to the viewer's right.
pub(crate) fn turn_aside(landmarks: &Landmarks) -> f32 {
    let nose = landmarks[30];
    let left = distance(nose, landmarks[2]);
    let right = distance(nose, landmarks[14]);
    (left - right) / (left + right).max(1e-6)
}

/// Shared area over joint area.
pub(crate) fn overlap(one: FaceBox, other: FaceBox) -> f32 {
    let side = |low: usize, high: usize| (one[high].min(other[high]) - one[low].max(other[low])).max(0.0);
    let shared = side(0, 2) * side(1, 3);
    let joint = area(one) + area(other) - shared;
    if joint > 0.0 { shared / joint } else { 0.0 }
}

pub(crate) fn area(face_box: FaceBox) -> f32 {
    (face_box[2] - face_box[0]).max(0.0) * (face_box[3] - face_box[1]).max(0.0)
}

pub(crate) fn centre(points: &[[f32; 2]]) -> [f32; 2] {
    let count = points.len().max(1) as f32;
    let sum = points.iter().fold([0.0, 0.0], |sum, point| [sum[0] + point[0], sum[1] + point[1]]);
    [sum[0] / count, sum[1] / count]
}

pub(crate) fn distance(one: [f32; 2], other: [f32; 2]) -> f32 {
    (one[0] - other[0]).hypot(one[1] - other[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similarity_is_found_again() {
        let from = [[0.0, 0.0], [1.0, 0.0], [1.0, 2.0], [-3.0, 0.5]];
        let wanted = Similarity { a: 1.5, b: -0.4, shift: [10.0, -7.0] };
        let to = from.map(|point| wanted.apply(point));
        let found = Similarity::between(&from, &to);
        for point in from {
            assert!(distance(found.apply(point), wanted.apply(point)) < 1e-4);
        }
        assert!((found.scale() - 1.5_f32.hypot(0.4)).abs() < 1e-5);
    }

    #[test]
    fn overlap_is_shared_over_joint_area() {
        assert_eq!(overlap([0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]), 1.0);
        assert_eq!(overlap([0.0, 0.0, 2.0, 2.0], [3.0, 0.0, 5.0, 2.0]), 0.0);
        assert!((overlap([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]) - 1.0 / 3.0).abs() < 1e-6);
    }
}
