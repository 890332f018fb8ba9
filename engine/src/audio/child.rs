//! The fallback: an `ffmpeg` child decodes what is not read in this process (HE-AAC, surround AAC, and kinds of
//! file that are rare for speech).

use std::ffi::OsString;
use std::path::Path;

use super::SpeechInfo;
use super::source::{Refusal, Source, downmix};
use crate::media::probe::Probe;
use crate::media::{Child, ChildError, ChildLimits, input_argument, reader_arguments};

/// Frames read at a time.
const BLOCK_FRAMES: usize = 4_096;
/// Processor seconds: AAC takes about one for ten minutes.
const PROCESSOR_SECONDS: u64 = 600;

/// A running `ffmpeg`, giving 32-bit floats.
pub(super) struct Transcode {
    child: Option<Child>,
    channels: usize,
    bytes: Vec<u8>,
    interleaved: Vec<f32>,
    decoded: bool,
}

/// Why the child did not help.
pub(super) enum ChildRefusal {
    Refusal(Refusal),
    Child(ChildError),
}

impl Transcode {
    /// Asks `ffprobe` what the file is, and starts `ffmpeg`.
    pub(super) fn open(path: &Path) -> Result<(Self, SpeechInfo), ChildRefusal> {
        let probe = Probe::of(path).map_err(ChildRefusal::Child)?;
        let Some((index, stream)) = probe.audio() else {
            return Err(ChildRefusal::Refusal(Refusal::NoAudioTrack(probe.describe())));
        };
        let sample_rate = stream.sample_rate.parse().unwrap_or(0);
        let channels = stream.channels;
        if !(1..=32).contains(&channels) || !(4_000..=384_000).contains(&sample_rate) {
            return Err(ChildRefusal::Refusal(Refusal::Layout { sample_rate, channels }));
        }
        let mut arguments = reader_arguments();
        arguments.extend(["-threads", "1", "-i"].map(OsString::from));
        arguments.push(input_argument(path));
        let (map, rate, count) = (format!("0:{index}"), sample_rate.to_string(), channels.to_string());
        arguments.extend(
            ["-map", &map, "-vn", "-sn", "-dn", "-ar", &rate, "-ac", &count, "-f", "f32le", "pipe:1"]
                .map(OsString::from),
        );
        let limits = ChildLimits { processor: PROCESSOR_SECONDS, ..ChildLimits::default() };
        let child = Child::start("ffmpeg", &arguments, path, limits).map_err(ChildRefusal::Child)?;
        let seconds =
            [&stream.duration, &probe.format.duration].into_iter().find_map(|text| text.parse().ok());
        let info = SpeechInfo {
            container: probe.format.format_name.split(',').next().unwrap_or_default().to_owned(),
            codec: stream.codec_name.clone(),
            sample_rate,
            channels,
            seconds: seconds.filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0),
        };
        let bytes = vec![0; BLOCK_FRAMES * channels * 4];
        Ok((Self { child: Some(child), channels, bytes, interleaved: Vec::new(), decoded: false }, info))
    }
}

impl Source for Transcode {
    fn next(&mut self, mono: &mut Vec<f32>) -> Result<bool, Refusal> {
        let failed = |error: ChildError| Refusal::Unsupported(error.to_string());
        let Some(child) = &mut self.child else { return Ok(false) };
        let length = child.read(&mut self.bytes).map_err(failed)?;
        self.interleaved.clear();
        self.interleaved.extend(
            self.bytes[..length]
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
        );
        downmix(&self.interleaved, self.channels, mono);
        self.decoded |= length > 0;
        if length == self.bytes.len() {
            return Ok(true);
        }
        // The end; a file that breaks off ends where it breaks off.
        if let Some(child) = self.child.take() {
            match child.finish() {
                Err(ChildError::Failed { .. }) if self.decoded => {}
                result => result.map_err(failed)?,
            }
        }
        Ok(length > 0)
    }
}
