//! The painter's tools: a floating-point layer, coverage planes that can be blurred, and small maths.
//!
//! Everything is painted at [`SCALE`] times the size of the finished picture, in portrait coordinates:
//! picture pixels, x to the right, y down, the origin halfway between the eyes.
//! Colours are sRGB-encoded, 0..1; layers are premultiplied RGBA.

use tiny_skia::{FillRule, Mask, Path, Stroke, Transform};

use super::curves::ribbon;

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

/// Room around a path for softening it, picture pixels: three times the largest blur.
const ROOM: i32 = 20;

/// How strongly each texel of an area is covered, 0..1.
#[derive(Clone)]
pub(super) struct Plane {
    pub(super) area: Area,
    pub(super) data: Vec<f32>,
}

impl Plane {
    /// Coverage of a filled path, in the part of `area` around it.
    pub(super) fn fill(area: Area, path: &Path) -> Self {
        let bounds = path.bounds();
        let area = area.part(
            bounds.left() as i32 - ROOM,
            bounds.top() as i32 - ROOM,
            bounds.right() as i32 + ROOM,
            bounds.bottom() as i32 + ROOM,
        );
        let (width, height) = area.texels();
        let mut mask = Mask::new(width as u32, height as u32).expect("areas are never empty");
        mask.fill_path(path, FillRule::Winding, true, area.transform());
        Self { area, data: mask.data().iter().map(|&value| f32::from(value) / 255.0).collect() }
    }

    /// Coverage of a stroked path; `width` in picture pixels.
    pub(super) fn stroke(area: Area, path: &Path, width: f32) -> Self {
        let stroke = Stroke { width, line_cap: tiny_skia::LineCap::Round, ..Stroke::default() };
        let outline = path.stroke(&stroke, SCALE).expect("the drawing's strokes have a length");
        Self::fill(area, &outline)
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

    /// The part of this plane inside `other`.
    pub(super) fn within(self, other: &Plane) -> Self {
        self.weighted(other, |inside| inside)
    }

    /// The part of this plane outside `other`.
    pub(super) fn without(self, other: &Plane) -> Self {
        self.weighted(other, |inside| 1.0 - inside)
    }

    fn weighted(mut self, other: &Plane, weight: impl Fn(f32) -> f32) -> Self {
        let (width, _) = self.area.texels();
        let (their_width, their_height) = other.area.texels();
        let scale = SCALE as i32;
        let (dx, dy) = ((self.area.x - other.area.x) * scale, (self.area.y - other.area.y) * scale);
        for (row, values) in self.data.chunks_exact_mut(width).enumerate() {
            let y = usize::try_from(row as i32 + dy).ok().filter(|&y| y < their_height);
            for (column, value) in values.iter_mut().enumerate() {
                let x = usize::try_from(column as i32 + dx).ok().filter(|&x| x < their_width);
                *value *= weight(x.zip(y).map_or(0.0, |(x, y)| other.data[y * their_width + x]));
            }
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

/// Three box passes each way, close to a Gaussian of `sigma` samples.
pub(super) fn blur(data: &mut [f32], width: usize, height: usize, sigma: f32) {
    let radius = ((sigma * sigma * 4.0 + 1.0).sqrt() / 2.0) as usize;
    if radius == 0 {
        return;
    }
    let mut line = vec![0.0; width];
    let mut copy = vec![0.0; data.len()];
    let mut sums = vec![0.0; width];
    for _ in 0..3 {
        for row in data.chunks_exact_mut(width) {
            line.copy_from_slice(row);
            smooth_row(row, &line, radius);
        }
        copy.copy_from_slice(data);
        smooth_columns(data, &copy, &mut sums, height, radius);
    }
}

/// Means over `2 * radius + 1` samples along a row; the ends count on.
fn smooth_row(row: &mut [f32], line: &[f32], radius: usize) {
    let last = line.len() - 1;
    let scale = 1.0 / (2 * radius + 1) as f32;
    let mut sum = line[0] * radius as f32 + (0..=radius).map(|i| line[i.min(last)]).sum::<f32>();
    for (i, value) in row.iter_mut().enumerate() {
        *value = sum * scale;
        sum += line[(i + radius + 1).min(last)] - line[i.saturating_sub(radius)];
    }
}

/// The same down all columns at once, so that memory is read in order.
fn smooth_columns(data: &mut [f32], copy: &[f32], sums: &mut [f32], height: usize, radius: usize) {
    let width = sums.len();
    let row = |y: usize| &copy[y.min(height - 1) * width..][..width];
    let scale = 1.0 / (2 * radius + 1) as f32;
    for (x, sum) in sums.iter_mut().enumerate() {
        *sum = copy[x] * radius as f32 + (0..=radius).map(|y| row(y)[x]).sum::<f32>();
    }
    for (y, out) in data.chunks_exact_mut(width).enumerate() {
        let (enter, leave) = (row(y + radius + 1), row(y.saturating_sub(radius)));
        for (((value, sum), enter), leave) in out.iter_mut().zip(sums.iter_mut()).zip(enter).zip(leave) {
            *value = *sum * scale;
            *sum += enter - leave;
        }
    }
}
