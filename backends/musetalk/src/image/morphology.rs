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
    let mut windows = Windows::default();
    for (y, row) in source.rows().enumerate() {
        // Lines of one extent that follow each other share their windows.
        let mut extent = None;
        for run in &element.0 {
            let written = y as i64 - i64::from(run.dy);
            if !(0..height as i64).contains(&written) {
                continue;
            }
            if extent != Some((run.left, run.right)) {
                extent = Some((run.left, run.right));
                windows.find(row, run, neutral, better);
            }
            for (out, value) in view.row_mut(written as usize).iter_mut().zip(&windows.best) {
                *out = better(*out, *value);
            }
        }
    }
    out
}

/// The best value under a line, for every pixel of a row.
#[derive(Debug, Default)]
struct Windows {
    best: Vec<u8>,
    next: Vec<u8>,
}

impl Windows {
    /// Fills `best`, one value for each pixel of `row`.
    fn find(&mut self, row: &[u8], run: &Run, neutral: u8, better: impl Fn(u8, u8) -> u8) {
        let length = run.left.abs_diff(run.right) as usize + 1;
        self.best.clear();
        self.best.resize(row.len() + length - 1, neutral);
        let (from, to) = (run.left.max(0) as usize, run.left.min(0).unsigned_abs() as usize);
        if from < row.len() && to < self.best.len() {
            let common = (row.len() - from).min(self.best.len() - to);
            self.best[to..to + common].copy_from_slice(&row[from..from + common]);
        }
        // Each value becomes the best of those that begin with it: of 2, of 4, … of `length`.
        let mut reached = 1;
        while reached < length {
            let step = reached.min(length - reached);
            self.next.clear();
            self.next.extend(self.best.iter().zip(&self.best[step..]).map(|(a, b)| better(*a, *b)));
            std::mem::swap(&mut self.best, &mut self.next);
            reached += step;
        }
    }
}
