//! The parts of a face by its landmarks alone, for bundles without a face parser.
//!
//! In: 68 points and the square that a mask is made for, pixels of the source. Out: a label map like the
//! parser's, 512 × 512 over the square, with four parts:
//!
//! | part | outline |
//! | --- | --- |
//! | skin | the jaw from ear to ear, closed along the brows |
//! | nose | from the bridge round the nostrils |
//! | lips | the outer contour of the mouth, both lips under one label, since every mask takes both |
//! | mouth | the inner contour |
//!
//! A parser follows the skin's true edge and sees hair, hands and glasses; this does not. The mask's blur
//! hides most of the difference, and a mask that is too small shows less of the generated face, never a wrong
//! one.

use super::boxes::Points;
use super::parsing::{MOUTH, NOSE, SIDE, SKIN, UPPER_LIP};
use crate::image::{Picture, ViewMut};

/// Draws the label map of the face at `points` over `square` (of [`mask::square`](crate::mask::square)): u8
/// `[512, 512]`.
pub fn by_landmarks(points: &Points, [left, top, right, _]: [i32; 4]) -> Picture<1> {
    let scale = SIDE as f64 / f64::from(right.abs_diff(left).max(1));
    let place = |index: usize| {
        let [x, y] = points[index].map(f64::from);
        [(x - f64::from(left)) * scale, (y - f64::from(top)) * scale]
    };
    let mut labels = Picture::new(SIDE, SIDE);
    let jaw = (0..17).chain((17..27).rev());
    let nose = [27, 31, 32, 33, 34, 35].into_iter();
    for (label, outline) in [
        (SKIN, jaw.map(place).collect::<Vec<_>>()),
        (NOSE, nose.map(place).collect()),
        (UPPER_LIP, (48..60).map(place).collect()),
        (MOUTH, (60..68).map(place).collect()),
    ] {
        fill(&mut labels.view_mut(), &outline, label);
    }
    labels
}

/// Gives `label` to the pixels whose centres lie inside `outline`, by the even-odd rule.
fn fill(labels: &mut ViewMut<'_, 1>, outline: &[[f64; 2]], label: u8) {
    let mut crossings: Vec<f64> = Vec::new();
    for row in 0..SIDE {
        let y = row as f64 + 0.5;
        crossings.clear();
        let next = outline.iter().cycle().skip(1);
        for ([x0, y0], [x1, y1]) in outline.iter().zip(next) {
            // Half open, so that a corner on the row counts once.
            if (*y0 <= y) != (*y1 <= y) {
                crossings.push(x0 + (y - y0) / (y1 - y0) * (x1 - x0));
            }
        }
        crossings.sort_by(f64::total_cmp);
        for inside in crossings.chunks_exact(2) {
            let [first, last] =
                [inside[0], inside[1]].map(|x| (x - 0.5).ceil().clamp(0.0, SIDE as f64) as usize);
            labels.row_mut(row)[first..last.max(first)].fill(label);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A face over a square of 256 pixels from (100, 50) on: two units of the map for a pixel.
    fn points() -> Points {
        std::array::from_fn(|i| {
            let [x, y] = match i {
                0..17 => {
                    let angle = std::f32::consts::PI * (1.0 - i as f32 / 16.0);
                    [128.0 + 80.0 * angle.cos(), 100.0 + 120.0 * angle.sin()]
                }
                17..27 => [56.0 + 16.0 * (i - 17) as f32, 60.0],
                27..31 => [128.0, 80.0 + 15.0 * (i - 27) as f32],
                31..36 => [108.0 + 10.0 * (i - 31) as f32, 140.0],
                36..48 => [60.0, 80.0],
                48..55 => [98.0 + 10.0 * (i - 48) as f32, if i == 48 || i == 54 { 180.0 } else { 170.0 }],
                55..60 => [148.0 - 10.0 * (i - 55) as f32, 195.0],
                60..65 => [108.0 + 10.0 * (i - 60) as f32, if i == 60 || i == 64 { 180.0 } else { 176.0 }],
                _ => [138.0 - 10.0 * (i - 65) as f32, 186.0],
            };
            [x + 100.0, y + 50.0]
        })
    }

    fn at(labels: &Picture<1>, x: usize, y: usize) -> u8 {
        labels.pixels()[2 * y * SIDE + 2 * x]
    }

    #[test]
    fn parts_lie_where_the_points_say() {
        let labels = by_landmarks(&points(), [100, 50, 356, 306]);
        assert_eq!(at(&labels, 70, 100), SKIN);
        assert_eq!(at(&labels, 128, 215), SKIN, "above the chin, at 220");
        assert_eq!(at(&labels, 128, 225), 0, "below it");
        assert_eq!(at(&labels, 128, 50), 0, "above the brows");
        assert_eq!(at(&labels, 128, 130), NOSE);
        assert_eq!(at(&labels, 128, 173), UPPER_LIP);
        assert_eq!(at(&labels, 128, 190), UPPER_LIP);
        assert_eq!(at(&labels, 128, 180), MOUTH);
        // Half an ellipse of 80 by 120 pixels and the strip up to the brows, within a hundredth.
        let face = labels.pixels().iter().filter(|label| **label != 0).count() as f64 / 4.0;
        let expected = std::f64::consts::PI * 80.0 * 120.0 / 2.0 + (144.0 + 160.0) / 2.0 * 40.0;
        assert!((face / expected - 1.0).abs() < 0.01, "{face} of {expected}");
    }

    #[test]
    fn what_lies_outside_the_square_is_left_out() {
        let part = by_landmarks(&points(), [228, 150, 292, 214]);
        assert!(part.pixels().contains(&SKIN) && part.pixels().contains(&NOSE));
        let far = by_landmarks(&points(), [10_000, -10_000, 10_064, -9_936]);
        assert!(far.pixels().iter().all(|label| *label == 0));
        // Points that are none make a map, whatever is on it.
        by_landmarks(&[[f32::NAN; 2]; 68], [0, 0, 64, 64]);
        by_landmarks(&[[f32::INFINITY; 2]; 68], [0, 0, 64, 64]);
    }
}
