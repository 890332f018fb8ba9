//! The bare face: skin under studio light, with blush, lips, nostrils; eyes closed under smooth lids.

use super::curves::smooth_open;
use super::light::{Light, illuminate};
use super::maths::{bell, mix, mix_rgb, noise, step};
use super::paint::{Area, Layer, Plane, Rgb, over, rgb};
use super::shape::{MOUTH_X, Outline, lips, relief};

/// Skin without any light on it.
const SKIN: Rgb = rgb(243, 200, 177);
const BLUSH: Rgb = rgb(233, 150, 128);
const LIP: Rgb = rgb(206, 104, 102);
const LIP_EDGE: Rgb = rgb(178, 80, 82);

/// The lit relief of the face over an area, and how to read it.
pub(super) struct LitFace {
    area: Area,
    lights: Vec<Light>,
    /// The head's outline, for whoever draws up to it.
    pub(super) outline: Outline,
}

impl LitFace {
    /// Lights the face once; `area` must hold the whole outline.
    pub(super) fn new(area: Area) -> Self {
        let outline = Outline::new();
        let mut heights = Vec::with_capacity(area.width * area.height);
        for row in 0..area.height {
            for column in 0..area.width {
                let (x, y) = ((area.x + column as i32) as f32 + 0.5, (area.y + row as i32) as f32 + 0.5);
                heights.push(relief(&outline, x, y));
            }
        }
        let lights = illuminate(&heights, area.width);
        Self { area, lights, outline }
    }

    /// Light at a place, interpolated.
    pub(super) fn at(&self, x: f32, y: f32) -> Light {
        let column = (x - self.area.x as f32 - 0.5).clamp(0.0, self.area.width as f32 - 1.001);
        let row = (y - self.area.y as f32 - 0.5).clamp(0.0, self.area.height as f32 - 1.001);
        let (i, j) = (column as usize, row as usize);
        let (u, v) = (column - i as f32, row - j as f32);
        let sample = |di: usize, dj: usize| self.lights[(j + dj) * self.area.width + i + di];
        let four = [sample(0, 0), sample(1, 0), sample(0, 1), sample(1, 1)];
        let blend = |value: fn(&Light) -> f32| {
            let [a, b, c, d] = [value(&four[0]), value(&four[1]), value(&four[2]), value(&four[3])];
            mix(mix(a, b, u), mix(c, d, u), v)
        };
        Light {
            diffuse: [blend(|l| l.diffuse[0]), blend(|l| l.diffuse[1]), blend(|l| l.diffuse[2])],
            gloss: blend(|l| l.gloss),
            rim: blend(|l| l.rim),
            height: blend(|l| l.height),
        }
    }

    /// Skin at a place as it appears, sRGB-encoded.
    pub(super) fn skin(&self, x: f32, y: f32) -> Rgb {
        let light = self.at(x, y);
        let (albedo, shine) = albedo(x, y);
        develop(albedo, &light, shine)
    }
}

/// Paints the face into `layer`.
pub(super) fn paint_face(layer: &mut Layer, lit: &LitFace) {
    let area = layer.area;
    let (width, height) = area.texels();
    for row in 0..height {
        for column in 0..width {
            let (x, y) = area.at(column, row);
            let coverage = lit.outline.coverage(x, y, 0.9);
            if coverage > 0.0 {
                over(&mut layer.texels[row * width + column], lit.skin(x, y), coverage);
            }
        }
    }
    nose(layer);
    mouth(layer);
}

/// Albedo and glossiness of the skin at a place.
fn albedo(x: f32, y: f32) -> (Rgb, f32) {
    let a = x.abs();
    let mut colour = SKIN;
    let blush = 0.36 * bell(a - 60.0, y - 42.0, 24.0, 17.0)
        + 0.22 * bell(x, y - 58.0, 15.0, 8.0)
        + 0.14 * bell(x, y - 140.0, 20.0, 11.0);
    colour = mix_rgb(colour, BLUSH, blush);
    // Lids a little darker and warmer, with a breath of shadow colour towards the outer corner.
    let lid = 0.30 * bell(a - 47.0, y + 9.0, 22.0, 8.0) + 0.18 * bell(a - 62.0, y + 5.0, 12.0, 8.0);
    colour = mix_rgb(colour, rgb(203, 134, 116), lid);
    let mottle = 0.010 * noise(x * 0.35, y * 0.35) + 0.008 * noise(x * 1.1 + 40.0, y * 1.1);
    colour = [colour[0] + mottle, colour[1] + mottle * 0.8, colour[2] + mottle * 0.8];
    let mut shine = 0.075 + 0.05 * bell(x, y - 52.0, 8.0, 10.0) + 0.02 * bell(x, y + 70.0, 50.0, 30.0);

    if a < MOUTH_X + 1.5 {
        let [upper, line, lower] = lips(x);
        let inside = step(upper - 0.7, upper + 0.9, y)
            * step(lower + 0.8, lower - 1.0, y)
            * step(MOUTH_X + 1.0, MOUTH_X - 3.0, a);
        if inside > 0.0 {
            let rim = step(2.6, 0.0, (y - upper).min(lower - y).max(0.0));
            let grain = 0.045 * noise(x * 0.9, y * 0.12 + 9.0) * step(0.0, 0.3, inside);
            let mut lip = mix_rgb(
                LIP,
                LIP_EDGE,
                0.35 * rim + 0.55 * step(line + 1.0, line - 4.0, y) + 0.25 * step(16.0, 34.0, a),
            );
            lip = lip.map(|value| value + grain);
            colour = mix_rgb(colour, lip, 0.86 * inside);
            let bead = bell(a - 5.0, y - (line + 6.5), 9.0, 2.6);
            shine += inside * (0.06 + 0.14 * bead * (1.0 + 0.4 * noise(x * 1.1, 3.0)));
        }
    }
    (colour, shine)
}

/// Light on albedo, developed to sRGB with a soft shoulder.
fn develop(albedo: Rgb, light: &Light, shine: f32) -> Rgb {
    let mut out = [0.0; 3];
    for c in 0..3 {
        let linear = albedo[c].max(0.0).powf(2.2) * light.diffuse[c]
            + shine * light.gloss
            + [0.15, 0.125, 0.11][c] * light.rim;
        out[c] = shoulder(linear).powf(1.0 / 2.2);
    }
    out
}

/// Straight up to 0.6, then bending towards 1.
fn shoulder(linear: f32) -> f32 {
    let linear = linear.max(0.0);
    if linear < 0.6 { linear } else { 0.6 + 0.4 * (1.0 - (-(linear - 0.6) / 0.4).exp()) }
}

fn nose(layer: &mut Layer) {
    let area = layer.area.part(-40, 40, 40, 84);
    let dark = rgb(104, 48, 42);
    for side in [-1.0, 1.0] {
        let nostril = Plane::shade(area, |x, y| {
            let (u, v) = (x * side - 9.3, y - 65.0 + 0.18 * (x * side - 9.3));
            step(1.25, 0.45, ((u / 5.0).powi(2) + (v / 2.5).powi(2)).sqrt())
        });
        layer.multiply(&nostril, dark, 0.86);
        // The crease behind the wing, and the wing's own lower edge.
        let crease = [(20.0, 53.0), (22.3, 58.5), (21.4, 63.5), (17.6, 66.0)].map(|(x, y)| (x * side, y));
        layer.multiply(&Plane::stroke(area, &smooth_open(&crease), 1.7).blurred(1.2), rgb(158, 88, 72), 0.8);
    }
    let under = Plane::shade(area, |x, y| bell(x, y - 69.5, 14.0, 2.6));
    layer.multiply(&under, rgb(190, 122, 102), 0.55);
}

fn mouth(layer: &mut Layer) {
    let area = layer.area.part(-60, 75, 60, 130);
    let line: Vec<(f32, f32)> =
        (-16..=16).map(|i| i as f32 * MOUTH_X / 16.0).map(|x| (x, lips(x)[1])).collect();
    let path = smooth_open(&line);
    layer.multiply(&Plane::stroke(area, &path, 3.4).blurred(1.3), rgb(140, 56, 58), 0.55);
    layer.multiply(&Plane::stroke(area, &path, 1.25).blurred(0.4), rgb(92, 30, 36), 0.85);
    for side in [-1.0, 1.0] {
        let corner = Plane::shade(area, |x, y| bell(x * side - 35.6, y - 92.8, 2.6, 1.7));
        layer.multiply(&corner, rgb(120, 52, 48), 0.75);
    }
    // The lower lip's shadow, and the light that catches the edge of the upper lip.
    let under = Plane::shade(area, |x, y| bell(x, y - 117.2, 15.0, 2.6));
    layer.multiply(&under, rgb(196, 128, 110), 0.5);
    let bow: Vec<(f32, f32)> = (-8..=8).map(|i| i as f32 * 2.6).map(|x| (x, lips(x)[0] - 1.3)).collect();
    layer.screen(&Plane::stroke(area, &smooth_open(&bow), 1.2).blurred(0.8), [1.0, 0.9, 0.84], 0.20);
}
