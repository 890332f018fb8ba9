//! The masks of an avatar in one file, as an asset.
//!
//! Little-endian: magic `LCMASKS1`, `u32` masks, then for each `i32` x1, y1, x2, y2 of its square in the frame, and
//! side × side bytes, rows packed.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{ImportError, content, io_error};

const MAGIC: &[u8; 8] = b"LCMASKS1";
/// A square is one and a half times a face: larger than any picture that is taken.
const LARGEST_SIDE: i32 = 16_384;

/// Writes the masks of `pictures`, grey PNGs, with the squares that they lie in.
pub(super) fn write(pictures: &[(PathBuf, [i32; 4])], to: &Path) -> Result<(), ImportError> {
    let file = File::create(to).map_err(io_error(to))?;
    let mut out = BufWriter::new(file);
    let mut put = |bytes: &[u8]| out.write_all(bytes).map_err(io_error(to));
    put(MAGIC)?;
    put(&(pictures.len() as u32).to_le_bytes())?;
    for (picture, square) in pictures {
        let opened = File::open(picture).map_err(io_error(picture))?;
        let decoded =
            image::ImageReader::with_format(BufReader::new(opened), image::ImageFormat::Png).decode();
        let grey = decoded.map_err(|error| content(picture, error.to_string()))?.into_luma8();
        let side = side_of(square).map_err(|reason| content(picture, reason))?;
        if grey.width() != side || grey.height() != side {
            let reason = format!("{}x{} pixels for a square of {side}", grey.width(), grey.height());
            return Err(content(picture, reason));
        }
        square.iter().try_for_each(|number| put(&number.to_le_bytes()))?;
        put(grey.as_raw())?;
    }
    out.flush().map_err(io_error(to))
}

/// The masks of an asset, in the order of the frames.
#[derive(Debug)]
pub struct Masks<'a> {
    masks: Vec<MaskFile<'a>>,
}

/// One mask of an asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskFile<'a> {
    /// The square in the frame: x1, y1, x2, y2; may leave the picture.
    pub square: [i32; 4],
    /// Side × side bytes, rows packed; 255: the generated face.
    pub alpha: &'a [u8],
}

impl<'a> Masks<'a> {
    /// Reads an asset, whatever it may hold.
    ///
    /// # Errors
    /// In words, when it is not one or cut.
    pub fn parse(asset: &'a [u8]) -> Result<Self, String> {
        let rest = asset.strip_prefix(MAGIC.as_slice()).ok_or("it does not begin like a file of masks")?;
        let mut rest = rest;
        let mut take = |count: usize| -> Result<&'a [u8], String> {
            let (taken, after) = rest.split_at_checked(count).ok_or("it is cut off")?;
            rest = after;
            Ok(taken)
        };
        let number = |bytes: &[u8]| [bytes[0], bytes[1], bytes[2], bytes[3]];
        let count = u32::from_le_bytes(number(take(4)?));
        let mut masks = Vec::new();
        for _ in 0..count {
            let corners = take(16)?;
            let square = std::array::from_fn(|i| i32::from_le_bytes(number(&corners[4 * i..])));
            let side = side_of(&square)? as usize;
            masks.push(MaskFile { square, alpha: take(side * side)? });
        }
        if rest.is_empty() { Ok(Self { masks }) } else { Err("it goes on behind its last mask".to_owned()) }
    }

    /// The mask of frame `index`.
    pub fn of(&self, index: usize) -> Option<MaskFile<'a>> {
        self.masks.get(index).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.masks.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.masks.is_empty()
    }
}

fn side_of(&[x1, y1, x2, y2]: &[i32; 4]) -> Result<u32, String> {
    let (width, height) = (i64::from(x2) - i64::from(x1), i64::from(y2) - i64::from(y1));
    if width != height || !(1..=i64::from(LARGEST_SIDE)).contains(&width) {
        return Err(format!("a mask over ({x1}, {y1}) to ({x2}, {y2}), which is no square"));
    }
    Ok(width as u32)
}
