//! A patch laid out for reading between its pixels.
//!
//! In: RGB24. Out: colours at any place, bilinear in steps of 1/256 of a pixel; whole pixels come out as they are.

use super::render::Patch;

/// Pixels with 16 bits for each of R, G, B: the weights of a bilinear mean, 256 together, fit on top of 8 bits, so that
/// one multiplication weighs all three.
#[derive(Debug, Default)]
pub(super) struct Texture {
    pixels: Vec<u64>,
    width: usize,
    /// Largest coordinates that can be read, in 1/256 pixels.
    most: [i32; 2],
}

impl Texture {
    pub(super) fn load(&mut self, patch: Patch<'_>) {
        let [width, height] = patch.size();
        self.width = width;
        self.most = [width, height].map(|side| (side as i32 - 1) * 256 - 1);
        self.pixels.clear();
        let spread = |p: &[u8]| u64::from(p[0]) | u64::from(p[1]) << 16 | u64::from(p[2]) << 32;
        self.pixels.extend(patch.data().chunks_exact(3).map(spread));
    }

    /// The colour at a place; the border pixels go on outside.
    pub(super) fn sample(&self, x: f32, y: f32) -> [u8; 3] {
        let x = ((x * 256.0) as i32).clamp(0, self.most[0]);
        let y = ((y * 256.0) as i32).clamp(0, self.most[1]);
        let first = (y >> 8) as usize * self.width + (x >> 8) as usize;
        let (fx, fy) = ((x & 255) as u64, (y & 255) as u64);
        let pair = |at: usize| {
            let two = &self.pixels[at..at + 2];
            ((two[0] * (256 - fx) + two[1] * fx + 0x0080_0080_0080) >> 8) & 0x00ff_00ff_00ff
        };
        let (top, bottom) = (pair(first), pair(first + self.width));
        let mean = top * (256 - fy) + bottom * fy + 0x0080_0080_0080;
        [(mean >> 8) as u8, (mean >> 24) as u8, (mean >> 40) as u8]
    }
}
