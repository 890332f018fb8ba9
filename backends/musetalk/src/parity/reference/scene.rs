//! The made-up head: source frames and labels by formula, as `tools/musetalk/scene.py` makes them.

use super::super::made::{Stream, backdrop};

/// Columns of a source frame.
pub(super) const WIDTH: usize = 480;
/// Rows of a source frame.
pub(super) const HEIGHT: usize = 360;
/// Columns and rows of a label map.
const LABELS: usize = 512;

/// An ellipse: from the middle of the head right and down, half its width and height, and the RGB that it is
/// tinted with.
type Oval = ([i64; 2], [i64; 2], [u16; 3]);

/// The head, painted in this order: skin, eyes, brows, nose, lips, mouth.
const HEAD: [Oval; 10] = [
    ([0, 0], [58, 76], [214, 170, 148]),
    ([-23, -14], [12, 6], [236, 236, 232]),
    ([23, -14], [12, 6], [236, 236, 232]),
    ([-22, -14], [5, 5], [60, 44, 36]),
    ([24, -14], [5, 5], [60, 44, 36]),
    ([-23, -28], [15, 4], [82, 58, 44]),
    ([23, -28], [15, 4], [82, 58, 44]),
    ([0, 8], [8, 17], [196, 148, 126]),
    ([0, 40], [22, 9], [170, 74, 78]),
    ([0, 41], [14, 4], [74, 24, 30]),
];
/// The middle of the head in each frame.
const CENTRES: [[i64; 2]; 2] = [[233, 168], [239, 172]];

/// Source frame `number`, 0 or 1: RGB `[360, 480, 3]`.
pub(super) fn frame(number: usize) -> Vec<u8> {
    let mut picture = backdrop(&format!("frame{number}"), WIDTH, HEIGHT);
    for (middle, half, colour) in HEAD {
        let [x, y] = [0, 1].map(|axis| CENTRES[number][axis] + middle[axis]);
        let [a, b] = half.map(|half| half * half);
        for (at, pixel) in picture.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let (dx, dy) = ((at % WIDTH) as i64 - x, (at / WIDTH) as i64 - y);
            if dx * dx * b + dy * dy * a <= a * b {
                for (value, tint) in pixel.iter_mut().zip(colour) {
                    *value = ((u16::from(*value) + 3 * tint) / 4) as u8;
                }
            }
        }
    }
    picture
}

/// A label map, u8 `[512, 512]`: labels in cells of 16×16, the words of stream `LAB` modulo 19, and over them
/// a face of rectangles.
pub(super) fn labels() -> Vec<u8> {
    const CELLS: usize = 32;
    let mut stream = Stream::new("LAB");
    let cells: Vec<u8> = (0..CELLS * CELLS).map(|_| (stream.word() % 19) as u8).collect();
    let cell = LABELS / CELLS;
    let mut labels: Vec<u8> =
        (0..LABELS * LABELS).map(|at| cells[at / LABELS / cell * CELLS + at % LABELS / cell]).collect();
    for (rows, columns, label) in [
        (96..448, 112..400, 1),
        (224..288, 232..280, 10),
        (320..352, 200..312, 12),
        (352..360, 200..312, 11),
        (360..392, 200..312, 13),
    ] {
        rows.for_each(|row| labels[row * LABELS..][columns.clone()].fill(label));
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::super::super::compare::crc32;
    use super::*;

    #[test]
    fn the_label_map_is_the_one_that_the_reference_was_measured_with() {
        assert_eq!(crc32(&labels()), 0xa35f_7047);
    }
}
