//! The painter's tools: a floating-point layer, coverage planes that can be blurred, and small maths.
//!
//! Everything is painted at [`SCALE`] times the size of the finished picture, in portrait coordinates:
//! picture pixels, x to the right, y down, the origin halfway between the eyes.
//! Colours are sRGB-encoded, 0..1; layers are premultiplied RGBA.

use tiny_skia::{FillRule, Mask, Path, PathBuilder, Stroke, Transform};

/// Texels per picture pixel.
pub(super) const SCALE: f32 = 2.0;

/// An sRGB-encoded colour, 0..1.
pub(super) type Rgb = [f32; 3];

/// A colour from its familiar 8-bit notation.
pub(super) const fn rgb(r: u8, g: u8, b: u8) -> Rgb {
    [r as f32 / 255.0, g as f32 / 255.0, b as f32 / 255.0]
}

/// A rectangle of portrait coordinates, kept at whole picture pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Area {
    /// Portrait coordinates of the centre of texel (`column`, `row`).
    pub(super) fn at(&self, column: usize, row: usize) -> (f32, f32) {
        (self.x as f32 + (column as f32 + 0.5) / SCALE, self.y as f32 + (row as f32 + 0.5) / SCALE)
    }

    /// Columns and rows in texels.
    pub(super) fn texels(&self) -> (usize, usize) {
        (self.width * SCALE as usize, self.height * SCALE as usize)
    }

    /// The part of this area between two corners.
    pub(super) fn part(&self, left: i32, top: i32, right: i32, bottom: i32) -> Self {
        let (x, y) = (left.max(self.x), top.max(self.y));
        let (right, bottom) =
            (right.min(self.x + self.width as i32), bottom.min(self.y + self.height as i32));
        Self { x, y, width: (right - x).max(1) as usize, height: (bottom - y).max(1) as usize }
    }

    /// Texels a row here, and the index here of the first texel of `part`.
    pub(super) fn place(&self, part: Area) -> (usize, usize) {
        let stride = self.texels().0;
        let (dx, dy) = ((part.x - self.x) * SCALE as i32, (part.y - self.y) * SCALE as i32);
        (stride, dy as usize * stride + dx as usize)
    }

    fn transform(&self) -> Transform {
        Transform::from_translate(-self.x as f32, -self.y as f32).post_scale(SCALE, SCALE)
    }
}

/// How strongly each texel of an area is covered, 0..1.
#[derive(Clone)]
pub(super) struct Plane {
    pub(super) area: Area,
    pub(super) data: Vec<f32>,
}

impl Plane {
    /// Coverage of a filled path.
    pub(super) fn fill(area: Area, path: &Path) -> Self {
        let (width, height) = area.texels();
        let mut mask = Mask::new(width as u32, height as u32).expect("areas are never empty");
        mask.fill_path(path, FillRule::Winding, true, area.transform());
        Self { area, data: mask.data().iter().map(|&value| f32::from(value) / 255.0).collect() }
    }

    /// Coverage of a stroked path; `width` in picture pixels.
    pub(super) fn stroke(area: Area, path: &Path, width: f32) -> Self {
        let stroke = Stroke { width, line_cap: tiny_skia::LineCap::Round, ..Stroke::default() };
        match path.stroke(&stroke, SCALE) {
            Some(outline) => Self::fill(area, &outline),
            None => Self::shade(area, |_, _| 0.0),
        }
    }

    /// Coverage from a function of portrait coordinates.
    pub(super) fn shade(area: Area, coverage: impl Fn(f32, f32) -> f32) -> Self {
        let (width, height) = area.texels();
        let mut data = Vec::with_capacity(width * height);
        for row in 0..height {
            for column in 0..width {
                let (x, y) = area.at(column, row);
                data.push(coverage(x, y));
            }
        }
        Self { area, data }
    }

    /// A soft copy; `sigma` in picture pixels.
    pub(super) fn blurred(mut self, sigma: f32) -> Self {
        let (width, height) = self.area.texels();
        blur(&mut self.data, width, height, sigma * SCALE);
        self
    }

    /// The part of this plane inside `other`, which covers the same area.
    pub(super) fn within(mut self, other: &Plane) -> Self {
        for (mine, theirs) in self.data.iter_mut().zip(&other.data) {
            *mine *= theirs;
        }
        self
    }

    /// The part of this plane outside `other`, which covers the same area.
    pub(super) fn without(mut self, other: &Plane) -> Self {
        for (mine, theirs) in self.data.iter_mut().zip(&other.data) {
            *mine *= 1.0 - theirs;
        }
        self
    }
}

/// A premultiplied RGBA picture of one part of the portrait.
#[derive(Clone)]
pub(super) struct Layer {
    pub(super) area: Area,
    pub(super) texels: Vec<[f32; 4]>,
}

impl Layer {
    /// An empty layer.
    pub(super) fn new(area: Area) -> Self {
        let (width, height) = area.texels();
        Self { area, texels: vec![[0.0; 4]; width * height] }
    }

    /// Lays `colour` over the layer, `opacity` times as strong as `plane`.
    pub(super) fn paint(&mut self, plane: &Plane, colour: Rgb, opacity: f32) {
        self.paint_with(plane, |_, _| (colour, opacity));
    }

    /// Lays a colour and an opacity that depend on the place over the layer.
    pub(super) fn paint_with(&mut self, plane: &Plane, colour: impl Fn(f32, f32) -> (Rgb, f32)) {
        self.change(plane, |texel, coverage, x, y| {
            let (colour, opacity) = colour(x, y);
            over(texel, colour, coverage * opacity);
        });
    }

    /// Multiplies what is already there by `colour` where `plane` covers it: a shadow or a tint.
    pub(super) fn multiply(&mut self, plane: &Plane, colour: Rgb, opacity: f32) {
        self.change(plane, |texel, coverage, _, _| tint(texel, colour, coverage * opacity));
    }

    /// Brightens what is already there towards white: light falling on it.
    pub(super) fn screen(&mut self, plane: &Plane, colour: Rgb, opacity: f32) {
        self.change(plane, |texel, coverage, _, _| {
            let (amount, alpha) = (coverage * opacity, texel[3]);
            for (channel, light) in texel.iter_mut().zip(colour) {
                *channel += (alpha - *channel) * light * amount;
            }
        });
    }

    /// Calls `change` with each texel that `plane`, an area inside the layer's, covers; its coverage and place.
    fn change(&mut self, plane: &Plane, change: impl Fn(&mut [f32; 4], f32, f32, f32)) {
        let (width, height) = plane.area.texels();
        let (stride, offset) = self.area.place(plane.area);
        for row in 0..height {
            let texels = &mut self.texels[offset + row * stride..][..width];
            for (column, (texel, &coverage)) in texels.iter_mut().zip(&plane.data[row * width..]).enumerate()
            {
                if coverage > 0.0 {
                    let (x, y) = plane.area.at(column, row);
                    change(texel, coverage, x, y);
                }
            }
        }
    }

    /// Lays an 8-bit premultiplied drawing of the same area over the layer.
    pub(super) fn lay(&mut self, drawing: &tiny_skia::Pixmap) {
        for (texel, ink) in self.texels.iter_mut().zip(drawing.pixels()) {
            let alpha = f32::from(ink.alpha()) / 255.0;
            if alpha > 0.0 {
                let ink = [ink.red(), ink.green(), ink.blue()].map(|value| f32::from(value) / 255.0);
                for (channel, value) in texel.iter_mut().zip(ink) {
                    *channel = *channel * (1.0 - alpha) + value;
                }
                texel[3] = texel[3] * (1.0 - alpha) + alpha;
            }
        }
    }
}

/// A transparent 8-bit drawing surface over an area, for very many fine strokes.
pub(super) struct Drawing {
    pub(super) pixmap: tiny_skia::Pixmap,
    transform: Transform,
}

impl Drawing {
    /// An empty surface.
    pub(super) fn new(area: Area) -> Self {
        let (width, height) = area.texels();
        let pixmap = tiny_skia::Pixmap::new(width as u32, height as u32).expect("areas are never empty");
        Self { pixmap, transform: area.transform() }
    }

    /// A filled path.
    pub(super) fn fill(&mut self, path: &Path, colour: Rgb, opacity: f32) {
        let mut paint = tiny_skia::Paint { anti_alias: true, ..Default::default() };
        let [r, g, b] = colour.map(|value| value.clamp(0.0, 1.0));
        paint.set_color(
            tiny_skia::Color::from_rgba(r, g, b, opacity.clamp(0.0, 1.0)).expect("channels are clamped"),
        );
        self.pixmap.fill_path(path, &paint, FillRule::Winding, self.transform, None);
    }

    /// A hair: a stroke along `points`, as wide as `width(t)` at t = 0..1 along it, in picture pixels.
    pub(super) fn hair(
        &mut self,
        points: &[(f32, f32)],
        width: impl Fn(f32) -> f32,
        colour: Rgb,
        opacity: f32,
    ) {
        if let Some(path) = ribbon(points, width) {
            self.fill(&path, colour, opacity);
        }
    }
}

/// The outline of a stroke of changing width along a polyline.
fn ribbon(points: &[(f32, f32)], width: impl Fn(f32) -> f32) -> Option<Path> {
    let last = points.len().checked_sub(1).filter(|&last| last > 0)?;
    let side = |index: usize, sign: f32| {
        let (before, after) = (points[index.saturating_sub(1)], points[(index + 1).min(last)]);
        let (dx, dy) = (after.0 - before.0, after.1 - before.1);
        let half = sign * 0.5 * width(index as f32 / last as f32) / dx.hypot(dy).max(1e-3);
        (points[index].0 - dy * half, points[index].1 + dx * half)
    };
    let mut builder = PathBuilder::new();
    let (x, y) = side(0, 1.0);
    builder.move_to(x, y);
    for (index, sign) in (1..=last).map(|i| (i, 1.0)).chain((0..=last).rev().map(|i| (i, -1.0))) {
        let (x, y) = side(index, sign);
        builder.line_to(x, y);
    }
    builder.close();
    builder.finish()
}

/// A closed path with straight sides.
pub(super) fn polygon(points: &[(f32, f32)]) -> Path {
    let mut builder = PathBuilder::new();
    builder.move_to(points[0].0, points[0].1);
    for &(x, y) in &points[1..] {
        builder.line_to(x, y);
    }
    builder.close();
    builder.finish().expect("the drawing's points are finite")
}

/// A smooth closed path through `points` (Catmull-Rom).
pub(super) fn smooth_closed(points: &[(f32, f32)]) -> Path {
    let count = points.len();
    let mut builder = PathBuilder::new();
    builder.move_to(points[0].0, points[0].1);
    for i in 0..count {
        let [p0, p1, p2, p3] =
            [(i + count - 1) % count, i, (i + 1) % count, (i + 2) % count].map(|k| points[k]);
        cubic(&mut builder, p0, p1, p2, p3);
    }
    builder.close();
    builder.finish().expect("the drawing's points are finite")
}

/// A smooth open path through `points` (Catmull-Rom).
pub(super) fn smooth_open(points: &[(f32, f32)]) -> Path {
    let last = points.len() - 1;
    let mut builder = PathBuilder::new();
    builder.move_to(points[0].0, points[0].1);
    for i in 0..last {
        let [p0, p1, p2, p3] = [i.saturating_sub(1), i, i + 1, (i + 2).min(last)].map(|k| points[k]);
        cubic(&mut builder, p0, p1, p2, p3);
    }
    builder.finish().expect("the drawing's points are finite")
}

type Point = (f32, f32);

fn cubic(builder: &mut PathBuilder, p0: Point, p1: Point, p2: Point, p3: Point) {
    builder.cubic_to(
        p1.0 + (p2.0 - p0.0) / 6.0,
        p1.1 + (p2.1 - p0.1) / 6.0,
        p2.0 - (p3.0 - p1.0) / 6.0,
        p2.1 - (p3.1 - p1.1) / 6.0,
        p2.0,
        p2.1,
    );
}

/// The place at `t` = 0..1 on the smooth curve through `points`.
pub(super) fn along(points: &[(f32, f32)], t: f32) -> (f32, f32) {
    let last = points.len() - 1;
    let place = t.clamp(0.0, 1.0) * last as f32;
    let i = (place as usize).min(last - 1);
    let u = place - i as f32;
    let [p0, p1, p2, p3] = [i.saturating_sub(1), i, i + 1, (i + 2).min(last)].map(|k| points[k]);
    let blend = |a: f32, b: f32, c: f32, d: f32| {
        0.5 * (2.0 * b
            + (c - a) * u
            + (2.0 * a - 5.0 * b + 4.0 * c - d) * u * u
            + (3.0 * b - a - 3.0 * c + d) * u * u * u)
    };
    (blend(p0.0, p1.0, p2.0, p3.0), blend(p0.1, p1.1, p2.1, p3.1))
}

/// Lays `colour` over one premultiplied texel.
pub(super) fn over(texel: &mut [f32; 4], colour: Rgb, alpha: f32) {
    for (channel, value) in texel.iter_mut().zip(colour) {
        *channel = *channel * (1.0 - alpha) + value * alpha;
    }
    texel[3] = texel[3] * (1.0 - alpha) + alpha;
}

/// Multiplies one texel by `colour`, `amount` strong.
pub(super) fn tint(texel: &mut [f32; 4], colour: Rgb, amount: f32) {
    for (channel, tint) in texel.iter_mut().zip(colour) {
        *channel *= 1.0 + (tint - 1.0) * amount;
    }
}

/// Three box passes, close to a Gaussian of `sigma` texels.
pub(super) fn blur(data: &mut [f32], width: usize, height: usize, sigma: f32) {
    let radius = ((sigma * sigma * 12.0 / 3.0 + 1.0).sqrt() / 2.0).floor() as usize;
    if radius == 0 {
        return;
    }
    let mut line = vec![0.0; width.max(height)];
    for _ in 0..3 {
        for row in data.chunks_exact_mut(width) {
            box_line(row, &mut line[..width], 1, radius);
        }
        for column in 0..width {
            box_line(&mut data[column..], &mut line[..height], width, radius);
        }
    }
}

fn box_line(data: &mut [f32], line: &mut [f32], step: usize, radius: usize) {
    let last = line.len() - 1;
    for (i, value) in line.iter_mut().enumerate() {
        *value = data[i * step];
    }
    let mut sum: f32 = line[0] * radius as f32 + line.iter().take(radius + 1).sum::<f32>();
    sum += line[last] * (radius + 1).saturating_sub(line.len()) as f32;
    let scale = 1.0 / (2 * radius + 1) as f32;
    for i in 0..=last {
        data[i * step] = sum * scale;
        sum += line[(i + radius + 1).min(last)] - line[i.saturating_sub(radius)];
    }
}

pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

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
    (-0.5 * ((x / width).powi(2) + (y / height).powi(2))).exp()
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
