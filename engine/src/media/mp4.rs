//! Writes an mp4: pictures through our own H.264 encoder, PCM as AAC or Opus, joined by an `ffmpeg` child.
//!
//! Both tracks are kept beside the target until the end, so that pictures and PCM may come in any order; the
//! finished file takes the target's name in one step. The same input gives the same bytes.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lipcast_codecs::{H264Encoder, I420Ref, VideoConfig, VideoEncoder};
use tempfile::TempDir;

use super::MediaError;
use super::child::{Child, ChildError, ChildLimits, file_name, input_argument};
use crate::time::FrameRate;

const SAMPLE_RATE: u32 = 48_000;
/// Ticks a second of the video track: whole numbers for all usual frame rates and for samples at 48 kHz.
const TICKS: u64 = 1_200_000;

/// How the sound is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudioTrackCodec {
    /// Plays everywhere.
    Aac,
    /// Better at the same size; some players refuse it in an mp4.
    Opus,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mp4Summary {
    /// Pictures.
    pub frames: u64,
    /// Samples at 48 kHz.
    pub samples: u64,
    /// Length of both tracks, seconds.
    pub seconds: f64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// An mp4 being written. Dropping it before [`Mp4Writer::finish`] leaves nothing behind.
pub struct Mp4Writer {
    target: PathBuf,
    name: String,
    fps: FrameRate,
    codec: AudioTrackCodec,
    encoder: H264Encoder,
    folder: TempDir,
    video: BufWriter<File>,
    audio: BufWriter<File>,
    frames: u64,
    samples: u64,
}

impl Mp4Writer {
    /// Begins a file of one video track and one mono audio track at 48 kHz.
    ///
    /// # Errors
    /// When `ffmpeg` is missing, the folder cannot be written, or the encoder refuses the settings: all before
    /// any work is done.
    pub fn create(path: &Path, video: VideoConfig, audio: AudioTrackCodec) -> Result<Self, MediaError> {
        let name = file_name(path);
        let io = |source| MediaError::Io { name: name.clone(), source };
        find_ffmpeg().map_err(|source| MediaError::Child { name: name.clone(), source })?;
        let encoder =
            H264Encoder::new(&video).map_err(|source| MediaError::Codec { name: name.clone(), source })?;
        let Some(fps) = FrameRate::new(video.fps.0, video.fps.1) else {
            let detail = format!("{}/{} frames per second", video.fps.0, video.fps.1);
            return Err(MediaError::Write { name, detail });
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = tempfile::Builder::new().prefix(".lipcast-render-").tempdir_in(parent).map_err(io)?;
        let track = |file: &str| File::create(folder.path().join(file)).map(BufWriter::new).map_err(io);
        let (video, audio_file) = (track("video.h264")?, track("audio.s16")?);
        Ok(Self {
            target: path.to_owned(),
            name,
            fps,
            codec: audio,
            encoder,
            folder,
            video,
            audio: audio_file,
            frames: 0,
            samples: 0,
        })
    }

    /// Adds the next picture.
    ///
    /// # Errors
    /// When its size is not the configured one, or the disk is full.
    pub fn write_video(&mut self, picture: I420Ref<'_>) -> Result<(), MediaError> {
        let unit = self
            .encoder
            .encode(picture, false)
            .map_err(|source| MediaError::Codec { name: self.name.clone(), source })?;
        self.frames += 1;
        self.video.write_all(&unit.data).map_err(|source| self.io(source))
    }

    /// Adds the next samples: mono, 48 kHz, -1..1 (beyond is clipped).
    ///
    /// # Errors
    /// When the disk is full.
    pub fn write_audio(&mut self, pcm: &[f32]) -> Result<(), MediaError> {
        self.samples += pcm.len() as u64;
        for sample in pcm {
            let level = (sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16;
            self.audio.write_all(&level.to_le_bytes()).map_err(|source| self.io(source))?;
        }
        Ok(())
    }

    /// Joins the tracks and gives the file its name. The last picture is shown only as long as the sound lasts,
    /// so that both tracks have the length of the speech.
    ///
    /// # Errors
    /// When the pictures are not exactly those that cover the samples, or `ffmpeg` fails.
    pub fn finish(mut self) -> Result<Mp4Summary, MediaError> {
        let needed = self.fps.frames_covering(self.samples, SAMPLE_RATE);
        if self.frames != needed || needed == 0 {
            let detail = format!(
                "{} pictures for {} samples: {needed} are needed at {}/{} frames per second",
                self.frames,
                self.samples,
                self.fps.num(),
                self.fps.den()
            );
            return Err(MediaError::Write { name: self.name, detail });
        }
        self.video.flush().and_then(|()| self.audio.flush()).map_err(|source| self.io(source))?;
        let joined = self.folder.path().join("joined.mp4");
        self.join(&joined).map_err(|source| MediaError::Child { name: self.name.clone(), source })?;
        let file = File::open(&joined).map_err(|source| self.io(source))?;
        file.sync_all().map_err(|source| self.io(source))?;
        let bytes = file.metadata().map_err(|source| self.io(source))?.len();
        std::fs::rename(&joined, &self.target).map_err(|source| self.io(source))?;
        let seconds = self.samples as f64 / f64::from(SAMPLE_RATE);
        Ok(Mp4Summary { frames: self.frames, samples: self.samples, seconds, bytes })
    }

    fn join(&self, joined: &Path) -> Result<(), ChildError> {
        let rate = format!("{}/{}", self.fps.num(), self.fps.den());
        let sample_rate = SAMPLE_RATE.to_string();
        let ticks = TICKS.to_string();
        let times = self.times();
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        add(&["-nostdin", "-hide_banner", "-loglevel", "error", "-protocol_whitelist", "file,pipe"]);
        add(&["-f", "h264", "-framerate", &rate, "-i"]);
        arguments.push(input_argument(&self.folder.path().join("video.h264")));
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        add(&["-protocol_whitelist", "file,pipe", "-f", "s16le", "-ar", &sample_rate, "-ac", "1", "-i"]);
        arguments.push(input_argument(&self.folder.path().join("audio.s16")));
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        add(&[
            "-map",
            "0:v",
            "-map",
            "1:a",
            "-c:v",
            "copy",
            "-bsf:v",
            &times,
            "-video_track_timescale",
            &ticks,
        ]);
        add(match self.codec {
            AudioTrackCodec::Aac => &["-c:a", "aac", "-b:a", "128k"],
            AudioTrackCodec::Opus => &["-c:a", "libopus", "-b:a", "64k", "-strict", "experimental"],
        });
        // Bit-exact: no version, no date, nothing that differs between two runs.
        add(&["-threads", "1", "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact"]);
        add(&["-movie_timescale", &sample_rate, "-movflags", "+faststart", "-progress", "pipe:1", "-y"]);
        arguments.push(input_argument(joined));
        let limits = ChildLimits { processor: 3_600, file_size: 64 << 30, ..ChildLimits::default() };
        let mut child = Child::start("ffmpeg", &arguments, &self.target, limits)?;
        // Progress reports keep coming while it works, so that a long file is not taken for a hang.
        let mut report = [0; 64];
        while child.read(&mut report)? == report.len() {}
        child.finish()
    }

    /// States the time of each picture, and cuts the last one to the end of the sound.
    fn times(&self) -> String {
        let (frames, seconds) = (self.fps.num(), self.fps.den());
        let end = self.samples * (TICKS / u64::from(SAMPLE_RATE));
        let start = format!("floor(N*{TICKS}*{seconds}/{frames})");
        let next = format!("floor((N+1)*{TICKS}*{seconds}/{frames})");
        format!("setts=pts={start}:dts={start}:duration=min({next}\\,{end})-{start}")
    }

    fn io(&self, source: std::io::Error) -> MediaError {
        MediaError::Io { name: self.name.clone(), source }
    }
}

/// Fails before an hour of work is done, not after it.
fn find_ffmpeg() -> Result<(), ChildError> {
    let mut command = Command::new("ffmpeg");
    command.arg("-version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(_) => Ok(()),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(ChildError::NotInstalled { program: "ffmpeg" })
        }
        Err(source) => Err(ChildError::Io { program: "ffmpeg", source }),
    }
}
