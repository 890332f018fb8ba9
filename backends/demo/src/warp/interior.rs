//! What is seen between the lips: the dark of the mouth, teeth, tongue, and what the source itself shows there.

use super::lips::LipColours;
use super::{mix, smoothstep};

/// Colours of the inside of one avatar's mouth, R, G, B from 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Palette {
    /// The depth of the mouth.
    pub cavity: [f32; 3],
    /// The tongue, in the light that falls into the mouth.
    pub tongue: [f32; 3],
    /// The upper teeth.
    pub teeth: [f32; 3],
}

impl Palette {
    /// Colours that go with the lips and the skin of a face; teeth as seen, or as bright as the skin lets them be.
    pub fn from_colours(colours: &LipColours) -> Self {
        let [r, g, b] = colours.lip;
        let bright = colours.skin.iter().sum::<f32>() / 3.0;
        let guess = [1.02 * bright, 0.98 * bright, 0.91 * bright].map(|c| c.clamp(30.0, 225.0));
        let (seen, amount) = colours.teeth;
        // A few pixels of teeth are mostly the shade of the lip on them: they say less about the colour than the skin.
        let trust = smoothstep(0.002, 0.03, amount) * 0.6;
        let light = guess.iter().sum::<f32>().max(1.0) / seen.iter().sum::<f32>().max(1.0);
        let seen = seen.map(|c| c * light.clamp(1.0, 1.35));
        Self {
            cavity: [0.26 * r + 4.0, 0.15 * g + 3.0, 0.17 * b + 4.0],
            tongue: [0.70 * r, 0.52 * g, 0.54 * b],
            teeth: std::array::from_fn(|c| mix(guess[c], seen[c], trust)),
        }
    }
}

/// The inside of one posed mouth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interior<'a> {
    palette: &'a Palette,
    /// Length of the visible part of the upper teeth in the middle, mouth widths.
    upper_teeth: f32,
    /// Likewise of the lower teeth.
    lower_teeth: f32,
    /// How far the teeth reach to the sides, in `u`.
    teeth_reach: f32,
    tongue: f32,
    /// How much light gets in.
    light: f32,
    /// One pixel, in mouth widths.
    pixel: f32,
}

impl<'a> Interior<'a> {
    /// `gap`: the widest gap of the pose, mouth widths; `width`: of the mouth, pixels.
    pub(super) fn new(palette: &'a Palette, gap: f32, teeth: f32, roundness: f32, width: f32) -> Self {
        let shown = (1.0 - 0.85 * roundness).max(0.0);
        let natural = 0.55 * smoothstep(0.03, 0.12, gap);
        let upper = mix(natural, 1.0, teeth.clamp(0.0, 1.0)) * shown;
        Self {
            palette,
            upper_teeth: (0.15 * upper).min(gap * mix(0.55, 0.8, teeth)),
            lower_teeth: (0.07 * teeth * shown * (1.0 - smoothstep(0.09, 0.17, gap))).min(gap * 0.35),
            teeth_reach: 0.40,
            tongue: smoothstep(0.08, 0.24, gap) * (1.0 - 0.5 * teeth),
            light: mix(0.72, 1.0, smoothstep(0.02, 0.14, gap)),
            pixel: 1.0 / width,
        }
    }

    /// The colour at `u`, `depth` below the upper lip and `above` the lower lip (mouth widths).
    pub(super) fn colour(&self, u: f32, depth: f32, above: f32) -> [f32; 3] {
        let side = (u / self.teeth_reach).abs().min(1.0);
        let gap = (depth + above).max(1e-4);
        let mut colour = self.palette.cavity;

        // The tongue: a low mound that catches some light, lost in the dark towards the throat.
        let mound = 0.55 * gap * (1.0 - (u / 0.30) * (u / 0.30)).max(0.0);
        let tongue = self.tongue
            * smoothstep(0.0, 0.5, mound / gap)
            * (1.0 - smoothstep(0.3 * mound, mound.max(1e-3), above));
        blend(&mut colour, self.palette.tongue, tongue * 0.8);

        let soft = (1.3 * self.pixel).max(0.01);
        if self.lower_teeth > self.pixel {
            let long = self.lower_teeth * (1.0 - side * side);
            let seen = 1.0 - smoothstep(long - soft, long + soft, above);
            let light = (0.78 - 0.4 * side * side) * mix(0.8, 1.0, (above / self.lower_teeth).min(1.0));
            blend(
                &mut colour,
                dim(self.palette.teeth, light * self.light),
                seen * (1.0 - smoothstep(0.75, 1.0, side)),
            );
        }
        if self.upper_teeth > self.pixel {
            let long = self.upper_teeth * (1.0 - 0.45 * side * side);
            let seen = 1.0 - smoothstep(long - soft, long + soft, depth);
            // The lip throws a shade on the teeth, and they turn away towards the corners.
            let light = mix(0.74, 1.0, smoothstep(0.0, 0.06, depth)) * (1.0 - 0.5 * side * side);
            blend(
                &mut colour,
                dim(self.palette.teeth, light * self.light),
                seen * (1.0 - smoothstep(0.8, 1.0, side)),
            );
        }
        // Less light gets in near the lips.
        let shade =
            mix(0.62, 1.0, smoothstep(0.0, 0.035, depth)) * mix(0.75, 1.0, smoothstep(0.0, 0.03, above));
        colour.map(|c| c * shade)
    }
}

/// Teeth in less light: what reaches them has been reflected by lips and gums, so that shade is warm.
fn dim([r, g, b]: [f32; 3], light: f32) -> [f32; 3] {
    let light = light.min(1.0);
    [r * light, g * light * mix(0.86, 1.0, light), b * light * mix(0.80, 1.0, light)]
}

/// Moves `under` towards `over` by `alpha`.
pub(super) fn blend(under: &mut [f32; 3], over: [f32; 3], alpha: f32) {
    for (u, o) in under.iter_mut().zip(over) {
        *u += (o - *u) * alpha;
    }
}
