//! The mask that a generated face is blended with.
//!
//! ```text
//! label map ─► region ─► Mask ─┬─► blend        face + frame ─► frame, as the reference composes it
//!                              └─► MaskPatch    what the live path needs: a rectangle and its alpha
//! ```
//!
//! A face box is `[x1, y1, x2, y2]` in pixels of the source, right and bottom exclusive; it may leave the picture.

mod blend;

mod patch;

mod region;

pub use blend::blend;
pub use patch::{MaskPatch, draw_patch};
pub use region::region;

use crate::image::{Filter, Picture, View, gaussian_blur, resample};

/// Width of the feathered edge over the side of the square: of the reference's real-time script, and ours.
pub const FEATHER: f64 = 0.1;
/// The same of the reference's offline script.
pub const OFFLINE_FEATHER: f64 = 0.05;

/// Sides of a face box that can be drawn over; a larger one is a mistake, and its mask would not fit in memory.
const SIDES: std::ops::RangeInclusive<i32> = 2..=8192;
/// How far from the picture's corner a box may be.
const FAR: i32 = 1 << 20;

/// How much of a generated face shows at each pixel of the square around its box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// `[x1, y1, x2, y2]` in the source, right and bottom exclusive; it may leave the picture.
    pub square: [i32; 4],
    /// u8 `[side, side]`: 255 shows the face, 0 the source.
    pub alpha: Vec<u8>,
}

/// Why a box has no mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the face box {0:?} is not one of 2 to 8192 pixels a side in or near the picture")]
pub struct BoxError(pub [i32; 4]);

impl Mask {
    /// Fits `region` (of [`region()`]; it covers the square of [`square`]) to a box: only the box shows, and of the
    /// square only the lower half; then the edge is blurred over `feather` of the square's side.
    ///
    /// # Errors
    /// When the box is empty, inside out or absurdly large.
    pub fn new(region: View<'_, 1>, face_box: [i32; 4], feather: f64) -> Result<Self, BoxError> {
        let square = square(face_box)?;
        let side = side(square);
        let scaled = resample(region, [side, side], Filter::Bicubic);
        let [left, top, right, bottom] = within(face_box, square);
        let top = top.max(side / 2);
        let mut shown = Picture::<1>::new(side, side);
        for y in top..bottom {
            shown.view_mut().row_mut(y)[left..right].copy_from_slice(&scaled.view().row(y)[left..right]);
        }
        let alpha = gaussian_blur(shown.view(), blur_size(side, feather)).into_pixels();
        Ok(Self { square, alpha })
    }

    /// Columns, and rows, of the square.
    pub fn side(&self) -> usize {
        side(self.square)
    }

    /// The alpha as a picture.
    pub fn view(&self) -> View<'_, 1> {
        View::new(&self.alpha, self.side(), self.side())
    }
}

/// The square around the middle of a box, one and a half times its longer side: what face parsing sees.
///
/// # Errors
/// When the box is empty, inside out or absurdly large.
pub fn square(face_box: [i32; 4]) -> Result<[i32; 4], BoxError> {
    let [x1, y1, x2, y2] = face_box;
    if face_box.iter().any(|at| !(-FAR..=FAR).contains(at)) {
        return Err(BoxError(face_box));
    }
    let longer = (x2 - x1).max(y2 - y1);
    if x1 >= x2 || y1 >= y2 || !SIDES.contains(&longer) {
        return Err(BoxError(face_box));
    }
    // Python's `//` rounds down, also below zero.
    let (x, y) = ((x1 + x2).div_euclid(2), (y1 + y2).div_euclid(2));
    let half = longer / 2 * 3 / 2;
    Ok([x - half, y - half, x + half, y + half])
}

/// The odd number of pixels that the edge is blurred over: `int(feather * side // 2 * 2) + 1` of Python.
fn blur_size(side: usize, feather: f64) -> usize {
    ((feather * side as f64) / 2.0).floor() as usize * 2 + 1
}

fn side([x1, _, x2, _]: [i32; 4]) -> usize {
    x1.abs_diff(x2) as usize
}

/// The part of a box that lies in the square, `[left, top, right, bottom]` from the square's corner.
fn within([x1, y1, x2, y2]: [i32; 4], square: [i32; 4]) -> [usize; 4] {
    let side = square[2] - square[0];
    let inside = |at: i32, origin: i32| (at - origin).clamp(0, side) as usize;
    [inside(x1, square[0]), inside(y1, square[1]), inside(x2, square[0]), inside(y2, square[1])]
}
