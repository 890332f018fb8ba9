//! A barcode of frame numbers: black and white blocks in luma, made to survive lossy coding.
//!
//! ```text
//!   8 columns of blocks, 7 rows; white is a 1
//!   row 0      finder   1 0 1 0 1 1 0 0
//!   rows 1-3   video frame number modulo 2^24, most significant bit first, left to right, top down
//!   rows 4-5   avatar frame number modulo 2^16, likewise
//!   row 6      CRC-8 (polynomial 0x07, start 0xFF, no reflection) over the five bytes of rows 1 to 5
//! ```
//!
//! A block is 16 pixels square and the first one starts at (16, 16), so that blocks are macroblocks of
//! H.264; on a canvas smaller than 160x144 all of that is halved. Black is luma 16, white 235, without colour.
//! To read: the mean over the middle half of a block, against the midpoint of the finder's whites and blacks.

use lipcast_plugins_api::types::Rect;

const COLUMNS: usize = 8;
const ROWS: usize = 7;
const FINDER: u8 = 0b1010_1100;
const BLACK: u8 = 16;
const WHITE: u8 = 235;

/// The finder's whites must be this much lighter than its blacks.
const LEAST_CONTRAST: i32 = 60;

/// What the barcode says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Barcode {
    /// Video frame number k modulo 2^24.
    pub frame: u32,
    /// Avatar frame number j modulo 2^16.
    pub avatar_frame: u16,
}

/// Where the barcode lies on a canvas of `width` by `height` pixels; `None` if it is smaller than 80x72.
pub fn place(width: u32, height: u32) -> Option<Rect> {
    let block = match (width, height) {
        (160.., 144..) => 16,
        (80.., 72..) => 8,
        _ => return None,
    };
    Some(Rect::new(block, block, block * COLUMNS as u32, block * ROWS as u32))
}

impl Barcode {
    /// The barcode of video frame `frame` over avatar frame `avatar_frame`.
    pub fn new(frame: u64, avatar_frame: u32) -> Self {
        Self { frame: (frame & 0xFF_FFFF) as u32, avatar_frame: avatar_frame as u16 }
    }

    /// Draws into `luma`, the packed luma plane of `rect` as [`place`] gives it.
    ///
    /// Panics when `luma` is not `rect`'s size: a bug of the caller.
    pub fn draw(self, rect: Rect, luma: &mut [u8]) {
        let (width, height) = (rect.width as usize, rect.height as usize);
        assert_eq!(luma.len(), width * height, "the luma plane of the barcode's own rect");
        let block = width / COLUMNS;
        for (row, bits) in self.rows().into_iter().enumerate() {
            let line: Vec<u8> =
                (0..width).map(|x| if bits << (x / block) & 0x80 != 0 { WHITE } else { BLACK }).collect();
            for y in row * block..(row + 1) * block {
                luma[y * width..(y + 1) * width].copy_from_slice(&line);
            }
        }
    }

    fn rows(self) -> [u8; ROWS] {
        let [_, f2, f1, f0] = self.frame.to_be_bytes();
        let [a1, a0] = self.avatar_frame.to_be_bytes();
        [FINDER, f2, f1, f0, a1, a0, crc8([f2, f1, f0, a1, a0])]
    }
}

/// Reads the barcode of a canvas from its luma plane: `height` rows, `stride` bytes apart.
///
/// `None` where there is no barcode, or one that coding has damaged.
pub fn read(luma: &[u8], width: usize, height: usize, stride: usize) -> Option<Barcode> {
    let rect = place(u32::try_from(width).ok()?, u32::try_from(height).ok()?)?;
    if stride < width || luma.len() < stride * (height - 1) + width {
        return None;
    }
    let block = rect.width as usize / COLUMNS;
    let mean = |row: usize, column: usize| {
        let (x, y) = (block + column * block + block / 4, block + row * block + block / 4);
        let rows = (y..y + block / 2).map(|y| &luma[y * stride + x..][..block / 2]);
        let sum: i32 = rows.flatten().map(|value| i32::from(*value)).sum();
        sum / (block * block / 4) as i32
    };
    let finder = (0..COLUMNS).map(|column| (FINDER << column & 0x80 != 0, mean(0, column)));
    let white = finder.clone().filter(|(is_white, _)| *is_white).map(|(_, mean)| mean).min()?;
    let black = finder.filter(|(is_white, _)| !is_white).map(|(_, mean)| mean).max()?;
    if white - black < LEAST_CONTRAST {
        return None;
    }
    let threshold = (white + black) / 2;
    let byte = |row| (0..COLUMNS).fold(0, |byte, column| byte << 1 | u8::from(mean(row, column) > threshold));
    let barcode = Barcode {
        frame: u32::from_be_bytes([0, byte(1), byte(2), byte(3)]),
        avatar_frame: u16::from_be_bytes([byte(4), byte(5)]),
    };
    (byte(6) == barcode.rows()[6]).then_some(barcode)
}

fn crc8(bytes: [u8; 5]) -> u8 {
    bytes.into_iter().fold(0xFF, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 != 0 { crc << 1 ^ 0x07 } else { crc << 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A grey canvas with the barcode on it.
    fn canvas(width: usize, height: usize, barcode: Barcode) -> Vec<u8> {
        let rect = place(width as u32, height as u32).unwrap();
        let mut patch = vec![0; rect.area() as usize];
        barcode.draw(rect, &mut patch);
        let mut luma = vec![120; width * height];
        for (y, row) in patch.chunks(rect.width as usize).enumerate() {
            let start = (y + rect.y as usize) * width + rect.x as usize;
            luma[start..start + row.len()].copy_from_slice(row);
        }
        luma
    }

    #[test]
    fn what_was_drawn_is_read_back_at_both_sizes() {
        for (width, height) in [(704, 1216), (160, 144), (158, 144), (80, 72)] {
            for (frame, avatar_frame) in [(0, 0), (1, 2), (0xABCDEF, 0x1234), (0xFF_FFFF, 0xFFFF)] {
                let barcode = Barcode::new(frame, avatar_frame);
                let luma = canvas(width, height, barcode);
                assert_eq!(read(&luma, width, height, width), Some(barcode), "{width}x{height}");
            }
        }
        assert_eq!(Barcode::new(0x1_0000_0005, 3), Barcode { frame: 5, avatar_frame: 3 });
    }

    #[test]
    fn a_canvas_without_it_reads_as_none() {
        assert_eq!(read(&vec![120; 704 * 1216], 704, 1216, 704), None);
        assert_eq!(read(&[], 704, 1216, 704), None);
        assert_eq!(read(&[0; 64 * 64], 64, 64, 64), None);
        let noise: Vec<u8> =
            (0..320 * 240_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert_eq!(read(&noise, 320, 240, 320), None);
    }

    #[test]
    fn it_survives_low_contrast_and_noise_but_not_a_wrong_bit() {
        let barcode = Barcode::new(0x5A5A5A, 77);
        let clean = canvas(320, 240, barcode);
        let noise = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 26) as u8;
        let worn: Vec<u8> = clean.iter().enumerate().map(|(i, luma)| luma / 2 + 40 + noise(i) / 2).collect();
        assert_eq!(read(&worn, 320, 240, 320), Some(barcode));
        let mut wrong = clean;
        for y in 32..48 {
            wrong[y * 320 + 16..y * 320 + 32].fill(WHITE);
        }
        assert_eq!(read(&wrong, 320, 240, 320), None);
    }
}
