//! The part of a mask that changes anything, cut to what the host takes: a rectangle of even place and size inside the
//! canvas, and its alpha.
//!
//! Outside the face box the reference blends the source with itself, whatever the alpha; there it is zero here. Of the
//! square that leaves about a quarter.

use std::ops::Range;

use lipcast_plugins_api::author::Rect;

use super::{Mask, within};
use crate::image::{Bilinear, View, ViewMut};

/// Where a generated face shows on the canvas, and how much.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MaskPatch {
    /// Even place and size, inside the canvas; empty when nothing shows.
    pub rect: Rect,
    /// u8 `[rect.height, rect.width]`.
    pub alpha: Vec<u8>,
}

impl Mask {
    /// The smallest even rectangle with all pixels of `face_box` on the canvas (columns and rows, even) that show
    /// anything of the face.
    pub fn patch(&self, face_box: [i32; 4], canvas: [u32; 2]) -> MaskPatch {
        let Some([columns, rows]) = self.shown(face_box, canvas) else { return MaskPatch::default() };
        let [x, y] = [&columns, &rows].map(|range| even(range.start));
        let [width, height] = [&columns, &rows].map(|range| even(range.end + 1));
        let (width, height) = (width - x, height - y);
        let mut alpha = vec![0; (width * height) as usize];
        for row in rows {
            let at = (row - y) * width + columns.start - x;
            let part = self.part(row, &columns);
            alpha[at as usize..][..part.len()].copy_from_slice(part);
        }
        MaskPatch { rect: Rect::new(x as u32, y as u32, width as u32, height as u32), alpha }
    }

    /// The columns and rows of the source with all pixels that show anything.
    fn shown(&self, face_box: [i32; 4], canvas: [u32; 2]) -> Option<[Range<i32>; 2]> {
        // An odd canvas has no room for its last line.
        let [width, height] = canvas.map(|side| even(side.min(i32::MAX as u32) as i32));
        let [left, top, right, bottom] = within(face_box, self.square).map(|at| at as i32);
        let [x, y, ..] = self.square;
        let columns = (left + x).max(0)..(right + x).min(width);
        let rows = (top + y).max(0)..(bottom + y).min(height);
        if columns.is_empty() {
            return None;
        }
        let mut shown: Option<[Range<i32>; 2]> = None;
        for row in rows {
            let part = self.part(row, &columns);
            let visible = |alpha: &u8| *alpha > 0;
            let (Some(first), Some(last)) = (part.iter().position(visible), part.iter().rposition(visible))
            else {
                continue;
            };
            let (start, end) = (columns.start + first as i32, columns.start + last as i32 + 1);
            shown = Some(match shown {
                None => [start..end, row..row + 1],
                Some([across, down]) => [across.start.min(start)..across.end.max(end), down.start..row + 1],
            });
        }
        shown
    }

    /// The alpha of some columns of a row of the source, which lie in the square.
    fn part(&self, row: i32, columns: &Range<i32>) -> &[u8] {
        let [x, y, ..] = self.square;
        &self.view().row((row - y) as usize)[(columns.start - x) as usize..(columns.end - x) as usize]
    }
}

/// The even number at or below `at`, which is not negative.
fn even(at: i32) -> i32 {
    at & !1
}

/// Draws what of `face` (RGB of any size, resized to `face_box`) falls on `rect`: RGB24, packed, for the host to blend
/// with the alpha of the [`MaskPatch`] of that rectangle.
///
/// Where the rectangle reaches beyond the box, the border of the face goes on: the alpha is zero there, but the host
/// takes the colour of four pixels together.
/// Panics when `out` is not three bytes for each pixel of `rect`: a bug of the caller.
pub fn draw_patch(face: View<'_, 3>, face_box: [i32; 4], rect: Rect, resizer: &mut Bilinear, out: &mut [u8]) {
    let [x1, y1, x2, y2] = face_box;
    let size = [x1.abs_diff(x2) as usize, y1.abs_diff(y2) as usize];
    let origin = [rect.x as i32 - x1, rect.y as i32 - y1];
    let mut out = ViewMut::new(out, rect.width as usize, rect.height as usize);
    resizer.resize(face, size, origin, &mut out);
}
