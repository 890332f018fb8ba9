//! Bilinear resizing as OpenCV does it (`resize` with `INTER_LINEAR`, 8 bits): no averaging when it shrinks.
//!
//! This one is on the live path, once a frame. It can draw a part of the result alone, with the bytes that the whole
//! would have there; tables and rows are kept from call to call, so that nothing is allocated once they have grown.

use super::{View, ViewMut};

/// Weights are in 1/2048.
const ONE: f32 = 2048.0;

/// Resizes RGB pictures.
#[derive(Debug, Default)]
pub struct Bilinear {
    columns: Axis,
    rows: Axis,
    spread: Vec<u64>,
    stretched: [Stretched; 2],
}

/// The places of one axis that are drawn.
#[derive(Debug, Default)]
struct Axis {
    made_for: [i64; 4],
    taps: Vec<Tap>,
}

/// Where a pixel comes from: `weights` of two neighbours, the first of them at `first`.
#[derive(Debug, Clone, Copy)]
struct Tap {
    first: i32,
    weights: [u16; 2],
}

/// A row of the source that was made as wide as the result.
#[derive(Debug, Default)]
struct Stretched {
    of: Option<usize>,
    /// Three channels a pixel; at most 255·2048/16.
    values: Vec<u16>,
}

impl Bilinear {
    /// Draws into `out` the part of `source`, resized to `size` (columns, rows), that begins at `origin`.
    ///
    /// `out` may reach beyond the resized picture, whose border pixels then go on.
    /// Panics when `source` or `size` is empty: a bug of the caller.
    pub fn resize(
        &mut self,
        source: View<'_, 3>,
        size: [usize; 2],
        origin: [i32; 2],
        out: &mut ViewMut<'_, 3>,
    ) {
        assert!(
            source.width() * source.height() * size[0] * size[1] > 0,
            "an empty picture has no size to resize"
        );
        let last = [source.width(), source.height()].map(|side| side as i32 - 1);
        self.columns.make(source.width(), size[0], origin[0], out.width(), |mut tap| {
            // Beyond the middle of a border pixel OpenCV takes that one alone; going down it weighs it twice, and so
            // rounds it twice.
            if tap.first < 0 || tap.first >= last[0] {
                tap = Tap { first: tap.first.clamp(0, last[0]), weights: [ONE as u16, 0] };
            }
            tap
        });
        self.rows.make(source.height(), size[1], origin[1], out.height(), |tap| tap);
        self.stretched.iter_mut().for_each(|row| row.of = None);
        for (y, tap) in self.rows.taps.iter().enumerate() {
            let [upper, lower] = [tap.first, tap.first + 1].map(|row| row.clamp(0, last[1]) as usize);
            if self.stretched[1].of == Some(upper) {
                self.stretched.swap(0, 1);
            }
            for (held, row) in self.stretched.iter_mut().zip([upper, lower]) {
                if held.of != Some(row) {
                    held.of = Some(row);
                    stretch(source.row(row), &self.columns.taps, &mut self.spread, &mut held.values);
                }
            }
            let [upper, lower] = self.stretched.each_ref().map(|row| row.values.as_slice());
            mix(upper, lower, tap.weights, out.row_mut(y));
        }
    }
}

impl Axis {
    /// Fills the table for `length` places from `origin` on an axis of `source` pixels that becomes one of `target`,
    /// unless it is that already.
    fn make(
        &mut self,
        source: usize,
        target: usize,
        origin: i32,
        length: usize,
        border: impl Fn(Tap) -> Tap,
    ) {
        let wanted = [source as i64, target as i64, i64::from(origin), length as i64];
        if self.made_for == wanted {
            return;
        }
        self.made_for = wanted;
        let scale = 1.0 / (target as f64 / source as f64);
        self.taps.clear();
        self.taps.extend((0..length as i64).map(|at| {
            let at = (i64::from(origin) + at).clamp(0, target as i64 - 1);
            let place = ((at as f64 + 0.5) * scale - 0.5) as f32;
            let part = place - place.floor();
            let weights = [1.0 - part, part].map(|weight| (weight * ONE).round_ties_even() as u16);
            border(Tap { first: place.floor() as i32, weights })
        }));
    }
}

/// Lays out a row with 21 bits for each channel of a pixel, so that one multiplication weighs all three: a weighted sum
/// is at most 255·2048, which is 19 bits. Then takes the sums of `taps`, by 16.
fn stretch(row: &[u8], taps: &[Tap], spread: &mut Vec<u64>, out: &mut Vec<u16>) {
    let (pixels, _) = row.as_chunks::<3>();
    spread.clear();
    spread.extend(pixels.iter().map(|p| u64::from(p[0]) | u64::from(p[1]) << 21 | u64::from(p[2]) << 42));
    // The last one has a right neighbour too, of weight zero.
    spread.push(0);
    out.resize(taps.len() * 3, 0);
    let spread = spread.as_slice();
    let (out, _) = out.as_chunks_mut::<3>();
    for (out, tap) in out.iter_mut().zip(taps) {
        let two = &spread[tap.first as usize..][..2];
        let sum = two[0] * u64::from(tap.weights[0]) + two[1] * u64::from(tap.weights[1]);
        *out = [(sum >> 4) as u16, (sum >> 25) as u16, (sum >> 46) as u16];
    }
}

/// Weighs two stretched rows. Each product loses its lower bits by itself, as in OpenCV's vector code; unsigned 16 bits
/// are what a compiler makes vectors of.
fn mix(upper: &[u16], lower: &[u16], [above, below]: [u16; 2], out: &mut [u8]) {
    let part = |value: u16, weight: u16| ((u32::from(value) * u32::from(weight)) >> 16) as u16;
    for ((out, upper), lower) in out.iter_mut().zip(upper).zip(lower) {
        *out = ((part(*upper, above) + part(*lower, below) + 2) >> 2) as u8;
    }
}
