//! Everything around MuseTalk's networks, from audio features to a composed frame, beside the reference's own steps.
//!
//! Both get what a network computes. Ours: the audio tokens of a frame gathered, its part of the generated face drawn at
//! the size of the face box, the avatar's frame copied and the patch blended in, I420. The reference's:
//! `tools/bench_around.py`.

use std::path::Path;
use std::process::Command;

use lipcast_codecs::{I420, SizeError};
use lipcast_engine::backend::{Alpha, FrameMask, Patch, PixelFormat};
use lipcast_engine::compose::{ComposeError, Composer, PicturePool};
use lipcast_musetalk::image::{Bilinear, Picture, View};
use lipcast_musetalk::mask::{BoxError, FEATHER, Mask, draw_patch};
use lipcast_musetalk::networks::{FACE, FEATURES, HIDDEN_STATES, TOKENS, WINDOW_STEPS};
use serde_json::Value;

use super::compose::thread_ms;

/// Frames of each measurement.
const FRAMES: u32 = 1_000;

/// A picture and the face in it.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// Columns and rows.
    pub frame: (usize, usize),
    /// x1, y1, x2, y2.
    pub face: [i32; 4],
}

/// A face of 280×360 pixels in 1280×720, one of 200×260 in 512×512, and one of 480×620 in 1080×1920.
pub const SCENES: [Scene; 3] = [
    Scene { frame: (1280, 720), face: [500, 160, 780, 520] },
    Scene { frame: (512, 512), face: [156, 150, 356, 410] },
    Scene { frame: (1080, 1920), face: [300, 600, 780, 1220] },
];

/// Milliseconds of processor time a frame.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ours {
    /// Audio tokens, with the position code taken off.
    pub tokens: f64,
    /// The face at its size.
    pub patch: f64,
    /// The frame with the patch blended in.
    pub compose: f64,
}

impl Ours {
    /// All of it.
    pub fn sum(&self) -> f64 {
        self.tokens + self.patch + self.compose
    }
}

/// Why it could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum AroundError {
    /// The frame's size.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The patch does not fit it.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// The face.
    #[error(transparent)]
    Face(#[from] BoxError),
}

/// Our side of a scene.
///
/// # Errors
/// When the sizes do not fit each other.
pub fn ours(scene: &Scene) -> Result<Ours, AroundError> {
    let (width, height) = scene.frame;
    let region = Picture::from_pixels(vec![255; 512 * 512], 512, 512);
    let mask = Mask::new(region.view(), scene.face, FEATHER)?;
    let found = mask.patch(scene.face, [width as u32, height as u32]);
    let faces: Vec<Vec<u8>> = (0..4).map(|seed| noise(seed, FACE * FACE * 3)).collect();
    let features: Vec<f32> = noise(9, 2_000 * HIDDEN_STATES * FEATURES).iter().map(|&b| b.into()).collect();
    // A frame of a clip is not in the processor's caches: eight of them take turns.
    let frames = (0..8).map(|_| I420::black(width, height)).collect::<Result<Vec<_>, _>>()?;
    let mut pool = PicturePool::new(width, height)?;
    let (mut bilinear, mut composer) = (Bilinear::default(), Composer::default());
    let mut tokens = vec![0.0; TOKENS * FEATURES];
    let mut pixels = vec![0; PixelFormat::Rgb24.bytes(&found.rect) as usize];
    let mut spent = Ours::default();
    for number in 0..FRAMES as usize {
        let begun = thread_ms();
        let first = number % 900 * 2 * HIDDEN_STATES * FEATURES;
        tokens.copy_from_slice(&features[first..first + WINDOW_STEPS * HIDDEN_STATES * FEATURES]);
        // Nobody reads them here; they are gathered all the same.
        std::hint::black_box(&mut tokens);
        let gathered = thread_ms();
        let face = View::new(&faces[number % faces.len()], FACE, FACE);
        draw_patch(face, scene.face, found.rect, &mut bilinear, &mut pixels);
        let drawn = thread_ms();
        let patch = Patch {
            rect: found.rect,
            format: PixelFormat::Rgb24,
            alpha: Alpha::Static,
            pixels: pixels.clone().into(),
        };
        let mask = FrameMask { rect: found.rect, alpha: Some(&found.alpha) };
        let source = frames[number % frames.len()].as_view();
        let handed = thread_ms();
        pool.compose(|picture: &mut I420| {
            picture.copy_from(source);
            composer.lay(picture, &patch, Some(&mask), 255)
        })?;
        spent.tokens += gathered - begun;
        spent.patch += drawn - gathered;
        spent.compose += thread_ms() - handed;
    }
    let each = f64::from(FRAMES);
    Ok(Ours { tokens: spent.tokens / each, patch: spent.patch / each, compose: spent.compose / each })
}

/// The reference's side: what the script prints.
///
/// # Errors
/// When it cannot be run; the message holds its own words.
pub fn reference(python: &Path, script: &Path, scene: &Scene) -> Result<Value, String> {
    let (width, height) = scene.frame;
    let face = scene.face.map(|side| side.to_string()).join(",");
    let output = Command::new(python)
        .arg(script)
        .args(["--frame", &format!("{width}x{height}"), "--box", &face, "--frames", "60"])
        .output()
        .map_err(|error| format!("{}: {error}", python.display()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{}: {error}", script.display()))
}

fn noise(seed: u32, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}
