//! Pictures as networks take them: one plane for each channel, every byte turned to a number by a table.

use crate::image::View;

/// What each byte of each channel becomes.
pub(super) type Table = [[f32; 256]; 3];

/// A table of `value(channel, byte)`.
pub(super) fn table(value: impl Fn(usize, f32) -> f32) -> Table {
    std::array::from_fn(|channel| std::array::from_fn(|byte| value(channel, byte as f32)))
}

/// Writes `picture` to `out`, f32 `[3, height, width]`.
///
/// Panics when `out` has another length: a bug of the caller.
pub(super) fn planes(picture: View<'_, 3>, table: &Table, out: &mut [f32]) {
    let (width, area) = (picture.width(), picture.width() * picture.height());
    assert_eq!(out.len(), 3 * area, "values of a picture of {width}x{}", picture.height());
    for (channel, (plane, table)) in out.chunks_exact_mut(area).zip(table).enumerate() {
        for (out, row) in plane.chunks_exact_mut(width).zip(picture.rows()) {
            let (pixels, _) = row.as_chunks::<3>();
            for (out, pixel) in out.iter_mut().zip(pixels) {
                *out = table[usize::from(pixel[channel])];
            }
        }
    }
}
