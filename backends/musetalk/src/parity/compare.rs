//! How far values are from golden ones. What is not finite makes the result NaN, which no tolerance admits.

/// The largest difference over the standard deviation of `golden`; where that has none, the difference
/// itself.
pub(super) fn of_deviation(found: &[f32], golden: &[f32]) -> f64 {
    let count = golden.len().max(1) as f64;
    let mean = golden.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let variance = golden.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
    let deviation = variance.sqrt();
    absolute(found, golden) / if deviation > 0.0 { deviation } else { 1.0 }
}

/// The largest difference.
pub(super) fn absolute(found: &[f32], golden: &[f32]) -> f64 {
    if found.len() != golden.len() {
        return f64::NAN;
    }
    let mut worst = 0.0;
    for (&found, &golden) in found.iter().zip(golden) {
        let difference = (f64::from(found) - f64::from(golden)).abs();
        if !difference.is_finite() {
            return f64::NAN;
        }
        worst = f64::max(worst, difference);
    }
    worst
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

/// The share of places of which another channel has the largest value. Both are `[items, channels, places]`.
pub(super) fn other_label(found: &[f32], golden: &[f32], channels: usize, places: usize) -> f64 {
    let item = channels * places;
    if found.len() != golden.len() || item == 0 || found.iter().any(|value| !value.is_finite()) {
        return f64::NAN;
    }
    let label = |values: &[f32], place: usize| {
        (0..channels).rev().max_by(|&a, &b| values[a * places + place].total_cmp(&values[b * places + place]))
    };
    let items = found.chunks_exact(item).zip(golden.chunks_exact(item));
    let other: usize = items
        .map(|(found, golden)| (0..places).filter(|&at| label(found, at) != label(golden, at)).count())
        .sum();
    other as f64 / (golden.len() / channels).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_over_the_goldens_deviation() {
        // The deviation of ±2 is 2.
        let golden = [2.0, -2.0, 2.0, -2.0];
        assert_eq!(of_deviation(&[2.0, -2.0, 2.5, -2.0], &golden), 0.25);
        assert_eq!(of_deviation(&golden, &golden), 0.0);
        assert_eq!(of_deviation(&[3.0, 3.5], &[3.0, 3.0]), 0.5);
        assert_eq!(absolute(&[3.0, 3.5], &[3.0, 3.0]), 0.5);
    }

    #[test]
    fn what_is_not_finite_is_never_equal() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(of_deviation(&[0.0, bad], &[0.0, 1.0]).is_nan());
            assert!(absolute(&[0.0, bad], &[0.0, bad]).is_nan());
            assert!(other_label(&[0.0, bad], &[0.0, 1.0], 2, 1).is_nan());
        }
        assert!(absolute(&[0.0], &[0.0, 1.0]).is_nan());
        assert!(over_one_level(&[0; 3], &[0; 6]).is_nan());
        assert!(mean_level(&[], &[0; 6]).is_nan());
    }

    #[test]
    fn pixels_count_by_their_worst_channel() {
        let golden = [10, 10, 10, 20, 20, 20, 30, 30, 30, 40, 40, 40];
        let found = [11, 9, 10, 20, 20, 22, 30, 30, 30, 44, 40, 35];
        assert_eq!(over_one_level(&found, &golden), 0.5);
        assert_eq!(mean_level(&found, &golden), 13.0 / 12.0);
    }

    #[test]
    fn labels_are_compared_place_by_place() {
        // Two items of two channels and three places each; of equal values the first channel counts.
        let golden = [0., 1., 5., 1., 0., 5., 9., 9., 9., 0., 0., 0.];
        let found = [0., 1., 5., 1., 2., 5., 9., 9., 0., 0., 0., 1.];
        assert_eq!(other_label(&found, &golden, 2, 3), 2.0 / 6.0);
    }
}
