//! A prepared avatar and the blob it is kept in.
//!
//! A blob, little-endian:
//!
//! | part | content |
//! | --- | --- |
//! | header | magic, version, then [`Header`]'s numbers as u32 |
//! | pictures | of each frame the patch: full-range BT.601 Y, then Cb and Cr at half size, no padding |
//! | colours | rest gap and [`Palette`], f32 |
//! | frames | of each frame the corner of the patch on the canvas, u32, and its [`MouthGeometry`], f32 |
//! | checksum | BLAKE3 of all before, 32 bytes |
//!
//! Only the lower face is kept, and of a large face at a fraction of its size: what a session needs to draw a patch.

use lipcast_plugins_api::author::Rect;

use crate::error::BlobError;
use crate::warp::{MouthGeometry, Palette, STATIONS};

/// Version of the blob; raised with every change of its layout or meaning.
pub(crate) const BLOB_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"LCASTDEM";
const HEADER: usize = MAGIC.len() + 4 + Header::NUMBERS * 4;
const COLOURS: usize = 10 * 4;
const FLOATS: usize = 11 + 4 * STATIONS;
const FRAME: usize = (2 + FLOATS) * 4;
const CHECKSUM: usize = 32;
/// Larger canvases and longer clips than these are taken for damage.
const MOST_PIXELS: u32 = 16_384;
const MOST_FRAMES: u32 = 1_000_000;

/// The numbers at the start of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Canvas columns and rows.
    pub(crate) canvas: [u32; 2],
    /// Frames per second, numerator and denominator.
    pub(crate) fps: [u32; 2],
    /// Frames.
    pub(crate) frames: u32,
    /// Columns and rows of a stored patch; even.
    pub(crate) patch: [u32; 2],
    /// A patch covers this many times its columns and rows on the canvas.
    pub(crate) scale: u32,
}

impl Header {
    const NUMBERS: usize = 8;

    /// Bytes of one stored picture.
    pub(crate) fn picture(&self) -> usize {
        self.patch[0] as usize * self.patch[1] as usize * 3 / 2
    }

    /// Columns and rows of a patch on the canvas.
    pub(crate) fn covered(&self) -> [u32; 2] {
        self.patch.map(|side| side * self.scale)
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let [cw, ch] = self.canvas;
        let [num, den] = self.fps;
        let [pw, ph] = self.patch;
        let numbers: [u32; Self::NUMBERS] = [cw, ch, num, den, self.frames, pw, ph, self.scale];
        let mut bytes = MAGIC.to_vec();
        bytes.extend(BLOB_VERSION.to_le_bytes());
        numbers.iter().for_each(|n| bytes.extend(n.to_le_bytes()));
        bytes
    }

    fn parse(blob: &[u8]) -> Result<Self, BlobError> {
        if !blob.starts_with(&MAGIC) {
            return Err(BlobError::Foreign);
        }
        if blob.len() < HEADER {
            return Err(BlobError::Length { found: blob.len(), expected: HEADER });
        }
        let mut numbers = Numbers(&blob[MAGIC.len()..HEADER]);
        let version = numbers.u32();
        if version != BLOB_VERSION {
            return Err(BlobError::Version { found: version, expected: BLOB_VERSION });
        }
        let mut next = || numbers.u32();
        let header = Self {
            canvas: [next(), next()],
            fps: [next(), next()],
            frames: next(),
            patch: [next(), next()],
            scale: next(),
        };
        let sides = header.canvas.iter().all(|s| (2..=MOST_PIXELS).contains(s));
        if !sides || header.fps.contains(&0) || !(1..=MOST_FRAMES).contains(&header.frames) {
            return Err(BlobError::Value("canvas, rate or number of frames"));
        }
        let patch = header.patch.iter().all(|s| (2..=MOST_PIXELS).contains(s) && s % 2 == 0);
        if !patch || !(1..=64).contains(&header.scale) || !fits(header.covered(), header.canvas) {
            return Err(BlobError::Value("patch size"));
        }
        Ok(header)
    }
}

/// Where a frame's patch lies and what is in it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frame {
    /// Top left corner of the patch on the canvas; even.
    pub(crate) corner: [u32; 2],
    /// The mouth, in pixels of the stored patch.
    pub(crate) mouth: MouthGeometry,
}

impl Frame {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let m = &self.mouth;
        let mut bytes: Vec<u8> = self.corner.iter().flat_map(|n| n.to_le_bytes()).collect();
        let single = [&m.origin[..], &m.across, &m.down, &[m.nose, m.chin], &m.reach, &[m.strength]];
        let curves = [&m.upper_outer[..], &m.upper_inner, &m.lower_inner, &m.lower_outer];
        bytes.extend(single.iter().chain(&curves).flat_map(|s| s.iter()).flat_map(|f| f.to_le_bytes()));
        bytes
    }

    fn parse(bytes: &[u8], header: &Header) -> Result<Self, BlobError> {
        let mut numbers = Numbers(bytes);
        let corner = [numbers.u32(), numbers.u32()];
        let inside = corner.iter().zip(header.covered()).zip(header.canvas);
        if inside
            .into_iter()
            .any(|((c, side), canvas)| c % 2 != 0 || c.checked_add(side).is_none_or(|e| e > canvas))
        {
            return Err(BlobError::Value("a patch outside the canvas"));
        }
        let mut pair = || [numbers.f32(), numbers.f32()];
        let (origin, across, down, [nose, chin], reach) = (pair(), pair(), pair(), pair(), pair());
        let strength = numbers.f32();
        let mut curve = || std::array::from_fn(|_| numbers.f32());
        let mouth = MouthGeometry {
            origin,
            across,
            down,
            nose,
            chin,
            reach,
            strength,
            upper_outer: curve(),
            upper_inner: curve(),
            lower_inner: curve(),
            lower_outer: curve(),
        };
        if mouth.is_sane() {
            Ok(Self { corner, mouth })
        } else {
            Err(BlobError::Value("a mouth that is none"))
        }
    }
}

/// What is the same for all frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Looks {
    /// How far the lips are apart at rest, mouth widths.
    pub(crate) rest_gap: f32,
    pub(crate) palette: Palette,
}

impl Looks {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let Palette { cavity, tongue, teeth } = self.palette;
        [self.rest_gap]
            .iter()
            .chain(&cavity)
            .chain(&tongue)
            .chain(&teeth)
            .flat_map(|f| f.to_le_bytes())
            .collect()
    }

    fn parse(bytes: &[u8]) -> Result<Self, BlobError> {
        let mut numbers = Numbers(bytes);
        let rest_gap = numbers.f32();
        let mut colour = || [numbers.f32(), numbers.f32(), numbers.f32()];
        let palette = Palette { cavity: colour(), tongue: colour(), teeth: colour() };
        let colours = palette.cavity.iter().chain(&palette.tongue).chain(&palette.teeth);
        if !(0.0..=2.0).contains(&rest_gap) || colours.into_iter().any(|c| !(0.0..=255.0).contains(c)) {
            return Err(BlobError::Value("colours"));
        }
        Ok(Self { rest_gap, palette })
    }
}

/// A loaded avatar; shared by its sessions.
#[derive(Debug)]
pub struct Avatar {
    header: Header,
    looks: Looks,
    frames: Vec<Frame>,
    pictures: Vec<u8>,
    alpha: Vec<u8>,
}

impl Avatar {
    /// Reads a blob, whatever it may hold.
    ///
    /// # Errors
    ///
    /// When it is not a blob of this version, incomplete, damaged, or holds numbers that no preparation writes.
    pub fn parse(blob: &[u8]) -> Result<Self, BlobError> {
        let header = Header::parse(blob)?;
        let count = header.frames as usize;
        let pictures = HEADER..HEADER + count * header.picture();
        let frames = pictures.end + COLOURS..pictures.end + COLOURS + count * FRAME;
        if blob.len() != frames.end + CHECKSUM {
            return Err(BlobError::Length { found: blob.len(), expected: frames.end + CHECKSUM });
        }
        if blake3::hash(&blob[..frames.end]).as_bytes() != &blob[frames.end..] {
            return Err(BlobError::Checksum);
        }
        let looks = Looks::parse(&blob[pictures.end..frames.start])?;
        let frames = blob[frames]
            .chunks_exact(FRAME)
            .map(|bytes| Frame::parse(bytes, &header))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            header,
            looks,
            frames,
            pictures: blob[pictures].to_vec(),
            alpha: feathered(header.covered()),
        })
    }

    /// Canvas, rate and patch sizes.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// What all frames have in common.
    pub(crate) fn looks(&self) -> &Looks {
        &self.looks
    }

    /// Frame `index`, if there is such a one.
    pub(crate) fn frame(&self, index: u32) -> Option<&Frame> {
        self.frames.get(index as usize)
    }

    /// The patch of a frame on the canvas; empty where the face is left alone.
    pub(crate) fn rect(&self, frame: &Frame) -> Rect {
        if frame.mouth.strength <= 0.0 {
            return Rect::default();
        }
        let ([x, y], [width, height]) = (frame.corner, self.header.covered());
        Rect::new(x, y, width, height)
    }

    /// How much of the patch shows, one byte a pixel; the same for all frames.
    pub(crate) fn alpha(&self) -> &[u8] {
        &self.alpha
    }

    /// The stored patch of a frame as RGB24; `index` must be a frame.
    pub(crate) fn picture(&self, index: u32, rgb: &mut Vec<u8>) {
        let [width, height] = self.header.patch.map(|side| side as usize);
        let bytes = self.header.picture();
        let planes = &self.pictures[index as usize * bytes..][..bytes];
        crate::planes::planes_to_rgb(planes, width, height, rgb);
    }
}

/// 255 inside, falling to 0 at the border, which the pixels do not need, since they do not change there, but the rounding
/// of colours does.
fn feathered([width, height]: [u32; 2]) -> Vec<u8> {
    let feather = (width.min(height) as f32 * 0.06).clamp(2.0, 24.0);
    let ramp = |at: u32, size: u32| {
        let inside = (at.min(size - 1 - at)) as f32 / feather;
        let t = inside.min(1.0);
        t * t * (3.0 - 2.0 * t)
    };
    (0..height)
        .flat_map(|y| (0..width).map(move |x| (255.0 * ramp(x, width) * ramp(y, height) + 0.5) as u8))
        .collect()
}

fn fits(patch: [u32; 2], canvas: [u32; 2]) -> bool {
    patch[0] <= canvas[0] && patch[1] <= canvas[1]
}

/// Little-endian numbers, one after the other, from bytes whose length was checked.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn four(&mut self) -> [u8; 4] {
        let (four, rest) = self.0.split_first_chunk().expect("the length was checked before parsing");
        self.0 = rest;
        *four
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.four())
    }

    fn f32(&mut self) -> f32 {
        f32::from_le_bytes(self.four())
    }
}
