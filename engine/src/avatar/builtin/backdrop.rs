//! The studio: a seamless wall with a soft pool of light behind the head.

use super::maths::{bell, mix_rgb, noise, step};
use super::paint::{Layer, over, rgb};

/// Paints the whole of `layer`.
pub(super) fn paint_backdrop(layer: &mut Layer) {
    let area = layer.area;
    let (width, height) = area.texels();
    for row in 0..height {
        for column in 0..width {
            let (x, y) = area.at(column, row);
            let pool = bell(x + 60.0, y + 30.0, 210.0, 230.0);
            let far = step(150.0, 420.0, (x * 1.05).hypot(y - 20.0));
            let wall = mix_rgb(rgb(150, 166, 172), rgb(222, 224, 218), pool);
            let colour = mix_rgb(wall, rgb(92, 108, 120), 0.62 * far);
            let grain = 0.006 * noise(x * 0.02, y * 0.02);
            over(&mut layer.texels[row * width + column], colour.map(|value| value + grain), 1.0);
        }
    }
}
