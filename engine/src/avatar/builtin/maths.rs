//! Small maths: blends, bells, repeatable noise.

use super::paint::Rgb;

/// From `a` to `b` as `t` goes from 0 to 1.
pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// The same for colours.
pub(super) fn mix_rgb(a: Rgb, b: Rgb, t: f32) -> Rgb {
    [mix(a[0], b[0], t), mix(a[1], b[1], t), mix(a[2], b[2], t)]
}

/// 0 below `from`, 1 above `to`, smooth between; `from` may be the greater.
pub(super) fn step(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A bell of height 1 at (0, 0).
pub(super) fn bell(x: f32, y: f32, width: f32, height: f32) -> f32 {
    let far = 0.5 * ((x / width).powi(2) + (y / height).powi(2));
    // Beyond that it is less than any colour shows.
    if far > 12.0 { 0.0 } else { (-far).exp() }
}

/// Repeatable noise in -1..1 for a lattice point.
pub(super) fn hash(x: i32, y: i32) -> f32 {
    let mut h = (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77);
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    (h ^ (h >> 15)) as f32 / u32::MAX as f32 * 2.0 - 1.0
}

/// Smooth noise in -1..1 with features about one unit wide.
pub(super) fn noise(x: f32, y: f32) -> f32 {
    let (ix, iy) = (x.floor(), y.floor());
    let (u, v) = (step(0.0, 1.0, x - ix), step(0.0, 1.0, y - iy));
    let (ix, iy) = (ix as i32, iy as i32);
    mix(mix(hash(ix, iy), hash(ix + 1, iy), u), mix(hash(ix, iy + 1), hash(ix + 1, iy + 1), u), v)
}
