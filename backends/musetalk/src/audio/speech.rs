//! The speech of a session, live or whole, behind one set of calls.

use lipcast_plugins_api::author::SessionMode;

use super::error::{AudioError, HearError};
use super::runs::{Recycle, Run, Runs};
use super::stream::SpeechStream;
use super::whole::WholeFile;
use super::windows::Windows;
use super::{MelWindow, WindowId};
use crate::settings::Settings;

/// How a session hears.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hearing {
    /// Video frames a second, a fraction; at least one.
    pub fps: (u32, u32),
    /// Seconds that a live encoder window is long, 0.5 to 28.
    pub context: f32,
    /// Windows are the reference's, see [`Windows::reference`]: whole frame rates below 50 in a live session.
    /// There the reference's shorter padding before a clip of less than two frames is not followed: how long
    /// it is comes too late.
    pub reference_window: bool,
    /// A live mel window is scaled against its own loudest level, not the loudest of its run so far.
    pub window_maximum: bool,
}

/// What a session was told to say.
#[derive(Debug)]
pub enum Speech {
    /// Audio comes in step with the frames.
    Live(Box<SpeechStream>),
    /// Each run is there before its first frame is asked for.
    Whole(WholeSpeech),
}

/// The runs of a session that are each heard as a whole.
#[derive(Debug)]
pub struct WholeSpeech {
    windows: Windows,
    runs: Runs<Utterance>,
}

/// One run: its PCM until it ends, then a file.
#[derive(Debug, Default)]
struct Utterance {
    pcm: Vec<f32>,
    file: Option<WholeFile>,
}

impl Hearing {
    /// At `fps` video frames a second, a fraction, and otherwise as the settings say.
    pub fn new(fps: (u32, u32), settings: &Settings) -> Self {
        Self {
            fps,
            context: settings.context,
            reference_window: settings.compat.reference_window,
            window_maximum: settings.compat.window_maximum,
        }
    }

    /// How frames are laid over rows.
    ///
    /// # Errors
    /// For a frame rate that cannot be had.
    pub fn windows(&self) -> Result<Windows, AudioError> {
        if self.reference_window { Windows::reference(self.fps) } else { Windows::new(self.fps) }
    }
}

impl Speech {
    /// The speech of a session that begins.
    ///
    /// # Errors
    /// For a frame rate or a context that cannot be had, see [`Hearing`].
    pub fn new(mode: SessionMode, hearing: &Hearing) -> Result<Self, AudioError> {
        Ok(match mode {
            SessionMode::Live => Self::Live(Box::new(SpeechStream::new(hearing)?)),
            SessionMode::Whole => {
                Self::Whole(WholeSpeech { windows: hearing.windows()?, runs: Runs::new(hearing.fps) })
            }
        })
    }

    /// As [`SpeechStream::push`]; a session that hears whole runs takes any length.
    ///
    /// # Errors
    /// As there.
    pub fn push(&mut self, first_sample: u64, pcm: &[f32], end: bool) -> Result<(), AudioError> {
        match self {
            Self::Live(stream) => stream.push(first_sample, pcm, end),
            Self::Whole(whole) => whole.push(first_sample, pcm, end),
        }
    }

    /// Forgets all audio.
    pub fn reset(&mut self) {
        match self {
            Self::Live(stream) => stream.reset(),
            Self::Whole(whole) => whole.runs.clear(),
        }
    }

    /// The mel that has to be encoded before the tokens of `frame` can be had; `None`: nothing (more). Ask
    /// again after it was supplied: a frame between two segments of a whole file needs both.
    ///
    /// # Errors
    /// As [`SpeechStream::needs`]; [`AudioError::NotYet`] too where a whole run has not ended, and
    /// [`AudioError::RunsOut`] as in [`WholeFile::new`].
    pub fn needs(&mut self, frame: u64) -> Result<Option<MelWindow<'_>>, AudioError> {
        match self {
            Self::Live(stream) => stream.needs(frame),
            Self::Whole(whole) => {
                let windows = whole.windows;
                let Some(run) = whole.runs.of(frame) else { return Ok(None) };
                let of_run = frame - run.first_frame;
                Ok(file(run, windows, frame)?.needs(of_run))
            }
        }
    }

    /// Takes what the encoder made of window `id`: `features`, f32 `[columns / 2, 5, 384]`.
    ///
    /// # Errors
    /// [`AudioError::Features`] for another number of values.
    pub fn supply(&mut self, id: WindowId, features: &[f32]) -> Result<(), AudioError> {
        match self {
            Self::Live(stream) => stream.supply(id, features),
            Self::Whole(whole) => {
                let run = whole.runs.numbered(id.run);
                run.and_then(|run| run.heard.file.as_mut()).map_or(Ok(()), |file| file.supply(id, features))
            }
        }
    }

    /// Fills `tokens`, f32 `[50, 384]`, with those of video frame `frame`: token `5 · row + state`; zeros
    /// where nothing was spoken.
    ///
    /// Panics where the length is another: a bug of the caller.
    ///
    /// # Errors
    /// [`AudioError::NotEncoded`] when [`needs`](Self::needs) would hand out a window.
    pub fn tokens(&mut self, frame: u64, tokens: &mut [f32]) -> Result<(), AudioError> {
        match self {
            Self::Live(stream) => stream.tokens(frame, tokens),
            Self::Whole(whole) => {
                tokens.fill(0.0);
                let windows = whole.windows;
                let Some(run) = whole.runs.of(frame) else { return Ok(()) };
                let of_run = frame - run.first_frame;
                file(run, windows, frame)?.tokens(of_run, tokens)
            }
        }
    }

    /// The tokens of `frame`, where the encoder can be run on the spot: `encode` makes of mel `[80, columns]`
    /// features `[columns / 2, 5, 384]`.
    ///
    /// # Errors
    /// As [`needs`](Self::needs), and what the encoder says.
    pub fn hear<E>(
        &mut self,
        frame: u64,
        encode: &mut impl FnMut(&[f32], usize) -> Result<Vec<f32>, E>,
        tokens: &mut [f32],
    ) -> Result<(), HearError<E>> {
        while let Some(MelWindow { id, columns, mel }) = self.needs(frame)? {
            let features = encode(mel, columns).map_err(HearError::Encoder)?;
            self.supply(id, &features)?;
        }
        Ok(self.tokens(frame, tokens)?)
    }

    /// Says that `frame` was shown without its tokens, so that the audio before it does not wait for it.
    pub fn pass(&mut self, frame: u64) {
        if let Self::Live(stream) = self {
            stream.pass(frame);
        }
    }

    /// Whether `frame` hears anything: not before the first run, and not once all ten of its rows lie behind
    /// the end. Of a whole run that has not ended it does.
    pub fn hears(&mut self, frame: u64) -> bool {
        match self {
            Self::Live(stream) => stream.hears(frame),
            Self::Whole(whole) => {
                let windows = whole.windows;
                whole.runs.of(frame).is_some_and(|run| {
                    let of_run = frame - run.first_frame;
                    file(run, windows, frame).map_or(true, |file| file.hears(of_run))
                })
            }
        }
    }
}

impl WholeSpeech {
    fn push(&mut self, first_sample: u64, pcm: &[f32], end: bool) -> Result<(), AudioError> {
        if let Some(run) = self.runs.push(first_sample, pcm.len(), end)? {
            run.heard.pcm.extend_from_slice(pcm);
        }
        Ok(())
    }
}

impl Recycle for Utterance {
    fn recycle(&mut self) {
        *self = Self::default();
    }
}

/// The file that `run` is, once it has ended.
fn file(run: &mut Run<Utterance>, windows: Windows, frame: u64) -> Result<&mut WholeFile, AudioError> {
    if !run.ended {
        return Err(AudioError::NotYet { frame, there: run.samples, needed: run.samples + 1 });
    }
    let heard = &mut run.heard;
    Ok(match &mut heard.file {
        Some(file) => file,
        none => {
            windows.check(run.samples)?;
            none.insert(WholeFile::of_run(windows, std::mem::take(&mut heard.pcm), run.serial))
        }
    })
}
