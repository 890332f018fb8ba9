//! Which part of the face each pixel belongs to: BiSeNet's input, and its output as labels.
//!
//! In: a frame, RGB, and the square around its face. Out: u8 `[512, 512]`, one of 19 labels a pixel.

use super::planes::{planes, table};
use crate::bundle::ports::{LABELS, PARSED};
use crate::image::{Filter, Picture, View, crop, resample};

/// Columns and rows that the network sees, and of its labels.
pub const SIDE: usize = PARSED;
/// Values of one input: `[3, 512, 512]`.
pub const INPUT: usize = 3 * SIDE * SIDE;
/// Values of one output: `[19, 512, 512]`.
pub const LOGITS: usize = LABELS * SIDE * SIDE;

// In the order of the published checkpoint, which is not that of the CelebAMask-HQ data set.
/// Label of the face's skin.
pub const SKIN: u8 = 1;
/// Label of the nose.
pub const NOSE: u8 = 10;
/// Label of the inside of the mouth.
pub const MOUTH: u8 = 11;
/// Label of the upper lip.
pub const UPPER_LIP: u8 = 12;
/// Label of the lower lip.
pub const LOWER_LIP: u8 = 13;
/// Label of the neck.
pub const NECK: u8 = 14;

/// Mean and deviation of ImageNet's colours, by which the network was trained.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// Writes the network's input for `square` (of [`mask::square`](crate::mask::square)) of a frame, RGB, to `out`, f32
/// `[3, 512, 512]`.
///
/// Panics when `out` has another length: a bug of the caller.
pub fn input(frame: View<'_, 3>, square: [i32; 4], out: &mut [f32]) {
    let table = table(|channel, byte| (byte / 255.0 - MEAN[channel]) / DEVIATION[channel]);
    planes(picture(frame, square).view(), &table, out);
}

/// The picture that the network sees: the square, black outside the frame, 512×512.
pub fn picture(frame: View<'_, 3>, square: [i32; 4]) -> Picture<3> {
    resample(crop(frame, square).view(), [SIDE, SIDE], Filter::Bilinear)
}

/// The label of the largest of the logits, f32 `[19, 512, 512]`, for each pixel; the first of equal ones.
///
/// Panics when `logits` has another length: a bug of the caller.
pub fn labels(logits: &[f32]) -> Picture<1> {
    assert_eq!(logits.len(), LOGITS, "values of face parsing");
    let mut labels = vec![0; SIDE * SIDE];
    let mut most = [0.0; SIDE];
    for (y, labels) in labels.chunks_exact_mut(SIDE).enumerate() {
        most.fill(f32::NEG_INFINITY);
        for (label, plane) in (0..).zip(logits.chunks_exact(SIDE * SIDE)) {
            for ((most, found), value) in most.iter_mut().zip(&mut *labels).zip(&plane[y * SIDE..]) {
                // Without a branch, so that a compiler makes vectors of it.
                let more = u8::from(*value > *most).wrapping_neg();
                *most = most.max(*value);
                *found = (*found & !more) | (label & more);
            }
        }
    }
    Picture::from_pixels(labels, SIDE, SIDE)
}
