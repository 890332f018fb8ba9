//! Test data that any language can make: a stream of random words by name, pictures of it, and CRC-32.

use lipcast_musetalk::image::{Picture, View};

/// The stream of a name and a seed: SplitMix64, started at FNV-1a of the name, xor the seed.
pub(crate) struct Words {
    state: u64,
}

impl Words {
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        Self { state: hash ^ seed }
    }

    /// Numbers in −1…1.
    pub(crate) fn floats(self) -> impl Iterator<Item = f32> {
        self.map(|word| (word >> 40) as f32 / (1 << 23) as f32 - 1.0)
    }
}

impl Iterator for Words {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = self.state;
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(z ^ (z >> 31))
    }
}

/// The inputs of all tests are of this seed.
pub(crate) const SEED: u64 = 7;

/// A picture of random bytes.
pub(crate) fn picture<const C: usize>(name: &str, width: usize, height: usize) -> Picture<C> {
    let bytes = Words::new(name, SEED).map(|word| (word >> 56) as u8);
    Picture::from_pixels(bytes.take(width * height * C).collect(), width, height)
}

/// A label map: 32×32 cells of random labels, and over them a plain face with nose and mouth.
pub(crate) fn labels() -> Picture<1> {
    let cells: Vec<u8> = Words::new("LAB", SEED).take(32 * 32).map(|word| (word % 19) as u8).collect();
    let mut labels: Vec<u8> = (0..512 * 512).map(|i| cells[i / 512 / 16 * 32 + i % 512 / 16]).collect();
    let face = [
        (96..448, 112..400, 1),
        (224..288, 232..280, 10),
        (320..352, 200..312, 12),
        (352..360, 200..312, 11),
        (360..392, 200..312, 13),
    ];
    for (rows, columns, label) in face {
        for y in rows {
            labels[y * 512..][columns.clone()].fill(label);
        }
    }
    Picture::from_pixels(labels, 512, 512)
}

/// CRC-32 as of zlib.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// CRC-32 of all bytes of a picture.
pub(crate) fn picture_crc<const C: usize>(picture: View<'_, C>) -> u32 {
    crc(picture.to_picture().pixels())
}

/// CRC-32 of little-endian f32.
pub(crate) fn float_crc(values: &[f32]) -> u32 {
    crc(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())
}

#[test]
fn the_generator_makes_the_bytes_of_the_specification() {
    let floats: Vec<f32> = Words::new("conv_in.weight", 1).floats().take(4).collect();
    for (value, expected) in floats.iter().zip([0.166_938_9, -0.112_130_9, 0.228_246_2, -0.834_627_2]) {
        assert!((value - expected).abs() < 1e-7, "{value} {expected}");
    }
    assert_eq!(picture::<1>("A", 8, 1).pixels(), [36, 52, 167, 152, 120, 100, 30, 148]);
    assert_eq!(crc(b"123456789"), 0xcbf4_3926);
    assert_eq!(picture_crc(picture::<3>("A", 257, 301).view()), 0x7102_d67e);
    assert_eq!(picture_crc(picture::<3>("B", 256, 256).view()), 0x9af2_39a9);
    assert_eq!(picture_crc(picture::<3>("C", 330, 330).view()), 0xe883_972f);
    assert_eq!(picture_crc(labels().view()), 0xa35f_7047);
}
