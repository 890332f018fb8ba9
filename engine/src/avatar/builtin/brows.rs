//! Brows: a soft shade, and hair by hair on it.

use super::curves::{along, smooth_closed};
use super::hair::{BODY, DARK};
use super::maths::{hash, mix, mix_rgb, step};
use super::paint::{Drawing, Layer, Plane, rgb};
use super::shape::{BROW, brow_width};

/// Brows, hair by hair.
pub(super) fn paint_brows(layer: &mut Layer) {
    let area = layer.area.part(-96, -60, 96, -10);
    for side in [-1.0f32, 1.0] {
        let lift = if side < 0.0 { 0.0 } else { -0.6 };
        let edge = |t: f32, share: f32| {
            let (x, y) = along(&BROW, t);
            (x * side, y + lift + share * brow_width(t))
        };
        let upper = (0..=20).map(|i| edge(i as f32 / 20.0, -0.42));
        let lower = (0..=20).rev().map(|i| edge(i as f32 / 20.0, 0.42));
        let outline: Vec<(f32, f32)> = upper.chain(lower).collect();
        let base = Plane::fill(area, &smooth_closed(&outline)).blurred(1.6);
        layer.paint_with(&base, |x, _| (rgb(128, 84, 66), 0.6 * step(15.0, 27.0, x.abs())));
        let mut drawing = Drawing::new(layer.area);
        for i in 0..260 {
            let random = |k: i32| hash(i * 5 + k, 400 + side as i32);
            let t = 0.5 + 0.5 * random(0);
            let (x, y) = edge(t, 0.44 * random(1));
            // Upright near the nose, lying down along the arch outwards.
            let slope = mix(-0.95, 0.32, step(0.0, 0.7, t)) + 0.14 * random(2) - 0.4 * random(1) * (1.0 - t);
            let length = mix(4.2, 5.8, step(0.0, 0.4, t))
                * (0.85 + 0.3 * random(3))
                * mix(1.0, 0.7, step(0.7, 1.0, t));
            let points = [0.0, 0.5, 1.0].map(|s| {
                let along = length * (s - 0.45);
                (x + along * slope.cos() * side, y + along * slope.sin() + 0.5 * s * s)
            });
            let opacity = 0.42 * step(-0.10, 0.12, t);
            drawing.hair(
                &points,
                |s| 0.62 * (1.0 - 0.75 * s),
                mix_rgb(DARK, BODY, 0.6 + 0.4 * random(4)),
                opacity,
            );
        }
        layer.lay(&drawing.pixmap);
    }
}
