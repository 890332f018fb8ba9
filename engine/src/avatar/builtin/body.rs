//! Neck, shoulders and clothes: a deep blue jacket over a cream blouse.

use super::curves::{polygon, smooth_closed, smooth_open};
use super::maths::{bell, mix, mix_rgb, noise, step};
use super::paint::{Area, Layer, Plane, Rgb, rgb};

const NECK_LIT: Rgb = rgb(236, 188, 160);
const NECK_SHADE: Rgb = rgb(176, 114, 92);
const JACKET: Rgb = rgb(38, 60, 84);
const BLOUSE: Rgb = rgb(240, 232, 220);

/// Paints neck, shoulders and clothes.
pub(super) fn paint_body(layer: &mut Layer) {
    neck(layer);
    blouse(layer);
    jacket(layer);
}

fn neck(layer: &mut Layer) {
    let area = layer.area;
    let path = smooth_closed(&[
        (-52.0, 90.0),
        (-51.0, 150.0),
        (-56.0, 186.0),
        (-88.0, 214.0),
        (-120.0, 240.0),
        (-90.0, 330.0),
        (0.0, 360.0),
        (90.0, 330.0),
        (120.0, 240.0),
        (88.0, 214.0),
        (56.0, 186.0),
        (51.0, 150.0),
        (52.0, 90.0),
        (0.0, 80.0),
    ]);
    let skin = Plane::fill(area, &path);
    layer.paint_with(&skin, |x, y| {
        // A lit cylinder that flattens into the chest.
        let round = step(240.0, 170.0, y);
        let t = (x + 6.0) / 54.0;
        let turn = mix(0.16, 1.0, round) * (0.55 * step(-0.1, 1.05, t) + 0.26 * step(-0.55, -1.05, t));
        let mottle = 0.006 * noise(x * 0.3, y * 0.3);
        let colour = mix_rgb(NECK_LIT, NECK_SHADE, turn);
        (colour.map(|value| value + mottle), 1.0)
    });
    // The head's shadow, darkest right under the chin.
    let head = smooth_closed(&[
        (-70.0, 40.0),
        (-66.0, 128.0),
        (-40.0, 158.0),
        (4.0, 172.0),
        (46.0, 164.0),
        (70.0, 138.0),
        (74.0, 40.0),
    ]);
    let cast = Plane::fill(area, &head).blurred(6.5).within(&skin);
    layer.multiply(&cast, rgb(190, 128, 110), 0.9);
    let deep = Plane::shade(area, |x, y| bell(x - 2.0, y - 146.0, 44.0, 12.0)).within(&skin);
    layer.multiply(&deep, rgb(180, 126, 112), 0.5);
    // Muscles of the neck, the pit between the collar bones, the bones.
    for side in [-1.0f32, 1.0] {
        let muscle = [(44.0, 150.0), (34.0, 180.0), (20.0, 206.0), (9.0, 222.0)].map(|(x, y)| (x * side, y));
        let strength = if side < 0.0 { 0.18 } else { 0.26 };
        layer.multiply(
            &Plane::stroke(area, &smooth_open(&muscle), 5.0).blurred(3.2).within(&skin),
            rgb(190, 124, 104),
            strength,
        );
        let bone = [(12.0, 226.0), (36.0, 224.0), (66.0, 219.0), (92.0, 216.0)].map(|(x, y)| (x * side, y));
        layer.multiply(
            &Plane::stroke(area, &smooth_open(&bone), 4.5).blurred(2.6).within(&skin),
            rgb(190, 126, 106),
            0.42,
        );
        let glow = bone.map(|(x, y)| (x, y - 5.0));
        layer.screen(
            &Plane::stroke(area, &smooth_open(&glow), 4.0).blurred(2.6).within(&skin),
            [1.0, 0.86, 0.74],
            0.20,
        );
    }
    let pit = Plane::shade(area, |x, y| bell(x, y - 224.0, 7.5, 6.0)).within(&skin);
    layer.multiply(&pit, rgb(186, 118, 98), 0.55);
    let light = Plane::shade(area, |x, y| bell(x + 30.0, y - 196.0, 13.0, 22.0)).within(&skin);
    layer.screen(&light, [1.0, 0.9, 0.8], 0.12);
}

fn blouse(layer: &mut Layer) {
    let area = layer.area;
    let hem = [
        (-84.0, 226.0),
        (-58.0, 248.0),
        (-34.0, 276.0),
        (-14.0, 296.0),
        (0.0, 302.0),
        (14.0, 296.0),
        (34.0, 276.0),
        (58.0, 248.0),
        (84.0, 226.0),
    ];
    let below =
        [(110.0, 222.0), (130.0, 300.0), (120.0, 420.0), (0.0, 440.0), (-120.0, 420.0), (-130.0, 300.0)];
    let path = smooth_closed(&[&[(-110.0, 222.0)], &hem[..], &below].concat());
    let cloth = Plane::fill(area, &path);
    // The neckline's shadow on the skin.
    layer.multiply(&shifted(&path, area, 0.0, -2.5).blurred(3.5), rgb(180, 112, 92), 0.55);
    layer.paint_with(&cloth, |x, y| {
        let fold = 0.5 + 0.5 * (x * 0.11 + 2.2 * noise(x * 0.02, y * 0.012) + y * 0.018 * x.signum()).sin();
        let shade = 0.16 * step(-10.0, 60.0, x) + 0.12 * fold + 0.10 * step(300.0, 390.0, y);
        (mix_rgb(BLOUSE, rgb(178, 164, 158), shade * 1.5), 1.0)
    });
    let seam = hem.map(|(x, y)| (x, y + 5.0));
    layer.multiply(
        &Plane::stroke(area, &smooth_open(&seam), 1.0).blurred(0.6).within(&cloth),
        rgb(170, 156, 150),
        0.6,
    );
    layer.screen(
        &Plane::stroke(area, &smooth_open(&hem), 1.6).blurred(0.6).within(&cloth),
        [1.0, 1.0, 1.0],
        0.6,
    );
}

fn jacket(layer: &mut Layer) {
    let area = layer.area;
    for side in [1.0f32, -1.0] {
        let mirror = |points: &[(f32, f32)]| on_side(side, points);
        let body = smooth_closed(&mirror(&[
            (84.0, 204.0),
            (112.0, 212.0),
            (160.0, 228.0),
            (202.0, 246.0),
            (228.0, 276.0),
            (244.0, 330.0),
            (262.0, 440.0),
            (120.0, 450.0),
            (4.0, 446.0),
            (14.0, 390.0),
            (40.0, 330.0),
            (62.0, 276.0),
            (74.0, 236.0),
        ]));
        let cloth = Plane::fill(area, &body);
        layer.multiply(&shifted(&body, area, -side * 3.0 + 2.0, 2.0).blurred(5.0), rgb(120, 104, 108), 0.6);
        layer.paint_with(&cloth, |x, y| (weave(x, y, side), 1.0));
        // The sleeve's seam and the folds around it.
        let seam = mirror(&[(176.0, 236.0), (170.0, 280.0), (164.0, 330.0), (168.0, 400.0)]);
        layer.multiply(
            &Plane::stroke(area, &smooth_open(&seam), 3.0).blurred(2.4).within(&cloth),
            rgb(70, 80, 104),
            0.55,
        );
        for (x, y, length) in [(150.0, 300.0, 60.0), (188.0, 320.0, 50.0), (128.0, 340.0, 56.0)] {
            let fold = mirror(&[(x, y), (x - 8.0, y + length * 0.5), (x - 24.0, y + length)]);
            layer.multiply(
                &Plane::stroke(area, &smooth_open(&fold), 7.0).blurred(5.0).within(&cloth),
                rgb(80, 90, 116),
                0.45,
            );
            let crest: Vec<_> = fold.iter().map(|&(x, y)| (x - 8.0, y)).collect();
            layer.screen(
                &Plane::stroke(area, &smooth_open(&crest), 5.0).blurred(4.0).within(&cloth),
                [0.7, 0.8, 1.0],
                0.08,
            );
        }
        lapel(layer, side);
    }
    // The hair's shadow on collar and neck.
    let shade = Plane::shade(area.part(-170, 120, 170, 270), |x, y| {
        step(44.0, 60.0, x.abs()) * step(178.0, 140.0, x.abs()) * step(258.0, 200.0, y)
    });
    layer.multiply(&shade, rgb(58, 40, 40), 0.9);
}

fn lapel(layer: &mut Layer, side: f32) {
    let area = layer.area;
    // Collar and lapel with a notch between them.
    let revers = polygon(&on_side(
        side,
        &[
            (72.0, 236.0),
            (92.0, 262.0),
            (126.0, 268.0),
            (112.0, 286.0),
            (92.0, 330.0),
            (50.0, 396.0),
            (16.0, 446.0),
            (4.0, 446.0),
            (16.0, 388.0),
            (42.0, 326.0),
            (62.0, 276.0),
        ],
    ));
    let collar = smooth_closed(&on_side(
        side,
        &[
            (61.0, 186.0),
            (74.0, 190.0),
            (90.0, 206.0),
            (108.0, 232.0),
            (119.0, 262.0),
            (106.0, 263.0),
            (93.0, 259.0),
            (78.0, 242.0),
            (69.0, 224.0),
            (62.0, 202.0),
        ],
    ));
    for path in [revers, collar] {
        let cloth = Plane::fill(area, &path);
        layer.multiply(
            &shifted(&path, area, side * 2.5, 4.0).blurred(4.0).without(&cloth),
            rgb(60, 66, 84),
            0.62,
        );
        layer.paint_with(&cloth, |x, y| (weave(x, y, side).map(|value| value * 1.10 + 0.010), 1.0));
        let edge = Plane::stroke(area, &path, 1.6).blurred(0.7).within(&cloth);
        layer.screen(&edge, [0.75, 0.86, 1.0], 0.16);
    }
}

/// Colour of the jacket's cloth at a place.
fn weave(x: f32, y: f32, side: f32) -> Rgb {
    let shoulder = step(310.0, 232.0, y - 0.24 * (x.abs() - 120.0)) * 0.9;
    let lit = if side < 0.0 { 0.26 } else { 0.10 };
    let round = step(170.0, 250.0, x.abs());
    let thread = 0.012 * noise(x * 1.4, y * 1.4) + 0.010 * noise(x * 0.05, y * 0.04);
    let light = 0.92 + lit * shoulder - 0.36 * round - 0.22 * step(300.0, 400.0, y);
    let rim = if side > 0.0 { 0.10 * step(212.0, 246.0, x) * shoulder } else { 0.0 };
    JACKET.map(|value| value * light + thread + rim)
}

/// Points given for the right side, on either side.
fn on_side(side: f32, points: &[(f32, f32)]) -> Vec<(f32, f32)> {
    points.iter().map(|&(x, y)| (x * side, y)).collect()
}

/// A path's coverage, moved.
fn shifted(path: &tiny_skia::Path, area: Area, dx: f32, dy: f32) -> Plane {
    let moved = path.clone().transform(tiny_skia::Transform::from_translate(dx, dy));
    Plane::fill(area, &moved.expect("a finite shift keeps a path finite"))
}
