//! Dark, smooth, shoulder-long hair with a side parting, drawn as thousands of tapered strands.
//!
//! A lock is a sheet between two guide curves; its strands follow the guides, gather in tresses,
//! wander a little, and are lighter where the sheet turns towards the lamp.

use super::curves::{along, polygon, smooth_closed, smooth_open};
use super::maths::{bell, hash, mix, mix_rgb, noise, step};
use super::paint::{Drawing, Layer, Plane, Rgb, rgb};

/// Hair in shadow.
pub(super) const DARK: Rgb = rgb(24, 16, 17);
/// Hair in even light.
pub(super) const BODY: Rgb = rgb(66, 43, 36);
/// Hair where it mirrors the lamp.
const SHEEN: Rgb = rgb(176, 122, 92);

type Guide = [(f32, f32); 10];

/// One sheet of hair.
struct Lock {
    /// The edge towards the face.
    inner: Guide,
    /// The edge away from it.
    outer: Guide,
    strands: usize,
    /// How bright the light on it is, 0..1.
    sheen: f32,
    seed: i32,
}

impl Lock {
    /// The place at `s` along the lock (0 root, 1 tip) and `across` it (0 inner edge, 1 outer edge).
    fn at(&self, s: f32, across: f32) -> (f32, f32) {
        let (a, b) = (along(&self.inner, s), along(&self.outer, s));
        // Loose waves that grow towards the tips and do not move all hair alike.
        let wave = 5.0 * step(0.45, 0.9, s) * (s * 15.0 + across * 1.6 + self.seed as f32).sin();
        (mix(a.0, b.0, across) + wave, mix(a.1, b.1, across))
    }
}

/// The hair behind neck and shoulders.
pub(super) fn paint_back(layer: &mut Layer) {
    let silhouette = smooth_closed(&[
        (0.0, -182.0),
        (60.0, -170.0),
        (104.0, -126.0),
        (120.0, -60.0),
        (124.0, 20.0),
        (126.0, 100.0),
        (124.0, 170.0),
        (100.0, 206.0),
        (56.0, 216.0),
        (0.0, 218.0),
        (-56.0, 216.0),
        (-100.0, 206.0),
        (-124.0, 170.0),
        (-126.0, 100.0),
        (-124.0, 20.0),
        (-120.0, -60.0),
        (-104.0, -126.0),
        (-60.0, -170.0),
    ]);
    layer.paint(&Plane::fill(layer.area, &silhouette).blurred(0.8), rgb(30, 20, 20), 1.0);
    let mut drawing = Drawing::new(layer.area);
    for side in [-1.0f32, 1.0] {
        let points = |points: Guide| points.map(|(x, y)| (x * side, y));
        let lock = Lock {
            inner: points([
                (36.0, -20.0),
                (46.0, 10.0),
                (54.0, 40.0),
                (58.0, 70.0),
                (60.0, 100.0),
                (60.0, 130.0),
                (60.0, 160.0),
                (60.0, 180.0),
                (58.0, 200.0),
                (54.0, 222.0),
            ]),
            outer: points([
                (92.0, -110.0),
                (110.0, -70.0),
                (118.0, -30.0),
                (121.0, 10.0),
                (123.0, 50.0),
                (124.0, 90.0),
                (125.0, 125.0),
                (125.0, 155.0),
                (121.0, 186.0),
                (106.0, 214.0),
            ]),
            strands: 300,
            sheen: 0.10,
            seed: 11 + side as i32,
        };
        strands(&mut drawing, &lock);
    }
    layer.lay(&drawing.pixmap);
    // The inside, behind the neck, lies in shadow.
    let inside = Plane::shade(layer.area, |x, y| step(108.0, 60.0, x.abs()) * step(50.0, 110.0, y));
    layer.multiply(&inside, rgb(80, 66, 66), 0.8);
}

/// The hair around the face and over the shoulders; drawn over the face.
pub(super) fn paint_front(layer: &mut Layer) {
    let locks = front_locks();
    // What the hair darkens on the skin beneath: its own shape, moved and softened.
    let mut shape = Drawing::new(layer.area);
    for lock in &locks {
        sheet(&mut shape, lock, (5.0, 5.0));
    }
    let coverage = |drawing: &Drawing| Plane {
        area: layer.area,
        data: drawing.pixmap.pixels().iter().map(|ink| f32::from(ink.alpha()) / 255.0).collect(),
    };
    let cast = coverage(&shape).blurred(4.5);
    layer.multiply(&cast, rgb(158, 92, 74), 0.66);
    for lock in &locks {
        let mut drawing = Drawing::new(layer.area);
        sheet(&mut drawing, lock, (0.0, 0.0));
        strands(&mut drawing, lock);
        layer.lay(&drawing.pixmap);
    }
    volume(layer);
    let mut drawing = Drawing::new(layer.area);
    for lock in &locks {
        strays(&mut drawing, lock);
    }
    layer.lay(&drawing.pixmap);
}

fn front_locks() -> [Lock; 2] {
    [
        Lock {
            inner: [
                (31.0, -134.0),
                (56.0, -118.0),
                (79.0, -90.0),
                (93.0, -52.0),
                (98.0, -8.0),
                (98.0, 38.0),
                (94.0, 88.0),
                (87.0, 138.0),
                (83.0, 184.0),
                (86.0, 228.0),
            ],
            outer: [
                (20.0, -184.5),
                (64.0, -180.0),
                (102.0, -150.0),
                (121.0, -102.0),
                (128.0, -46.0),
                (131.0, 14.0),
                (135.0, 78.0),
                (139.0, 138.0),
                (136.0, 184.0),
                (112.0, 226.0),
            ],
            strands: 1000,
            sheen: 0.55,
            seed: 3,
        },
        Lock {
            inner: [
                (25.0, -133.0),
                (0.0, -108.0),
                (-40.0, -80.0),
                (-76.0, -48.0),
                (-94.0, -8.0),
                (-99.0, 36.0),
                (-95.0, 88.0),
                (-86.0, 138.0),
                (-80.0, 186.0),
                (-84.0, 236.0),
            ],
            outer: [
                (34.0, -184.0),
                (-34.0, -189.0),
                (-88.0, -163.0),
                (-118.0, -110.0),
                (-129.0, -50.0),
                (-133.0, 12.0),
                (-138.0, 78.0),
                (-142.0, 138.0),
                (-139.0, 188.0),
                (-113.0, 234.0),
            ],
            strands: 1250,
            sheen: 0.85,
            seed: 5,
        },
    ]
}

/// Fills the sheet a lock lies in, up to where its strands begin to thin out.
fn sheet(drawing: &mut Drawing, lock: &Lock, shift: (f32, f32)) {
    let steps = 40;
    let edge = |i: usize, across: f32| lock.at(0.94 * i as f32 / steps as f32, across);
    // The tips are ragged: tresses of different lengths.
    let tips = (1..steps).map(|i| {
        let across = i as f32 / steps as f32;
        lock.at(0.94 + 0.025 * noise(across * 9.0, 3.0) + 0.02 * noise(across * 31.0, 7.0), across)
    });
    let down = (0..=steps).map(|i| edge(i, 0.0));
    let outline = down.chain(tips).chain((0..=steps).rev().map(|i| edge(i, 1.0)));
    let points: Vec<(f32, f32)> = outline.map(|(x, y)| (x + shift.0, y + shift.1)).collect();
    drawing.fill(&polygon(&points), DARK.map(|value| value * 1.15), 1.0);
}

/// Draws a lock's strands.
fn strands(drawing: &mut Drawing, lock: &Lock) {
    let seed = lock.seed as f32;
    for i in 0..lock.strands {
        let random = |k: i32| hash(i as i32 * 11 + k, lock.seed * 131);
        // Strands thin out a little past both edges of the sheet.
        let across = 0.5 + 0.515 * random(0);
        let tress = 0.6 * noise(across * 11.0, seed * 5.0) + 0.4 * noise(across * 27.0, seed * 3.0);
        let (start, end) =
            (0.004 * (1.0 + random(1)), 1.0 - 0.035 * (1.0 + random(2)) - 0.02 * (1.0 + tress));
        let wander = 0.018 * random(3);
        let place = |s: f32| {
            let drift = across + wander * (s * 9.0 + random(4) * 6.0).sin() + 0.028 * tress * s;
            lock.at(s, drift)
        };
        let points: Vec<(f32, f32)> = (0..=22).map(|k| place(mix(start, end, k as f32 / 22.0))).collect();
        let light = (0.42 + 0.34 * random(5) + 0.55 * tress).clamp(0.0, 1.15);
        let width = 0.55 + 0.5 * random(6).abs();
        drawing.hair(&points, |t| width * (1.25 - 0.95 * t), mix_rgb(DARK, BODY, light), 0.66);
        if random(7) < -0.15 {
            continue;
        }
        // Light stands across the sheet where it turns towards the lamp, and once more, fainter, where it waves.
        for (centre, reach, strength) in [(0.235, 0.085, 1.0), (0.60, 0.11, 0.42)] {
            let middle = centre + 0.022 * random(8) + 0.03 * tress + 0.05 * (across - 0.5);
            let strength = strength
                * lock.sheen
                * (0.35 + 0.65 * step(-0.5, 0.6, tress))
                * bell(across - 0.52, 0.0, 0.30, 1.0);
            let reach = reach * (1.0 + 0.4 * random(9));
            let glint: Vec<(f32, f32)> =
                (0..=8).map(|k| place(middle + reach * (k as f32 / 4.0 - 1.0))).collect();
            drawing.hair(&glint, |t| 0.95 * (1.0 - (2.0 * t - 1.0).powi(2)), SHEEN, 0.40 * strength);
        }
    }
}

/// Rounds the hair as a whole: darker by the neck and towards the outline, a rim of light on the far side.
fn volume(layer: &mut Layer) {
    let area = layer.area;
    let low = Plane::shade(area.part(-160, 60, 160, 260), |x, y| {
        step(80.0, 150.0, y) * step(124.0, 92.0, x.abs()) * 0.8
    });
    // Only hair lies that low in this layer.
    layer.multiply(&low.blurred(3.0), rgb(104, 90, 90), 0.6);
    let part = [(28.0, -128.0), (27.0, -146.0), (26.6, -162.0), (27.0, -176.0)];
    let line = Plane::stroke(area.part(10, -190, 46, -104), &smooth_open(&part), 1.3).blurred(0.8);
    layer.paint_with(&line, |_, y| (rgb(196, 144, 122), 0.75 * step(-178.0, -130.0, y)));
}

/// Single hairs that left their lock.
fn strays(drawing: &mut Drawing, lock: &Lock) {
    for i in 0..26 {
        let random = |k: i32| hash(i * 13 + k, 977 + lock.seed);
        let across =
            if random(0) > -0.2 { 1.0 + 0.07 * random(1).abs() } else { -0.02 - 0.05 * random(1).abs() };
        let from = if across > 0.0 { 0.10 } else { 0.42 };
        let (start, length) = (from + 0.3 * (1.0 + random(2)), 0.22 + 0.12 * random(3));
        let points: Vec<(f32, f32)> = (0..=12)
            .map(|k| {
                let t = k as f32 / 12.0;
                lock.at((start + length * t).min(1.03), across + 0.05 * (t * 3.1).sin() * random(4))
            })
            .collect();
        drawing.hair(&points, |t| 0.5 * (1.0 - t) + 0.15, mix_rgb(BODY, SHEEN, 0.2), 0.55);
    }
}
