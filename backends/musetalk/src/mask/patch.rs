//! The part of a mask that changes anything, cut to what the host takes: a rectangle of even place and size inside the
//! canvas, and its alpha.
//!
//! Outside the face box the reference blends the source with itself, whatever the alpha; there it is zero here. Around
//! the mouth that leaves a half to a third of the square.

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
        let shown = self.shown(face_box, canvas);
        let Some([left, top, right, bottom]) = self.bounds(shown) else { return MaskPatch::default() };
        let [first_column, first_row] = [left, top].map(|at| at & !1);
        let [width, height] = [right - first_column, bottom - first_row].map(|length| (length + 1) & !1);
        let mut alpha = vec![0; (width * height) as usize];
        let rows = alpha.chunks_exact_mut(width as usize).skip((top - first_row) as usize);
        for (out, y) in rows.zip(top..bottom) {
            let from = &self.view().row((y - self.square[1]) as usize)[(left - self.square[0]) as usize..];
            let inside = &mut out[(left - first_column) as usize..(right - first_column) as usize];
            inside.copy_from_slice(&from[..inside.len()]);
        }
        let [x, y, width, height] = [first_column, first_row, width, height].map(|at| at as u32);
        MaskPatch { rect: Rect::new(x, y, width, height), alpha }
    }

    /// What of the box lies both in the square and on the canvas, which is cut to even sides.
    fn shown(&self, face_box: [i32; 4], canvas: [u32; 2]) -> [i32; 4] {
        let [width, height] = canvas.map(|side| (side & !1).min(i32::MAX as u32) as i32);
        let [left, top, right, bottom] = within(face_box, self.square).map(|at| at as i32);
        let column = |at: i32| (at + self.square[0]).clamp(0, width);
        let row = |at: i32| (at + self.square[1]).clamp(0, height);
        [column(left), row(top), column(right), row(bottom)]
    }

    /// The smallest rectangle with all of `part`'s pixels whose alpha is not zero; coordinates of the source.
    fn bounds(&self, [left, top, right, bottom]: [i32; 4]) -> Option<[i32; 4]> {
        let mut bounds: Option<[i32; 4]> = None;
        for y in top..bottom {
            let row = self.view().row((y - self.square[1]) as usize);
            let part = &row[(left - self.square[0]) as usize..(right - self.square[0]) as usize];
            let Some(first) = part.iter().position(|alpha| *alpha > 0) else { continue };
            let last = part.iter().rposition(|alpha| *alpha > 0).unwrap_or(first);
            let (from, to) = (left + first as i32, left + last as i32 + 1);
            bounds = Some(match bounds {
                None => [from, y, to, y + 1],
                Some([x1, y1, x2, _]) => [x1.min(from), y1, x2.max(to), y + 1],
            });
        }
        bounds
    }
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
