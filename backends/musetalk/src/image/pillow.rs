//! Resizing as Pillow does it (`Image.resize`, 8 bits): a kernel that widens when it shrinks, so that every pixel counts.

use super::{Picture, View};

/// Weights are in 1/2^22.
const BITS: u32 = 22;

/// The kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// A triangle over 2 pixels; Pillow's `BILINEAR`.
    Bilinear,
    /// The cubic kernel with a = −0.5, over 4 pixels; Pillow's `BICUBIC`, its default for grey pictures.
    Bicubic,
}

/// Where a pixel comes from: neighbours from `first`, one for each weight.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// Resizes `source` to `size` (columns, rows).
///
/// Panics when `source` or `size` is empty: a bug of the caller.
pub fn resample<const C: usize>(
    source: View<'_, C>,
    [width, height]: [usize; 2],
    filter: Filter,
) -> Picture<C> {
    assert!(source.width() * source.height() * width * height > 0, "an empty picture has no size to resize");
    if source.width() == width {
        return resample_rows(source, height, filter);
    }
    let stretched = resample_columns(source, width, filter);
    resample_rows(stretched.view(), height, filter)
}

fn resample_columns<const C: usize>(source: View<'_, C>, width: usize, filter: Filter) -> Picture<C> {
    let columns = filter.taps(source.width(), width);
    let mut out = Picture::new(width, source.height());
    let mut view = out.view_mut();
    for (y, row) in source.rows().enumerate() {
        let (pixels, _) = row.as_chunks::<C>();
        let (out, _) = view.row_mut(y).as_chunks_mut::<C>();
        for (out, taps) in out.iter_mut().zip(&columns) {
            let mut sums = [1 << (BITS - 1); C];
            for (pixel, weight) in pixels[taps.first..].iter().zip(&taps.weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*value) * weight;
                }
            }
            *out = sums.map(to_byte);
        }
    }
    out
}

fn resample_rows<const C: usize>(source: View<'_, C>, height: usize, filter: Filter) -> Picture<C> {
    if source.height() == height {
        return source.to_picture();
    }
    let mut out = Picture::new(source.width(), height);
    let mut view = out.view_mut();
    let mut sums = vec![0; source.width() * C];
    for (y, taps) in filter.taps(source.height(), height).iter().enumerate() {
        sums.fill(1 << (BITS - 1));
        for (row, weight) in source.rows().skip(taps.first).zip(&taps.weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * weight;
            }
        }
        for (out, sum) in view.row_mut(y).iter_mut().zip(&sums) {
            *out = to_byte(*sum);
        }
    }
    out
}

fn to_byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

impl Filter {
    /// Pixels from the middle of the kernel to its end.
    fn radius(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    /// The kernel at a distance of `x` pixels.
    fn at(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        }
    }

    /// The table of an axis of `source` pixels that becomes one of `target`.
    fn taps(self, source: usize, target: usize) -> Vec<Taps> {
        let scale = source as f64 / target as f64;
        let widened = scale.max(1.0);
        let radius = self.radius() * widened;
        let per_pixel = 1.0 / widened;
        (0..target)
            .map(|at| {
                let centre = (at as f64 + 0.5) * scale;
                // `as` cuts off towards zero and keeps to what a usize can hold.
                let first = (centre - radius + 0.5) as usize;
                let end = ((centre + radius + 0.5) as usize).min(source);
                let weights: Vec<f64> =
                    (first..end).map(|x| self.at((x as f64 - centre + 0.5) * per_pixel)).collect();
                let sum: f64 = weights.iter().sum();
                let weights =
                    weights.iter().map(|w| (w / sum * f64::from(1 << BITS)).round() as i32).collect();
                Taps { first, weights }
            })
            .collect()
    }
}
