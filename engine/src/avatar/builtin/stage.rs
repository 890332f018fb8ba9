//! From painted layers to a picture: each layer is moved by the pose, laid over the last, and dithered to bytes.

use std::sync::LazyLock;

use super::motion::Pose;
use super::paint::{Area, Layer, SCALE, hash, mix, step};

/// Where the origin of portrait coordinates stands in the picture.
const ORIGIN: (f32, f32) = (256.0, 262.0);
/// What the head turns about: the top of the spine.
const PIVOT: (f32, f32) = (0.0, 150.0);

/// Nearness of a place on the head to the viewer, 0 at its edge, 1 at the tip of the nose.
/// Tabulated every four pixels: it is asked for at every pixel of every frame.
fn nearness(x: f32, y: f32) -> f32 {
    static TABLE: LazyLock<Vec<f32>> = LazyLock::new(|| {
        (0..NEAR_SIDE * NEAR_SIDE)
            .map(|i| {
                exact_nearness(((i % NEAR_SIDE) as f32 - 64.0) * 4.0, ((i / NEAR_SIDE) as f32 - 64.0) * 4.0)
            })
            .collect()
    });
    let limit = NEAR_SIDE as f32 - 1.01;
    let (u, v) = ((x * 0.25 + 64.0).clamp(0.0, limit), (y * 0.25 + 64.0).clamp(0.0, limit));
    let (column, row) = (u as usize, v as usize);
    let at = &TABLE[row * NEAR_SIDE + column..][..NEAR_SIDE + 2];
    let (u, v) = (u - column as f32, v - row as f32);
    mix(mix(at[0], at[1], u), mix(at[NEAR_SIDE], at[NEAR_SIDE + 1], u), v)
}

/// Points of the table of nearness along each side.
const NEAR_SIDE: usize = 129;

fn exact_nearness(x: f32, y: f32) -> f32 {
    let dome = (1.0 - (x / 118.0).powi(2) - ((y - 5.0) / 185.0).powi(2)).max(0.0);
    let nose = (-0.5 * ((x / 15.0).powi(2) + ((y - 48.0) / 22.0).powi(2))).exp();
    0.74 * dome * (2.0 - dome) + 0.26 * nose
}

/// How far the head's motion takes hold: hair that lies on the shoulders moves less.
fn hold(y: f32) -> f32 {
    mix(1.0, 0.25, step(120.0, 250.0, y))
}

/// A part of the portrait and how it moves.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// Does not move.
    Backdrop,
    /// The hair behind: follows the head, turning against it.
    Back,
    /// Breathes.
    Body,
    /// Turns with depth.
    Head,
}

/// Where the portrait point seen at `p` (portrait coordinates, after motion) comes from in its layer.
pub(super) fn source(part: Part, pose: &Pose, p: (f32, f32)) -> (f32, f32) {
    match part {
        Part::Backdrop => p,
        Part::Body => {
            let lift = pose.breath * step(150.0, 260.0, p.1);
            (p.0 * (1.0 - 0.0035 * lift) - 0.28 * pose.shift.0 * step(330.0, 130.0, p.1), p.1 + 1.9 * lift)
        }
        Part::Back => {
            let hold = hold(p.1);
            let (x, y) = upright(pose, p, hold);
            (x + 0.35 * pose.turn.0 * hold, y + 0.25 * pose.turn.1 * hold)
        }
        Part::Head => {
            let hold = hold(p.1);
            let (x, y) = upright(pose, p, hold);
            let near = nearness(x, y);
            (x - pose.turn.0 * near * hold, y - pose.turn.1 * near * hold)
        }
    }
}

/// Where a point of the head's layer is seen, in picture pixels: the inverse of [`source`].
pub(super) fn seen(pose: &Pose, point: (f32, f32)) -> [f32; 2] {
    let mut p = point;
    for _ in 0..8 {
        let back = source(Part::Head, pose, p);
        p = (p.0 + point.0 - back.0, p.1 + point.1 - back.1);
    }
    [p.0 + ORIGIN.0, p.1 + ORIGIN.1]
}

fn upright(pose: &Pose, p: (f32, f32), hold: f32) -> (f32, f32) {
    let (dx, dy) = (p.0 - PIVOT.0 - pose.shift.0 * hold, p.1 - PIVOT.1 - pose.shift.1 * hold);
    // The angles are below two hundredths: the sine is the angle.
    let roll = -pose.roll * hold;
    (dx - dy * roll + PIVOT.0, dy + dx * roll + PIVOT.1)
}

/// Lays `layer`, moved, over `picture` (RGB, 0..1, `width` columns).
pub(super) fn lay(picture: &mut [[f32; 3]], width: usize, layer: &Layer, part: Part, pose: &Pose) {
    let rows = picture.len() / width;
    let margin = 8.0;
    let area = layer.area;
    let left = ((area.x as f32 + ORIGIN.0 - margin).max(0.0)) as usize;
    let right = ((area.x as f32 + area.width as f32 + ORIGIN.0 + margin).max(0.0) as usize).min(width);
    let top = ((area.y as f32 + ORIGIN.1 - margin).max(0.0)) as usize;
    let bottom = ((area.y as f32 + area.height as f32 + ORIGIN.1 + margin).max(0.0) as usize).min(rows);
    for row in top..bottom {
        for column in left..right {
            let p = (column as f32 + 0.5 - ORIGIN.0, row as f32 + 0.5 - ORIGIN.1);
            let (x, y) = source(part, pose, p);
            let Some(texel) = sample(layer, x, y) else { continue };
            let pixel = &mut picture[row * width + column];
            for (channel, value) in pixel.iter_mut().zip(texel) {
                *channel = *channel * (1.0 - texel[3]) + value;
            }
        }
    }
}

fn sample(layer: &Layer, x: f32, y: f32) -> Option<[f32; 4]> {
    let Area { x: left, y: top, .. } = layer.area;
    let (width, height) = layer.area.texels();
    let (u, v) = ((x - left as f32) * SCALE - 0.5, (y - top as f32) * SCALE - 0.5);
    if !(u >= 0.0 && v >= 0.0) {
        return None;
    }
    let (column, row) = (u as usize, v as usize);
    if column + 1 >= width || row + 1 >= height {
        return None;
    }
    let index = row * width + column;
    let (upper, lower) = (&layer.texels[index..index + 2], &layer.texels[index + width..index + width + 2]);
    let (fu, fv) = (u - column as f32, v - row as f32);
    let [a, b, c, d] = [(1.0 - fu) * (1.0 - fv), fu * (1.0 - fv), (1.0 - fu) * fv, fu * fv];
    let mut out = [0.0; 4];
    for (k, value) in out.iter_mut().enumerate() {
        *value = upper[0][k] * a + upper[1][k] * b + lower[0][k] * c + lower[1][k] * d;
    }
    (out[3] > 0.0).then_some(out)
}

/// Bytes of a picture, with a fixed grain below one level so that gradients do not band.
pub(super) fn develop(picture: &[[f32; 3]], width: usize, rgb: &mut Vec<u8>) {
    rgb.clear();
    rgb.reserve(picture.len() * 3);
    for (index, pixel) in picture.iter().enumerate() {
        let grain = 0.5 + 0.5 * hash((index % width) as i32, (index / width) as i32);
        rgb.extend(pixel.map(|value| (value.clamp(0.0, 1.0) * 255.0 + grain).min(255.0) as u8));
    }
}
