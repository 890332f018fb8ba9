//! Reads speech as it is needed: an hour of it never lies in memory whole.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::child::{ChildRefusal, Transcode};
use super::source::{Container, Refusal, Source};
use super::{Resampler, SpeechError};
use crate::media::{ChildError, file_name};

/// Samples at 16 kHz that a chunk has at least, but for the last: 100 ms.
const LEAST: usize = 1_600;
/// Samples at 16 kHz that a chunk has at most: one second.
const MOST: usize = 16_000;

/// What a file may ask of us.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpeechLimits {
    /// Longest speech, seconds.
    pub max_seconds: f64,
}

impl Default for SpeechLimits {
    /// Two hours.
    fn default() -> Self {
        Self { max_seconds: 7_200.0 }
    }
}

/// What a file is.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeechInfo {
    /// Kind of file: `wave`, `mp3`, `isomp4`, `ogg`, `flac`, `matroska` and the like.
    pub container: String,
    /// Codec: `pcm_s16le`, `mp3`, `aac`, `opus` and the like.
    pub codec: String,
    /// Samples per second of the source.
    pub sample_rate: u32,
    /// Channels of the source; the speech is their mean.
    pub channels: usize,
    /// Length, if the file states it; the samples decide.
    pub seconds: Option<f64>,
}

/// A stretch of speech at the two rates that are needed: the same instants in both.
///
/// Mono f32 in -1..1 (resampling may pass that by a little). `at_48k` is exactly three times as long, but for
/// the last chunk, where both end at the nearest sample to the end of the speech.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SpeechChunk {
    /// For the backend, 16 kHz.
    pub at_16k: Vec<f32>,
    /// For the listener, 48 kHz.
    pub at_48k: Vec<f32>,
}

/// A speech file being read.
pub struct SpeechDecoder {
    name: String,
    kind: &'static str,
    info: SpeechInfo,
    limits: SpeechLimits,
    source: Box<dyn Source>,
    mono: Vec<f32>,
    to_16k: Resampler,
    to_48k: Resampler,
    waiting: SpeechChunk,
    /// Samples at the source's rate.
    taken: u64,
    ended: bool,
}

impl std::fmt::Debug for SpeechDecoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SpeechDecoder").field("name", &self.name).field("info", &self.info).finish()
    }
}

impl SpeechDecoder {
    /// Opens wav, mp3, m4a or aac, flac, ogg (Vorbis, Opus), webm; what is not read in this process goes
    /// through an `ffmpeg` child. A video's first audio track will do, too.
    ///
    /// # Errors
    /// [`SpeechError`], each with the file's name and what was found.
    pub fn open(path: &Path, limits: &SpeechLimits) -> Result<Self, SpeechError> {
        let name = file_name(path);
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => SpeechError::Missing { name: name.clone() },
            _ => SpeechError::Io { name: name.clone(), source },
        };
        let data = std::fs::metadata(path).map_err(io)?;
        if data.is_dir() {
            return Err(SpeechError::NotAudio { name, found: "it is a folder".to_owned() });
        }
        if data.len() == 0 {
            return Err(SpeechError::Empty { name });
        }
        let mut head = Vec::new();
        File::open(path).map_err(io)?.take(16).read_to_end(&mut head).map_err(io)?;
        let kind = kind(&head);
        let refusal = match Container::open_file(File::open(path).map_err(io)?, &name) {
            Ok((source, info)) => return Self::new(name, kind, Box::new(source), info, limits),
            Err(refusal @ (Refusal::NoAudioTrack(_) | Refusal::Unsupported(_))) => refusal,
            Err(refusal) => return Err(explain(&name, kind, refusal)),
        };
        match Transcode::open(path) {
            Ok((source, info)) => Self::new(name, kind, Box::new(source), info, limits),
            Err(ChildRefusal::Refusal(refusal)) => Err(explain(&name, kind, refusal)),
            // Neither reader knows the file; ours has the plainer words when it knows the kind.
            Err(ChildRefusal::Child(ChildError::Failed { detail, .. })) if kind.is_empty() => {
                // The error names the file itself.
                let found = detail.strip_prefix(&format!("{name}: ")).unwrap_or(&detail).to_owned();
                Err(SpeechError::NotAudio { name, found })
            }
            Err(ChildRefusal::Child(ChildError::Failed { .. })) => Err(explain(&name, kind, refusal)),
            Err(ChildRefusal::Child(source)) => {
                // Without ffmpeg the first refusal is what the user must know, unless ffmpeg would have helped.
                tracing::debug!(file = name, ?refusal, "not read in this process");
                Err(SpeechError::Child { name, source })
            }
        }
    }

    /// Opens audio that lies in memory, in one of the formats read in this process; `name` is for messages.
    ///
    /// # Errors
    /// As [`SpeechDecoder::open`].
    pub fn from_bytes(bytes: Vec<u8>, name: &str, limits: &SpeechLimits) -> Result<Self, SpeechError> {
        if bytes.is_empty() {
            return Err(SpeechError::Empty { name: name.to_owned() });
        }
        let kind = kind(&bytes);
        let (source, info) =
            Container::from_bytes(bytes, name).map_err(|refusal| explain(name, kind, refusal))?;
        Self::new(name.to_owned(), kind, Box::new(source), info, limits)
    }

    fn new(
        name: String,
        kind: &'static str,
        source: Box<dyn Source>,
        info: SpeechInfo,
        limits: &SpeechLimits,
    ) -> Result<Self, SpeechError> {
        if let Some(seconds) = info.seconds
            && seconds > limits.max_seconds
        {
            return Err(SpeechError::TooLong {
                name,
                found_seconds: seconds,
                limit_seconds: limits.max_seconds,
            });
        }
        let (to_16k, to_48k) =
            (Resampler::new(info.sample_rate, 16_000), Resampler::new(info.sample_rate, 48_000));
        let mut decoder = Self {
            name,
            kind,
            info,
            limits: *limits,
            source,
            mono: Vec::new(),
            to_16k,
            to_48k,
            waiting: SpeechChunk::default(),
            taken: 0,
            ended: false,
        };
        // A file without sound is told to whoever opens it, not found out when it is its turn to be spoken.
        while decoder.taken == 0 {
            decoder.pull()?;
        }
        Ok(decoder)
    }

    /// What the file is.
    pub fn info(&self) -> &SpeechInfo {
        &self.info
    }

    /// Reads on: 100 ms to 1 s (the last chunk may be shorter), or `None` at the end, which is also where a
    /// file that breaks off ends.
    ///
    /// # Errors
    /// When the file turns out to hold no sound, or more than the limit.
    pub fn read(&mut self) -> Result<Option<SpeechChunk>, SpeechError> {
        while !self.ended && self.ready() < LEAST {
            self.pull()?;
        }
        let (length_16k, length_48k) = match self.ready() {
            // The end, where the two totals are rounded each on its own.
            ready if self.ended && ready < MOST => (self.waiting.at_16k.len(), self.waiting.at_48k.len()),
            ready => (ready.min(MOST), ready.min(MOST) * 3),
        };
        if length_48k == 0 {
            return Ok(None);
        }
        let at_16k = self.waiting.at_16k.drain(..length_16k).collect();
        let at_48k = self.waiting.at_48k.drain(..length_48k).collect();
        Ok(Some(SpeechChunk { at_16k, at_48k }))
    }

    /// Samples at 16 kHz of which all three at 48 kHz are there, too.
    fn ready(&self) -> usize {
        self.waiting.at_16k.len().min(self.waiting.at_48k.len() / 3)
    }

    fn pull(&mut self) -> Result<(), SpeechError> {
        self.mono.clear();
        let more =
            self.source.next(&mut self.mono).map_err(|refusal| explain(&self.name, self.kind, refusal))?;
        self.taken += self.mono.len() as u64;
        let seconds = self.taken as f64 / f64::from(self.info.sample_rate);
        if seconds > self.limits.max_seconds {
            let limit_seconds = self.limits.max_seconds;
            return Err(SpeechError::TooLong {
                name: self.name.clone(),
                found_seconds: seconds,
                limit_seconds,
            });
        }
        self.to_16k.push(&self.mono, &mut self.waiting.at_16k);
        self.to_48k.push(&self.mono, &mut self.waiting.at_48k);
        if !more {
            if self.taken == 0 {
                let container = self.info.container.clone();
                return Err(SpeechError::NoSamples { name: self.name.clone(), container });
            }
            self.ended = true;
            self.to_16k.finish(&mut self.waiting.at_16k);
            self.to_48k.finish(&mut self.waiting.at_48k);
        }
        Ok(())
    }
}

/// Reads a whole file into one chunk: for short files, tests and offline rendering.
///
/// # Errors
/// As [`SpeechDecoder::open`] and [`SpeechDecoder::read`].
pub fn decode_all(path: &Path, limits: &SpeechLimits) -> Result<SpeechChunk, SpeechError> {
    let mut decoder = SpeechDecoder::open(path, limits)?;
    let mut all = SpeechChunk::default();
    while let Some(chunk) = decoder.read()? {
        all.at_16k.extend(chunk.at_16k);
        all.at_48k.extend(chunk.at_48k);
    }
    Ok(all)
}

/// Names the kind of file by its first bytes; empty when they are of none that we know.
fn kind(head: &[u8]) -> &'static str {
    let at =
        |offset: usize, magic: &[u8]| head.len() >= offset + magic.len() && head[offset..].starts_with(magic);
    match head {
        _ if at(0, b"RIFF") || at(0, b"RF64") => "WAV",
        _ if at(0, b"OggS") => "Ogg",
        _ if at(0, b"fLaC") => "FLAC",
        _ if at(0, b"ID3") => "MP3",
        _ if at(4, b"ftyp") => "MP4",
        _ if at(0, &[0x1a, 0x45, 0xdf, 0xa3]) => "WebM",
        _ => "",
    }
}

fn explain(name: &str, kind: &'static str, refusal: Refusal) -> SpeechError {
    let name = name.to_owned();
    match refusal {
        Refusal::Unsupported(detail) if !kind.is_empty() => SpeechError::Damaged { name, kind, detail },
        Refusal::Unsupported(found) => SpeechError::NotAudio { name, found },
        Refusal::NoHeaders => {
            let detail = "no sound was found in its first 64 MiB".to_owned();
            SpeechError::Damaged { name, kind: if kind.is_empty() { "media" } else { kind }, detail }
        }
        Refusal::NoAudioTrack(found) => SpeechError::NoAudioTrack { name, found },
        Refusal::Layout { sample_rate, channels } => SpeechError::Layout { name, channels, sample_rate },
        Refusal::Io(source) => SpeechError::Io { name, source },
    }
}
