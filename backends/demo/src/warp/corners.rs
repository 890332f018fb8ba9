//! The corners of the mouth, found in the pixels.
//!
//! Of all landmarks of a mouth its corners wander most, and a corner set too far out tears the cheek open when the
//! mouth moves. The dark line between the lips is followed outwards until it ends.
//!
//! In: pixels and [`MouthGeometry`] from landmarks. Out: both corners, in pixels.

use super::geometry::MouthGeometry;
use super::render::Patch;

/// How finely the line is followed, in mouth widths.
const STEP: f32 = 0.01;
/// A corner is not moved further than this, in mouth widths.
const MOST: f32 = 0.16;
/// Half of the height in which the line is looked for.
const NEAR: f32 = 0.09;

/// The left and the right corner of the mouth, pixels of `patch`; those of the landmarks where no line is seen.
pub fn find_corners(patch: Patch<'_>, geometry: &MouthGeometry) -> [[f32; 2]; 2] {
    [-1.0, 1.0].map(|side| {
        let [u, v] = follow(patch, geometry, side).unwrap_or([0.5 * side, 0.0]);
        geometry.to_pixels([u, v])
    })
}

fn follow(patch: Patch<'_>, geometry: &MouthGeometry, side: f32) -> Option<[f32; 2]> {
    let luma = |u: f32, v: f32| {
        let [x, y] = geometry.to_pixels([u, v]);
        let [r, g, b] = patch.sample(x, y);
        0.299 * r + 0.587 * g + 0.114 * b
    };
    // The darkest place near `v`, and how much darker it is than what lies above and below.
    let line = |u: f32, v: f32| {
        let steps = (NEAR / STEP) as i32;
        let around = 0.5 * (luma(u, v - 1.4 * NEAR) + luma(u, v + 1.4 * NEAR));
        let darkest = (-steps..=steps)
            .map(|step| v + step as f32 * STEP)
            .map(|v| (luma(u, v), v))
            .min_by(|a, b| a.0.total_cmp(&b.0))?;
        Some((1.0 - darkest.0 / around.max(1.0), darkest.1))
    };
    let mut v = 0.5 * (geometry.upper_inner[4] + geometry.lower_inner[4]);
    if side > 0.0 {
        v = 0.5 * (geometry.upper_inner[12] + geometry.lower_inner[12]);
    }
    let mut clear: f32 = 0.0;
    let mut last = None;
    let mut lost = 0;
    let mut distance = 0.25;
    while distance <= 0.5 + MOST {
        let (contrast, at) = line(side * distance, v)?;
        if distance < 0.36 {
            clear = clear.max(contrast);
        }
        if contrast > (0.5 * clear).max(0.05) {
            // The line does not jump: it is followed with some inertia.
            v += (at - v).clamp(-0.015, 0.015);
            last = Some([side * distance, v]);
            lost = 0;
        } else if distance >= 0.36 {
            lost += 1;
            if lost > 2 {
                break;
            }
        }
        distance += STEP;
    }
    last.filter(|[u, _]| clear > 0.12 && u.abs() >= 0.5 - MOST)
}
