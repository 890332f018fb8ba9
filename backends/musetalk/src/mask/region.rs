//! What is drawn over, by the parts of the face.
//!
//! In: the label map of face parsing, u8 `[512, 512]`. Out: u8 `[512, 512]`, 255 where the generated face shows.

use crate::face::parsing::{LOWER_LIP, MOUTH, NECK, NOSE, SIDE, SKIN, UPPER_LIP};
use crate::image::{Element, Picture, Run, View, dilate, erode};
use crate::settings::MaskMode;

/// Maps labels to what is drawn over. `cheeks` are columns left and right of the middle from which on, in the jaw mode,
/// the face is made narrower; they themselves are.
///
/// Panics when `labels` has another size: a bug of the caller.
pub fn region(labels: View<'_, 1>, mode: MaskMode, cheeks: [u32; 2]) -> Picture<1> {
    assert_eq!([labels.width(), labels.height()], [SIDE, SIDE], "size of a label map");
    match mode {
        MaskMode::Raw => paint(labels, |label| matches!(label, SKIN | MOUTH | UPPER_LIP | LOWER_LIP)),
        MaskMode::Neck => paint(labels, |label| matches!(label, SKIN | MOUTH | UPPER_LIP | LOWER_LIP | NECK)),
        MaskMode::Jaw => jaw(labels, cheeks),
    }
}

/// The skin grows, mostly upwards so that it closes over the mouth and what covers the cheeks; at its sides it is then
/// made narrower again, so that the outline of the face stays the source's.
fn jaw(labels: View<'_, 1>, cheeks: [u32; 2]) -> Picture<1> {
    let skin = paint(labels, |label| label == SKIN);
    let grown = dilate(skin.view(), &cone());
    let cheek = cheek();
    let narrowed = erode(erode(grown.view(), &cheek).view(), &cheek);
    let middle = SIDE as u32 / 2;
    let left = middle.saturating_sub(cheeks[0]) as usize;
    let right = middle.saturating_add(cheeks[1]) as usize;
    let mut out = grown;
    let mut view = out.view_mut();
    for (y, (labels, narrowed)) in labels.rows().zip(narrowed.view().rows()).enumerate() {
        for (x, out) in view.row_mut(y).iter_mut().enumerate() {
            if x <= left || x >= right {
                *out = narrowed[x];
            }
            match labels[x] {
                NOSE => *out = 0,
                MOUTH | UPPER_LIP | LOWER_LIP => *out = 255,
                _ => {}
            }
        }
    }
    out
}

fn paint(labels: View<'_, 1>, drawn: impl Fn(u8) -> bool) -> Picture<1> {
    let pixels = labels.rows().flatten().map(|label| if drawn(*label) { 255 } else { 0 }).collect();
    Picture::from_pixels(pixels, labels.width(), labels.height())
}

/// What the skin grows by: a triangle from 6 rows above the pixel down to 4 below it, then a bar to 16 below, so that a
/// pixel of skin grows by 16 rows upwards, by 6 to a point downwards, and by 10 to each side.
fn cone() -> Element {
    Element(
        (-6..=16)
            .map(|dy: i32| {
                let half = (dy + 6).min(10);
                Run { dy, left: -half, right: half }
            })
            .collect(),
    )
}

/// OpenCV's ellipse of 35×3 pixels: a line, and one pixel above and below its middle.
fn cheek() -> Element {
    let point = |dy| Run { dy, left: 0, right: 0 };
    Element(vec![point(-1), Run { dy: 0, left: -17, right: 17 }, point(1)])
}
