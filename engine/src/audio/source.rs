//! Where mono PCM comes from: a file that `symphonia` reads here, with `opus` for the one codec that it lacks.

use std::fs::File;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lipcast_codecs::OpusDecoder;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_OPUS};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;

use super::SpeechInfo;
use super::ration::RationedFile;

/// AAC at half rate carries its upper half as an extension (SBR), which `symphonia` does not decode.
const SBR_CORE_RATE: u32 = 24_000;

/// Mono PCM at a fixed rate, block by block.
pub(super) trait Source: Send {
    /// Appends the next block to `mono`; `false` at the end.
    fn next(&mut self, mono: &mut Vec<f32>) -> Result<bool, Refusal>;
}

/// Why a file cannot be read here.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Another reader may manage.
    Unsupported(String),
    /// No other reader would.
    NoAudioTrack(String),
    /// No other reader may try: it would search just as long.
    NoHeaders,
    Layout {
        sample_rate: u32,
        channels: usize,
    },
    Io(std::io::Error),
}

/// A file in one of the formats that are read in this process.
pub(super) struct Container {
    format: Box<dyn FormatReader>,
    decoder: Decoder,
    track: u32,
    channels: usize,
    /// Frames at the start that only exist because of the encoder's delay.
    lead: usize,
    interleaved: Vec<f32>,
    failures: u32,
    decoded: bool,
}

enum Decoder {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(OpusDecoder),
}

impl Container {
    /// Reads a file's headers, as far as [`RationedFile`] lets it.
    pub(super) fn open_file(file: File, name: &str) -> Result<(Self, SpeechInfo), Refusal> {
        let (source, ration) = RationedFile::new(file);
        let opened = Self::open(Box::new(source), name);
        if ration.is_spent() {
            return Err(Refusal::NoHeaders);
        }
        ration.lift();
        opened
    }

    /// Reads the headers.
    fn open(source: Box<dyn MediaSource>, name: &str) -> Result<(Self, SpeechInfo), Refusal> {
        let mut hint = Hint::new();
        if let Some((_, extension)) = name.rsplit_once('.') {
            hint.with_extension(&extension.to_lowercase());
        }
        let stream = MediaSourceStream::new(source, Default::default());
        let format = guarded(|| {
            symphonia::default::get_probe().probe(
                &hint,
                stream,
                FormatOptions::default(),
                MetadataOptions::default(),
            )
        })?;
        Self::with_format(format)
    }

    /// Reads audio that lies in memory.
    pub(super) fn from_bytes(bytes: Vec<u8>, name: &str) -> Result<(Self, SpeechInfo), Refusal> {
        Self::open(Box::new(Cursor::new(bytes)), name)
    }

    fn with_format(format: Box<dyn FormatReader>) -> Result<(Self, SpeechInfo), Refusal> {
        let container = format.format_info().short_name.to_owned();
        let Some(track) = format.default_track(TrackType::Audio) else {
            return Err(Refusal::NoAudioTrack(describe(format.as_ref())));
        };
        let Some(CodecParameters::Audio(parameters)) = &track.codec_params else {
            return Err(Refusal::Unsupported("an audio track without a description".to_owned()));
        };
        let mut lead = 0;
        let (decoder, codec, sample_rate, channels) = if parameters.codec == CODEC_ID_OPUS {
            let (channels, delay) = opus_head(parameters)?;
            lead = delay;
            let decoder =
                OpusDecoder::new(channels).map_err(|error| Refusal::Unsupported(error.to_string()))?;
            (Decoder::Opus(decoder), "opus", 48_000, channels)
        } else {
            if parameters.codec == CODEC_ID_AAC
                && parameters.sample_rate.is_some_and(|rate| rate <= SBR_CORE_RATE)
            {
                return Err(Refusal::Unsupported("AAC that may carry a band extension".to_owned()));
            }
            let decoder = guarded(|| {
                symphonia::default::get_codecs()
                    .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            })?;
            let known = decoder.codec_params();
            let rate = known.sample_rate.or(parameters.sample_rate);
            let channels =
                known.channels.as_ref().or(parameters.channels.as_ref()).map(|channels| channels.count());
            let (Some(rate), Some(channels)) = (rate, channels) else {
                return Err(Refusal::Unsupported("its rate or channels are not stated".to_owned()));
            };
            let codec = decoder.codec_info().short_name;
            (Decoder::Symphonia(decoder), codec, rate, channels)
        };
        if !(1..=32).contains(&channels) || !(4_000..=384_000).contains(&sample_rate) {
            return Err(Refusal::Layout { sample_rate, channels });
        }
        let seconds = track.time_base.zip(track.duration).map(|(base, length)| {
            length.get() as f64 * f64::from(base.numer.get()) / f64::from(base.denom.get())
        });
        let info = SpeechInfo {
            container,
            codec: codec.to_owned(),
            sample_rate,
            channels,
            seconds: seconds.filter(|seconds| *seconds > 0.0),
        };
        let track = track.id;
        let interleaved = Vec::new();
        Ok((Self { format, decoder, track, channels, lead, interleaved, failures: 0, decoded: false }, info))
    }

    /// Decodes a packet into `self.interleaved`.
    fn decode(&mut self, packet: &Packet) -> Result<(), Refusal> {
        self.interleaved.clear();
        match &mut self.decoder {
            Decoder::Symphonia(decoder) => {
                let (interleaved, channels) = (&mut self.interleaved, &mut self.channels);
                guarded(|| {
                    let block = decoder.decode(packet)?;
                    // Some files change their layout midway; the mean follows.
                    *channels = block.spec().channels().count().max(1);
                    block.copy_to_vec_interleaved(interleaved);
                    Ok(())
                })
            }
            Decoder::Opus(decoder) => {
                let decoded =
                    decoder.decode(&packet.data).map_err(|error| Refusal::Unsupported(error.to_string()))?;
                let lead = (self.lead * self.channels).min(decoded.len());
                self.lead -= lead / self.channels;
                // Trims are in the track's ticks: samples at 48 kHz in Ogg, and absent in WebM.
                let tail = (packet.trim_end.get() as usize * self.channels).min(decoded.len() - lead);
                self.interleaved.extend_from_slice(&decoded[lead..decoded.len() - tail]);
                Ok(())
            }
        }
    }
}

impl Source for Container {
    fn next(&mut self, mono: &mut Vec<f32>) -> Result<bool, Refusal> {
        loop {
            let packet = match guarded(|| self.format.next_packet()) {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(false),
                // A file that breaks off ends where it breaks off.
                Err(_) if self.decoded => return Ok(false),
                Err(refusal) => return Err(refusal),
            };
            if packet.track_id != self.track {
                continue;
            }
            match self.decode(&packet) {
                Ok(()) => {
                    self.decoded |= !self.interleaved.is_empty();
                    downmix(&self.interleaved, self.channels, mono);
                    return Ok(true);
                }
                // One damaged packet is left out; a file of nothing else is refused.
                Err(refusal) => {
                    self.failures += 1;
                    if !self.decoded && self.failures > 50 {
                        return Err(refusal);
                    }
                    if self.failures == 1 {
                        tracing::debug!(?refusal, "a damaged packet of speech was left out");
                    }
                }
            }
        }
    }
}

/// Appends the mean of the channels. What is not a number becomes silence, what is out of range is clipped.
pub(super) fn downmix(interleaved: &[f32], channels: usize, mono: &mut Vec<f32>) {
    let scale = 1.0 / channels as f32;
    mono.extend(interleaved.chunks_exact(channels).map(|frame| {
        let finite = |sample: &f32| if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 };
        frame.iter().map(finite).sum::<f32>() * scale
    }));
}

/// Calls into the readers, which must never take the server down: a panic on a damaged file counts as one
/// more way in which they refuse it.
fn guarded<T>(call: impl FnOnce() -> Result<T, Error>) -> Result<T, Refusal> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Error::IoError(error))) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            Err(Refusal::Io(error))
        }
        Ok(Err(Error::IoError(_))) => Err(Refusal::Unsupported("it ends too early".to_owned())),
        Ok(Err(error)) => Err(Refusal::Unsupported(error.to_string())),
        Err(_) => Err(Refusal::Unsupported("its reader failed on it".to_owned())),
    }
}

/// Channels and delay from the identification header, which Ogg and WebM both keep.
fn opus_head(parameters: &AudioCodecParameters) -> Result<(usize, usize), Refusal> {
    let head = parameters.extra_data.as_deref().unwrap_or_default();
    if head.len() < 19 || !head.starts_with(b"OpusHead") {
        return Err(Refusal::Unsupported("Opus without its header".to_owned()));
    }
    let channels = usize::from(head[9]);
    // Mapping family 0 is mono or stereo in one stream.
    if head[18] != 0 || !(1..=2).contains(&channels) {
        return Err(Refusal::Unsupported(format!("Opus with {channels} channels")));
    }
    Ok((channels, usize::from(u16::from_le_bytes([head[10], head[11]]))))
}

fn describe(format: &dyn FormatReader) -> String {
    let kinds = format.tracks().iter().map(|track| match track.track_type() {
        Some(TrackType::Audio) => "audio",
        Some(TrackType::Video) => "video",
        Some(TrackType::Subtitle) => "subtitles",
        _ => "unknown data",
    });
    let words = kinds.collect::<Vec<_>>().join(", ");
    if words.is_empty() { "no tracks".to_owned() } else { words }
}
