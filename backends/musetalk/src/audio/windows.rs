//! Which rows of the encoder a video frame hears.
//!
//! In: frame rate, frame number, length of the speech. Out: row numbers. Row `r` is the encoder's step from
//! 20·r ms on, counted from the start of the speech; a frame hears ten, and those before the start and behind
//! the end are zeros.

use super::error::AudioError;
use super::{ROW, SAMPLE_RATE};
use crate::networks::WINDOW_STEPS;

/// Rows in a second.
const ROW_RATE: u128 = (SAMPLE_RATE as usize / ROW) as u128;
/// Rows before the frame's own that it hears.
const BEFORE: i64 = 4;
/// No row is counted beyond this one.
const FAR: u128 = 1 << 50;
/// From this rate on the reference runs out of rows.
const TOO_FAST: u32 = 50;

/// How frames are laid over rows, at one frame rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Windows {
    fps: (u32, u32),
    reference: bool,
}

impl Windows {
    /// Frame `f` hears rows `floor(50 f / fps) - 4` to `+ 5`, whatever the rate: 80 ms before its start to
    /// 120 ms after it, as the network was trained at 25 frames a second. `fps` is a fraction.
    ///
    /// # Errors
    /// For less than one frame a second.
    pub fn new(fps: (u32, u32)) -> Result<Self, AudioError> {
        if fps.1 == 0 || fps.0 < fps.1 {
            return Err(AudioError::FrameRate(fps.0, fps.1));
        }
        Ok(Self { fps, reference: false })
    }

    /// As the reference: the rate is cut to a whole number, and at less than 25 frames a second the window
    /// moves into the past, since as many rows are put before the speech as two frames last, rounded up.
    ///
    /// # Errors
    /// For less than one frame a second, or 50 and more.
    pub fn reference(fps: (u32, u32)) -> Result<Self, AudioError> {
        let windows = Self { reference: true, ..Self::new(fps)? };
        if windows.whole_fps() >= TOO_FAST {
            Err(AudioError::TooFast(windows.whole_fps()))
        } else {
            Ok(windows)
        }
    }

    /// Whether frames and windows stay together for ever. The reference's part at fractional rates, by a
    /// thirtieth at 29.97 frames a second.
    pub fn keep_up(&self) -> bool {
        !self.reference || self.fps.0.is_multiple_of(self.fps.1)
    }

    /// Rows of so many samples.
    pub fn rows(&self, samples: u64) -> u64 {
        if self.reference {
            // As the reference has it, which loses a row of some lengths to rounding: 28 of 9280 samples.
            return (samples as f64 / f64::from(SAMPLE_RATE) * ROW_RATE as f64).floor() as u64;
        }
        samples / ROW as u64
    }

    /// Video frames of so many samples; the last is full.
    pub fn frames(&self, samples: u64) -> u64 {
        if self.reference {
            return (samples as f64 / f64::from(SAMPLE_RATE) * f64::from(self.whole_fps())).floor() as u64;
        }
        let (num, den) = (u128::from(self.fps.0), u128::from(self.fps.1));
        (u128::from(samples) * num / (u128::from(SAMPLE_RATE) * den)) as u64
    }

    /// The first of the ten rows of frame `frame`, in speech that may go on for ever.
    pub fn first_row(&self, frame: u64) -> i64 {
        self.first_row_of(frame, u64::MAX)
    }

    /// The first of the ten rows of frame `frame`, in speech of `rows` rows: the reference puts no more rows
    /// before the speech than the speech has.
    pub fn first_row_of(&self, frame: u64, rows: u64) -> i64 {
        if self.reference {
            let row = (frame as f64 * self.rows_per_frame()).floor().min(FAR as f64) as i64;
            return row - (2 * self.padding()).min(rows) as i64;
        }
        let (num, den) = (u128::from(self.fps.0), u128::from(self.fps.1));
        let row = u128::from(frame) * ROW_RATE * den / num;
        // A host may ask for any frame; none that was spoken lies so far.
        row.min(FAR) as i64 - BEFORE
    }

    /// Whether the reference would get through a clip of so many samples.
    ///
    /// # Errors
    /// Names the frame at which it ends its process.
    pub fn check(&self, samples: u64) -> Result<(), AudioError> {
        if !self.reference {
            return Ok(());
        }
        let rows = self.rows(samples);
        let end = (rows + (6 * self.padding()).min(rows)) as i64;
        let runs_out = |&frame: &u64| self.first_row_of(frame, rows) + WINDOW_STEPS as i64 > end;
        match (0..self.frames(samples)).find(runs_out) {
            Some(frame) => Err(AudioError::RunsOut { samples, frame }),
            None => Ok(()),
        }
    }

    fn whole_fps(&self) -> u32 {
        self.fps.0 / self.fps.1
    }

    fn rows_per_frame(&self) -> f64 {
        ROW_RATE as f64 / f64::from(self.whole_fps())
    }

    /// Rows that the reference counts for one frame.
    fn padding(&self) -> u64 {
        self.rows_per_frame().ceil() as u64
    }
}
