//! Faces by S3FD: its input, and its six pairs of maps as boxes.
//!
//! In: a frame, RGB, at full size. Out: boxes in pixels of the frame, the surest first.

use super::planes::{planes, table};
use crate::image::View;
use crate::networks::Tensor;

/// What is subtracted from the channels of an RGB frame. The detector was trained on B, G, R with these in that order;
/// the reference hands it R, G, B, and so do we.
const MEAN: [f32; 3] = [104.0, 117.0, 123.0];
/// Pairs of maps, of faces of rising size.
const LEVELS: usize = 6;
/// Pixels between the cells of the first level; doubled from one to the next.
const STRIDE: f32 = 4.0;
/// Strides that a cell's own box is wide.
const ANCHOR: f32 = 4.0;
/// Units of the network's shifts and of its logarithms of sizes.
const VARIANCES: [f32; 2] = [0.1, 0.2];
/// A face is at least this sure.
const SURE: f32 = 0.5;
/// Two boxes of which more than this part is shared are one face.
const SAME: f32 = 0.3;

/// A face that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Face {
    /// `[x1, y1, x2, y2]` in pixels of the frame; it may leave the frame.
    pub bounds: [f32; 4],
    /// How sure it is a face, above 0.5 and at most 1.
    pub score: f32,
}

/// A map of the detector that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("output {index} of the face detector has the shape {shape:?}, not [1, {channels}, rows, columns]")]
pub struct MapError {
    /// Counted from 0.
    pub index: usize,
    /// What it has; empty when it is missing.
    pub shape: Vec<usize>,
    /// What it should have: 2 for classes, 4 for boxes.
    pub channels: usize,
}

/// Writes the detector's input for a frame, RGB, to `out`, f32 `[3, height, width]`.
///
/// Panics when `out` has another length: a bug of the caller.
pub fn input(frame: View<'_, 3>, out: &mut [f32]) {
    planes(frame, &table(|channel, byte| byte - MEAN[channel]), out);
}

/// The faces in the detector's maps for one frame, `class0` f32 `[1, 2, h, w]`, `box0` f32 `[1, 4, h, w]`, … `box5`; the
/// surest first, each but once.
///
/// # Errors
/// When a map is missing or has another shape.
pub fn faces(maps: &[Tensor]) -> Result<Vec<Face>, MapError> {
    let mut found = Vec::new();
    let mut stride = STRIDE;
    for level in 0..LEVELS {
        let class = Map::of(maps, 2 * level, 2, None)?;
        let boxes = Map::of(maps, 2 * level + 1, 4, Some(class.size))?;
        collect(&class, &boxes, stride, &mut found);
        stride *= 2.0;
    }
    // Of equally sure ones the reference takes the last first.
    found.reverse();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Face> = Vec::new();
    for face in found {
        if kept.iter().all(|surer| face.shared_with(surer) <= SAME) {
            kept.push(face);
        }
    }
    Ok(kept)
}

impl Face {
    /// Its box in whole pixels, `[x1, y1, x2, y2]`: nothing below zero, and without fractions.
    pub fn to_box(&self) -> [i32; 4] {
        self.bounds.map(|at| at.max(0.0) as i32)
    }

    /// The part of two boxes together that is in both. As in the reference a box ends with its last pixel, so that it is
    /// wider by one than its coordinates say.
    fn shared_with(&self, other: &Self) -> f32 {
        let ([a1, b1, a2, b2], [c1, d1, c2, d2]) = (self.bounds, other.bounds);
        let area = |[x1, y1, x2, y2]: [f32; 4]| (x2 - x1 + 1.0) * (y2 - y1 + 1.0);
        let width = (a2.min(c2) - a1.max(c1) + 1.0).max(0.0);
        let height = (b2.min(d2) - b1.max(d1) + 1.0).max(0.0);
        let both = width * height;
        both / (area(self.bounds) + area(other.bounds) - both)
    }
}

/// One of the detector's outputs.
struct Map<'a> {
    size: [usize; 2],
    planes: &'a [f32],
}

impl<'a> Map<'a> {
    /// The output `index`, which must have so many channels and, with `size`, so many rows and columns.
    fn of(
        maps: &'a [Tensor],
        index: usize,
        channels: usize,
        size: Option<[usize; 2]>,
    ) -> Result<Self, MapError> {
        let refused = |shape: &[usize]| MapError { index, shape: shape.to_vec(), channels };
        let map = maps.get(index).ok_or_else(|| refused(&[]))?;
        match *map.shape.as_slice() {
            [1, found, rows, columns]
                if found == channels && size.is_none_or(|size| size == [rows, columns]) =>
            {
                Ok(Self { size: [rows, columns], planes: &map.data })
            }
            _ => Err(refused(&map.shape)),
        }
    }

    /// The values of one cell.
    fn at<const C: usize>(&self, cell: usize) -> [f32; C] {
        let area = self.size[0] * self.size[1];
        std::array::from_fn(|channel| self.planes[channel * area + cell])
    }
}

/// Adds the cells of one level that show a face. The reference lets those above 0.05 suppress others, and then drops
/// those that are not above 0.5: the same, as only surer ones suppress.
fn collect(class: &Map<'_>, boxes: &Map<'_>, stride: f32, found: &mut Vec<Face>) {
    let [rows, columns] = class.size;
    for cell in 0..rows * columns {
        let [background, face] = class.at(cell);
        let most = background.max(face);
        let [background, face] = [background - most, face - most].map(f32::exp);
        let score = face / (background + face);
        if score > SURE {
            let place = [cell % columns, cell / columns].map(|at| stride / 2.0 + at as f32 * stride);
            found.push(Face { bounds: bounds(place, ANCHOR * stride, boxes.at(cell)), score });
        }
    }
}

/// The box that `shift` makes of a cell's own, which is `size` wide and high around `place`.
fn bounds(place: [f32; 2], size: f32, shift: [f32; 4]) -> [f32; 4] {
    let axis = |axis: usize| {
        let centre = place[axis] + shift[axis] * VARIANCES[0] * size;
        let length = size * (shift[2 + axis] * VARIANCES[1]).exp();
        let first = centre - length / 2.0;
        [first, first + length]
    };
    let ([x1, x2], [y1, y2]) = (axis(0), axis(1));
    [x1, y1, x2, y2]
}
