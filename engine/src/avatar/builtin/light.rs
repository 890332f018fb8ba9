//! Studio light on a relief: a large soft key from the upper left, a cool fill, a rim from behind.
//!
//! In: a height field at one sample a picture pixel. Out: light per sample, linear, one value a channel,
//! and what a slightly glossy surface mirrors.

use super::paint::blur;

/// What falls on one sample.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Light {
    /// Diffuse light, linear RGB; 1 returns the albedo unchanged.
    pub(super) diffuse: [f32; 3],
    /// Mirrored light, linear.
    pub(super) gloss: f32,
    /// Light from behind along the edges, linear.
    pub(super) rim: f32,
    /// The height itself, picture pixels.
    pub(super) height: f32,
}

/// Lights a height field of `width` columns.
pub(super) fn illuminate(heights: &[f32], width: usize) -> Vec<Light> {
    let rows = heights.len() / width;
    let cavities = cavities(heights, width);
    let at = |x: usize, y: usize| heights[y.min(rows - 1) * width + x.min(width - 1)];
    let mut lights = Vec::with_capacity(heights.len());
    for y in 0..rows {
        for x in 0..width {
            let dx = (at(x + 1, y) - at(x.saturating_sub(1), y)) * 0.5;
            let dy = (at(x, y + 1) - at(x, y.saturating_sub(1))) * 0.5;
            let normal = unit([-dx, -dy, 1.0]);
            let shadow = shadow(heights, width, x, y);
            lights.push(surface(normal, shadow, cavities[y * width + x], at(x, y)));
        }
    }
    lights
}

const KEY: [f32; 3] = [-0.48, -0.50, 0.72];
const FILL: [f32; 3] = [0.72, -0.10, 0.69];

fn surface(normal: [f32; 3], shadow: f32, cavity: f32, height: f32) -> Light {
    // Light creeps round the terminator inside skin, red farthest.
    let wrap = [0.42, 0.27, 0.21];
    let key = [1.0, 0.955, 0.90];
    let fill = [1.0, 0.95, 0.92];
    let around = [1.20, 0.96, 0.89];
    // What blouse and chest throw back from below.
    let bounce = [0.26, 0.185, 0.15];
    let facing = dot(normal, unit(KEY));
    let aside = dot(normal, unit(FILL)).max(0.0);
    let above = 0.5 - 0.5 * normal[1];
    let mut diffuse = [0.0; 3];
    for c in 0..3 {
        let lit = ((facing + wrap[c]) / (1.0 + wrap[c])).max(0.0);
        let soft_shadow = shadow.powf([0.62, 1.0, 1.15][c]);
        let ambient = 0.225 + 0.12 * above;
        diffuse[c] = 0.86 * key[c] * lit * soft_shadow
            + (0.20 * fill[c] * aside + ambient * around[c] + bounce[c] * normal[1].max(0.0))
                * cavity.powf([0.75, 1.1, 1.25][c]);
    }
    let half = unit([KEY[0], KEY[1], KEY[2] + 1.0]);
    let gloss = dot(normal, half).max(0.0).powf(26.0) * shadow;
    let rim = (1.0 - normal[2]).powf(2.2) * (normal[0] * 0.9 - normal[1] * 0.25).max(0.0);
    Light { diffuse, gloss, rim, height }
}

/// How much of the key's area is seen from a sample, 0..1.
fn shadow(heights: &[f32], width: usize, x: usize, y: usize) -> f32 {
    let rows = heights.len() / width;
    let origin = heights[y * width + x];
    let mut seen = 0.0;
    const LAMPS: [(f32, f32); 7] =
        [(0.0, 0.0), (0.26, 0.0), (-0.26, 0.0), (0.0, 0.26), (0.0, -0.26), (0.18, -0.18), (-0.18, 0.18)];
    for (dx, dy) in LAMPS {
        let (lx, ly) = (KEY[0] + dx, KEY[1] + dy);
        let flat = lx.hypot(ly);
        let climb = KEY[2] / flat;
        let mut clear: f32 = 1.0;
        let mut distance = 2.0;
        while distance < 64.0 {
            let (px, py) = (x as f32 + lx / flat * distance, y as f32 + ly / flat * distance);
            if px < 0.0 || py < 0.0 || px >= width as f32 || py >= rows as f32 {
                break;
            }
            let ray = origin + climb * distance + 0.8;
            let above = ray - heights[py as usize * width + px as usize];
            clear = clear.min((above / (0.10 * distance) + 1.0).clamp(0.0, 1.0));
            distance *= 1.22;
        }
        seen += clear;
    }
    seen / LAMPS.len() as f32
}

/// How open the surroundings of each sample are, at three sizes: creases and hollows are darker.
fn cavities(heights: &[f32], width: usize) -> Vec<f32> {
    let rows = heights.len() / width;
    let mut open = vec![1.0f32; heights.len()];
    for (sigma, strength) in [(2.2, 0.16), (6.0, 0.085), (15.0, 0.034)] {
        let mut smooth = heights.to_vec();
        blur(&mut smooth, width, rows, sigma);
        for ((open, smooth), height) in open.iter_mut().zip(&smooth).zip(heights) {
            *open *= 1.0 - (strength * (smooth - height).max(0.0)).min(0.6);
        }
    }
    open
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn unit(a: [f32; 3]) -> [f32; 3] {
    let length = dot(a, a).sqrt();
    a.map(|value| value / length)
}
