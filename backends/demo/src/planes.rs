//! Stored pictures: RGB24 made smaller, and as planes of brightness and colour that take half the bytes.
//!
//! Planes are full-range BT.601 Y, then Cb and Cr at half the width and height, without padding; sides are even.

/// Means over squares of `scale` pixels.
pub(crate) fn shrink(full: &[u8], columns: usize, rows: usize, scale: usize, out: &mut Vec<u8>) {
    out.clear();
    if scale == 1 {
        out.extend_from_slice(full);
        return;
    }
    let stride = columns * scale * 3;
    let area = (scale * scale) as u32;
    for y in 0..rows {
        for x in 0..columns {
            for c in 0..3 {
                let first = y * scale * stride + x * scale * 3 + c;
                let sum: u32 = (0..scale)
                    .flat_map(|dy| (0..scale).map(move |dx| first + dy * stride + dx * 3))
                    .map(|at| u32::from(full[at]))
                    .sum();
                out.push(((sum + area / 2) / area) as u8);
            }
        }
    }
}

/// RGB24 to full-range BT.601 Y, then Cb and Cr as means over 2×2 pixels. Sides are even.
pub(crate) fn rgb_to_planes(rgb: &[u8], width: usize, height: usize, planes: &mut Vec<u8>) {
    planes.clear();
    planes.extend(rgb.chunks_exact(3).map(|p| {
        ((19_595 * u32::from(p[0]) + 38_470 * u32::from(p[1]) + 7_471 * u32::from(p[2]) + 32_768) >> 16) as u8
    }));
    let weights = [[-11_058, -21_710, 32_768], [32_768, -27_439, -5_329]];
    for [r, g, b] in weights {
        for y in (0..height).step_by(2) {
            for x in (0..width).step_by(2) {
                let at = |dx: usize, dy: usize, c: usize| i32::from(rgb[((y + dy) * width + x + dx) * 3 + c]);
                let sum = |c: usize| at(0, 0, c) + at(1, 0, c) + at(0, 1, c) + at(1, 1, c);
                let value = ((r * sum(0) + g * sum(1) + b * sum(2) + (1 << 17)) >> 18) + 128;
                planes.push(value.clamp(0, 255) as u8);
            }
        }
    }
}

/// The way back; `planes` must hold a picture of that size.
pub(crate) fn planes_to_rgb(planes: &[u8], width: usize, height: usize, rgb: &mut Vec<u8>) {
    rgb.resize(width * height * 3, 0);
    let (luma, chroma) = planes.split_at(width * height);
    let (blue, red) = chroma.split_at(chroma.len() / 2);
    let rows = rgb.chunks_exact_mut(width * 3).zip(luma.chunks_exact(width)).enumerate();
    for (y, (out, luma)) in rows {
        let at = y / 2 * (width / 2);
        let chroma = blue[at..at + width / 2].iter().zip(&red[at..at + width / 2]);
        for ((out, luma), (cb, cr)) in out.chunks_exact_mut(6).zip(luma.chunks_exact(2)).zip(chroma) {
            let (cb, cr) = (i32::from(*cb) - 128, i32::from(*cr) - 128);
            let add = [91_881 * cr, -22_554 * cb - 46_802 * cr, 116_130 * cb].map(|a| (a + 32_768) >> 16);
            for (pixel, y) in out.chunks_exact_mut(3).zip(luma) {
                for (value, add) in pixel.iter_mut().zip(add) {
                    *value = (i32::from(*y) + add).clamp(0, 255) as u8;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_keep_colours() {
        let (width, height) = (16, 8);
        let rgb: Vec<u8> =
            (0..width * height).flat_map(|i| [(i % width * 12) as u8, (i / width * 20) as u8, 200]).collect();
        let (mut planes, mut back) = (Vec::new(), Vec::new());
        rgb_to_planes(&rgb, width, height, &mut planes);
        planes_to_rgb(&planes, width, height, &mut back);
        assert_eq!(planes.len(), width * height * 3 / 2);
        // Colour is shared by four pixels, brightness by none.
        let luma = |p: &[u8]| 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
        for (a, b) in rgb.chunks(3).zip(back.chunks(3)) {
            assert!((luma(a) - luma(b)).abs() < 1.6 && a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= 20));
        }
    }
}
