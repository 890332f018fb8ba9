//! Clips that are made for a test.

use std::ffi::OsStr;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lipcast_engine::avatar::builtin::Builtin;
use lipcast_engine::face::Landmarks;
use lipcast_probe::barcode::{Barcode, place};
use lipcast_server::bench::sync;

use super::{program, recording};

/// Runs ffmpeg with the words of `arguments`, writing `target`; `input` is its standard input.
pub(crate) fn ffmpeg(arguments: &str, target: &Path, input: &[u8]) {
    run_ffmpeg(arguments.split_whitespace().map(OsStr::new), target, input);
}

/// Runs ffmpeg with the video `source` as its first input.
pub(crate) fn ffmpeg_of(source: &Path, arguments: &str, target: &Path, input: &[u8]) {
    let source = [OsStr::new("-i"), source.as_os_str()];
    run_ffmpeg(source.into_iter().chain(arguments.split_whitespace().map(OsStr::new)), target, input);
}

fn run_ffmpeg<'a>(arguments: impl Iterator<Item = &'a OsStr>, target: &Path, input: &[u8]) {
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(arguments)
        .arg(target)
        .stdin(Stdio::piped())
        .spawn()
        .expect("ffmpeg is part of what the check installs");
    // It may have enough before it has read all.
    let _ = child.stdin.take().expect("piped above").write_all(input);
    assert!(child.wait().unwrap().success(), "ffmpeg for {}", target.display());
}

/// A filmed face: a recording of one's own, or else the built-in avatar as it speaks.
pub(crate) fn face(folder: &Path) -> PathBuf {
    if let Some(path) = recording("yongen.mp4") {
        return path;
    }
    let target = folder.join("face.mp4");
    let settings = folder.join("config.toml");
    std::fs::write(&settings, "[media]\ndata_dir = \"rendered\"\n").unwrap();
    let status = Command::new(program())
        .arg("--config")
        .arg(&settings)
        .args(["render", "--output"])
        .arg(&target)
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    target
}

/// That many seconds of speech: of a recording of one's own, or else a tone.
pub(crate) fn speech(folder: &Path, seconds: u32) -> Vec<u8> {
    let Some(path) = recording("eng.wav") else { return tone(seconds) };
    let target = folder.join("speech.wav");
    ffmpeg_of(&path, &format!("-t {seconds}"), &target, b"");
    std::fs::read(target).unwrap()
}

/// A tone: where only the length of speech matters.
pub(crate) fn tone(seconds: u32) -> Vec<u8> {
    let mut wav = sync::clicks(seconds);
    for (index, sample) in wav[44..].chunks_exact_mut(2).enumerate() {
        let value = ((index as f32 * 0.2).sin() * 8_000.0) as i16;
        sample.copy_from_slice(&value.to_le_bytes());
    }
    wav
}

/// The place of the marks of [`marked`] in a video of that width, as `watch.mjs` takes it.
pub(crate) fn marks_at(width: u32) -> (u32, u32) {
    (width - 144, 16)
}

/// `source` with each frame's number on it as a barcode, at the top right: so the avatar's own frames tell which they
/// are, also where no backend draws.
pub(crate) fn marked(source: &Path, width: u32, target: &Path) {
    const MOST: u64 = 1_500;
    let rect = place(160, 144).unwrap();
    let mut marks = vec![0; rect.area() as usize * MOST as usize];
    for (index, luma) in marks.chunks_exact_mut(rect.area() as usize).enumerate() {
        Barcode::new(index as u64, 0).draw(rect, luma);
    }
    let ((left, top), (across, down)) = (marks_at(width), (rect.width, rect.height));
    let arguments = format!(
        "-f rawvideo -pix_fmt gray -s {across}x{down} -r 25 -i pipe:0 \
         -filter_complex [0:v][1:v]overlay={left}:{top}:shortest=1 -an -c:v libx264 -preset ultrafast -qp 16"
    );
    ffmpeg_of(source, &arguments, target, &marks);
}

/// Width and number of frames of a video.
pub(crate) fn width_and_frames(path: &Path) -> (u32, u64) {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v", "-of", "csv=p=0"])
        .args(["-show_entries", "stream=width,nb_frames"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (width, frames) = text.trim().split_once(',').unwrap_or_else(|| panic!("{}: {text}", path.display()));
    (width.parse().unwrap(), frames.parse().unwrap())
}

/// The built-in avatar's first frame, and where its face is.
pub(crate) struct Portrait {
    pub rgb: Vec<u8>,
    pub width: usize,
    pub height: usize,
    pub landmarks: Landmarks,
}

impl Portrait {
    pub(crate) fn new() -> Self {
        let mut rgb = Vec::new();
        let face = Builtin::new().render(0, &mut rgb);
        let (width, height) = (Builtin::WIDTH, Builtin::HEIGHT);
        Self { rgb, width, height, landmarks: face.landmarks }
    }

    /// The words that make ffmpeg read [`Portrait::rgb`] from its standard input.
    pub(crate) fn input(&self) -> String {
        format!("-f rawvideo -pix_fmt rgb24 -s {}x{} -i pipe:0", self.width, self.height)
    }

    /// The rectangle around some landmarks, `[left, top, right, bottom]`.
    pub(crate) fn around(&self, landmarks: Range<usize>) -> [f32; 4] {
        self.landmarks[landmarks].iter().fold([f32::MAX, f32::MAX, 0.0, 0.0], |found, [x, y]| {
            [found[0].min(*x), found[1].min(*y), found[2].max(*x), found[3].max(*y)]
        })
    }
}
