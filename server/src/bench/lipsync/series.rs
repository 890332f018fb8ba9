//! Statistics on series of one value per video frame. No units of their own: values come out as they went in.

/// A correlation at its best lag.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lagged {
    /// Correlation at the best lag, -1..1; 0 where a series does not move at all.
    pub correlation: f64,
    /// The best lag, milliseconds; positive where the first series comes later than the second. 0 where no lag gives
    /// a positive correlation.
    pub lag_ms: f64,
}

/// Level of speech in each video frame: RMS over a Hann window of two frames around the frame's middle.
///
/// `pcm`: mono, `sample_rate` per second; frame `k` spans the samples `k * sample_rate / fps` on. The window keeps
/// syllables (below some 12 Hz at 25 fps) and drops the pitch.
pub fn envelope(pcm: &[f32], sample_rate: u32, fps: f64, frames: usize) -> Vec<f64> {
    let per_frame = f64::from(sample_rate) / fps;
    let length = (2.0 * per_frame).round() as i64;
    let hann: Vec<f64> = (0..length)
        .map(|n| 0.5 - 0.5 * (std::f64::consts::TAU * (n as f64 + 0.5) / length as f64).cos())
        .collect();
    let weight: f64 = hann.iter().sum();
    (0..frames)
        .map(|k| {
            let first = ((k as f64 + 0.5) * per_frame).round() as i64 - length / 2;
            let power: f64 = hann
                .iter()
                .enumerate()
                .filter_map(|(n, w)| {
                    let sample = pcm.get(usize::try_from(first + n as i64).ok()?)?;
                    Some(w * f64::from(*sample).powi(2))
                })
                .sum();
            (power / weight).sqrt()
        })
        .collect()
}

/// Pearson's correlation of two series over their common length; 0 where either does not move.
pub fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().min(b.len());
    if n < 2 {
        return 0.0;
    }
    let mean = |x: &[f64]| x[..n].iter().sum::<f64>() / n as f64;
    let (ma, mb) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        ab += (x - ma) * (y - mb);
        aa += (x - ma).powi(2);
        bb += (y - mb).powi(2);
    }
    if aa <= 1e-12 * n as f64 || bb <= 1e-18 * n as f64 { 0.0 } else { ab / (aa * bb).sqrt() }
}

/// The lag within `max_lag_ms` at which `a` follows `b` best, found to a fraction of a frame.
///
/// Whole frames are tried first; a parabola through the best and its neighbours gives the rest.
pub fn best_lag(a: &[f64], b: &[f64], fps: f64, max_lag_ms: f64) -> Lagged {
    let reach = (max_lag_ms * fps / 1000.0).round() as i64;
    let at = |lag: i64| {
        let skip = lag.unsigned_abs() as usize;
        if skip >= a.len().min(b.len()) {
            return 0.0;
        }
        if lag >= 0 { correlation(&a[skip..], b) } else { correlation(a, &b[skip..]) }
    };
    // One more on each side, so that the parabola has its neighbours.
    let values: Vec<f64> = (-reach - 1..=reach + 1).map(at).collect();
    let best = (1..values.len() - 1).max_by(|&i, &j| values[i].total_cmp(&values[j])).unwrap_or(1);
    let (before, peak, after) = (values[best - 1], values[best], values[best + 1]);
    if peak <= 0.0 {
        return Lagged { correlation: peak, lag_ms: 0.0 };
    }
    let bend = before - 2.0 * peak + after;
    let shift = if bend < -1e-12 { (0.5 * (before - after) / bend).clamp(-0.5, 0.5) } else { 0.0 };
    Lagged {
        correlation: (peak - 0.25 * (before - after) * shift).clamp(-1.0, 1.0),
        lag_ms: ((best as i64 - 1 - reach) as f64 + shift) * 1000.0 / fps,
    }
}

/// How often a value of `high` exceeds one of `low` (ties count half): 0.5 is chance, 1 is perfect. `None` where
/// either is empty.
pub fn auc(high: &[f64], low: &[f64]) -> Option<f64> {
    if high.is_empty() || low.is_empty() {
        return None;
    }
    let wins: f64 = high
        .iter()
        .flat_map(|h| low.iter().map(move |l| if h > l { 1.0 } else { f64::from(u8::from(h == l)) / 2.0 }))
        .sum();
    Some(wins / (high.len() * low.len()) as f64)
}

/// The value below which the share `q` (0..1) of a series lies; 0 for an empty one.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = q.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64;
    let (low, part) = (at as usize, at.fract());
    match (sorted.get(low), sorted.get(low + 1)) {
        (Some(a), Some(b)) => a + (b - a) * part,
        (Some(a), None) => *a,
        _ => 0.0,
    }
}

/// The series cut into blocks of `block` frames, which are put in another order: the same values, the same rhythm
/// within a block, nothing in step any more. The same `seed` gives the same order.
pub fn shuffled(values: &[f64], block: usize, seed: u64) -> Vec<f64> {
    let mut blocks: Vec<&[f64]> = values.chunks(block.max(1)).collect();
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    for i in (1..blocks.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        blocks.swap(i, (state >> 33) as usize % (i + 1));
    }
    blocks.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(frames: usize, delay: f64) -> Vec<f64> {
        (0..frames)
            .map(|k| {
                let t = k as f64 - delay;
                (0.31 * t).sin() + 0.6 * (0.83 * t + 1.0).sin() + 0.4 * (0.137 * t).cos()
            })
            .collect()
    }

    #[test]
    fn a_known_delay_is_read_to_a_fraction_of_a_frame() {
        for delay in [-3.0, -0.4, 0.0, 0.3, 2.5] {
            let found = best_lag(&wave(400, delay), &wave(400, 0.0), 25.0, 400.0);
            assert!((found.lag_ms - 40.0 * delay).abs() < 4.0, "{delay}: {found:?}");
            assert!(found.correlation > 0.97, "{delay}: {found:?}");
        }
    }

    #[test]
    fn what_does_not_move_correlates_with_nothing() {
        assert_eq!(correlation(&[3.0; 50], &wave(50, 0.0)), 0.0);
        assert_eq!(best_lag(&[3.0; 50], &wave(50, 0.0), 25.0, 200.0).correlation, 0.0);
        assert_eq!(correlation(&[], &[]), 0.0);
    }

    #[test]
    fn the_envelope_follows_a_burst_in_its_frame() {
        let mut pcm = vec![0.0f32; 16_000];
        pcm[6_400..7_040].fill(0.5);
        let levels = envelope(&pcm, 16_000, 25.0, 25);
        let loudest = (0..25).max_by(|&a, &b| levels[a].total_cmp(&levels[b]));
        assert_eq!(loudest, Some(10));
        assert!((levels[9] - levels[11]).abs() < 1e-3 && levels[12] == 0.0);
    }

    #[test]
    fn auc_counts_pairs() {
        assert_eq!(auc(&[3.0, 4.0], &[1.0, 2.0]), Some(1.0));
        assert_eq!(auc(&[1.0, 3.0], &[2.0, 2.0]), Some(0.5));
        assert_eq!(auc(&[1.0], &[1.0]), Some(0.5));
        assert_eq!(auc(&[], &[1.0]), None);
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[4.0, 0.0, 2.0], 0.25), 1.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    #[test]
    fn shuffling_keeps_the_values_and_loses_the_order() {
        let values = wave(1_000, 0.0);
        let mixed = shuffled(&values, 7, 1);
        let sum = |x: &[f64]| x.iter().sum::<f64>();
        assert_eq!(mixed.len(), values.len());
        assert!((sum(&mixed) - sum(&values)).abs() < 1e-9);
        assert!(correlation(&mixed, &values).abs() < 0.2);
        assert_eq!(mixed, shuffled(&values, 7, 1));
    }
}
