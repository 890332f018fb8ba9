//! The speech of a live session: tokens of a video frame from the audio that is there by then.
//!
//! In: pushes of 16 kHz PCM on the session's timeline, and what the encoder makes of mel windows. Out: mel
//! windows to encode, and the tokens of a frame.
//!
//! The encoder is run once for each pair of frames of a run, `2g` and `2g + 1`. Its window ends with the last
//! mel column that the second of them needs, and reaches back a few seconds, or to the run's start:
//!
//! ```text
//! rows      A ···· context ····  [ first − 4 ··· second + 5 ]  + 1 that only fills up
//! columns  2A ·······································2R + 2, and that one again: a window has an even number
//! ```
//!
//! Row `R` is made of columns `2R - 2` to `2R + 2` (two convolutions of width 3, the second with stride 2),
//! and column `2R + 2` sees samples up to `320 R + 520`. With `R` = `floor(50 f / fps) + 5` that is at most
//! 132.5 ms after the start of the second frame, which is the end of the first: hence [`LOOKAHEAD_MS`]. A
//! window depends on the audio of its run up to there and on nothing else, so every frame has the same tokens
//! however the audio was cut, and whichever frame was asked for before. The encoder's attention does see less
//! than it would of the whole file, and its position code counts from the window's start: that is what
//! [`distance`](super::distance()) measures.

use lipcast_plugins_api::author::AudioTimeline;

use super::columns::{Column, Columns};
use super::error::AudioError;
use super::mel::{LogMel, scale};
use super::runs::{Recycle, Run, Runs};
use super::speech::Hearing;
use super::windows::Windows;
use super::{HOP, MelWindow, ROW, ROW_VALUES, SAMPLE_RATE, TOKEN_VALUES, WINDOW, WindowId};
use crate::networks::{MELS, WINDOW_STEPS};

/// Audio after the end of a frame that its tokens may depend on, milliseconds.
pub const LOOKAHEAD_MS: u32 = 140;

/// The loudest mel level, log10 of power, that a voice is expected to reach before it was heard.
///
/// The reference scales 30 s at a time against their loudest level: what is 80 dB below it counts as silence.
/// A stream does not know what comes, and a pause before the first word, scaled against itself, would be
/// taken for as loud as its noise can be. Two recordings of speech, brought to -23 LUFS (the level that
/// broadcasters agreed on, EBU R 128), reach 1.0 to 1.2. Louder voices raise it within their first syllables,
/// as far as the reference's own maximum; for one that is 20 dB quieter silence begins 60 dB below its peaks
/// in place of 80.
pub const ORDINARY_VOICE: f32 = 1.0;

/// Frames that share an encoder window.
const GROUP: u64 = 2;
/// Rows that are kept before those that the window of the latest frame needs, so that frames up to a second
/// older may still be asked for.
const KEPT_BACK: i64 = 50;
/// Windows whose features are kept at most: more than the frames of five batches of one session need.
const MOST_KEPT: usize = 40;
/// Audio that waits for its frames at most.
const MOST_WAITING: u64 = AudioTimeline::LIVE as u64;

/// The audio of one live session.
#[derive(Debug)]
pub struct SpeechStream {
    layout: Layout,
    window_maximum: bool,
    mel: LogMel,
    runs: Runs<Heard>,
    /// The mel handed out last.
    window: Vec<f32>,
    features: Vec<Features>,
    /// Memory of features that were let go.
    spare: Vec<Vec<f32>>,
}

/// What was heard of one run.
#[derive(Debug, Default)]
struct Heard {
    columns: Columns,
    /// Samples before the latest frame asked for.
    passed: u64,
}

/// Encoded rows of one window: those that its frames hear.
#[derive(Debug)]
struct Features {
    id: WindowId,
    /// `[rows, 5, 384]`.
    rows: Vec<f32>,
}

/// Which rows and windows belong to which frame of a run.
#[derive(Debug, Clone, Copy)]
struct Layout {
    windows: Windows,
    /// Rows of a window that has all its context.
    context: i64,
}

/// The rows of one pair of frames.
#[derive(Debug, Clone, Copy)]
struct Group {
    /// First row of the window.
    start: i64,
    /// The rows that its frames hear, those before the run's start left out.
    first: i64,
    end: i64,
}

impl SpeechStream {
    /// The speech of a session that begins.
    ///
    /// # Errors
    /// For a frame rate or a context that cannot be had, see [`Hearing`].
    pub fn new(hearing: &Hearing) -> Result<Self, AudioError> {
        let windows = hearing.windows()?;
        if !windows.keep_up() {
            return Err(AudioError::Drifts(hearing.fps.0, hearing.fps.1));
        }
        if !(0.5..=28.0).contains(&hearing.context) {
            return Err(AudioError::Context(hearing.context));
        }
        Ok(Self {
            layout: Layout {
                windows,
                context: (hearing.context * (SAMPLE_RATE as usize / ROW) as f32).round() as i64,
            },
            window_maximum: hearing.window_maximum,
            mel: LogMel::new(),
            runs: Runs::new(hearing.fps),
            window: Vec::new(),
            features: Vec::new(),
            spare: Vec::new(),
        })
    }

    /// Appends PCM whose first sample is number `first_sample` of the session. With `end`, zeros follow. A
    /// push that does not follow on the last, or follows its end, begins a new run.
    ///
    /// # Errors
    /// [`AudioError::GoesBack`]; [`AudioError::Full`], taking nothing, when 12 s wait for their frames.
    pub fn push(&mut self, first_sample: u64, pcm: &[f32], end: bool) -> Result<(), AudioError> {
        // A run that begins has all the room to itself.
        let going_on = self.runs.going_on(first_sample)?;
        let waiting = going_on.map_or(0, |run| run.samples.saturating_sub(run.heard.passed));
        if waiting + pcm.len() as u64 > MOST_WAITING {
            return Err(AudioError::Full { waiting, pushed: pcm.len() });
        }
        if let Some(run) = self.runs.push(first_sample, pcm.len(), end)? {
            run.heard.columns.push(pcm, ORDINARY_VOICE, &mut self.mel);
        }
        Ok(())
    }

    /// Forgets all audio.
    pub fn reset(&mut self) {
        self.runs.clear();
        self.spare.extend(self.features.drain(..).map(|features| features.rows));
    }

    /// The mel that has to be encoded before the tokens of `frame` can be had; `None`: nothing (more).
    ///
    /// # Errors
    /// [`AudioError::NotYet`] before the audio up to the frame's end and [`LOOKAHEAD_MS`] more is there, or
    /// its end known; [`AudioError::Passed`] for a frame that lies far behind the latest one asked for.
    pub fn needs(&mut self, frame: u64) -> Result<Option<MelWindow<'_>>, AudioError> {
        let layout = self.layout;
        let Some(run) = self.runs.of(frame) else { return Ok(None) };
        let of_run = frame - run.first_frame;
        let id = WindowId { run: run.serial, index: of_run / GROUP };
        if !layout.hears(run, of_run) || self.features.iter().any(|features| features.id == id) {
            self.pass(frame);
            return Ok(None);
        }
        let group = layout.group(of_run);
        let (from, to) = group.columns();
        if run.ended {
            run.heard.columns.fill(to, ORDINARY_VOICE, &mut self.mel);
        } else if run.heard.columns.made() < to {
            return Err(AudioError::NotYet { frame, there: run.samples, needed: group.samples() });
        }
        self.pass(frame);
        let Some(run) = self.runs.of(frame) else { return Ok(None) };
        let columns = run.heard.columns.range(from, to).ok_or(AudioError::Passed(frame))?;
        let count = (to - from) as usize + 1;
        fill(&mut self.window, columns, count, self.window_maximum);
        Ok(Some(MelWindow { id, columns: count, mel: &self.window }))
    }

    /// Takes what the encoder made of window `id`: `features`, f32 `[columns / 2, 5, 384]`.
    ///
    /// What comes of a window from before a reset, or comes again, is left alone.
    ///
    /// # Errors
    /// [`AudioError::Features`] for another number of values.
    pub fn supply(&mut self, id: WindowId, features: &[f32]) -> Result<(), AudioError> {
        let known = self.features.iter().any(|features| features.id == id);
        if known || self.runs.numbered(id.run).is_none() {
            return Ok(());
        }
        let group = self.layout.group(id.index * GROUP);
        let rows = (group.end + 1 - group.start) as usize;
        if features.len() != rows * ROW_VALUES {
            return Err(AudioError::Features { got: features.len(), expected: rows * ROW_VALUES, rows });
        }
        if self.features.len() >= MOST_KEPT
            && let Some(oldest) = (0..self.features.len()).min_by_key(|&at| self.features[at].id)
        {
            self.spare.push(self.features.swap_remove(oldest).rows);
        }
        let mut kept = self.spare.pop().unwrap_or_default();
        kept.clear();
        let value = |row: i64| (row - group.start) as usize * ROW_VALUES;
        kept.extend_from_slice(&features[value(group.first)..value(group.end)]);
        self.features.push(Features { id, rows: kept });
        Ok(())
    }

    /// Fills `tokens`, f32 `[50, 384]`, with those of video frame `frame`: token `5 · row + state`; zeros
    /// where nothing was spoken. Features of earlier frames are let go.
    ///
    /// Panics where the length is another: a bug of the caller.
    ///
    /// # Errors
    /// [`AudioError::NotEncoded`] when [`needs`](Self::needs) would hand out a window.
    pub fn tokens(&mut self, frame: u64, tokens: &mut [f32]) -> Result<(), AudioError> {
        assert_eq!(tokens.len(), TOKEN_VALUES, "tokens of one frame");
        tokens.fill(0.0);
        let layout = self.layout;
        let Some(run) = self.runs.of(frame) else { return Ok(()) };
        let of_run = frame - run.first_frame;
        if !layout.hears(run, of_run) {
            return Ok(());
        }
        let id = WindowId { run: run.serial, index: of_run / GROUP };
        let rows = 0..if run.ended { layout.windows.rows(run.samples) as i64 } else { i64::MAX };
        for at in (0..self.features.len()).rev() {
            if self.features[at].id < id {
                self.spare.push(self.features.swap_remove(at).rows);
            }
        }
        let known = self.features.iter().find(|features| features.id == id);
        let features = known.ok_or(AudioError::NotEncoded(frame))?;
        let first_kept = layout.group(of_run).first;
        for (row, out) in (layout.windows.first_row(of_run)..).zip(tokens.chunks_exact_mut(ROW_VALUES)) {
            if rows.contains(&row) {
                let at = (row - first_kept) as usize * ROW_VALUES;
                out.copy_from_slice(&features.rows[at..at + ROW_VALUES]);
            }
        }
        Ok(())
    }

    /// Says that `frame` was shown without its tokens, so that the audio before it does not wait for it.
    pub fn pass(&mut self, frame: u64) {
        let layout = self.layout;
        let start = self.runs.first_sample(frame);
        let Some(run) = self.runs.of(frame) else { return };
        run.heard.passed = run.heard.passed.max(start.saturating_sub(run.first_sample));
        let oldest = layout.group(frame - run.first_frame).start - KEPT_BACK;
        run.heard.columns.release(2 * oldest.max(0) as u64);
    }

    /// Main memory that it holds, bytes.
    pub fn bytes(&self) -> usize {
        let features = self.features.iter().map(|features| &features.rows).chain(&self.spare);
        let values = self.window.capacity() + features.map(Vec::capacity).sum::<usize>();
        values * size_of::<f32>() + self.runs.heard().map(|heard| heard.columns.bytes()).sum::<usize>()
    }

    /// Whether `frame` hears anything: not before the first run, and not once all ten of its rows lie behind
    /// the end.
    pub fn hears(&mut self, frame: u64) -> bool {
        let layout = self.layout;
        self.runs.of(frame).is_some_and(|run| layout.hears(run, frame - run.first_frame))
    }
}

impl Layout {
    /// Whether frame `of_run` of `run` hears a row of it.
    fn hears(&self, run: &Run<Heard>, of_run: u64) -> bool {
        let first = self.windows.first_row(of_run);
        let rows = if run.ended { self.windows.rows(run.samples) as i64 } else { i64::MAX };
        first + WINDOW_STEPS as i64 > 0 && first.max(0) < rows
    }

    /// The rows of the pair that frame `of_run` of a run belongs to.
    fn group(&self, of_run: u64) -> Group {
        let pair = of_run / GROUP * GROUP;
        let end = self.windows.first_row(pair + GROUP - 1) + WINDOW_STEPS as i64;
        let first = self.windows.first_row(pair).max(0);
        // The cut at a window's start changes its first row: that is one before the first that is heard.
        let start = (end + 1 - self.context).min(first - 1).max(0);
        Group { start, first, end }
    }
}

impl Group {
    /// The columns of its window, the repeated one not among them.
    fn columns(&self) -> (u64, u64) {
        (2 * self.start as u64, 2 * self.end as u64 + 1)
    }

    /// The samples of the run that they see.
    fn samples(&self) -> u64 {
        2 * self.end as u64 * HOP as u64 + WINDOW as u64 / 2
    }
}

impl Recycle for Heard {
    fn recycle(&mut self) {
        self.columns.recycle();
        self.passed = 0;
    }
}

/// Scales `columns` into `window`, f32 `[80, count]`; the last one comes twice.
fn fill<'a>(
    window: &mut Vec<f32>,
    columns: impl DoubleEndedIterator<Item = &'a Column> + Clone,
    count: usize,
    own_maximum: bool,
) {
    let loudest = if own_maximum {
        columns.clone().flat_map(|column| column.levels).fold(f32::MIN, f32::max)
    } else {
        columns.clone().next_back().map_or(ORDINARY_VOICE, |column| column.loudest)
    };
    window.resize(MELS * count, 0.0);
    for (at, column) in columns.enumerate() {
        for (band, level) in column.levels.into_iter().enumerate() {
            window[band * count + at] = scale(level, loudest);
        }
    }
    window.chunks_exact_mut(count).for_each(|row| row[count - 1] = row[count - 2]);
}
