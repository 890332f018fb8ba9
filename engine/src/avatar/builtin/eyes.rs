//! Eyes, painted anew whenever they move: ball, iris, highlights, lids and lashes.

use super::maths::{bell, mix, mix_rgb, noise, step};
use super::paint::{Area, Drawing, Layer, Rgb, over, rgb, tint};
use super::shape::{EYE_X, LID_X, lids};

/// Where the eyes look and how far they are shut.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Look {
    /// Shift of the irises, picture pixels: right, down.
    pub(super) gaze: (f32, f32),
    /// 0 open, 1 shut.
    pub(super) closed: f32,
}

/// Half width, and reach above and below the middle, of what one eye may touch.
const REACH: (i32, i32, i32) = (36, 26, 18);
const IRIS: f32 = 11.0;
const PUPIL: f32 = 4.4;
const LASH: Rgb = rgb(34, 22, 22);

/// Paints both eyes over `skin`, a head without eyes, into `head`, which is otherwise the same.
pub(super) fn paint_eyes(head: &mut Layer, skin: &Layer, look: Look) {
    for side in [-1.0f32, 1.0] {
        let middle = (EYE_X * side).round() as i32;
        let area = Area {
            x: middle - REACH.0,
            y: -REACH.1,
            width: (REACH.0 * 2) as usize,
            height: (REACH.1 + REACH.2) as usize,
        };
        let mut eye = cut(skin, area);
        let edges = edges(area, side, look);
        ball(&mut eye, side, look, &edges);
        folds(&mut eye, side, look, &edges);
        lashes(&mut eye, side, look);
        paste(head, &eye);
    }
}

/// The iris's middle in the eye's own coordinates, for landmarks and for the painter.
fn iris(side: f32, look: Look) -> (f32, f32) {
    (look.gaze.0 * side - 0.6, look.gaze.1 - 2.2 + 1.5 * look.closed)
}

/// Per column of texels: the upper and the lower lid's edge, and where the upper one is when open.
fn edges(area: Area, side: f32, look: Look) -> Vec<[f32; 3]> {
    (0..area.texels().0)
        .map(|column| {
            let u = area.at(column, 0).0 * side - EYE_X;
            let [upper, lower] = lids(u, look.closed);
            [upper, lower, lids(u, 0.0)[0]]
        })
        .collect()
}

fn ball(eye: &mut Layer, side: f32, look: Look, edges: &[[f32; 3]]) {
    let area = eye.area;
    let (width, height) = area.texels();
    let (cx, cy) = iris(side, look);
    for row in 0..height {
        for (column, &[upper, lower, _]) in edges.iter().enumerate() {
            let (x, v) = area.at(column, row);
            let u = x * side - EYE_X;
            if u.abs() > LID_X + 1.0 {
                continue;
            }
            let inside = step(upper - 0.5, upper + 0.5, v)
                * step(lower + 0.5, lower - 0.5, v)
                * step(LID_X + 0.6, LID_X - 0.6, u.abs());
            if inside <= 0.0 {
                continue;
            }
            let mut colour = sclera(u, v);
            let distance = (u - cx).hypot(v - cy);
            let in_iris = step(IRIS + 0.7, IRIS - 0.7, distance);
            if in_iris > 0.0 {
                colour = mix_rgb(colour, iris_colour(u - cx, v - cy, distance, side), in_iris);
            }
            // The upper lid's shadow lies on the ball; wet light stands on the lower lid's edge.
            let lid_shadow = 0.62 * step(7.5, 0.0, v - upper) + 0.14 * step(2.2, 0.0, lower - v);
            colour = colour.map(|value| value * (1.0 - lid_shadow * 0.72));
            for (value, tint) in colour.iter_mut().zip([0.05, 0.012, 0.012]) {
                *value += tint * lid_shadow;
            }
            let light = highlights(x - (EYE_X + cx) * side, v - cy);
            colour = mix_rgb(colour, [1.0, 0.995, 0.985], light * step(0.2, 2.2, v - upper));
            let index = row * width + column;
            over(&mut eye.texels[index], colour, inside);
        }
    }
}

fn sclera(u: f32, v: f32) -> Rgb {
    let round = step(12.0, 24.0, (u * 0.98).hypot(v * 1.25));
    let white = mix_rgb(rgb(240, 234, 230), rgb(196, 176, 170), round);
    let vein = 0.03 * noise(u * 0.8, v * 0.5).max(0.0);
    let white = [white[0], white[1] - vein, white[2] - vein];
    // The pink corner towards the nose.
    mix_rgb(white, rgb(212, 138, 128), step(-16.5, -21.5, u) * 0.9)
}

fn iris_colour(u: f32, v: f32, distance: f32, side: f32) -> Rgb {
    let share = distance / IRIS;
    let angle = v.atan2(u);
    let fibres =
        noise(angle * 7.0 + 20.0, share * 2.2) * 0.5 + noise(angle * 15.0 + 50.0, share * 3.0) * 0.35;
    let base = mix_rgb(rgb(112, 68, 40), rgb(66, 38, 26), step(0.45, 0.95, share));
    let mut colour = base.map(|value| value * (1.0 + 0.30 * fibres));
    // Light gathers on the side away from the lamp.
    let (lx, ly) = (u * side, v);
    let gather = step(0.1, 1.0, (lx * 0.45 + ly * 0.9) / IRIS) * step(1.0, 0.72, share);
    colour = mix_rgb(colour, rgb(196, 130, 74), 0.62 * gather * (1.0 + 0.35 * fibres));
    colour = mix_rgb(colour, rgb(28, 17, 16), 0.85 * step(0.80, 1.0, share));
    mix_rgb(colour, rgb(12, 8, 9), step(PUPIL + 0.9, PUPIL - 0.6, distance))
}

/// The mirrored lamps: a large soft one at the upper left, a small one opposite.
fn highlights(x: f32, y: f32) -> f32 {
    let (kx, ky) = (x + 3.9, y + 4.3);
    let key = step(1.25, 0.75, ((kx / 3.0).abs().powf(2.6) + (ky / 2.9).abs().powf(2.6)).powf(1.0 / 2.6));
    let fill = 0.5 * bell(x - 4.4, y - 4.6, 1.3, 1.1);
    (0.96 * key + fill).min(1.0)
}

/// Lid edges, the crease above, the soft shade beneath.
fn folds(eye: &mut Layer, side: f32, look: Look, edges: &[[f32; 3]]) {
    let area = eye.area;
    let (width, height) = area.texels();
    for row in 0..height {
        for (column, &[upper, lower, open_upper]) in edges.iter().enumerate() {
            let (x, v) = area.at(column, row);
            let u = x * side - EYE_X;
            let texel = &mut eye.texels[row * width + column];
            // Crease: follows the open lid's arc, a little above it, and sinks with a closing lid.
            let t = u / LID_X;
            let ends = step(-1.12, -0.72, t) * step(1.30, 0.85, t);
            let crease = open_upper.min(1.0) - 5.8 - 0.8 * t + 2.0 * look.closed;
            let fold = ends
                * (0.62 * bell(0.0, v - crease, 1.0, 0.75)
                    + 0.24 * step(-5.0, 0.0, v - crease) * step(0.6, 0.0, v - crease));
            tint(texel, rgb(140, 84, 70), fold);
            // The bulge of the lid catches light between crease and lashes.
            let lit = 0.10
                * ends
                * bell(u + 3.0, 0.0, 13.0, 1.0)
                * bell(0.0, v - mix(crease, upper, 0.52), 1.0, 1.6);
            for value in &mut texel[..3] {
                *value += (1.0 - *value) * lit;
            }
            // Under the eye: the lid's wet edge, then a soft hollow.
            let edge = step(LID_X + 1.5, LID_X - 4.0, u.abs());
            tint(texel, rgb(178, 104, 92), edge * (0.42 * bell(0.0, v - lower - 0.5, 1.0, 0.75)));
            let hollow = bell(u + 3.0, v - lower - 6.5, 15.0, 2.4);
            tint(texel, rgb(206, 150, 132), 0.34 * hollow);
            let pouch = bell(u - 1.0, v - lower - 3.0, 13.0, 1.4);
            for value in &mut texel[..3] {
                *value += (1.0 - *value) * 0.08 * pouch;
            }
        }
    }
}

fn lashes(eye: &mut Layer, side: f32, look: Look) {
    let mut drawing = Drawing::new(eye.area);
    let place = |u: f32, v: f32| ((EYE_X + u) * side, v);
    let lid = |u: f32| lids(u, look.closed)[0];
    // The dark line along the lid, thicker outwards, ending in a small wing.
    let mut line: Vec<(f32, f32)> =
        (0..=28).map(|i| mix(-LID_X + 0.8, LID_X, i as f32 / 28.0)).map(|u| place(u, lid(u) - 0.5)).collect();
    line.push(place(LID_X + 2.0, lid(LID_X) - 1.6));
    line.push(place(LID_X + 4.2, lid(LID_X) - 3.3));
    drawing.hair(&line, |t| 1.1 + 2.3 * step(0.0, 0.5, t) * step(1.02, 0.86, t), LASH, 0.93);
    for i in 0..24 {
        let t = i as f32 / 23.0;
        let u = mix(-9.0, LID_X + 0.4, t);
        let wobble = noise(i as f32 * 3.7, 5.0 + side);
        let length = mix(1.6, 5.4, step(0.0, 0.9, t)) * (1.0 + 0.12 * wobble);
        let lean = mix(-0.35, 0.95, t) + 0.08 * wobble;
        // An open lid turns its lashes up, a shut one lets them hang.
        let rise = mix(-1.0, 0.72, look.closed);
        let root = (u, lid(u) - 0.4);
        let bend = (
            root.0 + lean * length * 0.55,
            root.1 + mix(0.10, 0.55, look.closed) * length * mix(-1.0, 1.0, look.closed),
        );
        let end = (root.0 + lean * length, root.1 + rise * length * 0.85);
        let points: Vec<(f32, f32)> = (0..=6)
            .map(|k| {
                let s = k as f32 / 6.0;
                let at = |a: f32, b: f32, c: f32| a * (1.0 - s).powi(2) + 2.0 * b * s * (1.0 - s) + c * s * s;
                place(at(root.0, bend.0, end.0), at(root.1, bend.1, end.1))
            })
            .collect();
        drawing.hair(&points, |s| 1.05 * (1.0 - s) + 0.12, LASH, 0.7);
    }
    for i in 0..11 {
        let t = i as f32 / 10.0;
        let u = mix(1.0, LID_X - 1.5, t);
        let root = lids(u, look.closed)[1] + 0.5;
        let length = 1.7 + 0.7 * noise(i as f32 * 2.3, 8.0);
        let points = [
            place(u, root),
            place(u + 0.35 * length, root + length * 0.7),
            place(u + 0.9 * length * t + 0.3, root + length),
        ];
        drawing.hair(&points, |s| 0.5 * (1.0 - s) + 0.1, LASH, 0.32);
    }
    eye.lay(&drawing.pixmap);
}

fn cut(from: &Layer, area: Area) -> Layer {
    let mut part = Layer::new(area);
    let (width, height) = area.texels();
    let (stride, offset) = from.area.place(area);
    for row in 0..height {
        let start = offset + row * stride;
        part.texels[row * width..][..width].copy_from_slice(&from.texels[start..start + width]);
    }
    part
}

fn paste(onto: &mut Layer, part: &Layer) {
    let (width, height) = part.area.texels();
    let (stride, offset) = onto.area.place(part.area);
    for row in 0..height {
        let start = offset + row * stride;
        onto.texels[start..start + width].copy_from_slice(&part.texels[row * width..][..width]);
    }
}
