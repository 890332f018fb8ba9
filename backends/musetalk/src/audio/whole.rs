//! The speech of a whole file, as the reference hears it.
//!
//! In: all PCM of an utterance at once, and what the encoder makes of its segments of 30 s. Out: the tokens
//! of a frame.
//!
//! Each segment is scaled against its own loudest level and encoded by itself, 3000 columns whatever it
//! holds; their rows follow on each other and are cut to the length of the speech. A segment's features are
//! 11.5 MB; they are kept from the first frame that hears them to the last.

use super::error::{AudioError, HearError};
use super::mel::{LogMel, SEGMENT, SEGMENT_COLUMNS};
use super::windows::Windows;
use super::{MelWindow, ROW_VALUES, TOKEN_VALUES, WindowId};
use crate::networks::{MELS, WINDOW_STEPS};

/// Rows of a segment.
const SEGMENT_ROWS: usize = SEGMENT_COLUMNS / 2;

/// The audio of one utterance.
#[derive(Debug)]
pub struct WholeFile {
    windows: Windows,
    pcm: Vec<f32>,
    rows: u64,
    mel: LogMel,
    /// The mel handed out last.
    window: Vec<f32>,
    /// Features of each segment, `[1500, 5, 384]`, where they are known and still wanted.
    segments: Vec<Option<Vec<f32>>>,
    run: u64,
}

impl WholeFile {
    /// An utterance of `pcm`, 16 kHz mono, whose frame 0 begins with its first sample.
    ///
    /// # Errors
    /// [`AudioError::RunsOut`] where `windows` are the reference's and it would end its process.
    pub fn new(windows: Windows, pcm: Vec<f32>) -> Result<Self, AudioError> {
        windows.check(pcm.len() as u64)?;
        Ok(Self::of_run(windows, pcm, 0))
    }

    /// As [`new`](Self::new), of the run of that number, whose length was checked.
    pub(super) fn of_run(windows: Windows, pcm: Vec<f32>, run: u64) -> Self {
        Self {
            windows,
            rows: windows.rows(pcm.len() as u64),
            mel: LogMel::new(),
            window: Vec::new(),
            segments: vec![None; pcm.len().div_ceil(SEGMENT)],
            pcm,
            run,
        }
    }

    /// Whether `frame` hears anything of it.
    pub fn hears(&self, frame: u64) -> bool {
        !self.heard(frame).is_empty()
    }

    /// The mel that has to be encoded before the tokens of `frame` can be had; `None`: nothing (more).
    pub fn needs(&mut self, frame: u64) -> Option<MelWindow<'_>> {
        let heard = self.heard(frame);
        if heard.is_empty() {
            return None;
        }
        let segments = heard.start / SEGMENT_ROWS..=(heard.end - 1) / SEGMENT_ROWS;
        let index = segments.into_iter().find(|&segment| self.segments[segment].is_none())?;
        self.window.resize(MELS * SEGMENT_COLUMNS, 0.0);
        let end = self.pcm.len().min((index + 1) * SEGMENT);
        self.mel.segment(&self.pcm[index * SEGMENT..end], &mut self.window);
        let id = WindowId { run: self.run, index: index as u64 };
        Some(MelWindow { id, columns: SEGMENT_COLUMNS, mel: &self.window })
    }

    /// Takes what the encoder made of window `id`: `features`, f32 `[1500, 5, 384]`.
    ///
    /// # Errors
    /// [`AudioError::Features`] for another number of values.
    pub fn supply(&mut self, id: WindowId, features: &[f32]) -> Result<(), AudioError> {
        let expected = SEGMENT_ROWS * ROW_VALUES;
        if features.len() != expected {
            return Err(AudioError::Features { got: features.len(), expected, rows: SEGMENT_ROWS });
        }
        if let Some(segment) = self.segments.get_mut(id.index as usize) {
            *segment = Some(features.to_vec());
        }
        Ok(())
    }

    /// Fills `tokens`, f32 `[50, 384]`, with those of frame `frame`: token `5 · row + state`; zeros before
    /// the speech and behind it. Segments that lie behind the frame are let go.
    ///
    /// Panics where the length is another: a bug of the caller.
    ///
    /// # Errors
    /// [`AudioError::NotEncoded`] when [`needs`](Self::needs) would hand out a segment.
    pub fn tokens(&mut self, frame: u64, tokens: &mut [f32]) -> Result<(), AudioError> {
        assert_eq!(tokens.len(), TOKEN_VALUES, "tokens of one frame");
        tokens.fill(0.0);
        let heard = self.heard(frame);
        if heard.is_empty() {
            return Ok(());
        }
        self.segments[..heard.start / SEGMENT_ROWS].fill(None);
        let first = self.first_row(frame);
        for row in heard {
            let segment = self.segments[row / SEGMENT_ROWS].as_ref().ok_or(AudioError::NotEncoded(frame))?;
            let from = row % SEGMENT_ROWS * ROW_VALUES;
            let to = (row as i64 - first) as usize * ROW_VALUES;
            tokens[to..to + ROW_VALUES].copy_from_slice(&segment[from..from + ROW_VALUES]);
        }
        Ok(())
    }

    /// All rows, f32 `[rows, 5, 384]`, where the encoder can be run on the spot: `encode` makes of mel `[80,
    /// columns]` features `[columns / 2, 5, 384]`.
    ///
    /// # Errors
    /// What the encoder says, and [`AudioError::Features`] for another number of values.
    pub fn features<E>(
        &mut self,
        mut encode: impl FnMut(&[f32], usize) -> Result<Vec<f32>, E>,
    ) -> Result<Vec<f32>, HearError<E>> {
        let mut rows = Vec::with_capacity(self.rows as usize * ROW_VALUES);
        self.window.resize(MELS * SEGMENT_COLUMNS, 0.0);
        for pcm in self.pcm.chunks(SEGMENT) {
            self.mel.segment(pcm, &mut self.window);
            let features = encode(&self.window, SEGMENT_COLUMNS).map_err(HearError::Encoder)?;
            let expected = SEGMENT_ROWS * ROW_VALUES;
            if features.len() != expected {
                return Err(AudioError::Features { got: features.len(), expected, rows: SEGMENT_ROWS }.into());
            }
            rows.extend(features);
        }
        rows.truncate(self.rows as usize * ROW_VALUES);
        Ok(rows)
    }

    fn first_row(&self, frame: u64) -> i64 {
        self.windows.first_row_of(frame, self.rows)
    }

    /// The rows that frame `frame` hears, those outside the speech left out.
    fn heard(&self, frame: u64) -> std::ops::Range<usize> {
        let first = self.first_row(frame);
        let within = |row: i64| row.clamp(0, self.rows as i64) as usize;
        within(first)..within(first + WINDOW_STEPS as i64)
    }
}
