//! A rectangle cut out of a picture, black where it leaves it (`Image.crop` of Pillow).

use super::{Picture, View, paste};

/// Cuts `[x1, y1, x2, y2]` (right and bottom exclusive, any of them outside) out of `source`.
///
/// Panics when the rectangle is inside out: a bug of the caller.
pub fn crop<const C: usize>(source: View<'_, C>, [x1, y1, x2, y2]: [i32; 4]) -> Picture<C> {
    assert!(x1 <= x2 && y1 <= y2, "a rectangle ends before it begins");
    let mut out = Picture::new(x2.abs_diff(x1) as usize, y2.abs_diff(y1) as usize);
    paste(&mut out.view_mut(), source, [-x1, -y1]);
    out
}
