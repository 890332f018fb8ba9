//! An affine map of a picture as OpenCV does it (`warpAffine`, bilinear, black outside): places are in 1/32 pixel, which
//! leaves 1/1024 for the product of two weights.

use super::{Picture, View};

/// Bits of a coordinate's fraction while it is added up, and of the one that weights are taken from.
const FINE: u32 = 10;
const COARSE: u32 = 5;

/// Draws `source` to a picture of `size` (columns, rows). `[[a, b, c], [d, e, f]]` takes a place (x, y) of the source to
/// (a·x + b·y + c, d·x + e·y + f) of the result. Sides of the source are below 2^15.
pub fn warp_affine<const C: usize>(
    source: View<'_, C>,
    forward: [[f64; 3]; 2],
    [width, height]: [usize; 2],
) -> Picture<C> {
    let [x_map, y_map] = inverse(forward);
    let fixed = |value: f64| (value * f64::from(1 << FINE)).round_ties_even() as i64;
    let along: Vec<[i64; 2]> =
        (0..width).map(|x| [x_map[0], y_map[0]].map(|slope| fixed(slope * x as f64))).collect();
    let half = 1 << (FINE - COARSE - 1);
    let mut out = Picture::new(width, height);
    let mut view = out.view_mut();
    for y in 0..height {
        let start = [x_map, y_map].map(|map| fixed(map[1] * y as f64 + map[2]) + half);
        let (out, _) = view.row_mut(y).as_chunks_mut::<C>();
        for (out, along) in out.iter_mut().zip(&along) {
            let place = [0, 1].map(|axis| (start[axis] + along[axis]) >> (FINE - COARSE));
            *out = sample(source, place);
        }
    }
    out
}

/// The colour at a place, in 1/32 pixel.
fn sample<const C: usize>(source: View<'_, C>, place: [i64; 2]) -> [u8; C] {
    let [x, y] = place.map(|at| at >> COARSE);
    let [right, below] = place.map(|at| (at & 31) as u32);
    let (columns, rows) = (source.width() as i64, source.height() as i64);
    if x < -1 || x >= columns || y < -1 || y >= rows {
        return [0; C];
    }
    let mut sums = [1 << (2 * COARSE - 1); C];
    for (y, weight) in [(y, 32 - below), (y + 1, below)] {
        if !(0..rows).contains(&y) {
            continue;
        }
        let (row, _) = source.row(y as usize).as_chunks::<C>();
        for (x, weight) in [(x, weight * (32 - right)), (x + 1, weight * right)] {
            if (0..columns).contains(&x) {
                for (sum, value) in sums.iter_mut().zip(row[x as usize]) {
                    *sum += u32::from(value) * weight;
                }
            }
        }
    }
    sums.map(|sum| (sum >> (2 * COARSE)) as u8)
}

/// The map from the result to the source; zeros when there is none.
fn inverse([[a, b, c], [d, e, f]]: [[f64; 3]; 2]) -> [[f64; 3]; 2] {
    let determinant = a * e - b * d;
    let scale = if determinant == 0.0 { 0.0 } else { 1.0 / determinant };
    let [p, q, r, s] = [e * scale, b * -scale, d * -scale, a * scale];
    [[p, q, -p * c - q * f], [r, s, -r * c - s * f]]
}
