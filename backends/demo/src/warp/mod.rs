//! From the shape of a mouth to pixels.
//!
//! In: the source pixels around one face (RGB24), where its mouth lies ([`MouthGeometry`]), and a [`Pose`].
//! Out: the same pixels with the mouth posed, RGB24 of the same size; the outermost pixels never change.
//!
//! ```text
//! 68 landmarks ─► MouthGeometry ─► (lip edges found in the pixels) ─┐
//! MouthShape ─► Pose ──────────────────────────────────────────────┴► columns, field ─► render
//! ```
//!
//! Everything is worked out in the *mouth frame*: `u` runs from corner to corner of the mouth (-0.5 to 0.5), `v` runs
//! down the face, and one unit of either is the width of the mouth. The mouth thus moves, tilts and grows with the head.
//!
//! The upper lip and the lower lip with the chin are two layers with displacements of their own, joined at the corners.
//! What opens between them is the inside of the mouth.

mod geometry;

mod corners;

mod lips;

mod columns;

mod field;

mod interior;

mod texture;

mod render;

pub use corners::find_corners;
pub use geometry::{MouthGeometry, STATIONS};
pub use interior::Palette;
pub use lips::{LipColours, find_lip_edges};
pub use render::{Patch, Pose, Renderer};

/// 0 below `from`, 1 above `to`, smooth between; `from` must be below `to`.
fn smoothstep(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// The value a part `t` of the way from `a` to `b`.
fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}
