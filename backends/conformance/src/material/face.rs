//! A face by formula, with exact landmarks: skin, lips, the dark between them, and a texture that shows any movement.

use std::f32::consts::{PI, TAU};

/// One frame of it. The drawing is planned on 256x320 units and scaled into the middle of the canvas.
pub(super) struct Face {
    size: (u32, u32),
    /// Pixels a unit.
    scale: f32,
    /// Units that the head is moved by.
    sway: [f32; 2],
    /// Units between the lips.
    gap: f32,
}

const MIDDLE: [f32; 2] = [128.0, 160.0];
const HEAD: [f32; 2] = [84.0, 122.0];
const MOUTH: [f32; 2] = [128.0, 215.0];
const HALF_MOUTH: f32 = 30.0;

impl Face {
    pub(super) fn of_frame(size: (u32, u32), index: u32) -> Self {
        let t = index as f32;
        Self {
            size,
            scale: (size.0 as f32 / 256.0).min(size.1 as f32 / 320.0),
            sway: [4.0 * (0.5 * t).sin(), 2.0 * (0.31 * t).cos()],
            gap: 4.0 + 4.0 * (0.9 * t).sin(),
        }
    }

    /// Units to pixels.
    fn pixel(&self, x: f32, y: f32) -> [f32; 2] {
        let place = |unit: f32, middle: f32, sway: f32, side: u32| {
            (unit - middle + sway) * self.scale + side as f32 / 2.0
        };
        [place(x, MIDDLE[0], self.sway[0], self.size.0), place(y, MIDDLE[1], self.sway[1], self.size.1)]
    }

    /// Pixels to units.
    fn unit(&self, x: u32, y: u32) -> [f32; 2] {
        let back = |pixel: u32, middle: f32, sway: f32, side: u32| {
            (pixel as f32 + 0.5 - side as f32 / 2.0) / self.scale + middle - sway
        };
        [back(x, MIDDLE[0], self.sway[0], self.size.0), back(y, MIDDLE[1], self.sway[1], self.size.1)]
    }

    /// `y` of the outer upper, inner upper, inner lower and outer lower lip at `u` half-widths from the middle.
    fn lips(&self, u: f32) -> [f32; 4] {
        let bow = (1.0 - u * u).max(0.0);
        [-10.0, -0.4 * self.gap, 0.6 * self.gap, 12.0 + 0.6 * self.gap].map(|y| MOUTH[1] + bow * y)
    }

    pub(super) fn landmarks(&self) -> [[f32; 2]; 68] {
        let lip = |curve: usize, u: f32| self.pixel(MOUTH[0] + HALF_MOUTH * u, self.lips(u)[curve]);
        let third = |i: usize| -1.0 + i as f32 / 3.0;
        let inner = [-0.75, -0.35, 0.0, 0.35, 0.75];
        std::array::from_fn(|i| match i {
            0..17 => {
                let angle = PI * (1.0 - i as f32 / 16.0);
                self.pixel(MIDDLE[0] + HEAD[0] * angle.cos(), MIDDLE[1] + HEAD[1] * angle.sin())
            }
            17..22 => self.pixel(72.0 + 10.0 * (i - 17) as f32, 108.0),
            22..27 => self.pixel(144.0 + 10.0 * (i - 22) as f32, 108.0),
            27..31 => self.pixel(128.0, 128.0 + 15.0 * (i - 27) as f32),
            31..36 => self.pixel(112.0 + 8.0 * (i - 31) as f32, 184.0),
            36..48 => {
                let angle = PI * (1.0 - (i % 6) as f32 / 3.0);
                let middle = if i < 42 { 94.0 } else { 162.0 };
                self.pixel(middle + 14.0 * angle.cos(), 130.0 - 6.0 * angle.sin())
            }
            48..55 => lip(0, third(i - 48)),
            55..60 => lip(3, third(60 - i)),
            60..65 => lip(1, inner[i - 60]),
            _ => lip(2, inner[68 - i]),
        })
    }

    /// x0, y0, x1, y1.
    pub(super) fn bounds(&self) -> [f32; 4] {
        let [x0, y0] = self.pixel(MIDDLE[0] - HEAD[0], 100.0);
        let [x1, y1] = self.pixel(MIDDLE[0] + HEAD[0], MIDDLE[1] + HEAD[1]);
        let (width, height) = (self.size.0 as f32, self.size.1 as f32);
        [x0.clamp(0.0, width), y0.clamp(0.0, height), x1.clamp(0.0, width), y1.clamp(0.0, height)]
    }

    pub(super) fn rgb(&self) -> Vec<u8> {
        let (width, height) = self.size;
        let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
        for y in 0..height {
            for x in 0..width {
                rgb.extend(self.colour(self.unit(x, y)).map(|channel| channel as u8));
            }
        }
        rgb
    }

    fn colour(&self, [x, y]: [f32; 2]) -> [f32; 3] {
        let grain = 4.0 * (TAU * x / 7.0).sin() * (TAU * y / 6.0).cos();
        let (dx, dy) = ((x - MIDDLE[0]) / HEAD[0], (y - MIDDLE[1]) / HEAD[1]);
        let base = if dx * dx + dy * dy > 1.0 {
            [64.0, 84.0, 104.0]
        } else {
            self.skin_or_mouth(x, y).map(|channel| channel - 12.0 * dx * dx)
        };
        base.map(|channel| (channel + grain).clamp(0.0, 255.0))
    }

    fn skin_or_mouth(&self, x: f32, y: f32) -> [f32; 3] {
        let u = (x - MOUTH[0]) / HALF_MOUTH;
        if u.abs() < 1.0 {
            let [top, upper, lower, bottom] = self.lips(u);
            if y > upper && y < lower {
                return [46.0, 22.0, 22.0];
            }
            if y > top && y < bottom {
                return [182.0, 98.0, 98.0];
            }
        }
        [206.0, 170.0, 148.0]
    }
}
