//! An ensemble of regression trees that places 68 landmarks (Kazemi and Sullivan, 2014).
//!
//! A shape starts as the mean shape in the unit square of a face box. On each level of the cascade, pixels are
//! read at fixed offsets from landmarks of the current shape, turned and scaled with it; each tree compares pairs of
//! them on its way to a leaf, and the leaves of all trees are added to the shape.

use super::geometry::Similarity;
use super::{FaceBox, Landmarks, RgbView};

pub(crate) const POINTS: usize = 68;
/// Coordinates of a shape: x and y of each landmark.
pub(crate) const VALUES: usize = 2 * POINTS;
/// Inner nodes of a tree; all trees have depth 4.
pub(crate) const SPLITS: usize = 15;
pub(crate) const LEAVES: usize = 16;

/// Goes left where `pixel[first] - pixel[second]` is above the threshold.
pub(crate) struct Split {
    pub(crate) first: u16,
    pub(crate) second: u16,
    pub(crate) threshold: f32,
}

pub(crate) struct Level {
    /// 15 splits a tree; the children of node `i` are `2i + 1` and `2i + 2`.
    pub(crate) splits: Vec<Split>,
    /// `[trees, 16, 136]`, in unit-square coordinates.
    pub(crate) leaves: Vec<f32>,
    /// For each pixel the landmark it belongs to.
    pub(crate) anchors: Vec<u8>,
    /// For each pixel its offset from that landmark, in unit-square coordinates of the mean shape.
    pub(crate) offsets: Vec<[f32; 2]>,
}

/// The whole model; about 65 MB.
pub(crate) struct Ensemble {
    /// x0 y0 x1 y1 … in the unit square of the face box.
    pub(crate) mean: [f32; VALUES],
    pub(crate) levels: Vec<Level>,
}

impl Ensemble {
    /// Places the landmarks of the face in `face_box`.
    pub(crate) fn predict(&self, image: RgbView<'_>, face_box: FaceBox) -> Landmarks {
        let [x0, y0, x1, y1] = face_box;
        let (width, height) = (x1 - x0, y1 - y0);
        let mean = points(&self.mean);
        let mut shape = self.mean;
        let mut pixels = Vec::new();
        for level in &self.levels {
            let current = points(&shape);
            let turn = Similarity::between(&mean, &current);
            pixels.clear();
            pixels.extend(level.anchors.iter().zip(&level.offsets).map(|(&anchor, &offset)| {
                let [dx, dy] = turn.apply_to_vector(offset);
                let [x, y] = current[usize::from(anchor)];
                let (x, y) = (x0 + (x + dx) * width, y0 + (y + dy) * height);
                image.intensity((x + 0.5).floor() as i64, (y + 0.5).floor() as i64)
            }));
            let trees = level.splits.chunks_exact(SPLITS).zip(level.leaves.chunks_exact(LEAVES * VALUES));
            for (splits, leaves) in trees {
                let leaf = reach(splits, &pixels) * VALUES;
                for (value, step) in shape.iter_mut().zip(&leaves[leaf..leaf + VALUES]) {
                    *value += step;
                }
            }
        }
        points(&shape).map(|[x, y]| [x0 + x * width, y0 + y * height])
    }

    /// The mean shape, in the unit square of the face box.
    pub(crate) fn mean_points(&self) -> Landmarks {
        points(&self.mean)
    }
}

fn reach(splits: &[Split], pixels: &[f32]) -> usize {
    let mut node = 0;
    while let Some(split) = splits.get(node) {
        let left = pixels[usize::from(split.first)] - pixels[usize::from(split.second)] > split.threshold;
        node = 2 * node + if left { 1 } else { 2 };
    }
    node - SPLITS
}

fn points(values: &[f32; VALUES]) -> Landmarks {
    std::array::from_fn(|point| [values[2 * point], values[2 * point + 1]])
}
