//! How far values are from golden ones. What is not finite makes the result NaN, which no tolerance admits.

use crate::networks::Tensor;

/// The largest difference.
pub(super) fn largest(found: &[f32], golden: &[f32]) -> f64 {
    differences(found, golden, 0.0, f64::max)
}

/// The root of the mean square of the differences.
pub(super) fn mean_square(found: &[f32], golden: &[f32]) -> f64 {
    let sum = differences(found, golden, 0.0, |sum, difference| sum + difference * difference);
    (sum / golden.len().max(1) as f64).sqrt()
}

/// The standard deviation of `golden`, which differences are measured by; 1 where all values are equal.
pub(super) fn deviation(golden: &[f32]) -> f64 {
    let count = golden.len().max(1) as f64;
    let mean = golden.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let variance = golden.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
    if variance > 0.0 { variance.sqrt() } else { 1.0 }
}

/// The share of pixels of three bytes of which one is off by more than a level.
pub(super) fn over_one_level(found: &[u8], golden: &[u8]) -> f64 {
    if found.len() != golden.len() {
        return f64::NAN;
    }
    let (found, golden) = (found.as_chunks::<3>().0, golden.as_chunks::<3>().0);
    let over = found.iter().zip(golden).filter(|(a, b)| (0..3).any(|i| a[i].abs_diff(b[i]) > 1)).count();
    over as f64 / golden.len().max(1) as f64
}

/// The mean difference in levels.
pub(super) fn mean_level(found: &[u8], golden: &[u8]) -> f64 {
    if found.len() != golden.len() {
        return f64::NAN;
    }
    let sum: u64 = found.iter().zip(golden).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / golden.len().max(1) as f64
}

/// The share of `golden` that `found` does not equal; NaN where it has another length.
pub(super) fn unequal<T: PartialEq>(found: &[T], golden: &[T]) -> f64 {
    if found.len() != golden.len() {
        return f64::NAN;
    }
    found.iter().zip(golden).filter(|(a, b)| a != b).count() as f64 / golden.len().max(1) as f64
}

/// Every `strides`-th value of each axis of a tensor of `shape`, from the first: its shape, and its values.
pub(super) fn strided<T: Copy>(shape: &[usize], data: &[T], strides: &[usize]) -> (Vec<usize>, Vec<T>) {
    let kept: Vec<usize> =
        shape.iter().zip(strides).map(|(&length, &stride)| length.div_ceil(stride)).collect();
    let value = |number: usize| {
        let mut rest = number;
        let mut place = 0;
        let mut step = 1;
        for axis in (0..shape.len()).rev() {
            place += rest % kept[axis] * strides[axis] * step;
            rest /= kept[axis];
            step *= shape[axis];
        }
        data[place]
    };
    let values = (0..kept.iter().product()).map(value).collect();
    (kept, values)
}

/// The index of the largest value along `axis`, the first of equals: its shape without that axis, and the
/// indices. `None` where a value is not finite.
pub(super) fn index_of_largest(tensor: &Tensor, axis: usize) -> Option<(Vec<usize>, Vec<u32>)> {
    if tensor.data.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let inner: usize = tensor.shape[axis + 1..].iter().product();
    let length = tensor.shape[axis];
    let mut indices = Vec::new();
    for values in tensor.data.chunks_exact(length * inner) {
        let mut best = vec![0_u32; inner];
        let mut highest = values[..inner].to_vec();
        for (index, row) in values.chunks_exact(inner).enumerate().skip(1) {
            for at in 0..inner {
                if row[at] > highest[at] {
                    (best[at], highest[at]) = (index as u32, row[at]);
                }
            }
        }
        indices.extend(best);
    }
    let mut shape = tensor.shape.clone();
    shape.remove(axis);
    Some((shape, indices))
}

/// The CRC-32 of `bytes`, by zlib's polynomial.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut rest = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                rest = if rest & 1 == 1 { rest >> 1 ^ 0xedb8_8320 } else { rest >> 1 };
                bit += 1;
            }
            table[byte] = rest;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| TABLE[(crc as u8 ^ byte) as usize] ^ crc >> 8)
}

fn differences(found: &[f32], golden: &[f32], first: f64, join: impl Fn(f64, f64) -> f64) -> f64 {
    if found.len() != golden.len() {
        return f64::NAN;
    }
    let mut all = first;
    for (&found, &golden) in found.iter().zip(golden) {
        let difference = (f64::from(found) - f64::from(golden)).abs();
        // `max` would pass over it.
        if !difference.is_finite() {
            return f64::NAN;
        }
        all = join(all, difference);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_measured_by_the_goldens_deviation() {
        let golden = [2.0, -2.0, 2.0, -2.0];
        let found = [2.0, -2.0, 2.5, -2.0];
        assert_eq!((largest(&found, &golden), mean_square(&found, &golden)), (0.5, 0.25));
        assert_eq!((largest(&golden, &golden), mean_square(&golden, &golden)), (0.0, 0.0));
        assert_eq!((deviation(&golden), deviation(&[3.0, 3.0]), deviation(&[])), (2.0, 1.0, 1.0));
    }

    #[test]
    fn what_is_not_finite_is_never_equal() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(largest(&[0.0, bad], &[0.0, 1.0]).is_nan());
            assert!(largest(&[0.0, bad], &[0.0, bad]).is_nan());
            assert!(mean_square(&[bad, 0.0], &[0.0, 1.0]).is_nan());
            assert_eq!(index_of_largest(&Tensor::new([2], vec![0.0, bad]), 0), None);
        }
        assert!(largest(&[0.0], &[0.0, 1.0]).is_nan());
        assert!(over_one_level(&[0; 3], &[0; 6]).is_nan());
        assert!(mean_level(&[], &[0; 6]).is_nan());
        assert!(unequal(&[1], &[1, 2]).is_nan());
    }

    #[test]
    fn pixels_count_by_their_worst_channel() {
        let golden = [10, 10, 10, 20, 20, 20, 30, 30, 30, 40, 40, 40];
        let found = [11, 9, 10, 20, 20, 22, 30, 30, 30, 44, 40, 35];
        assert_eq!(over_one_level(&found, &golden), 0.5);
        assert_eq!(mean_level(&found, &golden), 13.0 / 12.0);
        assert_eq!(unequal(&found, &golden), 5.0 / 12.0);
    }

    #[test]
    fn the_largest_is_found_along_any_axis() {
        // Two items of two channels and three places.
        let tensor = Tensor::new([2, 2, 3], vec![0., 1., 5., 1., 0., 5., 9., 9., 9., 0., 0., 10.]);
        assert_eq!(index_of_largest(&tensor, 1), Some((vec![2, 3], vec![1, 0, 0, 0, 0, 1])));
        assert_eq!(index_of_largest(&tensor, 2), Some((vec![2, 2], vec![2, 2, 0, 2])));
        assert_eq!(index_of_largest(&tensor, 0), Some((vec![2, 3], vec![1, 1, 1, 0, 0, 1])));
    }

    #[test]
    fn checksums_are_zlibs() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn samples_start_at_the_first_value_of_each_axis() {
        let data: Vec<u32> = (0..2 * 3 * 5).collect();
        assert_eq!(
            strided(&[2, 3, 5], &data, &[1, 2, 3]),
            (vec![2, 2, 2], vec![0, 3, 10, 13, 15, 18, 25, 28])
        );
        assert_eq!(strided(&[2, 3, 5], &data, &[1, 1, 1]), (vec![2, 3, 5], data));
    }
}
