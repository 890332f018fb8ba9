//! A face drawn by formula, with exact landmarks, and a voice-like signal.

use std::f32::consts::{PI, TAU};
use std::sync::Arc;

use lipcast_plugins_api::loader::Source;
use lipcast_plugins_api::types::Error;

pub const WIDTH: u32 = 320;
pub const HEIGHT: u32 = 288;
/// Half the width and height of the head.
const HEAD: [f32; 2] = [70.0, 96.0];

/// The 68 points, as parts of the head's width and height from its top left corner.
#[allow(non_snake_case, reason = "a table that is computed")]
pub fn POINTS(index: usize) -> [f32; 2] {
    let mouth = |u: f32, v: f32| [0.5 + 0.2 * u, 0.78 + 0.06 * v];
    match index {
        0..17 => {
            let angle = PI * (1.0 - index as f32 / 16.0);
            [0.5 + 0.5 * angle.cos(), 0.5 + 0.5 * angle.sin()]
        }
        17..27 => [0.15 + 0.7 * (index - 17) as f32 / 9.0, 0.3],
        27..31 => [0.5, 0.38 + 0.08 * (index - 27) as f32],
        31..36 => [0.4 + 0.05 * (index - 31) as f32, 0.66],
        36..48 => [if index < 42 { 0.3 } else { 0.7 } + 0.02 * (index % 6) as f32, 0.4],
        48..60 => {
            let angle = PI - TAU * (index - 48) as f32 / 12.0;
            mouth(angle.cos(), -angle.sin())
        }
        _ => {
            let angle = PI - TAU * (index - 60) as f32 / 8.0;
            mouth(0.7 * angle.cos(), -0.4 * angle.sin())
        }
    }
}

/// Frames of one face that moves; those in `faceless` show the background alone.
#[derive(Clone)]
pub struct Clip {
    pub frames: u32,
    pub fps: (u32, u32),
    pub faceless: Vec<u32>,
    /// Where the middle of the head is in a frame.
    pub middle: fn(u32) -> [f32; 2],
    /// Pixels that landmarks are off by, to and fro.
    pub tremble: f32,
    /// Brightness of each frame, 1 as drawn.
    pub light: fn(u32) -> f32,
    pub assets: Vec<(String, Arc<[u8]>)>,
}

impl Default for Clip {
    fn default() -> Self {
        Self {
            frames: 6,
            fps: (25, 1),
            faceless: Vec::new(),
            middle: |index| [160.0 + 0.7 * index as f32, 140.0 + 0.4 * index as f32],
            tremble: 0.0,
            light: |_| 1.0,
            assets: Vec::new(),
        }
    }
}

impl Clip {
    pub fn without(faceless: &[u32]) -> Self {
        Self { faceless: faceless.to_vec(), ..Self::default() }
    }

    fn shows(&self, index: u32) -> bool {
        !self.faceless.contains(&index)
    }

    /// Frame `index`, RGB24.
    pub fn rgb(&self, index: u32) -> Vec<u8> {
        let [mx, my] = (self.middle)(index);
        let (light, shows) = ((self.light)(index), self.shows(index));
        let mut rgb = Vec::with_capacity((WIDTH * HEIGHT * 3) as usize);
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let (fx, fy) = (x as f32 + 0.5, y as f32 + 0.5);
                let (dx, dy) = ((fx - mx) / HEAD[0], (fy - my) / HEAD[1]);
                // Fine texture, so that whatever moves can be seen to move.
                let grain = 5.0 * (0.9 * fx).sin() * (1.1 * fy).cos();
                let (u, v) = (dx / 0.4, (dy - 0.56) / 0.12);
                let colour = match () {
                    () if !shows || dx * dx + dy * dy > 1.0 => [64.0, 86.0, 106.0],
                    () if u * u + v * v < 1.0 => [186.0, 96.0, 98.0],
                    () => [206.0, 170.0, 146.0],
                };
                rgb.extend(colour.map(|c: f32| ((c + grain) * light).clamp(0.0, 255.0) as u8));
            }
        }
        rgb
    }

    /// The exact landmarks of frame `index`, whether it shows a face or not.
    pub fn points(&self, index: u32) -> [[f32; 2]; 68] {
        let [mx, my] = (self.middle)(index);
        let off = if index.is_multiple_of(2) { self.tremble } else { -self.tremble };
        std::array::from_fn(|point| {
            let [u, v] = POINTS(point);
            [mx + (2.0 * u - 1.0) * HEAD[0] + off, my + (2.0 * v - 1.0) * HEAD[1] + off]
        })
    }
}

impl Source for Clip {
    fn frame_count(&self) -> u32 {
        self.frames
    }
    fn size(&self) -> (u32, u32) {
        (WIDTH, HEIGHT)
    }
    fn fps(&self) -> (u32, u32) {
        self.fps
    }
    fn frame(&mut self, index: u32, rgb: &mut Vec<u8>) -> Result<(), Error> {
        *rgb = self.rgb(index);
        Ok(())
    }
    fn landmarks(&self, index: u32) -> Option<[[f32; 2]; 68]> {
        self.shows(index).then(|| self.points(index))
    }
    fn face_box(&self, _index: u32) -> Option<[f32; 4]> {
        None
    }
    fn assets(&self) -> Vec<String> {
        self.assets.iter().map(|(name, _)| name.clone()).collect()
    }
    fn asset(&self, name: &str) -> Option<Arc<[u8]>> {
        self.assets.iter().find(|(known, _)| known == name).map(|(_, bytes)| bytes.clone())
    }
}

/// Syllables, four a second: a buzz with two resonances, 16 kHz.
pub fn babble(seconds: f32, pitch: f32) -> Vec<f32> {
    (0..(seconds * 16_000.0) as usize)
        .map(|n| {
            let t = n as f32 / 16_000.0;
            let voice: f32 = (1..30)
                .map(|k| {
                    let f = pitch * k as f32;
                    let near = |at: f32| 1.0 / (1.0 + ((f - at) / 100.0).powi(2));
                    (near(700.0) + 0.6 * near(1_200.0 + 500.0 * (TAU * t).sin())) * (TAU * f * t).sin()
                })
                .sum();
            let syllable = (1.3 * (TAU * 4.0 * t - 1.57).sin() + 0.4).clamp(0.0, 1.0);
            0.15 * voice * syllable
        })
        .collect()
}
