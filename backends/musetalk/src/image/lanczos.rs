//! Lanczos resizing over eight pixels as OpenCV does it (`resize` with `INTER_LANCZOS4`, 8 bits): no averaging when it
//! shrinks.

use std::f64::consts::{FRAC_PI_4, SQRT_2};

use super::{Picture, View};

/// Pixels that one comes from, along each axis.
const TAPS: usize = 8;
/// Weights are in 1/2048; those of both axes multiply.
const BITS: u32 = 11;

/// `sin` and `cos` of π/4·i, by which the sine of one tap follows from that of the first.
const TURNS: [[f64; 2]; TAPS] = {
    let h = SQRT_2 / 2.0;
    [[0.0, 1.0], [h, h], [1.0, 0.0], [h, -h], [0.0, -1.0], [-h, -h], [-1.0, 0.0], [-h, h]]
};

/// Where a pixel comes from: the places of eight neighbours, border pixels repeated, and their weights.
struct Taps {
    at: [usize; TAPS],
    weights: [i32; TAPS],
}

/// Resizes `source` to `size` (columns, rows).
///
/// Panics when `source` or `size` is empty: a bug of the caller.
pub fn lanczos4<const C: usize>(source: View<'_, C>, [width, height]: [usize; 2]) -> Picture<C> {
    assert!(source.width() * source.height() * width * height > 0, "an empty picture has no size to resize");
    let columns = taps(source.width(), width);
    let mut stretched = Vec::with_capacity(width * source.height());
    for row in source.rows() {
        let (pixels, _) = row.as_chunks::<C>();
        stretched.extend(columns.iter().map(|taps| {
            let mut sum = [0; C];
            for (at, weight) in taps.at.iter().zip(taps.weights) {
                for (sum, value) in sum.iter_mut().zip(pixels[*at]) {
                    *sum += i32::from(value) * weight;
                }
            }
            sum
        }));
    }
    let mut out = Picture::new(width, height);
    let mut view = out.view_mut();
    let mut sums = vec![0; width * C];
    for (y, taps) in taps(source.height(), height).iter().enumerate() {
        sums.fill(1 << (2 * BITS - 1));
        for (at, weight) in taps.at.iter().zip(taps.weights) {
            let row = stretched[at * width..][..width].as_flattened();
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value * weight;
            }
        }
        for (out, sum) in view.row_mut(y).iter_mut().zip(&sums) {
            *out = (sum >> (2 * BITS)).clamp(0, 255) as u8;
        }
    }
    out
}

/// The table of an axis of `source` pixels that becomes one of `target`.
fn taps(source: usize, target: usize) -> Vec<Taps> {
    let scale = 1.0 / (target as f64 / source as f64);
    let last = source as i64 - 1;
    (0..target)
        .map(|at| {
            let place = ((at as f64 + 0.5) * scale - 0.5) as f32;
            let first = place.floor() as i64 - 3;
            Taps {
                at: std::array::from_fn(|i| (first + i as i64).clamp(0, last) as usize),
                weights: weights(place - place.floor()),
            }
        })
        .collect()
}

/// The weights for a place `part` of the way from the fourth pixel to the fifth: the Lanczos kernel of radius 4,
/// `sin(πe)·sin(πe/4)/e²` at the distance e, of which `sin(πe)` is but for its sign the same for all; then scaled to a
/// sum of one.
fn weights(part: f32) -> [i32; TAPS] {
    let (sine, cosine) = (-f64::from(part + 3.0) * FRAC_PI_4).sin_cos();
    let mut weights: [f32; TAPS] = std::array::from_fn(|i| {
        let distance = part + 3.0 - i as f32;
        if distance.abs() < 1e-6 {
            // On a pixel: so much that the others vanish beside it.
            return 1e30;
        }
        let angle = -f64::from(distance) * FRAC_PI_4;
        let [turn_sine, turn_cosine] = TURNS[i];
        let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
        (sign * (sine * turn_cosine + cosine * turn_sine) / (angle * angle)) as f32
    });
    let scale = 1.0 / weights.iter().sum::<f32>();
    weights.iter_mut().for_each(|weight| *weight *= scale);
    weights.map(|weight| (weight * (1 << BITS) as f32).round_ties_even() as i32)
}
