//! A face drawn by formula, with exact landmarks, and a voice-like signal.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part")]

use lipcast_plugins_api::loader::Source;
use lipcast_plugins_api::types::Error;

pub const WIDTH: usize = 256;
pub const HEIGHT: usize = 320;
const MOUTH: [f32; 2] = [128.0, 205.0];
const HALF: f32 = 28.0;

/// A face whose lips are `gap` pixels apart in the middle, moved to the right by `shift` pixels.
#[derive(Clone, Copy)]
pub struct Face {
    pub gap: f32,
    pub shift: f32,
}

impl Face {
    /// `y` of a lip curve at `x` mouth half-widths from the middle: 0 outer upper, 1 and 2 inner, 3 outer lower.
    fn lip(&self, curve: usize, x: f32) -> f32 {
        let bow = (1.0 - x * x).max(0.0);
        MOUTH[1] + bow * [-9.0, -0.3 * self.gap, 0.7 * self.gap, 12.0 + 0.7 * self.gap][curve]
    }

    pub fn landmarks(&self) -> [[f32; 2]; 68] {
        let at = |x: f32, y: f32| [x + self.shift, y];
        let lip = |curve: usize, x: f32| at(MOUTH[0] + HALF * x, self.lip(curve, x));
        let sixth = |i: usize| -1.0 + i as f32 / 3.0;
        std::array::from_fn(|i| match i {
            0..17 => {
                let angle = std::f32::consts::PI * (1.0 - i as f32 / 16.0);
                at(128.0 + 82.0 * angle.cos(), 140.0 + 120.0 * angle.sin())
            }
            17..22 => at(75.0 + 10.0 * (i - 17) as f32, 100.0),
            22..27 => at(141.0 + 10.0 * (i - 22) as f32, 100.0),
            27..31 => at(128.0, 120.0 + 15.0 * (i - 27) as f32),
            31..36 => at(112.0 + 8.0 * (i - 31) as f32, 175.0),
            36..48 => {
                let angle = std::f32::consts::PI * (1.0 - (i - 36) as f32 % 6.0 / 3.0);
                at(if i < 42 { 95.0 } else { 161.0 } + 14.0 * angle.cos(), 122.0 - 5.0 * angle.sin())
            }
            48..55 => lip(0, sixth(i - 48)),
            55..60 => lip(3, sixth(60 - i)),
            60..65 => lip(1, [-0.8, -0.4, 0.0, 0.4, 0.8][i - 60]),
            _ => lip(2, [0.4, 0.0, -0.4][i - 65]),
        })
    }

    pub fn rgb(&self) -> Vec<u8> {
        let mut rgb = Vec::with_capacity(WIDTH * HEIGHT * 3);
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                rgb.extend(self.colour(x as f32 - self.shift, y as f32).map(|c| c as u8));
            }
        }
        rgb
    }

    fn colour(&self, x: f32, y: f32) -> [f32; 3] {
        // Fine texture, so that whatever moves can be seen to move.
        let grain = 3.0 * (0.9 * x).sin() * (1.1 * y).cos();
        let [dx, dy] = [(x - 128.0) / 82.0, (y - 140.0) / 120.0];
        if dx * dx + dy * dy > 1.0 {
            return [70.0, 90.0, 110.0].map(|c: f32| c + grain);
        }
        let u = (x - MOUTH[0]) / HALF;
        if u.abs() < 1.0 {
            let [top, up, low, bottom] = [0, 1, 2, 3].map(|curve| self.lip(curve, u));
            if y > up - 0.8 && y < low + 0.8 {
                return [45.0, 18.0, 18.0];
            }
            if y > top && y < bottom {
                return [185.0, 95.0, 95.0].map(|c: f32| c + grain);
            }
        }
        [205.0, 168.0, 145.0].map(|c: f32| c + grain - 10.0 * dx * dx)
    }
}

/// Frames of one face that drifts to the right; those in `faceless` come without landmarks.
#[derive(Default)]
pub struct Clip {
    pub gaps: Vec<f32>,
    pub faceless: Vec<u32>,
}

impl Clip {
    pub fn face(&self, index: u32) -> Face {
        Face { gap: self.gaps[index as usize], shift: 0.5 * index as f32 }
    }
}

impl Source for Clip {
    fn frame_count(&self) -> u32 {
        self.gaps.len() as u32
    }
    fn size(&self) -> (u32, u32) {
        (WIDTH as u32, HEIGHT as u32)
    }
    fn fps(&self) -> (u32, u32) {
        (25, 1)
    }
    fn frame(&mut self, index: u32, rgb: &mut Vec<u8>) -> Result<(), Error> {
        *rgb = self.face(index).rgb();
        Ok(())
    }
    fn landmarks(&self, index: u32) -> Option<[[f32; 2]; 68]> {
        (!self.faceless.contains(&index)).then(|| self.face(index).landmarks())
    }
    fn face_box(&self, _index: u32) -> Option<[f32; 4]> {
        None
    }
}

/// Syllables like "ba", four a second: a buzz through the resonances of an open vowel, 16 kHz.
pub fn babble(seconds: f32) -> Vec<f32> {
    (0..(seconds * 16_000.0) as usize)
        .map(|n| {
            let t = n as f32 / 16_000.0;
            let voice: f32 = (1..40)
                .map(|k| {
                    let f = 125.0 * k as f32;
                    let near = |at: f32, width: f32| 1.0 / (1.0 + ((f - at) / width).powi(2));
                    let gain = near(730.0, 90.0) + 0.6 * near(1_200.0, 110.0) + 0.2 * near(2_500.0, 160.0);
                    gain * (std::f32::consts::TAU * f * t).sin()
                })
                .sum();
            let syllable = (1.3 * (std::f32::consts::TAU * 4.0 * t - 1.57).sin() + 0.4).clamp(0.0, 1.0);
            0.12 * voice * syllable
        })
        .collect()
}
