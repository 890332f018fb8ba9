//! A prepared avatar and the blob it is kept in.
//!
//! A blob, little-endian:
//!
//! | part | content |
//! | --- | --- |
//! | header | magic, version u32, fingerprint of 32 bytes, then [`Header`]'s numbers as u32 |
//! | frames | of each u32 0 where nothing is drawn, or 1 and then what follows |
//! | | patch u32, face box i32, latents f32 `[8, 32, 32]`, the patch's alpha u8 |
//! | checksum | BLAKE3 of all before, 32 bytes |
//!
//! The fingerprint tells the networks and settings that it was prepared with, so that another backend's
//! latents, or a mask of another mode, are never drawn with. Latents stay f32: half precision is further from
//! them than the reference's own noise. A frame of a face 300 pixels wide takes about 100 KB.

use lipcast_plugins_api::author::{Error, Rect};

use crate::error::BlobError;
use crate::face::boxes::{self, PixelBox};
use crate::networks::LATENTS;
use crate::settings::Settings;

/// Version of the blob; raised with every change of its layout or meaning.
pub(crate) const BLOB_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"LCASTMTK";
const CHECKSUM: usize = 32;
/// Larger canvases and longer clips than these are taken for damage; the contract allows no larger.
const MOST_PIXELS: u32 = 8_192;
const MOST_FRAMES: u32 = 262_144;
const SHIFTED: u32 = 1;

/// What a blob was prepared with.
pub(crate) type Fingerprint = [u8; 32];

/// The settings that a blob depends on, as bytes for the fingerprint.
pub(crate) fn decisive(settings: &Settings) -> Vec<u8> {
    let compat = &settings.compat;
    let drawn = format!("{:?} {} {:?}", settings.mask, settings.extra_margin, settings.cheeks);
    let steady = format!("{} {}", settings.smooth, settings.refine);
    let boxes = format!("{} {} {}", compat.unclamped_box, compat.no_flip, compat.bbox_shift);
    let latents = format!("{:?} {} {}", compat.sample, compat.shift_latents, compat.offline_blur);
    [drawn, steady, boxes, latents].join("\n").into_bytes()
}

/// The numbers at the start of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Canvas columns and rows.
    pub(crate) canvas: [u32; 2],
    /// Frames per second, numerator and denominator.
    pub(crate) fps: [u32; 2],
    /// Frames.
    pub(crate) frames: u32,
    /// Latents are counted without the frames that have none, as the reference does.
    pub(crate) shifted: bool,
}

/// One frame on which a mouth is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Face {
    /// Where the patch lies on the canvas; even, inside it, not empty.
    pub(crate) patch: Rect,
    /// Where the generated face is stretched to; it may be larger than the patch and leave the canvas.
    pub(crate) face: PixelBox,
    latents: usize,
    alpha: usize,
}

/// A frame as preparation hands it over: `latents` is `[8, 32, 32]`, `alpha` one byte for each pixel of
/// `patch`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PreparedFace {
    pub(crate) patch: Rect,
    pub(crate) face: PixelBox,
    pub(crate) latents: Vec<f32>,
    pub(crate) alpha: Vec<u8>,
}

/// Writes a blob, frame by frame.
pub(crate) struct Writer<'a> {
    hash: blake3::Hasher,
    sink: &'a mut dyn FnMut(&[u8]) -> Result<(), Error>,
    bytes: Vec<u8>,
    left: u32,
}

impl<'a> Writer<'a> {
    /// Begins a blob with its header.
    pub(crate) fn new(
        header: &Header,
        fingerprint: &Fingerprint,
        sink: &'a mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let mut writer = Self { hash: blake3::Hasher::new(), sink, bytes: Vec::new(), left: header.frames };
        let ([width, height], [num, den]) = (header.canvas, header.fps);
        let flags = if header.shifted { SHIFTED } else { 0 };
        writer.bytes.extend(MAGIC);
        writer.numbers(&[BLOB_VERSION]);
        writer.bytes.extend(fingerprint);
        writer.numbers(&[width, height, num, den, header.frames, flags]);
        writer.flush()?;
        Ok(writer)
    }

    /// The next frame; `None`: nothing is drawn on it.
    pub(crate) fn frame(&mut self, frame: Option<&PreparedFace>) -> Result<(), Error> {
        self.left = self.left.checked_sub(1).ok_or_else(|| Error::internal("more frames than announced"))?;
        match frame {
            None => self.numbers(&[0]),
            Some(PreparedFace { patch, face, latents, alpha }) => {
                let sizes = (latents.len(), alpha.len() as u64);
                if sizes != (LATENTS, patch.area()) {
                    return Err(Error::internal(format!("a prepared frame of {sizes:?} latents and pixels")));
                }
                self.numbers(&[1, patch.x, patch.y, patch.width, patch.height]);
                face.iter().for_each(|side| self.bytes.extend(side.to_le_bytes()));
                latents.iter().for_each(|value| self.bytes.extend(value.to_le_bytes()));
                self.bytes.extend(alpha);
            }
        }
        self.flush()
    }

    /// Ends the blob, after as many frames as its header tells.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.left > 0 {
            return Err(Error::internal(format!("{} frames fewer than announced", self.left)));
        }
        (self.sink)(self.hash.finalize().as_bytes())
    }

    fn numbers(&mut self, numbers: &[u32]) {
        numbers.iter().for_each(|number| self.bytes.extend(number.to_le_bytes()));
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.hash.update(&self.bytes);
        (self.sink)(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }
}

/// A prepared person.
#[derive(Debug)]
pub struct Avatar {
    header: Header,
    frames: Vec<Option<Face>>,
    /// Of all frames that have them, one after the other.
    latents: Vec<f32>,
    alpha: Vec<u8>,
    bounds: Rect,
}

impl Avatar {
    /// Reads a blob that was prepared as `expected` tells. Every byte of it may have been changed.
    pub(crate) fn parse(blob: &[u8], expected: &Fingerprint) -> Result<Self, BlobError> {
        let body = check(blob, expected)?;
        let mut rest = Numbers(body);
        let header = Header::parse(&mut rest)?;
        // A frame without a face takes the least: a blob cannot announce more frames than it has room for.
        if (rest.0.len() as u64) < u64::from(header.frames) * 4 {
            return Err(BlobError::Length("before its frames do"));
        }
        let mut avatar = Self {
            header,
            frames: Vec::with_capacity(header.frames as usize),
            latents: Vec::new(),
            alpha: Vec::new(),
            bounds: Rect::default(),
        };
        for _ in 0..header.frames {
            avatar.read_frame(&mut rest)?;
        }
        if !rest.0.is_empty() {
            return Err(BlobError::Length("after its frames did"));
        }
        if header.shifted {
            avatar.shift();
        }
        Ok(avatar)
    }

    /// Canvas, rate and number of frames.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// The smallest rectangle around all patches.
    pub(crate) fn bounds(&self) -> Rect {
        self.bounds
    }

    /// Frame `index`, if there is such a one; `Some(None)`: nothing is drawn on it.
    pub(crate) fn frame(&self, index: u32) -> Option<Option<&Face>> {
        self.frames.get(index as usize).map(Option::as_ref)
    }

    /// Latents of a frame: `[8, 32, 32]`.
    pub(crate) fn latents(&self, face: &Face) -> &[f32] {
        &self.latents[face.latents * LATENTS..][..LATENTS]
    }

    /// How much of the patch shows, one byte a pixel.
    pub(crate) fn alpha(&self, face: &Face) -> &[u8] {
        &self.alpha[face.alpha..][..face.patch.area() as usize]
    }

    fn read_frame(&mut self, rest: &mut Numbers<'_>) -> Result<(), BlobError> {
        match rest.u32()? {
            0 => self.frames.push(None),
            1 => {
                let mut four =
                    || -> Result<_, BlobError> { Ok([rest.u32()?, rest.u32()?, rest.u32()?, rest.u32()?]) };
                let ([x, y, width, height], face) = (four()?, four()?.map(u32::cast_signed));
                let patch = Rect::new(x, y, width, height);
                let [columns, rows] = self.header.canvas;
                if patch.is_empty() || !patch.is_even() || !Rect::new(0, 0, columns, rows).contains(&patch) {
                    return Err(BlobError::Value("a patch outside the canvas"));
                }
                if !boxes::is_drawable(face, columns, rows) {
                    return Err(BlobError::Value("a face box that is none"));
                }
                let frame =
                    Face { patch, face, latents: self.latents.len() / LATENTS, alpha: self.alpha.len() };
                self.latents.extend(
                    rest.bytes(LATENTS * 4)?.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)),
                );
                if !self.latents[frame.latents * LATENTS..].iter().all(|value| value.is_finite()) {
                    return Err(BlobError::Value("a latent that is no number"));
                }
                // Inside the canvas, so far from any overflow.
                self.alpha.extend_from_slice(rest.bytes(patch.area() as usize)?);
                self.bounds = around(self.bounds, patch);
                self.frames.push(Some(frame));
            }
            _ => return Err(BlobError::Value("a frame of an unknown kind")),
        }
        Ok(())
    }

    /// Gives frame j the j-th of the latents that there are, which then go back to the first: the reference
    /// keeps none for a frame without a face, and counts on.
    fn shift(&mut self) {
        let count = self.latents.len() / LATENTS;
        for (index, frame) in self.frames.iter_mut().enumerate() {
            if let Some(face) = frame {
                let at = index % (2 * count);
                face.latents = at.min(2 * count - 1 - at);
            }
        }
    }
}

impl Header {
    fn parse(numbers: &mut Numbers<'_>) -> Result<Self, BlobError> {
        let canvas = [numbers.u32()?, numbers.u32()?];
        let fps = [numbers.u32()?, numbers.u32()?];
        let (frames, flags) = (numbers.u32()?, numbers.u32()?);
        let sides = canvas.iter().all(|side| (2..=MOST_PIXELS).contains(side) && side % 2 == 0);
        if !sides || fps.contains(&0) || !(1..=MOST_FRAMES).contains(&frames) || flags & !SHIFTED != 0 {
            return Err(BlobError::Value("canvas, rate, number of frames or flags"));
        }
        Ok(Self { canvas, fps, frames, shifted: flags & SHIFTED != 0 })
    }
}

/// Checks what stands around the content, and gives the content.
fn check<'a>(blob: &'a [u8], expected: &Fingerprint) -> Result<&'a [u8], BlobError> {
    let rest = blob.strip_prefix(&MAGIC).ok_or(BlobError::Foreign)?;
    let mut numbers = Numbers(rest);
    let version = numbers.u32()?;
    if version != BLOB_VERSION {
        return Err(BlobError::Version { found: version, expected: BLOB_VERSION });
    }
    let found = numbers.bytes(expected.len())?;
    let body = numbers.0.len().checked_sub(CHECKSUM).ok_or(BlobError::Length("before its checksum does"))?;
    let (content, checksum) = blob.split_at(blob.len() - CHECKSUM);
    if blake3::hash(content).as_bytes() != checksum {
        return Err(BlobError::Checksum);
    }
    if found != expected {
        return Err(BlobError::Fingerprint);
    }
    Ok(&numbers.0[..body])
}

fn around(a: Rect, b: Rect) -> Rect {
    if a.is_empty() {
        return b;
    }
    let (x, y) = (a.x.min(b.x), a.y.min(b.y));
    let (right, bottom) = ((a.x + a.width).max(b.x + b.width), (a.y + a.height).max(b.y + b.height));
    Rect::new(x, y, right - x, bottom - y)
}

/// Little-endian numbers, one after the other, from bytes that may end at any time.
struct Numbers<'a>(&'a [u8]);

impl<'a> Numbers<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], BlobError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(BlobError::Length("within a frame"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, BlobError> {
        let (four, rest) = self.0.split_first_chunk().ok_or(BlobError::Length("within its numbers"))?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*four))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::DeviceChoice;

    const PREPARED: Fingerprint = [7; 32];
    const HEADER: Header = Header { canvas: [64, 48], fps: [25, 1], frames: 4, shifted: false };

    fn face(seed: u32, patch: Rect) -> PreparedFace {
        PreparedFace {
            patch,
            face: [4, 2, 40, 46],
            latents: (0..LATENTS).map(|n| seed as f32 + n as f32 / 8_192.0).collect(),
            alpha: (0..patch.area()).map(|n| (n as u32 * 7 + seed) as u8).collect(),
        }
    }

    /// Frame 1 has no face.
    fn frames() -> [Option<PreparedFace>; 4] {
        let patch = Rect::new(4, 20, 24, 26);
        [Some(face(0, patch)), None, Some(face(2, Rect { x: 8, ..patch })), Some(face(3, patch))]
    }

    fn blob(header: &Header, frames: &[Option<PreparedFace>]) -> Vec<u8> {
        let mut blob = Vec::new();
        let mut sink = |bytes: &[u8]| {
            blob.extend_from_slice(bytes);
            Ok(())
        };
        let mut writer = Writer::new(header, &PREPARED, &mut sink).unwrap();
        frames.iter().for_each(|frame| writer.frame(frame.as_ref()).unwrap());
        writer.finish().unwrap();
        blob
    }

    /// The blob with its checksum made right again.
    fn sealed(mut blob: Vec<u8>) -> Vec<u8> {
        let end = blob.len().saturating_sub(CHECKSUM);
        let checksum = *blake3::hash(&blob[..end]).as_bytes();
        let room = blob.len() - end;
        blob[end..].copy_from_slice(&checksum[..room]);
        blob
    }

    #[test]
    fn what_was_written_is_read() {
        let avatar = Avatar::parse(&blob(&HEADER, &frames()), &PREPARED).unwrap();
        assert_eq!(*avatar.header(), HEADER);
        assert_eq!(avatar.bounds(), Rect::new(4, 20, 28, 26));
        for (index, expected) in (0..).zip(frames()) {
            let found = avatar.frame(index).unwrap();
            assert_eq!(found.is_some(), expected.is_some(), "frame {index}");
            if let (Some(found), Some(expected)) = (found, expected) {
                assert_eq!((found.patch, found.face), (expected.patch, expected.face));
                assert_eq!(avatar.latents(found), expected.latents);
                assert_eq!(avatar.alpha(found), expected.alpha);
            }
        }
        assert!(avatar.frame(4).is_none());
    }

    #[test]
    fn shifted_latents_are_those_of_the_next_frame_that_has_some() {
        let avatar = Avatar::parse(&blob(&Header { shifted: true, ..HEADER }, &frames()), &PREPARED).unwrap();
        let first = |index: u32| avatar.latents(avatar.frame(index).unwrap().unwrap())[0];
        // Latents of frames 0, 2 and 3, then back: frame 2 has the third, frame 3 the third again.
        assert_eq!([first(0), first(2), first(3)], [0.0, 3.0, 3.0]);
    }

    #[test]
    fn settings_that_change_a_blob_are_told_apart_and_no_others() {
        let with = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            decisive(&settings)
        };
        let same = decisive(&Settings::default());
        assert_eq!(same, with(|s| s.context = 3.0));
        assert_eq!(same, with(|s| s.runtime.device = DeviceChoice::Cuda(0)));
        assert_eq!(same, with(|s| s.compat.no_positions = true));
        let changes: [fn(&mut Settings); 11] = [
            |s| s.mask = crate::settings::MaskMode::Raw,
            |s| s.extra_margin = 0,
            |s| s.cheeks = [80, 90],
            |s| s.smooth = false,
            |s| s.refine = true,
            |s| s.compat.sample = Some(0),
            |s| s.compat.shift_latents = true,
            |s| s.compat.unclamped_box = true,
            |s| s.compat.offline_blur = true,
            |s| s.compat.no_flip = true,
            |s| s.compat.bbox_shift = 1,
        ];
        let mut seen: Vec<Vec<u8>> = changes.iter().map(|change| with(*change)).collect();
        seen.push(same);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), changes.len() + 1);
    }

    #[test]
    fn each_kind_of_damage_has_its_words() {
        let blob = blob(&HEADER, &frames());
        let refusal = |bytes: &[u8]| Avatar::parse(bytes, &PREPARED).unwrap_err();
        assert_eq!(refusal(b""), BlobError::Foreign);
        assert_eq!(refusal(&blob[..8]), BlobError::Length("within its numbers"));
        assert_eq!(refusal(&blob[..blob.len() - 1]), BlobError::Checksum);
        assert_eq!(Avatar::parse(&blob, &[8; 32]).unwrap_err(), BlobError::Fingerprint);

        // The numbers of frame 0 begin behind magic, version, fingerprint and header.
        let frame = 8 + 4 + 32 + 6 * 4;
        let with = |at: usize, value: u32| {
            let mut bytes = blob.clone();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            refusal(&sealed(bytes))
        };
        assert_eq!(with(8, 2), BlobError::Version { found: 2, expected: 1 });
        assert_eq!(with(44, 63), BlobError::Value("canvas, rate, number of frames or flags"));
        assert_eq!(with(60, 5), BlobError::Length("within its numbers"));
        assert_eq!(with(60, 200_000), BlobError::Length("before its frames do"));
        assert_eq!(with(60, 3), BlobError::Length("after its frames did"));
        assert_eq!(with(frame, 2), BlobError::Value("a frame of an unknown kind"));
        assert_eq!(with(frame + 4, 5), BlobError::Value("a patch outside the canvas"));
        assert_eq!(with(frame + 4, 44), BlobError::Value("a patch outside the canvas"));
        assert_eq!(with(frame + 12, 0), BlobError::Value("a patch outside the canvas"));
        assert_eq!(with(frame + 20, 38), BlobError::Value("a face box that is none"));
        assert_eq!(with(frame + 36, f32::NAN.to_bits()), BlobError::Value("a latent that is no number"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        /// Numbers behind a right checksum are a stranger's too: whatever they are, there is an avatar or an
        /// error.
        #[test]
        fn no_damage_makes_it_panic(
            at in prop_oneof![0_usize..140, 0_usize..200_000],
            value in prop_oneof![Just(0_u32), Just(u32::MAX), Just(0x8000_0000), any::<u32>()],
            cut in prop_oneof![Just(None), (0_usize..200_000).prop_map(Some)],
            seal in any::<bool>(),
        ) {
            let mut bytes = blob(&HEADER, &frames());
            let at = at % (bytes.len() - 4);
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            if let Some(cut) = cut {
                bytes.truncate(cut % bytes.len());
            }
            if seal {
                bytes = sealed(bytes);
            }
            if let Ok(avatar) = Avatar::parse(&bytes, &PREPARED) {
                for index in 0..avatar.header().frames {
                    if let Some(Some(face)) = avatar.frame(index) {
                        prop_assert!(avatar.bounds().contains(&face.patch));
                        prop_assert_eq!(avatar.alpha(face).len() as u64, face.patch.area());
                        prop_assert!(avatar.latents(face).iter().all(|value| value.is_finite()));
                    }
                }
            }
        }
    }
}
