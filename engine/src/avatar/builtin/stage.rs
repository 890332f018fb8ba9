//! From painted layers to a picture: each layer is moved by the pose, laid over the last, and dithered to bytes.

use std::ops::Range;
use std::sync::LazyLock;

use super::maths::{hash, mix, step};
use super::motion::Pose;
use super::paint::{Area, Layer, SCALE};

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

/// Where the points of one row of the picture come from in the layer of a part.
struct Row {
    y: f32,
    /// Shift, then turn about the pivot (the sine of the angle), then turning with nearness.
    shift: (f32, f32),
    roll: f32,
    turn: (f32, f32),
    /// Nearness: a constant, or the head's own.
    near: Option<f32>,
    widen: f32,
}

impl Row {
    /// The row at `y`, portrait coordinates after motion.
    fn new(part: Part, pose: &Pose, y: f32) -> Self {
        let still = Self { y, shift: (0.0, 0.0), roll: 0.0, turn: (0.0, 0.0), near: Some(0.0), widen: 1.0 };
        let hold = hold(y);
        let head = Self {
            shift: (pose.shift.0 * hold, pose.shift.1 * hold),
            // The angles are below two hundredths: the sine is the angle.
            roll: -pose.roll * hold,
            turn: (pose.turn.0 * hold, pose.turn.1 * hold),
            ..still
        };
        match part {
            Part::Backdrop => still,
            Part::Body => {
                let lift = pose.breath * step(150.0, 260.0, y);
                let follow = 0.28 * pose.shift.0 * step(330.0, 130.0, y);
                Self { shift: (follow, -1.9 * lift), widen: 1.0 - 0.0035 * lift, ..still }
            }
            Part::Back => Self { near: Some(-0.3), ..head },
            Part::Head => Self { near: None, ..head },
        }
    }

    /// Where the point at `x` comes from.
    fn source(&self, x: f32) -> (f32, f32) {
        let (dx, dy) = (x * self.widen - PIVOT.0 - self.shift.0, self.y - PIVOT.1 - self.shift.1);
        let (x, y) = (dx - dy * self.roll + PIVOT.0, dy + dx * self.roll + PIVOT.1);
        let near = self.near.unwrap_or_else(|| nearness(x, y));
        (x - self.turn.0 * near, y - self.turn.1 * near)
    }
}

/// Where a point of the head's layer is seen, in picture pixels.
pub(super) fn seen(pose: &Pose, point: (f32, f32)) -> [f32; 2] {
    let mut p = point;
    // The motion is small and smooth: each step leaves a few hundredths of the error before it.
    for _ in 0..8 {
        let back = Row::new(Part::Head, pose, p.1).source(p.0);
        p = (p.0 + point.0 - back.0, p.1 + point.1 - back.1);
    }
    [p.0 + ORIGIN.0, p.1 + ORIGIN.1]
}

/// A finished layer, ready to be moved: it knows where its rows begin and end.
#[derive(Clone)]
pub(super) struct Sprite {
    pub(super) layer: Layer,
    part: Part,
    /// Per row of texels: first column that is not transparent, and one past the last.
    spans: Vec<(usize, usize)>,
}

/// The farthest any point moves, picture pixels.
const REACH: usize = 14;

impl Sprite {
    /// Measures `layer`.
    pub(super) fn new(layer: Layer, part: Part) -> Self {
        let (width, _) = layer.area.texels();
        let spans = layer.texels.chunks_exact(width).map(|row| {
            let first = row.iter().position(|texel| texel[3] > 0.0).unwrap_or(width);
            let last = row.iter().rposition(|texel| texel[3] > 0.0).map_or(0, |last| last + 1);
            (first, last)
        });
        Self { spans: spans.collect(), part, layer }
    }

    /// Puts the layer, moved, into `texels`, one row of the picture at `y` (portrait coordinates), but where
    /// `hidden` says that nothing of it would be seen. Returns the columns that it may show.
    fn put(&self, texels: &mut [[f32; 4]], hidden: &[bool], y: f32, pose: &Pose) -> Range<usize> {
        let area = self.layer.area;
        let Some((left, right)) = self.extent(y) else { return 0..0 };
        let motion = Row::new(self.part, pose, y);
        let place = |x: f32| ((x + area.x as f32 + ORIGIN.0).max(0.0) as usize).min(texels.len());
        let columns = place(left)..place(right);
        for column in columns.clone() {
            texels[column] = if hidden[column] {
                [0.0; 4]
            } else {
                let (x, y) = motion.source(column as f32 + 0.5 - ORIGIN.0);
                sample(&self.layer, x, y).unwrap_or_default()
            };
        }
        columns
    }

    /// Which columns the row at `y` may show, picture pixels from the layer's left edge.
    fn extent(&self, y: f32) -> Option<(f32, f32)> {
        let scale = SCALE as usize;
        let row = (y - self.layer.area.y as f32) as isize * scale as isize;
        let near = |offset: isize| (row + offset).clamp(0, self.spans.len() as isize) as usize;
        let rows = &self.spans[near(-((REACH * scale) as isize))..near((REACH * scale) as isize)];
        let first = rows.iter().map(|span| span.0).min()?;
        let last = rows.iter().map(|span| span.1).max()?;
        let reach = REACH as f32;
        (first < last).then(|| (first as f32 / SCALE - reach, last as f32 / SCALE + reach))
    }
}

/// Lays `sprites`, the lowest first, each moved, over the rows of `picture` (RGBA, 0..1, `width` columns) from row
/// `top` of the whole picture on.
pub(super) fn lay(sprites: &[&Sprite], picture: &mut [[f32; 4]], width: usize, top: usize, pose: &Pose) {
    let mut texels = vec![vec![[0.0; 4]; width]; sprites.len()];
    let mut columns = vec![0..0; sprites.len()];
    let mut hidden = vec![false; width];
    for (row, pixels) in picture.chunks_exact_mut(width).enumerate() {
        let y = (top + row) as f32 + 0.5 - ORIGIN.1;
        // From the top down, since nothing has to be found out about what is covered.
        hidden.fill(false);
        for ((sprite, texels), columns) in sprites.iter().zip(&mut texels).zip(&mut columns).rev() {
            *columns = sprite.put(texels, &hidden, y, pose);
            for column in columns.clone() {
                hidden[column] |= texels[column][3] == 1.0;
            }
        }
        for (texels, columns) in texels.iter().zip(&columns) {
            for (pixel, texel) in pixels[columns.clone()].iter_mut().zip(&texels[columns.clone()]) {
                let through = 1.0 - texel[3];
                *pixel = std::array::from_fn(|k| pixel[k] * through + texel[k]);
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
    let [p, q] = [index, index + width].map(|at| &layer.texels[at..at + 2]);
    if p[0][3] + p[1][3] + q[0][3] + q[1][3] == 0.0 {
        return None;
    }
    let (u, v) = (u - column as f32, v - row as f32);
    Some(lerp(&lerp(&p[0], &p[1], u), &lerp(&q[0], &q[1], u), v))
}

#[inline]
fn lerp(a: &[f32; 4], b: &[f32; 4], t: f32) -> [f32; 4] {
    std::array::from_fn(|k| a[k] + (b[k] - a[k]) * t)
}

/// Bytes of a picture from pixel `first` on, with a fixed grain below one level so that gradients do not band.
pub(super) fn develop(picture: &[[f32; 4]], first: usize, rgb: &mut [u8]) {
    static GRAIN: LazyLock<Vec<f32>> =
        LazyLock::new(|| (0..GRAINS as i32).map(|i| 0.5 + 0.5 * hash(i, i >> 7)).collect());
    let at = first % GRAINS;
    let (begun, rest) = picture.split_at((GRAINS - at).min(picture.len()));
    let runs = std::iter::once((begun, &GRAIN[at..])).chain(rest.chunks(GRAINS).map(|run| (run, &GRAIN[..])));
    let mut bytes = rgb.chunks_exact_mut(3);
    for (pixels, grain) in runs {
        for ((pixel, grain), bytes) in pixels.iter().zip(grain).zip(&mut bytes) {
            for (byte, value) in bytes.iter_mut().zip(pixel) {
                *byte = (value * 255.0 + grain) as u8;
            }
        }
    }
}

/// Length of the grain's pattern, pixels: no multiple of a row, so that it does not line up.
const GRAINS: usize = 65_521;
