//! Reads a video, an image folder or a single image as RGB frames at one constant rate.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::child::{Child, ChildError, ChildLimits, file_name, input_argument, reader_arguments};
use super::probe::{Probe, Stream, ratio};
use lipcast_codecs::VideoConfig;

use super::{MediaError, images};
use crate::time::FrameRate;

/// Frame rates that cameras mean when their average comes close.
const USUAL_RATES: [(u32, u32); 9] =
    [(24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (30, 1), (48, 1), (50, 1), (60_000, 1001), (60, 1)];
/// Faster videos are thinned out to this.
const MOST_FPS: f64 = 60.0;
/// Slower videos, such as slide shows, are played at 25 frames a second: lips cannot speak at one.
const LEAST_FPS: f64 = 10.0;
/// What transparent pixels are laid on.
const BACKDROP: u16 = 255;

/// What a file may ask of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoLimits {
    /// Smallest side in pixels, after rotation and scaling.
    pub min_side: usize,
    /// Largest side in pixels, after rotation.
    pub max_side: usize,
    /// Longer and shorter side in pixels that pictures are scaled down to fit into, after rotation.
    pub fit: (usize, usize),
    /// Frames in all.
    pub max_frames: u64,
    /// Longest wait for one frame, seconds.
    pub stall_seconds: u64,
    /// Processor time for the whole file, seconds.
    pub processor_seconds: u64,
}

/// What one processor core encodes in real time; a phone's photo has ten times as many pixels.
const FIT: (usize, usize) = (1920, 1080);
const _: () = assert!(FIT.0 <= VideoConfig::LARGEST.0 && FIT.1 <= VideoConfig::LARGEST.1);

impl Default for VideoLimits {
    fn default() -> Self {
        Self {
            min_side: VideoConfig::LEAST_SIDE,
            max_side: 8192,
            fit: FIT,
            max_frames: 18_000,
            stall_seconds: 20,
            processor_seconds: 1_800,
        }
    }
}

impl VideoLimits {
    /// The even size at which a picture of `width` x `height` pixels comes out: cropped by a pixel, or scaled down.
    pub fn fitted(&self, (width, height): (usize, usize)) -> (usize, usize) {
        let (long, short) = (width.max(height), width.min(height));
        if long <= self.fit.0 && short <= self.fit.1 {
            return (width & !1, height & !1);
        }
        let scale = (self.fit.0 as f64 / long as f64).min(self.fit.1 as f64 / short as f64);
        let side = |pixels: usize| ((pixels as f64 * scale / 2.0).round() * 2.0) as usize;
        (side(width), side(height))
    }
}

/// How a source's YCbCr was made from RGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColorMatrix {
    /// Standard definition.
    Bt601,
    /// High definition.
    Bt709,
    /// Ultra high definition, non-constant luminance.
    Bt2020,
    /// The source is RGB already.
    Rgb,
}

/// Which levels a source uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColorRange {
    /// Luma 16 to 235.
    Limited,
    /// All levels.
    Full,
}

/// What a source is.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoInfo {
    /// Pixels after rotation, with square pixels, cropped to an even number or scaled down to fit.
    pub width: usize,
    /// Pixels after rotation, with square pixels, cropped to an even number or scaled down to fit.
    pub height: usize,
    /// Width and height before cropping and scaling, after rotation, with square pixels.
    pub source_size: (usize, usize),
    /// The rate at which frames come out; variable rates are resampled to it.
    pub fps: FrameRate,
    /// How many frames to expect, if the file says; the reader's own count decides.
    pub frame_count: Option<u64>,
    /// How many frames come out of the whole file, where its container counts them; fewer mean that it is cut
    /// off.
    pub declared_frames: Option<u64>,
    /// Matrix of the source. Untagged video counts as BT.709 when the coded height is 720 or more, otherwise
    /// as BT.601, as browsers take it.
    pub color_matrix: ColorMatrix,
    /// Range of the source; untagged video counts as limited.
    pub color_range: ColorRange,
    /// Codec in ffmpeg's words (`h264`, `vp9`), or `images`.
    pub codec: String,
}

/// A source being read, frame by frame.
#[derive(Debug)]
pub struct VideoReader {
    name: String,
    info: VideoInfo,
    limits: VideoLimits,
    source: Source,
    frames: u64,
}

#[derive(Debug)]
enum Source {
    /// `ffmpeg`'s raw output; `alpha` tells that it comes with four bytes a pixel.
    Child {
        child: Option<Child>,
        alpha: bool,
        buffer: Vec<u8>,
    },
    Images {
        files: std::vec::IntoIter<PathBuf>,
    },
}

impl VideoReader {
    /// Opens a video file, a folder of images (25 frames per second) or a single image (one frame).
    /// Size and length are checked before anything is decoded.
    ///
    /// # Errors
    /// [`MediaError`], each with the file's name and what was found.
    pub fn open(path: &Path, limits: &VideoLimits) -> Result<Self, MediaError> {
        let name = file_name(path);
        let data = std::fs::metadata(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => MediaError::Missing { name: name.clone() },
            _ => MediaError::Io { name: name.clone(), source },
        })?;
        if data.is_dir() {
            let files = images::in_folder(path)?;
            return Self::images(name, files, limits);
        }
        if data.len() == 0 {
            return Err(MediaError::Empty { name });
        }
        if images::is_image(path) {
            Self::images(name, vec![path.to_owned()], limits)
        } else {
            Self::video(path, limits)
        }
    }

    /// What the source is.
    pub fn info(&self) -> &VideoInfo {
        &self.info
    }

    /// Reads the next frame into `rgb`: RGB24, packed, full range, `width * height * 3` bytes.
    /// `false` at the end, which is also where a file that breaks off ends.
    ///
    /// # Errors
    /// When not even one frame can be decoded, when there are more than the limit, when the decoder hangs, or
    /// when an image of a folder has another size.
    pub fn next_frame(&mut self, rgb: &mut Vec<u8>) -> Result<bool, MediaError> {
        let more = match &mut self.source {
            Source::Child { child, alpha, buffer } => {
                let pixels = self.info.width * self.info.height;
                let complete = match child {
                    Some(child) => {
                        let target: &mut Vec<u8> = if *alpha { &mut *buffer } else { &mut *rgb };
                        target.resize(pixels * if *alpha { 4 } else { 3 }, 0);
                        let length = child.read(target).map_err(|source| failed(&self.name, source))?;
                        length == target.len()
                    }
                    None => false,
                };
                if complete && *alpha {
                    flatten(buffer, rgb);
                }
                complete
            }
            Source::Images { files } => match files.next() {
                Some(file) => {
                    let image = images::decode(&file, &self.limits)?;
                    let (expected, got) = (self.info.source_size, images::size_of(&image));
                    if got != expected {
                        return Err(MediaError::ImageSizes { name: file_name(&file), expected, got });
                    }
                    images::fit(image, (self.info.width, self.info.height), rgb);
                    true
                }
                None => false,
            },
        };
        if !more {
            self.end()?;
            return Ok(false);
        }
        self.frames += 1;
        if self.frames > self.limits.max_frames {
            return Err(too_many(&self.name, self.frames, &self.limits));
        }
        Ok(true)
    }

    /// Frames read so far.
    pub fn frames_read(&self) -> u64 {
        self.frames
    }

    fn end(&mut self) -> Result<(), MediaError> {
        let Source::Child { child, .. } = &mut self.source else { return Ok(()) };
        let Some(child) = child.take() else { return Ok(()) };
        let name = self.name.clone();
        match child.finish() {
            Ok(()) if self.frames == 0 => {
                Err(MediaError::NoFrames { name, detail: "the stream is empty or damaged".to_owned() })
            }
            Ok(()) => Ok(()),
            Err(ChildError::Failed { detail, .. }) if self.frames == 0 => {
                Err(MediaError::NoFrames { name, detail })
            }
            Err(ChildError::Failed { detail, .. }) => {
                tracing::warn!(file = name, frames = self.frames, detail, "the video breaks off");
                Ok(())
            }
            Err(source) => Err(failed(&name, source)),
        }
    }

    fn images(name: String, files: Vec<PathBuf>, limits: &VideoLimits) -> Result<Self, MediaError> {
        let Some(first) = files.first() else { return Err(MediaError::NoImages { name }) };
        let count = files.len() as u64;
        if count > limits.max_frames {
            return Err(too_many(&name, count, limits));
        }
        // Headers only: a folder that does not fit together is refused before work is spent on it.
        let size = images::size(first)?;
        check_size(&file_name(first), size, limits)?;
        for file in &files {
            let got = images::size(file)?;
            if got != size {
                return Err(MediaError::ImageSizes { name: file_name(file), expected: size, got });
            }
        }
        let (width, height) = limits.fitted(size);
        let info = VideoInfo {
            width,
            height,
            source_size: size,
            fps: FrameRate::FPS_25,
            frame_count: Some(count),
            declared_frames: None,
            color_matrix: ColorMatrix::Rgb,
            color_range: ColorRange::Full,
            codec: "images".to_owned(),
        };
        let source = Source::Images { files: files.into_iter() };
        Ok(Self { name, info, limits: limits.clone(), source, frames: 0 })
    }

    fn video(path: &Path, limits: &VideoLimits) -> Result<Self, MediaError> {
        let name = file_name(path);
        let probe = Probe::of(path).map_err(|source| match source {
            ChildError::Failed { detail, .. } => MediaError::NotMedia { name: name.clone(), detail },
            source => failed(&name, source),
        })?;
        let Some((index, stream)) = probe.video() else {
            return Err(MediaError::NoVideo { name, found: probe.describe() });
        };
        let mut plan = Plan::new(stream);
        check_size(&name, plan.size, limits)?;
        let source_size = plan.size;
        let (width, height) = limits.fitted(source_size);
        if (width, height) != (source_size.0 & !1, source_size.1 & !1) {
            plan.size = (width, height);
        }
        let fps = frame_rate(stream);
        let seconds = [&stream.duration, &probe.format.duration]
            .into_iter()
            .find_map(|text| text.parse::<f64>().ok())
            .filter(|seconds| seconds.is_finite() && *seconds > 0.0);
        let frame_count = seconds.map(|seconds| (seconds * fps.as_f64()).round().max(1.0) as u64);
        if let Some(count) = frame_count
            && count > limits.max_frames
        {
            return Err(too_many(&name, count, limits));
        }
        let info = VideoInfo {
            width,
            height,
            source_size,
            fps,
            frame_count,
            declared_frames: declared_frames(stream, fps, frame_count),
            color_matrix: plan.matrix,
            color_range: plan.range,
            codec: stream.codec_name.clone(),
        };
        let child = plan.start(path, index, &info, limits).map_err(|source| failed(&name, source))?;
        let source = Source::Child { child: Some(child), alpha: plan.alpha, buffer: Vec::new() };
        Ok(Self { name, info, limits: limits.clone(), source, frames: 0 })
    }
}

/// How a stream is turned into upright RGB with square pixels.
struct Plan {
    /// After rotation and scaling, before cropping.
    size: (usize, usize),
    rotate: bool,
    matrix: ColorMatrix,
    range: ColorRange,
    alpha: bool,
}

impl Plan {
    fn new(stream: &Stream) -> Self {
        let aspect = ratio(&stream.sample_aspect_ratio, ':').unwrap_or(1.0);
        let wide = ((stream.width as f64 * aspect).round() as usize).max(stream.width.min(1));
        let turns = stream.quarter_turns();
        let size = if turns.is_some_and(|turns| turns % 2 == 1) {
            (stream.height, wide)
        } else {
            (wide, stream.height)
        };
        let alpha = ["rgba", "bgra", "argb", "abgr", "yuva", "gbrap", "ya8", "ya16", "pal8"]
            .iter()
            .any(|format| stream.pix_fmt.starts_with(format));
        Self { size, rotate: turns.is_some(), matrix: matrix(stream), range: range(stream), alpha }
    }

    fn start(
        &self,
        path: &Path,
        index: usize,
        info: &VideoInfo,
        limits: &VideoLimits,
    ) -> Result<Child, ChildError> {
        let mut arguments = reader_arguments();
        arguments.extend(["-threads", "1"].map(OsString::from));
        if !self.rotate {
            arguments.push("-noautorotate".into());
        }
        arguments.push("-i".into());
        arguments.push(input_argument(path));
        let pixels = if self.alpha { "rgba" } else { "rgb24" };
        let filters = format!(
            "fps={}/{},{},format={pixels},crop={}:{}:0:0:exact=1",
            info.fps.num(),
            info.fps.den(),
            self.scale(),
            info.width,
            info.height,
        );
        let map = format!("0:{index}");
        let most = (limits.max_frames + 1).to_string();
        arguments.extend(
            ["-map", &map, "-an", "-sn", "-dn", "-filter_threads", "1", "-vf", &filters, "-frames:v", &most]
                .map(OsString::from),
        );
        arguments.extend(["-f", "rawvideo", "-pix_fmt", pixels, "pipe:1"].map(OsString::from));
        let child = ChildLimits {
            stall: std::time::Duration::from_secs(limits.stall_seconds),
            processor: limits.processor_seconds,
            ..ChildLimits::default()
        };
        Child::start("ffmpeg", &arguments, path, child)
    }

    fn scale(&self) -> String {
        let (width, height) = self.size;
        let mut scale = format!("scale=w={width}:h={height}:flags=bicubic+accurate_rnd+full_chroma_int");
        let matrix = match self.matrix {
            ColorMatrix::Bt601 => "bt601",
            ColorMatrix::Bt709 => "bt709",
            ColorMatrix::Bt2020 => "bt2020",
            ColorMatrix::Rgb => return scale,
        };
        let range = match self.range {
            ColorRange::Limited => "tv",
            ColorRange::Full => "pc",
        };
        scale.push_str(&format!(":in_color_matrix={matrix}:in_range={range}:out_range=pc"));
        scale
    }
}

/// Lays RGBA on the backdrop.
pub(super) fn flatten(rgba: &[u8], rgb: &mut Vec<u8>) {
    rgb.clear();
    rgb.extend(rgba.chunks_exact(4).flat_map(|pixel| {
        let alpha = u16::from(pixel[3]);
        let over = |value: u8| ((u16::from(value) * alpha + BACKDROP * (255 - alpha) + 127) / 255) as u8;
        [over(pixel[0]), over(pixel[1]), over(pixel[2])]
    }));
}

fn matrix(stream: &Stream) -> ColorMatrix {
    let planar_rgb = ["rgb", "bgr", "gbr", "argb", "abgr", "pal8", "0rgb", "0bgr"];
    if planar_rgb.iter().any(|format| stream.pix_fmt.starts_with(format)) {
        return ColorMatrix::Rgb;
    }
    match stream.color_space.as_str() {
        "bt709" => ColorMatrix::Bt709,
        "bt470bg" | "smpte170m" | "fcc" => ColorMatrix::Bt601,
        "bt2020nc" | "bt2020c" => ColorMatrix::Bt2020,
        _ if stream.height >= 720 => ColorMatrix::Bt709,
        _ => ColorMatrix::Bt601,
    }
}

fn range(stream: &Stream) -> ColorRange {
    let full = stream.color_range == "pc"
        || stream.pix_fmt.starts_with("yuvj")
        || matrix(stream) == ColorMatrix::Rgb;
    if full { ColorRange::Full } else { ColorRange::Limited }
}

/// The nominal rate when the average agrees with it; otherwise the average, taken for a usual rate when it
/// comes within two percent, since a phone's "30" wanders.
fn frame_rate(stream: &Stream) -> FrameRate {
    let nominal = ratio(&stream.r_frame_rate, '/');
    let average = ratio(&stream.avg_frame_rate, '/').or(nominal).unwrap_or(25.0).min(MOST_FPS);
    if average < LEAST_FPS {
        return FrameRate::FPS_25;
    }
    let exact = |text: &str| {
        let (frames, seconds) = text.split_once('/')?;
        FrameRate::new(frames.parse().ok()?, seconds.parse().ok()?)
    };
    if let Some(nominal) = nominal
        && (nominal / average - 1.0).abs() < 0.002
        && let Some(rate) = exact(&stream.r_frame_rate)
    {
        return rate;
    }
    let near = |(frames, seconds): (u32, u32)| (average * f64::from(seconds) / f64::from(frames) - 1.0).abs();
    let usual = USUAL_RATES.into_iter().min_by(|a, b| near(*a).total_cmp(&near(*b)));
    let (frames, seconds) =
        usual.filter(|rate| near(*rate) < 0.02).unwrap_or(((average * 1000.0).round() as u32, 1000));
    FrameRate::new(frames, seconds).unwrap_or(FrameRate::FPS_25)
}

/// The frames that the container counts, at the rate at which they come out. An edit list may hide some of
/// them, which shows in the duration, and so in `expected`.
fn declared_frames(stream: &Stream, fps: FrameRate, expected: Option<u64>) -> Option<u64> {
    let counted = stream.nb_frames.parse::<u32>().ok().filter(|count| *count > 0)?;
    let rate = ratio(&stream.avg_frame_rate, '/')?;
    let declared = (f64::from(counted) / rate * fps.as_f64()).round() as u64;
    Some(expected.map_or(declared, |expected| declared.min(expected)))
}

fn check_size(name: &str, (width, height): (usize, usize), limits: &VideoLimits) -> Result<(), MediaError> {
    let (least, most) = (limits.min_side, limits.max_side);
    let fitted = limits.fitted((width, height));
    // An odd side of the smallest length is cropped below it, as it always was.
    let narrow = width.min(height) < least || fitted.0.min(fitted.1) < least & !1;
    if !narrow && width.max(height) <= most {
        return Ok(());
    }
    Err(MediaError::Size { name: name.to_owned(), width, height, least, most })
}

fn too_many(name: &str, count: u64, limits: &VideoLimits) -> MediaError {
    let limit = format!("{} frames", limits.max_frames);
    MediaError::TooLong { name: name.to_owned(), found: format!("{count} frames or more"), limit }
}

fn failed(name: &str, source: ChildError) -> MediaError {
    MediaError::Child { name: name.to_owned(), source }
}
