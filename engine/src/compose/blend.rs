//! Blending of 8-bit rows, written so that the compiler vectorises it.

/// `under + (over - under) * alpha / 255`, rounded. The sum of both products is at most 255 * 255 and fits
/// 16 bits; `(t + t / 256) / 256` with `t = sum + 128` divides by 255 exactly in that range.
pub(super) fn blend_row(under: &mut [u8], over: &[u8], alpha: &[u8]) {
    for ((under, over), alpha) in under.iter_mut().zip(over).zip(alpha) {
        let alpha = u16::from(*alpha);
        let sum = u16::from(*over) * alpha + u16::from(*under) * (255 - alpha) + 128;
        *under = ((sum + (sum >> 8)) >> 8) as u8;
    }
}

/// Scales a row of alpha by `opacity / 255`.
pub(super) fn scale_row(alpha: &mut [u8], opacity: u8) {
    let opacity = u16::from(opacity);
    for value in alpha {
        let product = u16::from(*value) * opacity + 128;
        *value = ((product + (product >> 8)) >> 8) as u8;
    }
}

/// Chroma alpha: the mean of each 2×2 block of two rows of luma alpha.
pub(super) fn halve_rows(upper: &[u8], lower: &[u8], half: &mut [u8]) {
    for ((half, upper), lower) in half.iter_mut().zip(upper.chunks_exact(2)).zip(lower.chunks_exact(2)) {
        let sum = u16::from(upper[0]) + u16::from(upper[1]) + u16::from(lower[0]) + u16::from(lower[1]);
        *half = ((sum + 2) / 4) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blending_is_exact_for_every_input() {
        for alpha in 0..=255u8 {
            for over in (0..=255u8).step_by(5) {
                for under in (0..=255u8).step_by(3) {
                    let mut row = [under];
                    blend_row(&mut row, &[over], &[alpha]);
                    let (o, u, a) = (f64::from(over), f64::from(under), f64::from(alpha));
                    let exact = u + (o - u) * a / 255.0;
                    assert!((f64::from(row[0]) - exact).abs() <= 0.5 + 1e-9, "{under} {over} {alpha}");
                }
            }
        }
    }
}
