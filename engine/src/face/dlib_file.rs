//! Reader of dlib's serialized `shape_predictor` (the file that Debian ships in `libdlib-data`).
//!
//! The encoding, as far as this file needs it:
//! - An integer is a control byte (low half: how many bytes follow; bit 7: negative) and that many bytes of its
//!   magnitude, little-endian.
//! - A float is two integers, mantissa and exponent to base two.
//! - A list is its length and its items. A matrix is its negated rows and columns, then its items by row.
//!
//! The file: version 1; the mean shape (136×1); for each cascade level its trees, each tree a list of splits
//! (two pixel numbers and a threshold) and a list of leaves (136×1 each); for each level the landmark that
//! each pixel is anchored to; for each level the offset of each pixel from its landmark.

use std::io::{self, Read};

use super::ensemble::{Ensemble, LEAVES, Level, POINTS, SPLITS, Split, VALUES};

/// Reads a whole model: 100 MB from disk, 65 MB in memory.
///
/// # Errors
/// `InvalidData` with the reason where the file is not a 68-point predictor of 16-leaf trees,
/// `UnexpectedEof` where it ends too early, and whatever the reader returns.
pub(crate) fn read(source: impl Read) -> io::Result<Ensemble> {
    let mut file = Decoder { source, buffer: vec![0; 1 << 18], at: 0, filled: 0 };
    if file.unsigned()? != 1 {
        return Err(invalid("the version is not 1"));
    }
    let mut mean = [0.0; VALUES];
    file.column(&mut mean)?;

    let level_count = file.length(64, "cascade levels")?;
    let mut levels = Vec::with_capacity(level_count);
    for _ in 0..level_count {
        levels.push(trees(&mut file)?);
    }
    if file.unsigned()? != level_count as u64 {
        return Err(invalid("anchors do not match the cascade levels"));
    }
    for level in &mut levels {
        for _ in 0..file.length(1 << 16, "pixels of a level")? {
            let anchor = file.unsigned()?;
            let anchor = u8::try_from(anchor).ok().filter(|&anchor| usize::from(anchor) < POINTS);
            level.anchors.push(anchor.ok_or_else(|| invalid("a pixel is anchored to no landmark"))?);
        }
    }
    if file.unsigned()? != level_count as u64 {
        return Err(invalid("offsets do not match the cascade levels"));
    }
    for level in &mut levels {
        if file.unsigned()? != level.anchors.len() as u64 {
            return Err(invalid("a level has as many offsets as anchors"));
        }
        for _ in 0..level.anchors.len() {
            level.offsets.push([file.float()?, file.float()?]);
        }
        let pixels = level.anchors.len();
        let known = |number: u16| usize::from(number) < pixels;
        if !level.splits.iter().all(|split| known(split.first) && known(split.second)) {
            return Err(invalid("a split compares a pixel that does not exist"));
        }
    }
    Ok(Ensemble { mean, levels })
}

fn trees(file: &mut Decoder<impl Read>) -> io::Result<Level> {
    let count = file.length(1 << 14, "trees of a level")?;
    let mut level = Level {
        splits: Vec::with_capacity(count * SPLITS),
        leaves: vec![0.0; count * LEAVES * VALUES],
        anchors: Vec::new(),
        offsets: Vec::new(),
    };
    for tree in level.leaves.chunks_exact_mut(LEAVES * VALUES) {
        if file.unsigned()? != SPLITS as u64 {
            return Err(invalid("a tree does not have 15 splits"));
        }
        for _ in 0..SPLITS {
            let number =
                |value: u64| u16::try_from(value).map_err(|_| invalid("a pixel number is too large"));
            let first = number(file.unsigned()?)?;
            let second = number(file.unsigned()?)?;
            level.splits.push(Split { first, second, threshold: file.float()? });
        }
        if file.unsigned()? != LEAVES as u64 {
            return Err(invalid("a tree does not have 16 leaves"));
        }
        for leaf in tree.chunks_exact_mut(VALUES) {
            file.column(leaf)?;
        }
    }
    Ok(level)
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}

/// Decodes integers and floats from a buffered source.
struct Decoder<R> {
    source: R,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
}

/// The longest number: a control byte and eight more.
const LONGEST: usize = 9;

impl<R: Read> Decoder<R> {
    /// Magnitude and sign of the next integer.
    fn integer(&mut self) -> io::Result<(u64, bool)> {
        if self.filled - self.at < LONGEST {
            self.refill()?;
        }
        let available = &self.buffer[self.at..self.filled];
        let &control = available.first().ok_or(io::ErrorKind::UnexpectedEof)?;
        let (length, negative) = (usize::from(control & 0x0f), control & 0x80 != 0);
        if length == 0 || length > 8 || control & 0x70 != 0 {
            return Err(invalid("a number is not encoded as dlib does"));
        }
        let digits = available.get(1..=length).ok_or(io::ErrorKind::UnexpectedEof)?;
        let magnitude = digits.iter().rev().fold(0, |value, &digit| value << 8 | u64::from(digit));
        self.at += 1 + length;
        Ok((magnitude, negative))
    }

    fn unsigned(&mut self) -> io::Result<u64> {
        match self.integer()? {
            (magnitude, false) => Ok(magnitude),
            _ => Err(invalid("a negative number where a count is due")),
        }
    }

    fn length(&mut self, limit: u64, of: &str) -> io::Result<usize> {
        match self.unsigned()? {
            count if (1..=limit).contains(&count) => Ok(count as usize),
            count => Err(invalid(&format!("{count} {of}"))),
        }
    }

    fn float(&mut self) -> io::Result<f32> {
        let (mantissa, negative) = self.integer()?;
        let (exponent, downwards) = self.integer()?;
        // Beyond this dlib codes infinities and NaN, which no model should hold.
        if exponent > 1000 {
            return Err(invalid("a value that is not finite"));
        }
        let exponent = if downwards { -(exponent as i32) } else { exponent as i32 };
        let value = (mantissa as f64 * f64::from(exponent).exp2()) as f32;
        if !value.is_finite() {
            return Err(invalid("a value that is not finite"));
        }
        Ok(if negative { -value } else { value })
    }

    /// A matrix of one column.
    fn column(&mut self, values: &mut [f32]) -> io::Result<()> {
        let (rows, columns) = (self.integer()?, self.integer()?);
        if rows != (values.len() as u64, true) || columns != (1, true) {
            return Err(invalid("a shape does not have 68 points"));
        }
        for value in values {
            *value = self.float()?;
        }
        Ok(())
    }

    fn refill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.at..self.filled, 0);
        self.filled -= self.at;
        self.at = 0;
        while self.filled < LONGEST {
            match self.source.read(&mut self.buffer[self.filled..])? {
                0 => break,
                count => self.filled += count,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_encoding() {
        // 1; -136; then 0.029445... as the installed file begins its mean shape.
        let bytes = [1, 1, 0x81, 0x88, 3, 0x4d, 0x38, 0xf1, 0x81, 0x1d];
        let mut file = Decoder { source: &bytes[..], buffer: vec![0; 16], at: 0, filled: 0 };
        assert_eq!(file.unsigned().unwrap(), 1);
        assert_eq!(file.integer().unwrap(), (136, true));
        let value = file.float().unwrap();
        assert!((value - 15_808_589.0 / 536_870_912.0).abs() < 1e-9, "{value}");
        assert_eq!(file.float().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn hostile_files_are_refused() {
        for bytes in [&b""[..], b"RIFF....", &[1, 2], &[1, 1, 0x81, 0x88, 0x81, 1], &[0xff; 64]] {
            assert!(read(bytes).is_err());
        }
        // A list of 2^60 cascade levels must not be allocated.
        let mut bytes = vec![1, 1, 0x81, 0x88, 0x81, 1];
        bytes.extend([1, 1, 1, 0].repeat(VALUES));
        bytes.extend([8, 0, 0, 0, 0, 0, 0, 0, 0x10]);
        assert!(read(&bytes[..]).err().unwrap().to_string().contains("cascade levels"));
    }
}
