//! A generated face on its frame, as the reference composes it.
//!
//! It works on whole squares and makes new pictures on the way: for comparisons and for offline use. The live path sends
//! a [`MaskPatch`](super::MaskPatch) and lets the host blend, which gives the same pixels.

use super::Mask;
use crate::image::{Bilinear, Picture, View, ViewMut, crop, paste, paste_masked};

/// Lays `face` (RGB of any size, resized to `face_box`) over `frame` through `mask`, which was made for that box.
pub fn blend(
    frame: &mut ViewMut<'_, 3>,
    face: View<'_, 3>,
    face_box: [i32; 4],
    mask: &Mask,
    resizer: &mut Bilinear,
) {
    let [x1, y1, x2, y2] = face_box;
    let [left, top, ..] = mask.square;
    let mut resized = Picture::new(x1.abs_diff(x2) as usize, y1.abs_diff(y2) as usize);
    let size = [resized.width(), resized.height()];
    resizer.resize(face, size, [0, 0], &mut resized.view_mut());
    let mut square = crop(frame.view(), mask.square);
    paste(&mut square.view_mut(), resized.view(), [x1 - left, y1 - top]);
    paste_masked(frame, square.view(), mask.view(), [left, top]);
}
