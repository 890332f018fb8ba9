//! Growing and shrinking of grey pictures (`dilate` and `erode` of OpenCV): the largest, or the smallest, value under an
//! element of any shape; pixels outside the picture do not count.

use super::{Picture, View};

/// A horizontal line of an element: `dy` rows below the pixel, from `left` to `right` columns beside it, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Rows down from the pixel that is written.
    pub dy: i32,
    /// First column, right of that pixel.
    pub left: i32,
    /// Last column; not less than `left`.
    pub right: i32,
}

/// The pixels that a result is taken from, as horizontal lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element(pub Vec<Run>);

/// The largest value under `element`, for every pixel.
pub fn dilate(source: View<'_, 1>, element: &Element) -> Picture<1> {
    sweep(source, element, 0, u8::max)
}

/// The smallest value under `element`, for every pixel.
pub fn erode(source: View<'_, 1>, element: &Element) -> Picture<1> {
    sweep(source, element, 255, u8::min)
}

fn sweep(
    source: View<'_, 1>,
    element: &Element,
    neutral: u8,
    better: impl Fn(u8, u8) -> u8 + Copy,
) -> Picture<1> {
    let (width, height) = (source.width(), source.height());
    let mut out = Picture::from_pixels(vec![neutral; width * height], width, height);
    let mut view = out.view_mut();
    let mut padded = Vec::new();
    for run in &element.0 {
        let length = run.left.abs_diff(run.right) as usize + 1;
        for (y, row) in source.rows().enumerate() {
            let written = y as i64 - i64::from(run.dy);
            if !(0..height as i64).contains(&written) {
                continue;
            }
            shift(row, run.left, length, neutral, &mut padded);
            window_best(&mut padded, length, better);
            for (out, value) in view.row_mut(written as usize).iter_mut().zip(&padded) {
                *out = better(*out, *value);
            }
        }
    }
    out
}

/// `row` from its pixel `left` on, and `length - 1` pixels more than it has; `neutral` where it has none.
fn shift(row: &[u8], left: i32, length: usize, neutral: u8, padded: &mut Vec<u8>) {
    padded.clear();
    padded.resize(row.len() + length - 1, neutral);
    let from = left.max(0) as usize;
    let to = (-left).max(0) as usize;
    if from < row.len() && to < padded.len() {
        let common = (row.len() - from).min(padded.len() - to);
        padded[to..to + common].copy_from_slice(&row[from..from + common]);
    }
}

/// Replaces each value by the best of the `length` values that begin with it, by windows that double.
fn window_best(row: &mut [u8], length: usize, better: impl Fn(u8, u8) -> u8) {
    let mut reached = 1;
    while reached < length {
        let step = reached.min(length - reached);
        for at in step..row.len() {
            row[at - step] = better(row[at - step], row[at]);
        }
        reached += step;
    }
}
