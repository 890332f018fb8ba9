//! One posed mouth, pixel by pixel.
//!
//! In: a source [`Patch`], its [`MouthGeometry`] in patch pixels, a [`Pose`]. Out: RGB24 of the size of the patch.

use super::columns::{Column, Columns};
use super::field::{CELL, Field, Jaw, Node};
use super::geometry::MouthGeometry;
use super::interior::{Interior, Palette, blend};
use super::texture::Texture;
use super::{mix, smoothstep};

/// Borrowed RGB24 pixels, rows without padding, full-range sRGB.
#[derive(Debug, Clone, Copy)]
pub struct Patch<'a> {
    data: &'a [u8],
    width: usize,
    height: usize,
}

impl<'a> Patch<'a> {
    /// `None` if `data` is not `width * height * 3` bytes, or a side is below two pixels.
    pub fn new(data: &'a [u8], width: usize, height: usize) -> Option<Self> {
        let fits = width.checked_mul(height).and_then(|n| n.checked_mul(3)) == Some(data.len());
        (fits && width >= 2 && height >= 2).then_some(Self { data, width, height })
    }

    pub(super) fn data(&self) -> &'a [u8] {
        self.data
    }

    pub(super) fn size(&self) -> [usize; 2] {
        [self.width, self.height]
    }

    /// The colour between pixels, bilinear; the border pixels go on outside.
    pub(super) fn sample(&self, x: f32, y: f32) -> [f32; 3] {
        let x = x.clamp(0.0, (self.width - 1) as f32);
        let y = y.clamp(0.0, (self.height - 1) as f32);
        let column = (x as usize).min(self.width - 2);
        let row = (y as usize).min(self.height - 2);
        let (fx, fy) = (x - column as f32, y - row as f32);
        let first = (row * self.width + column) * 3;
        let second = first + self.width * 3;
        let (a, b) = (&self.data[first..first + 6], &self.data[second..second + 6]);
        std::array::from_fn(|c| {
            let top = f32::from(a[c]) + (f32::from(a[c + 3]) - f32::from(a[c])) * fx;
            let bottom = f32::from(b[c]) + (f32::from(b[c + 3]) - f32::from(b[c])) * fx;
            top + (bottom - top) * fy
        })
    }
}

/// What the mouth of a frame is to look like.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pose {
    /// How far the lips part, 0 at rest to 1.
    pub opening: f32,
    /// -1 rounded to 1 spread.
    pub width: f32,
    /// How much the teeth show, 0 to 1.
    pub teeth: f32,
    /// How firmly the lips are pressed together, 0 to 1.
    pub closed: f32,
    /// How much of all this is carried out, 0 to 1; at 0 the picture is its source.
    pub presence: f32,
}

impl Pose {
    /// The same pose with every number in its range; what is not a number counts as rest.
    pub fn sane(self) -> Self {
        let within = |x: f32, least: f32| if x.is_finite() { x.clamp(least, 1.0) } else { 0.0 };
        Self {
            opening: within(self.opening, 0.0),
            width: within(self.width, -1.0),
            teeth: within(self.teeth, 0.0),
            closed: within(self.closed, 0.0),
            presence: within(self.presence, 0.0),
        }
    }
}

/// Draws posed mouths; keeps its tables between frames.
#[derive(Debug)]
pub struct Renderer {
    columns: Columns,
    field: Field,
    texture: Texture,
}

impl Default for Renderer {
    fn default() -> Self {
        Self { columns: Columns::new(), field: Field::default(), texture: Texture::default() }
    }
}

impl Renderer {
    /// Draws `pose` into `out` (RGB24, the size of `source`); `false` if that leaves the source as it is.
    ///
    /// `rest_gap`: how far this avatar's lips are usually apart while it is not speaking, in mouth widths: a source
    /// frame that opens its mouth further on its own is brought back to it while speech decides.
    ///
    /// # Panics
    ///
    /// If `out` is not as long as the source.
    pub fn render(
        &mut self,
        source: Patch<'_>,
        mouth: &MouthGeometry,
        palette: &Palette,
        rest_gap: f32,
        pose: &Pose,
        out: &mut [u8],
    ) -> bool {
        out.copy_from_slice(source.data);
        let mut pose = pose.sane();
        pose.presence *= mouth.strength.clamp(0.0, 1.0);
        if pose.presence < 1e-3 {
            return false;
        }
        let jaw = Jaw::new(mouth, rest_gap, &pose);
        self.columns.pose(mouth, rest_gap, &pose, &jaw);
        if self.columns.changed < 0.02 && pose.width.abs() * pose.presence < 0.02 {
            return false;
        }
        self.field.pose(mouth, [source.width, source.height], &pose, &jaw);
        let roundness = (-pose.width).max(0.0) * pose.presence;
        let interior =
            Interior::new(palette, self.columns.gap, pose.teeth * pose.presence, roundness, mouth.width());
        self.texture.load(source);
        let painter = Painter {
            size: source.size(),
            texture: &self.texture,
            mouth,
            columns: &self.columns,
            interior,
            inverse: mouth.inverse(),
            width: mouth.width(),
            lips_end: mouth.chin + jaw.drop().max(0.0) + 0.02,
        };
        for row in 0..source.height.div_ceil(CELL) {
            for column in 0..source.width.div_ceil(CELL) {
                let nodes = self.field.cell(column, row);
                let (left, top) = (column * CELL, row * CELL);
                if nodes.iter().all(|n| n.open == 0.0) {
                    continue;
                }
                if painter.is_skin(left, top) {
                    painter.skin(left, top, nodes, out);
                } else {
                    painter.cell(left, top, nodes, out);
                }
            }
        }
        true
    }
}

struct Painter<'a> {
    size: [usize; 2],
    texture: &'a Texture,
    mouth: &'a MouthGeometry,
    columns: &'a Columns,
    interior: Interior<'a>,
    inverse: [f32; 4],
    /// Of the mouth, pixels.
    width: f32,
    /// `v` below which the lips move nothing.
    lips_end: f32,
}

impl Painter<'_> {
    /// Whether only the jaw and the corners of the mouth can move a cell, not the lips.
    fn is_skin(&self, left: usize, top: usize) -> bool {
        let end = CELL as f32;
        let corners = [[0.0, 0.0], [end, 0.0], [0.0, end], [end, end]]
            .map(|[x, y]| self.mouth.to_mouth([left as f32 + x, top as f32 + y]));
        let [us, vs] = [0, 1].map(|axis| corners.map(|c| c[axis]));
        // Beyond the corners of the mouth, with what the mouth may widen.
        us.iter().all(|u| *u < -0.64)
            || us.iter().all(|u| *u > 0.64)
            || vs.iter().all(|v| *v < self.mouth.nose)
            || vs.iter().all(|v| *v > self.lips_end)
    }

    /// Paints a cell that only the jaw and the corners of the mouth move.
    fn skin(&self, left: usize, top: usize, nodes: [Node; 4], out: &mut [u8]) {
        let [width, height] = self.size;
        let right = (left + CELL).min(width);
        let [across, down] = [self.mouth.across, self.mouth.down];
        let [a, b, c, d] =
            nodes.map(|n| [n.aside * across[0] - n.jaw * down[0], n.aside * across[1] - n.jaw * down[1]]);
        if [a, b, c, d].iter().flatten().all(|shift| shift.abs() < 0.02) {
            return;
        }
        let between = |a: [f32; 2], b: [f32; 2], t: f32| [mix(a[0], b[0], t), mix(a[1], b[1], t)];
        for y in top..(top + CELL).min(height) {
            let t = (y - top) as f32 / CELL as f32;
            let (first, last) = (between(a, c, t), between(b, d, t));
            let pixels = out[(y * width + left) * 3..(y * width + right) * 3].chunks_exact_mut(3);
            for (step, pixel) in pixels.enumerate() {
                let [dx, dy] = between(first, last, step as f32 / CELL as f32);
                pixel.copy_from_slice(&self.texture.sample((left + step) as f32 + dx, y as f32 + dy));
            }
        }
    }

    /// Paints the cell whose top left pixel is (`left`, `top`).
    fn cell(&self, left: usize, top: usize, [a, b, c, d]: [Node; 4], out: &mut [u8]) {
        let [width, height] = self.size;
        let right = (left + CELL).min(width);
        for y in top..(top + CELL).min(height) {
            let t = (y - top) as f32 / CELL as f32;
            let (first, last) = (Node::between(a, c, t), Node::between(b, d, t));
            let pixels = out[(y * width + left) * 3..(y * width + right) * 3].chunks_exact_mut(3);
            for (step, pixel) in pixels.enumerate() {
                let node = Node::between(first, last, step as f32 / CELL as f32);
                self.pixel((left + step) as f32, y as f32, node, pixel);
            }
        }
    }

    /// Paints one pixel, or leaves it as it is.
    #[inline]
    fn pixel(&self, x: f32, y: f32, node: Node, pixel: &mut [u8]) {
        let [a, b, c, d] = self.inverse;
        let (px, py) = (x - self.mouth.origin[0], y - self.mouth.origin[1]);
        let (u, v) = (a * px + b * py + node.aside, c * px + d * py);
        let column = self.columns.at(u);
        let (above, below) = (v - column.upper.edge, column.lower.edge - v);
        // How much of the pixel's height lies between the lips, with the dark line where they meet.
        let room = |distance: f32| ((distance + column.line) * self.width).min(0.5);
        let inside = (room(above) + room(below)).clamp(0.0, 1.0) * node.open;
        if inside < 1.0 {
            let upper = above < below;
            let beyond = if upper { -above } else { -below };
            let shift = if upper { &column.upper } else { &column.lower }.shift(beyond.max(0.0));
            // Lip colour only: at its soft edge, what lies between the lips in the source is not let in.
            let kept = if upper { above.max(0.0) } else { -below.max(0.0) };
            let down = node.jaw + shift * node.open + kept;
            let [across, along] = [self.mouth.across, self.mouth.down];
            let (dx, dy) =
                (node.aside * across[0] - down * along[0], node.aside * across[1] - down * along[1]);
            if inside == 0.0 && dx.abs() + dy.abs() < 0.02 {
                return;
            }
            pixel.copy_from_slice(&self.texture.sample(x + dx, y + dy));
        }
        if inside > 0.0 {
            let between = self.between_lips(u, v, column);
            for (value, between) in pixel.iter_mut().zip(between) {
                let mixed = f32::from(*value) + (between - f32::from(*value)) * inside;
                *value = (mixed + 0.5) as u8;
            }
        }
    }

    /// What is seen between the lips.
    fn between_lips(&self, u: f32, v: f32, column: &Column) -> [f32; 3] {
        let (depth, above) = ((v - column.upper.edge).max(0.0), (column.lower.edge - v).max(0.0));
        let gap = column.lower.edge - column.upper.edge;
        let mut colour = self.interior.colour(u, depth, above);
        if column.own_gap > 1e-4 {
            // The source's own inside hangs from the upper lip; below it, where more opens, the drawn one goes on.
            let extra = gap - column.own_gap;
            let more = smoothstep(0.0, 0.04, extra);
            let end = 1.0 - smoothstep(1.0 - 0.35 * more, 1.001 + 0.1 * (1.0 - more), depth / column.own_gap);
            // A slit is mostly shade: what it shows is no texture for a mouth that opens, nor for the line of one
            // that closes.
            let texture = smoothstep(0.06, 0.12, column.own_gap).max(1.0 - smoothstep(0.005, 0.05, extra));
            let left = smoothstep(0.0, 0.5, gap / column.own_gap);
            let [x, y] = self.mouth.to_pixels([u, column.own_top + depth]);
            blend(&mut colour, self.texture.sample(x, y).map(f32::from), end * texture * left);
        }
        colour
    }
}
