//! Dark, smooth, shoulder-long hair with a side parting, drawn as thousands of tapered strands.
//!
//! A lock is a sheet between two guide curves; its strands follow the guides, wander a little,
//! and are lighter where the sheet turns towards the lamp.

use super::paint::{Drawing, Layer, Plane, Rgb, along, hash, mix, mix_rgb, noise, rgb, smooth_closed, step};
use super::shape::{BROW, brow_width};

const DARK: Rgb = rgb(26, 18, 19);
const BODY: Rgb = rgb(54, 36, 32);
const SHEEN: Rgb = rgb(150, 104, 82);

type Guide = [(f32, f32); 6];

/// One sheet of hair.
struct Lock {
    from: Guide,
    to: Guide,
    strands: usize,
    /// Where along the strands the light stands, 0..1, and how strong it is there.
    sheen: (f32, f32),
    seed: i32,
}

/// The hair behind neck and shoulders.
pub(super) fn paint_back(layer: &mut Layer) {
    let silhouette = smooth_closed(&[
        (0.0, -186.0),
        (62.0, -172.0),
        (108.0, -126.0),
        (124.0, -60.0),
        (126.0, 20.0),
        (130.0, 100.0),
        (132.0, 170.0),
        (112.0, 214.0),
        (60.0, 226.0),
        (0.0, 228.0),
        (-60.0, 226.0),
        (-112.0, 214.0),
        (-130.0, 170.0),
        (-128.0, 100.0),
        (-125.0, 20.0),
        (-122.0, -60.0),
        (-106.0, -126.0),
        (-60.0, -172.0),
    ]);
    layer.paint(&Plane::fill(layer.area, &silhouette).blurred(0.8), rgb(30, 20, 21), 1.0);
    let mut drawing = Drawing::new(layer.area);
    for side in [-1.0f32, 1.0] {
        let guide = |points: Guide| points.map(|(x, y)| (x * side, y));
        strands(
            &mut drawing,
            &Lock {
                from: guide([
                    (92.0, -120.0),
                    (116.0, -60.0),
                    (122.0, 10.0),
                    (124.0, 90.0),
                    (130.0, 160.0),
                    (118.0, 226.0),
                ]),
                to: guide([
                    (40.0, -40.0),
                    (60.0, 20.0),
                    (66.0, 80.0),
                    (68.0, 130.0),
                    (70.0, 180.0),
                    (62.0, 232.0),
                ]),
                strands: 420,
                sheen: (0.42, 0.16),
                seed: 11 + side as i32,
            },
        );
    }
    layer.lay(&drawing.pixmap);
    // The inside, behind the neck, lies in shadow.
    let inside = Plane::shade(layer.area, |x, y| step(104.0, 62.0, x.abs()) * step(60.0, 120.0, y));
    layer.multiply(&inside, rgb(70, 58, 62), 0.8);
}

/// The hair around the face and over the shoulders; drawn over the face.
pub(super) fn paint_front(layer: &mut Layer) {
    let locks = front_locks();
    // What the hair darkens on the skin beneath: its own shape, moved and softened.
    let mut shadow = Drawing::new(layer.area);
    for lock in &locks {
        sheet(&mut shadow, lock, 1.0, (4.0, 6.0));
    }
    let mut cover = Plane::shade(layer.area, |_, _| 0.0);
    for (value, ink) in cover.data.iter_mut().zip(shadow.pixmap.pixels()) {
        *value = f32::from(ink.alpha()) / 255.0;
    }
    layer.multiply(&cover.blurred(5.0), rgb(140, 74, 58), 0.72);
    for lock in &locks {
        let mut drawing = Drawing::new(layer.area);
        sheet(&mut drawing, lock, 1.0, (0.0, 0.0));
        strands(&mut drawing, lock);
        layer.lay(&drawing.pixmap);
    }
    let mut drawing = Drawing::new(layer.area);
    strays(&mut drawing, &locks);
    layer.lay(&drawing.pixmap);
}

fn front_locks() -> Vec<Lock> {
    let part = (26.0, -168.0);
    vec![
        // The long side, lower sheet: from the parting over the temple and down before the ear.
        Lock {
            from: [
                (20.0, -150.0),
                (-30.0, -132.0),
                (-74.0, -92.0),
                (-96.0, -34.0),
                (-99.0, 40.0),
                (-94.0, 120.0),
            ],
            to: [
                (10.0, -170.0),
                (-62.0, -158.0),
                (-110.0, -104.0),
                (-123.0, -30.0),
                (-126.0, 60.0),
                (-128.0, 150.0),
            ],
            strands: 620,
            sheen: (0.40, 0.62),
            seed: 1,
        },
        // Its lower part, over the shoulder.
        Lock {
            from: [
                (-97.0, -8.0),
                (-99.0, 50.0),
                (-92.0, 104.0),
                (-84.0, 150.0),
                (-80.0, 196.0),
                (-88.0, 242.0),
            ],
            to: [
                (-124.0, -10.0),
                (-127.0, 50.0),
                (-131.0, 104.0),
                (-136.0, 150.0),
                (-136.0, 190.0),
                (-112.0, 240.0),
            ],
            strands: 420,
            sheen: (0.52, 0.34),
            seed: 2,
        },
        // The short side.
        Lock {
            from: [(30.0, -150.0), (58.0, -128.0), (82.0, -92.0), (96.0, -36.0), (98.0, 36.0), (94.0, 110.0)],
            to: [
                (28.0, -170.0),
                (78.0, -156.0),
                (112.0, -104.0),
                (124.0, -34.0),
                (126.0, 50.0),
                (128.0, 140.0),
            ],
            strands: 520,
            sheen: (0.36, 0.42),
            seed: 3,
        },
        Lock {
            from: [(97.0, -8.0), (98.0, 46.0), (92.0, 100.0), (86.0, 146.0), (84.0, 190.0), (92.0, 232.0)],
            to: [
                (124.0, -10.0),
                (126.0, 46.0),
                (129.0, 100.0),
                (133.0, 150.0),
                (132.0, 190.0),
                (114.0, 232.0),
            ],
            strands: 380,
            sheen: (0.5, 0.26),
            seed: 4,
        },
        // The crown, from the parting to both sides.
        Lock {
            from: [
                (14.0, -160.0),
                (-24.0, -150.0),
                (-66.0, -120.0),
                (-92.0, -74.0),
                (-104.0, -30.0),
                (-108.0, 20.0),
            ],
            to: [part, (-20.0, -190.0), (-84.0, -164.0), (-117.0, -104.0), (-124.0, -50.0), (-125.0, 10.0)],
            strands: 520,
            sheen: (0.42, 0.85),
            seed: 5,
        },
        Lock {
            from: [
                (26.0, -158.0),
                (50.0, -148.0),
                (80.0, -116.0),
                (98.0, -72.0),
                (106.0, -30.0),
                (110.0, 16.0),
            ],
            to: [part, (62.0, -180.0), (102.0, -142.0), (118.0, -92.0), (124.0, -44.0), (125.0, 6.0)],
            strands: 400,
            sheen: (0.40, 0.55),
            seed: 6,
        },
    ]
}

/// Fills the sheet a lock lies in.
fn sheet(drawing: &mut Drawing, lock: &Lock, opacity: f32, shift: (f32, f32)) {
    let steps = 24;
    let there = (0..=steps).map(|i| along(&lock.from, i as f32 / steps as f32));
    let back = (0..=steps).rev().map(|i| along(&lock.to, i as f32 / steps as f32));
    let points: Vec<(f32, f32)> = there.chain(back).map(|(x, y)| (x + shift.0, y + shift.1)).collect();
    let mut builder = tiny_skia::PathBuilder::new();
    builder.move_to(points[0].0, points[0].1);
    for &(x, y) in &points[1..] {
        builder.line_to(x, y);
    }
    builder.close();
    if let Some(path) = builder.finish() {
        drawing.fill(&path, BODY.map(|value| value * 0.72), opacity);
    }
}

/// Draws a lock's strands.
fn strands(drawing: &mut Drawing, lock: &Lock) {
    for i in 0..lock.strands {
        let random = |k: i32| hash(i as i32 * 7 + k, lock.seed * 131);
        // Strands thin out a little past both edges of the sheet.
        let across = 0.5 + 0.53 * random(0);
        let (start, end) = (0.02 * (1.0 + random(1)), 1.0 - 0.09 * (1.0 + random(2)));
        let clump = noise(across * 9.0, lock.seed as f32 * 5.0 + 2.0);
        let points: Vec<(f32, f32)> = (0..=16)
            .map(|k| {
                let s = mix(start, end, k as f32 / 16.0);
                let (a, b) = (along(&lock.from, s), along(&lock.to, s));
                let drift =
                    across + 0.035 * noise(s * 3.0 + random(3) * 9.0, across * 4.0) + 0.03 * clump * s;
                (mix(a.0, b.0, drift), mix(a.1, b.1, drift))
            })
            .collect();
        let dark = 0.5 + 0.5 * random(4);
        let base = mix_rgb(DARK, BODY, 0.25 + 0.65 * dark + 0.25 * clump);
        let width = 0.55 + 0.45 * random(5).abs();
        drawing.hair(&points, |t| width * (1.15 - 0.85 * t), base, 0.62);
        // Light stands across the sheet: a second, shorter stroke where it is bright.
        let centre = lock.sheen.0 + 0.05 * random(6) + 0.05 * clump;
        let strength = lock.sheen.1
            * (0.35 + 0.65 * (0.5 + 0.5 * noise(across * 14.0, lock.seed as f32)))
            * step(-0.7, 0.9, random(7));
        let reach = 0.16 + 0.07 * random(8);
        let glint: Vec<(f32, f32)> = (0..=10)
            .map(|k| {
                let s = (centre + reach * (k as f32 / 5.0 - 1.0)).clamp(0.0, 1.0);
                let place = ((s - start) / (end - start)).clamp(0.0, 1.0) * 16.0;
                let at = (place as usize).min(15);
                let u = place - at as f32;
                (mix(points[at].0, points[at + 1].0, u), mix(points[at].1, points[at + 1].1, u))
            })
            .collect();
        drawing.hair(&glint, |t| 0.8 * (1.0 - (2.0 * t - 1.0).powi(2)), SHEEN, strength * 0.5);
    }
}

/// Single hairs that left their lock.
fn strays(drawing: &mut Drawing, locks: &[Lock]) {
    for (n, lock) in locks.iter().enumerate() {
        for i in 0..9 {
            let random = |k: i32| hash(i * 13 + k, 977 + n as i32);
            let across =
                if random(0) > 0.0 { 1.03 + 0.05 * random(1).abs() } else { -0.03 - 0.04 * random(1).abs() };
            let (start, length) = (0.3 * (1.0 + random(2)), 0.35 + 0.15 * random(3));
            let points: Vec<(f32, f32)> = (0..=10)
                .map(|k| {
                    let t = k as f32 / 10.0;
                    let s = (start + length * t).min(1.0);
                    let (a, b) = (along(&lock.from, s), along(&lock.to, s));
                    let drift = across + 0.05 * (t * 3.1).sin() * random(4);
                    (mix(a.0, b.0, drift), mix(a.1, b.1, drift))
                })
                .collect();
            drawing.hair(&points, |t| 0.55 * (1.0 - t) + 0.15, mix_rgb(BODY, SHEEN, 0.25), 0.5);
        }
    }
}

/// Brows, hair by hair.
pub(super) fn paint_brows(layer: &mut Layer) {
    for side in [-1.0f32, 1.0] {
        let lift = if side < 0.0 { 0.0 } else { -0.5 };
        let outline: Vec<(f32, f32)> = (0..=20)
            .map(|i| (i, -0.5))
            .chain((0..=20).rev().map(|i| (i, 0.5)))
            .map(|(i, edge)| {
                let t = i as f32 / 20.0;
                let (x, y) = along(&BROW, t);
                (x * side, y + lift + edge * brow_width(t))
            })
            .collect();
        let base = Plane::fill(layer.area, &smooth_closed(&outline)).blurred(1.7);
        layer.multiply(&base, rgb(112, 70, 58), 0.62);
        let mut drawing = Drawing::new(layer.area);
        for i in 0..230 {
            let random = |k: i32| hash(i * 5 + k, 400 + side as i32);
            let t = 0.5 + 0.5 * random(0);
            let (x, y) = along(&BROW, t);
            let y = y + lift + 0.46 * random(1) * brow_width(t);
            // Upright near the nose, lying down along the arch outwards.
            let slope = mix(-1.25, 0.30, step(0.0, 0.75, t)) + 0.16 * random(2) - 0.5 * random(1) * (1.0 - t);
            let length = mix(5.2, 6.6, step(0.0, 0.4, t))
                * (0.85 + 0.3 * random(3))
                * mix(1.0, 0.72, step(0.7, 1.0, t));
            let (cos, sin) = (slope.cos(), slope.sin());
            let points = [0.0, 0.5, 1.0].map(|s| {
                let along = length * (s - 0.4);
                ((x + along * cos) * side, y + along * sin + 0.5 * s * s)
            });
            drawing.hair(
                &points,
                |s| 0.75 * (1.0 - 0.75 * s),
                mix_rgb(DARK, BODY, 0.5 + 0.5 * random(4)),
                0.5,
            );
        }
        layer.lay(&drawing.pixmap);
    }
}
