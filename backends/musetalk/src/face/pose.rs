//! The landmarks of DWPose (RTMPose-l, whole body): its input, and its output as points.
//!
//! In: a frame, RGB. Out: 133 points in pixels of the frame, of which 68 are the face, in iBUG's order.
//! The whole frame is the person's box: no detector runs before it.
//!
//! ```text
//! frame ─► input ─┬──────────► network ─► SimCC vectors ─┐
//!                 └─► mirror ─► network ─► SimCC vectors ─┴─► merge_mirrored ─► decode ─► face
//! ```
//!
//! A SimCC vector has a value for every half pixel of the input's width or height; the point is where it is largest.

use super::planes::{planes, table};
use crate::bundle::ports::{BODY_POINTS, POSE_COLUMNS, POSE_ROWS};
use crate::image::{View, warp_affine};

/// Columns that the network sees.
pub const WIDTH: usize = POSE_COLUMNS;
/// Rows that the network sees.
pub const HEIGHT: usize = POSE_ROWS;
/// Values of one input: `[3, 384, 288]`.
pub const INPUT: usize = 3 * WIDTH * HEIGHT;
/// Points that the network finds: body 17, feet 6, face 68, hands 42.
pub const POINTS: usize = BODY_POINTS;
/// Values for each point along x.
pub const BINS_X: usize = BINS * WIDTH;
/// Values for each point along y.
pub const BINS_Y: usize = BINS * HEIGHT;
/// Points of the face.
pub const FACE_POINTS: usize = 68;

/// Values for each pixel.
const BINS: usize = 2;
/// The first point of the face.
const FIRST_FACE_POINT: usize = 23;
/// The network sees this much of the frame's sides, as it was trained on boxes with a margin.
const MARGIN: f32 = 1.25;
/// Mean and deviation of ImageNet's colours, in 255ths.
const MEAN: [f32; 3] = [123.675, 116.28, 103.53];
const DEVIATION: [f32; 3] = [58.395, 57.12, 57.375];

/// A point that the network found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Column and row of the frame, in pixels.
    pub at: [f64; 2],
    /// The smaller of its two largest SimCC values: how sure it is, without a scale. Not above zero: not found, and
    /// `at` is a corner.
    pub score: f32,
}

/// What of a frame the network sees.
#[derive(Debug, Clone, Copy)]
struct Framing {
    centre: [f32; 2],
    /// Width and height, in pixels of the frame; of the input's proportions, larger than the frame.
    extent: [f32; 2],
}

/// Writes the network's input for a frame, RGB, to `out`, f32 `[3, 384, 288]`.
///
/// Panics when `out` has another length: a bug of the caller.
pub fn input(frame: View<'_, 3>, out: &mut [f32]) {
    let framing = Framing::of([frame.width(), frame.height()]);
    let table = table(|channel, byte| (byte - MEAN[channel]) / DEVIATION[channel]);
    planes(warp_affine(frame, framing.forward(), [WIDTH, HEIGHT]).view(), &table, out);
}

/// Writes an input that shows `input` in a mirror to `out`.
pub fn mirror(input: &[f32], out: &mut [f32]) {
    for (out, row) in out.chunks_exact_mut(WIDTH).zip(input.chunks_exact(WIDTH)) {
        out.iter_mut().zip(row.iter().rev()).for_each(|(out, value)| *out = *value);
    }
}

/// Takes the mean of the SimCC vectors of an input, `x` f32 `[133, 576]` and `y` f32 `[133, 768]`, and those of its
/// mirror image: a left eye in the mirror is a right one, counted from the other side.
///
/// Panics when the lengths differ: a bug of the caller.
pub fn merge_mirrored(x: &mut [f32], y: &mut [f32], mirrored_x: &[f32], mirrored_y: &[f32]) {
    assert_lengths(x, y);
    assert_lengths(mirrored_x, mirrored_y);
    let mean = |value: &mut f32, other: &f32| *value = (*value + other) * 0.5;
    for (point, (x, y)) in x.chunks_exact_mut(BINS_X).zip(y.chunks_exact_mut(BINS_Y)).enumerate() {
        let other = mirrored(point);
        let from_right = mirrored_x[other * BINS_X..][..BINS_X].iter().rev();
        x.iter_mut().zip(from_right).for_each(|(value, other)| mean(value, other));
        y.iter_mut().zip(&mirrored_y[other * BINS_Y..]).for_each(|(value, other)| mean(value, other));
    }
}

/// The points of a frame of `size` (columns, rows) from its SimCC vectors, `x` f32 `[133, 576]` and `y` f32
/// `[133, 768]`: where they are largest. With `refine`, the top of a parabola through the largest value and its
/// neighbours, so that a still head does not jump from bin to bin; the reference does not.
///
/// Panics when a length is another: a bug of the caller.
pub fn decode(x: &[f32], y: &[f32], size: [usize; 2], refine: bool) -> [Point; POINTS] {
    assert_lengths(x, y);
    let framing = Framing::of(size);
    std::array::from_fn(|point| {
        let x = &x[point * BINS_X..][..BINS_X];
        let y = &y[point * BINS_Y..][..BINS_Y];
        let largest = [x, y].map(largest);
        let score = if x[largest[0]] > y[largest[1]] { y[largest[1]] } else { x[largest[0]] };
        // The reference marks what it did not find, and then maps the mark like any place.
        let bins = match (score > 0.0, refine) {
            (false, _) => [-1.0; 2],
            (true, false) => largest.map(|bin| bin as f64),
            (true, true) => [top(x, largest[0]), top(y, largest[1])],
        };
        Point { at: framing.to_frame(bins.map(|bin| bin / BINS as f64)), score }
    })
}

/// The face among the points, in iBUG's order.
pub fn face(points: &[Point; POINTS]) -> [Point; FACE_POINTS] {
    std::array::from_fn(|point| points[FIRST_FACE_POINT + point])
}

/// The pixel that the reference takes a point for: without its fraction.
pub fn truncate(points: &[Point; FACE_POINTS]) -> [[i32; 2]; FACE_POINTS] {
    points.map(|point| point.at.map(|at| at as i32))
}

/// The point that a point is in the mirror, by COCO-WholeBody's order.
fn mirrored(point: usize) -> usize {
    // Of two runs of points that face each other the first and the last swap, and so on inwards.
    let across = |sum: usize| FIRST_FACE_POINT + sum - (point - FIRST_FACE_POINT);
    match point {
        0 => 0,
        // Body, left and right in turns.
        1..=16 if point % 2 == 1 => point + 1,
        1..=16 => point - 1,
        // Feet.
        17..=19 => point + 3,
        20..=22 => point - 3,
        // Jaw line, brows, bridge of the nose, nostrils, eyes, then four rows of lips.
        23..=39 => across(16),
        40..=49 => across(43),
        50..=53 => point,
        54..=58 => across(66),
        59..=62 | 65..=68 => across(81),
        63 | 64 | 69 | 70 => across(87),
        71..=77 => across(102),
        78..=82 => across(114),
        83..=87 => across(124),
        88..=90 => across(132),
        // Hands.
        91..=111 => point + 21,
        _ => point - 21,
    }
}

impl Framing {
    fn of([width, height]: [usize; 2]) -> Self {
        const PROPORTION: f32 = WIDTH as f32 / HEIGHT as f32;
        let [width, height] = [width as f32, height as f32];
        let [wide, high] = [width, height].map(|side| side * MARGIN);
        let extent =
            if wide > high * PROPORTION { [wide, wide / PROPORTION] } else { [high * PROPORTION, high] };
        Self { centre: [width * 0.5, height * 0.5], extent }
    }

    /// The map from the frame to the input, for [`warp_affine`].
    fn forward(&self) -> [[f64; 3]; 2] {
        let scale = WIDTH as f64 / f64::from(self.extent[0]);
        let [x, y] = self.centre.map(f64::from);
        [[scale, 0.0, WIDTH as f64 / 2.0 - scale * x], [0.0, scale, HEIGHT as f64 / 2.0 - scale * y]]
    }

    /// A place of the input in the frame. In the reference's order of operations: the fraction is cut off afterwards, and
    /// a whole number must not come out a little smaller.
    fn to_frame(self, place: [f64; 2]) -> [f64; 2] {
        let sides = [WIDTH, HEIGHT];
        std::array::from_fn(|axis| {
            let extent = f64::from(self.extent[axis]);
            place[axis] / sides[axis] as f64 * extent + f64::from(self.centre[axis]) - 0.5 * extent
        })
    }
}

/// The first bin of the largest value.
fn largest(values: &[f32]) -> usize {
    let mut found = 0;
    for (bin, value) in values.iter().enumerate() {
        if *value > values[found] {
            found = bin;
        }
    }
    found
}

/// The top of the parabola through the value of `bin`, the largest, and its neighbours'; half a bin away at most.
fn top(values: &[f32], bin: usize) -> f64 {
    let Some(&[before, at, after]) = bin.checked_sub(1).and_then(|first| values.get(first..first + 3)) else {
        return bin as f64;
    };
    let [before, at, after] = [before, at, after].map(f64::from);
    let bend = before - 2.0 * at + after;
    if bend < 0.0 { bin as f64 + 0.5 * (before - after) / bend } else { bin as f64 }
}

fn assert_lengths(x: &[f32], y: &[f32]) {
    assert_eq!([x.len(), y.len()], [POINTS * BINS_X, POINTS * BINS_Y], "values of SimCC vectors");
}
