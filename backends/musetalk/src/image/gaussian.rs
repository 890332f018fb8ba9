//! Gaussian blur as OpenCV does it (`GaussianBlur` of 8 bits with a deviation of 0): weights in 1/256, of which the
//! outer ones of a wide kernel come and go by error diffusion; the border is mirrored about its last pixel.

use super::{Picture, View};

/// Blurs over `size` by `size` pixels.
///
/// Panics when `size` is even or `source` is empty: a bug of the caller.
pub fn gaussian_blur<const C: usize>(source: View<'_, C>, size: usize) -> Picture<C> {
    assert!(size % 2 == 1, "a blur of {size} pixels has no middle");
    let (width, height) = (source.width(), source.height());
    assert!(width * height > 0, "an empty picture cannot be blurred");
    // Taps that were rounded to nothing are left out.
    let taps: Vec<(usize, u16)> = kernel(size).into_iter().enumerate().filter(|(_, w)| *w != 0).collect();
    let reach = size as i64 / 2;
    let mirrored: Vec<usize> = (-reach..width as i64 + reach).map(|x| mirror(x, width)).collect();
    let mut padded = Vec::new();
    // Weights add up to 256, so that sums of a row are 256 times its values at most and fit.
    let mut blurred = vec![0_u16; height * width * C];
    for (row, sums) in source.rows().zip(blurred.chunks_exact_mut(width * C)) {
        let (pixels, _) = row.as_chunks::<C>();
        padded.clear();
        padded.extend(mirrored.iter().flat_map(|x| pixels[*x]));
        for (at, weight) in &taps {
            for (sum, value) in sums.iter_mut().zip(&padded[at * C..]) {
                *sum += u16::from(*value) * weight;
            }
        }
    }
    let mut out = Picture::new(width, height);
    let mut view = out.view_mut();
    let mut sums = vec![0_u32; width * C];
    for y in 0..height {
        sums.fill(1 << 15);
        for (at, weight) in &taps {
            let row = mirror((y + at) as i64 - reach, height) * width * C;
            for (sum, value) in sums.iter_mut().zip(&blurred[row..]) {
                *sum += u32::from(*value) * u32::from(*weight);
            }
        }
        for (out, sum) in view.row_mut(y).iter_mut().zip(&sums) {
            *out = (sum >> 16) as u8;
        }
    }
    out
}

/// The weights of `size` pixels in 1/256, adding up to 256.
fn kernel(size: usize) -> Vec<u16> {
    let half: Vec<u16> = match size {
        1 => vec![],
        3 => vec![64],
        5 => vec![16, 64],
        7 => vec![8, 28, 56],
        9 => vec![4, 13, 30, 51],
        _ => diffused(size),
    };
    let middle = 256 - 2 * half.iter().sum::<u16>();
    half.iter().copied().chain([middle]).chain(half.iter().rev().copied()).collect()
}

/// The weights before the middle, from the outermost in: what rounding takes from one is given to the next.
fn diffused(size: usize) -> Vec<u16> {
    let deviation = size as f64 * 0.15 + 0.35;
    let scale = -0.125 / (deviation * deviation);
    let bell: Vec<f64> = (0..size / 2)
        .map(|i| {
            let twice = 2.0 * i as f64 + 1.0 - size as f64;
            (twice * twice * scale).exp()
        })
        .collect();
    let total = 1.0 / (2.0 * bell.iter().sum::<f64>() + 1.0);
    let mut error = 0.0;
    bell.iter()
        .map(|value| {
            let wanted = value * total * 256.0 + error;
            let weight = wanted.round_ties_even();
            error = wanted - weight;
            weight as u16
        })
        .collect()
}

/// The pixel of `0..length` that stands at `at`, the row of pixels being mirrored about its first and its last one.
fn mirror(at: i64, length: usize) -> usize {
    let period = 2 * (length as i64 - 1);
    if period == 0 {
        return 0;
    }
    let at = at.rem_euclid(period);
    at.min(period - at) as usize
}
