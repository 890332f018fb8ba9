//! Pictures by formula: inputs that a golden names instead of storing them.
//!
//! All is integer arithmetic over one stream of numbers, so that any language makes the same bytes. The maker
//! of bundles (`tools/musetalk/portable.py` and `scene.py`) is the other end.

/// Seed of all inputs.
const SEED: u64 = 7;
/// Columns and rows of one cell of a backdrop.
const CELL: usize = 40;

/// The stream `name`: word k = 1, 2, … is SplitMix64's output for the state `(FNV-1a(name) ^ seed) + k ·
/// gamma`.
pub(super) struct Stream {
    state: u64,
}

impl Stream {
    /// The stream of `name` from its first word on.
    pub(super) fn new(name: &str) -> Self {
        let fnv = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        Self { state: name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv) ^ SEED }
    }

    /// The next word.
    pub(super) fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = self.state;
        let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// The top byte of the next word.
    pub(super) fn byte(&mut self) -> u8 {
        (self.word() >> 56) as u8
    }
}

/// Smooth colours with a little grain, RGB `[rows, columns, 3]`.
///
/// The corners of cells have the colours of stream `<name>.corners`, pixels between them are interpolated:
/// `(Σ weight · corner + 800) / 1600`; of that fifteen sixteenths, and the top three bits of stream
/// `<name>.grain`.
pub(super) fn backdrop(name: &str, columns: usize, rows: usize) -> Vec<u8> {
    let across = columns.div_ceil(CELL) + 1;
    let mut stream = Stream::new(&format!("{name}.corners"));
    let corners: Vec<u8> = (0..(rows.div_ceil(CELL) + 1) * across * 3).map(|_| stream.byte()).collect();
    let mut grain = Stream::new(&format!("{name}.grain"));
    let mut picture = Vec::with_capacity(rows * columns * 3);
    for y in 0..rows {
        let (row, below) = (y / CELL, y % CELL);
        for x in 0..columns {
            let (column, right) = (x / CELL, x % CELL);
            for channel in 0..3 {
                let corner = |row, column| usize::from(corners[(row * across + column) * 3 + channel]);
                let along = |row| (CELL - right) * corner(row, column) + right * corner(row, column + 1);
                let sum = (CELL - below) * along(row) + below * along(row + 1);
                let colour = (sum + CELL * CELL / 2) / (CELL * CELL);
                picture.push((colour * 15 / 16) as u8 + (grain.byte() >> 5));
            }
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of the maker's own stream, and those that the reference of the pipeline was measured with.
    #[test]
    fn the_stream_is_the_one_that_goldens_are_made_with() {
        let mut stream = Stream::new("A");
        assert_eq!([(); 8].map(|()| stream.byte()), [36, 52, 167, 152, 120, 100, 30, 148]);
    }

    #[test]
    fn a_backdrop_is_the_makers_byte_for_byte() {
        // Of `scene.backdrop` in Python.
        let picture = backdrop("x", 61, 45);
        assert_eq!(picture.len(), 61 * 45 * 3);
        assert_eq!(picture[..12], [55, 175, 28, 54, 174, 30, 52, 173, 37, 51, 178, 33]);
        assert_eq!(picture[picture.len() - 3..], [68, 147, 202]);
        assert_eq!(picture.iter().map(|&value| u64::from(value)).sum::<u64>(), 885_090);
        let picture = backdrop("face_parsing.image.0", 512, 512);
        assert_eq!(picture[..6], [209, 9, 138, 210, 9, 142]);
        assert_eq!(picture.iter().map(|&value| u64::from(value)).sum::<u64>(), 96_275_974);
    }
}
