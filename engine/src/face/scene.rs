//! Notices scene cuts: frames that do not continue the one before.

use super::RgbView;

const SIDE: usize = 16;
/// Mean difference of the thumbnails, grey levels of 255: a cut when above this…
const LEAST: f32 = 18.0;
/// …and so many times what the frames before differed by, so that fast movement is none.
const SURGE: f32 = 4.0;

/// Compares each frame with the one before on a thumbnail.
#[derive(Default)]
pub(crate) struct SceneWatch {
    last: Option<[f32; SIDE * SIDE]>,
    /// Running mean of the difference.
    usual: f32,
}

impl SceneWatch {
    pub(crate) fn is_cut(&mut self, image: RgbView<'_>) -> bool {
        let now = thumbnail(image);
        let Some(last) = self.last.replace(now) else { return false };
        let difference = now.iter().zip(&last).map(|(a, b)| (a - b).abs()).sum::<f32>() / now.len() as f32;
        let cut = difference > LEAST && difference > SURGE * self.usual;
        if !cut {
            self.usual += (difference - self.usual) * 0.2;
        }
        cut
    }
}

/// Means of a sparse grid: a few thousand samples of the frame, whatever its size.
fn thumbnail(image: RgbView<'_>) -> [f32; SIDE * SIDE] {
    const SAMPLES: usize = 4;
    std::array::from_fn(|cell| {
        let (column, row) = (cell % SIDE * SAMPLES, cell / SIDE * SAMPLES);
        let mut sum = 0.0;
        for (dy, dx) in (0..SAMPLES).flat_map(|dy| (0..SAMPLES).map(move |dx| (dy, dx))) {
            let x = (column + dx) * image.width() / (SIDE * SAMPLES);
            let y = (row + dy) * image.height() / (SIDE * SAMPLES);
            sum += image.intensity(x as i64, y as i64);
        }
        sum / (SAMPLES * SAMPLES) as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_seen_and_movement_is_not() {
        let (width, height) = (64, 48);
        let frame = |shift: usize, dark: bool| -> Vec<u8> {
            (0..width * height * 3)
                .map(|at| {
                    let bright = ((at / 3 % width + shift) / 16).is_multiple_of(2) != dark;
                    if bright { 210 } else { 30 }
                })
                .collect()
        };
        let mut watch = SceneWatch::default();
        let mut cut = |data: Vec<u8>| watch.is_cut(RgbView::new(width, height, &data));
        for shift in 0..12 {
            assert!(!cut(frame(shift, false)), "moving by {shift} is no cut");
        }
        assert!(cut(frame(12, true)));
        assert!(!cut(frame(12, true)));
    }
}
