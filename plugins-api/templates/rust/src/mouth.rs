//! What is drawn: the lower part of the face slides down, and the gap that opens is filled with dark.
//!
//! Replace this by your method; `lib.rs` need not change much.

use lipcast_plugins_api::author::Rect;

/// The piece of an avatar frame that moves, cut out when the avatar was prepared.
pub struct Mouth {
    /// Where it lies on the canvas, even; empty where no face was found.
    pub rect: Rect,
    /// Row of the line between the lips, below the rect's top.
    pub line: u32,
    /// Columns of the mouth's corners, right of the rect's left edge.
    pub corners: (u32, u32),
    /// 4·width·height bytes, R, G, B, A. The alpha fades towards the edges, so that no seam shows.
    pub rgba: Vec<u8>,
}

/// Inside of a mouth.
const DARK: [u8; 4] = [60, 20, 25, 255];

impl Mouth {
    /// Where the mouth is, from 68 landmarks in pixels (iBUG order) on a canvas of `size`.
    /// `None` when it is too small or lies outside.
    pub fn find(points: &[[f32; 2]; 68], size: (u32, u32)) -> Option<(Rect, u32, (u32, u32))> {
        // 48 and 54 are the corners, 62 and 66 the middle of the inner lips.
        let (left, right) = (points[48][0], points[54][0]);
        let (line, width) = ((points[62][1] + points[66][1]) / 2.0, right - left);
        let even = |value: f32, limit: u32| (value.max(0.0) as u32).min(limit) / 2 * 2;
        let (x0, x1) = (even(left - width / 2.0, size.0), even(right + width / 2.0, size.0));
        let (y0, y1) = (even(line - width * 0.3, size.1), even(line + width, size.1));
        if x1 < x0 + 16 || y1 < y0 + 16 || !(line > y0 as f32 && line + 8.0 < y1 as f32) {
            return None;
        }
        let column = |x: f32| (x.max(x0 as f32) as u32).min(x1) - x0;
        let corners = (column(left), column(right));
        Some((Rect::new(x0, y0, x1 - x0, y1 - y0), line as u32 - y0, corners))
    }

    /// The alpha of a pixel: opaque inside, fading over a sixth of the width at the edges.
    pub fn alpha(rect: &Rect, x: u32, y: u32) -> u8 {
        let to_edge = x.min(rect.width - 1 - x).min(y).min(rect.height - 1 - y);
        (255 * to_edge.min(rect.width / 6) / (rect.width / 6)) as u8
    }

    /// Draws into `out`, 4·width·height bytes. `opening` is 0 (closed) to 1.
    pub fn draw(&self, opening: f32, out: &mut [u8]) {
        let (width, height, line) = (self.rect.width, self.rect.height, self.line);
        // A fifth of the piece is as far as it opens.
        let gap = ((opening * height as f32 * 0.2) as u32).min(height - line - 1);
        let below = height - line;
        for y in 0..height {
            let source = if y < line {
                y
            } else if y < line + gap {
                line
            } else {
                // Chin and cheeks are pressed together, and the last row stays where it is.
                line + (y - line - gap) * below / (below - gap)
            };
            let row = |y: u32| (4 * y * width) as usize..(4 * (y + 1) * width) as usize;
            out[row(y)].copy_from_slice(&self.rgba[row(source)]);
            if y >= line && y < line + gap {
                // An ellipse between the corners.
                let t = (2.0 * (y - line) as f32 + 1.0) / gap as f32 - 1.0;
                let middle = (self.corners.0 + self.corners.1) as f32 / 2.0;
                let half = (self.corners.1 - self.corners.0) as f32 * 0.4 * (1.0 - t * t).sqrt();
                let (from, to) = ((middle - half) as usize, (middle + half) as usize);
                for pixel in out[row(y)][4 * from..4 * to].chunks_exact_mut(4) {
                    pixel.copy_from_slice(&DARK);
                }
            }
        }
    }
}
