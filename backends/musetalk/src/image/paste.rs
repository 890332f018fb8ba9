//! A picture laid over another, opaque or through a mask (`Image.paste` of Pillow); what falls outside is ignored.

use std::ops::Range;

use super::{View, ViewMut};

/// Lays `picture` over `onto`, its corner at column and row `at`.
pub fn paste<const C: usize>(onto: &mut ViewMut<'_, C>, picture: View<'_, C>, at: [i32; 2]) {
    over(onto, picture, at, |under, over, _, _| under.copy_from_slice(over));
}

/// Lays `picture` over `onto` through `mask`, of the picture's size: 255 shows the picture, 0 what is below.
///
/// Panics when the mask has another size: a bug of the caller.
pub fn paste_masked<const C: usize>(
    onto: &mut ViewMut<'_, C>,
    picture: View<'_, C>,
    mask: View<'_, 1>,
    at: [i32; 2],
) {
    assert_eq!([mask.width(), mask.height()], [picture.width(), picture.height()], "size of a mask");
    over(onto, picture, at, |under, over, columns, y| blend(under, over, &mask.row(y)[columns]));
}

/// `over·mask + under·(255 − mask)` by 255, rounded. All sums stay below 2^16.
fn blend<const C: usize>(under: &mut [[u8; C]], over: &[[u8; C]], mask: &[u8]) {
    for ((under, over), mask) in under.iter_mut().zip(over).zip(mask) {
        let mask = u16::from(*mask);
        for (under, over) in under.iter_mut().zip(over) {
            let sum = u16::from(*over) * mask + u16::from(*under) * (255 - mask) + 128;
            *under = (((sum >> 8) + sum) >> 8) as u8;
        }
    }
}

/// Calls `row(under, over, columns, y)` with the pixels of each row of `picture` that lies on `onto`; `columns` and `y`
/// count in `picture`.
fn over<const C: usize>(
    onto: &mut ViewMut<'_, C>,
    picture: View<'_, C>,
    [left, top]: [i32; 2],
    row: impl Fn(&mut [[u8; C]], &[[u8; C]], Range<usize>, usize),
) {
    let columns = overlap(picture.width(), onto.width(), left);
    let rows = overlap(picture.height(), onto.height(), top);
    for y in 0..rows.length {
        let (over, _) = picture.row(rows.piece + y).as_chunks();
        let (under, _) = onto.row_mut(rows.room + y).as_chunks_mut();
        let pieces = columns.piece..columns.piece + columns.length;
        row(&mut under[columns.room..][..columns.length], &over[pieces.clone()], pieces, rows.piece + y);
    }
}

/// The part of a piece that falls on a room, along one axis.
pub(super) struct Overlap {
    /// Where it begins in the piece.
    pub(super) piece: usize,
    /// Where it begins in the room.
    pub(super) room: usize,
    /// Pixels.
    pub(super) length: usize,
}

/// What of `length` pixels, the first of them at `at`, falls on `0..room`.
pub(super) fn overlap(length: usize, room: usize, at: i32) -> Overlap {
    let (length, room, at) = (length as i64, room as i64, i64::from(at));
    let start = at.clamp(0, room);
    let end = (at + length).clamp(0, room);
    // When nothing does, both beginnings are still places to begin a slice at.
    let piece = (start - at).clamp(0, length);
    Overlap { piece: piece as usize, room: start as usize, length: (end - start) as usize }
}
