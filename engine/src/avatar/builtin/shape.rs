//! The shape of the face: its outline, its relief, and the curves of brows, lids and lips.
//!
//! All in portrait coordinates: picture pixels, origin halfway between the eyes, y down.
//! The face is drawn nearly symmetrical; the small differences between its halves keep it alive.

use super::curves::along;
use super::maths::{bell, mix, step};

/// Right half of the head's outline without hair, from the crown to the chin.
const OUTLINE: [(f32, f32); 14] = [
    (0.0, -158.0),
    (46.0, -150.0),
    (80.0, -120.0),
    (95.0, -76.0),
    (98.5, -34.0),
    (97.0, 0.0),
    (94.5, 30.0),
    (89.0, 60.0),
    (79.5, 88.0),
    (65.0, 113.0),
    (47.0, 134.0),
    (29.0, 147.0),
    (13.0, 152.5),
    (0.0, 153.5),
];

/// Centre from which the outline is star-shaped.
const CENTRE: (f32, f32) = (0.0, 8.0);

/// Entries of the radius table over half a turn.
const STEPS: usize = 512;

/// Half the distance between the pupils.
pub(super) const EYE_X: f32 = 45.5;
/// Half the width of the mouth.
pub(super) const MOUTH_X: f32 = 35.0;

/// The head's outline as radii around its centre.
pub(super) struct Outline {
    radii: Vec<f32>,
}

impl Outline {
    /// Tabulates the outline.
    pub(super) fn new() -> Self {
        let dense: Vec<(f32, f32)> = (0..=2000).map(|i| along(&OUTLINE, i as f32 / 2000.0)).collect();
        let polar: Vec<(f32, f32)> = dense
            .iter()
            .map(|&(x, y)| ((x - CENTRE.0).atan2(-(y - CENTRE.1)), (x - CENTRE.0).hypot(y - CENTRE.1)))
            .collect();
        let mut cursor = 0;
        let radii = (0..=STEPS)
            .map(|i| {
                let angle = std::f32::consts::PI * i as f32 / STEPS as f32;
                while cursor + 2 < polar.len() && polar[cursor + 1].0 < angle {
                    cursor += 1;
                }
                let (a, b) = (polar[cursor], polar[cursor + 1]);
                mix(a.1, b.1, ((angle - a.0) / (b.0 - a.0).max(1e-6)).clamp(0.0, 1.0))
            })
            .collect();
        Self { radii }
    }

    /// Distance from the centre as a share of the outline's distance in that direction: 1 on the outline.
    pub(super) fn share(&self, x: f32, y: f32) -> f32 {
        (x - CENTRE.0).hypot(y - CENTRE.1) / self.radius(x, y)
    }

    /// How much of a texel at (x, y) lies inside, with an edge `soft` pixels wide.
    pub(super) fn coverage(&self, x: f32, y: f32, soft: f32) -> f32 {
        let inside = self.radius(x, y) - (x - CENTRE.0).hypot(y - CENTRE.1);
        (inside / soft + 0.5).clamp(0.0, 1.0)
    }

    /// The point on the outline seen from the centre at `angle` from straight up, clockwise.
    pub(super) fn point(&self, angle: f32) -> (f32, f32) {
        let (sin, cos) = angle.sin_cos();
        let radius = self.radius(CENTRE.0 + sin, CENTRE.1 - cos);
        (CENTRE.0 + sin * radius, CENTRE.1 - cos * radius)
    }

    fn radius(&self, x: f32, y: f32) -> f32 {
        let angle = (x - CENTRE.0).abs().atan2(-(y - CENTRE.1));
        let place = angle / std::f32::consts::PI * STEPS as f32;
        let i = (place as usize).min(STEPS - 1);
        mix(self.radii[i], self.radii[i + 1], place - i as f32)
    }
}

/// Height of the face above the plane of the ears, picture pixels; falls away outside the outline.
pub(super) fn relief(outline: &Outline, x: f32, y: f32) -> f32 {
    let share = outline.share(x, y);
    if share >= 1.0 {
        return -60.0 * (share - 1.0).min(0.6);
    }
    let dome = 84.0 * (1.0 - share.powf(2.5)).powf(0.56);
    let fade = step(1.0, 0.82, share);
    dome + fade * features(x, y)
}

/// What brows, eyes, nose, mouth, cheeks and chin add to the dome.
fn features(x: f32, y: f32) -> f32 {
    let a = x.abs();
    // Sockets with the ball of the eye in them, under a soft brow.
    let sockets = -8.5 * bell(a - 40.0, y + 2.0, 21.0, 11.0) + 7.0 * bell(a - 46.0, y - 1.0, 16.0, 9.5);
    let brow = 3.4 * bell(a - 44.0, y + 31.0, 30.0, 9.0) + 4.5 * bell(x, y + 75.0, 62.0, 38.0);
    let temple = -3.5 * bell(a - 88.0, y + 38.0, 16.0, 34.0);
    // Nose: a ridge that rises from between the brows to the tip, then turns under.
    let rise = step(-34.0, 56.0, y);
    let height = 27.0 * rise * rise.sqrt() * step(72.5, 55.0, y) + 2.0 * bell(x, y + 6.0, 9.0, 14.0);
    let width = mix(8.5, 10.5, step(0.0, 50.0, y));
    let ridge = height * (-0.5 * (x / width).powi(2)).exp();
    let tip = 6.0 * bell(x, y - 55.0, 7.6, 7.4);
    let wings = 8.0 * bell(a - 15.2, y - 59.8, 5.0, 5.2) - 2.5 * bell(a - 22.5, y - 58.0, 3.0, 7.0);
    // Mouth: the muzzle, the groove under the nose, the rolls of the lips, the dent below.
    let muzzle = 7.5 * bell(x, y - 96.0, 32.0, 24.0);
    let groove = -1.6 * bell(x, y - 79.0, 3.4, 7.0) + 0.9 * bell(a - 6.5, y - 80.0, 2.6, 7.0);
    let upper = 2.6 * bell(a - 6.0, y - 93.0, 11.0, 3.4);
    let lower = 4.4 * bell(x, y - 105.5, 15.0, 4.2);
    let line = -2.2 * bell(x, y - 98.5, 19.0, 1.7) - 2.4 * bell(a - 38.0, y - 92.5, 4.0, 4.5);
    let dent = -4.0 * bell(x, y - 119.0, 20.0, 5.5);
    let chin = 7.5 * bell(x, y - 136.0, 18.0, 12.0);
    let cheeks = 8.5 * bell(a - 56.0, y - 34.0, 21.0, 17.0) - 2.2 * bell(a - 60.0, y - 84.0, 16.0, 22.0);
    // The soft fold from the wing of the nose towards the corner of the mouth.
    let fold_x = mix(25.0, 42.0, step(60.0, 100.0, y));
    let fold = -1.3 * bell(a - fold_x, y - 77.0, 3.6, 13.0);
    sockets
        + brow
        + temple
        + ridge
        + tip
        + wings
        + muzzle
        + groove
        + upper
        + lower
        + line
        + dent
        + chin
        + cheeks
        + fold
}

/// Right half of the curves of the lips, from the middle to the corner.
const UPPER_LIP: [(f32, f32); 6] =
    [(0.0, 90.2), (4.0, 88.7), (8.0, 88.0), (16.5, 89.6), (26.0, 91.9), (35.0, 93.2)];
const LIP_LINE: [(f32, f32); 6] =
    [(0.0, 99.2), (4.0, 98.8), (9.0, 98.4), (18.0, 98.2), (27.0, 96.4), (35.0, 93.0)];
const LOWER_LIP: [(f32, f32); 6] =
    [(0.0, 112.6), (6.0, 112.3), (14.0, 110.6), (21.5, 106.8), (29.0, 100.4), (35.0, 93.6)];

/// Heights of the upper contour, of the line between the lips and of the lower contour at `x`.
pub(super) fn lips(x: f32) -> [f32; 3] {
    let a = x.abs().min(MOUTH_X);
    [UPPER_LIP, LIP_LINE, LOWER_LIP].map(|curve| height_at(&curve, a))
}

fn height_at(curve: &[(f32, f32)], x: f32) -> f32 {
    let last = curve.len() - 1;
    let i = curve.iter().rposition(|point| point.0 <= x).unwrap_or(0).min(last - 1);
    let u = (x - curve[i].0) / (curve[i + 1].0 - curve[i].0);
    along(curve, (i as f32 + u) / last as f32).1
}

/// Half the width of an eye.
pub(super) const LID_X: f32 = 23.8;

/// Heights of the upper and the lower lid's edge at `u`, which runs outwards from the middle of the eye;
/// `closed` is 0 for an open eye, 1 for a shut one.
pub(super) fn lids(u: f32, closed: f32) -> [f32; 2] {
    let t = (u / LID_X).clamp(-1.0, 1.0);
    // The outer corner lies higher than the inner one.
    let corner = 1.9 - 1.6 * (t + 1.0);
    let upper = corner - 12.2 * (1.0 - t * t).powf(0.68) * (1.0 + 0.10 * t - 0.06 * t * t);
    let lower = corner + 6.7 * (1.0 - t * t).powf(0.80) * (1.0 + 0.22 * t);
    let meet = mix(lower, corner + 3.2 * (1.0 - t * t), 0.45);
    [mix(upper, meet, closed), mix(lower, meet, closed)]
}

/// The brow on the right side: its middle line from the nose outwards.
pub(super) const BROW: [(f32, f32); 6] =
    [(19.5, -30.0), (30.0, -32.6), (42.0, -35.4), (54.0, -36.4), (65.0, -33.6), (76.0, -27.0)];

/// Thickness of the brow at `t` = 0..1 from the nose outwards.
pub(super) fn brow_width(t: f32) -> f32 {
    7.6 * step(-0.2, 0.2, t) * mix(1.0, 0.16, step(0.35, 1.0, t))
}
