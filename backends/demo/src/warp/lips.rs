//! The edges of the lips, found in the pixels.
//!
//! Landmarks put the inner edges of the lips a few pixels off, and call a mouth closed whose teeth show. Closing such a
//! mouth would leave the teeth on the lips. So from each lip the colour is followed towards the other one, until it
//! turns dark or loses its red: there the lip ends.
//!
//! In: pixels and [`MouthGeometry`] from landmarks. Out: the same geometry with better inner edges, and colours.

use super::geometry::{MouthGeometry, STATIONS, station};
use super::render::Patch;

/// How finely a lip is followed, in mouth widths.
const STEP: f32 = 0.008;

/// Colours around a mouth, R, G, B from 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LipColours {
    /// Median of the lower lip.
    pub lip: [f32; 3],
    /// Median of the skin above and below the mouth.
    pub skin: [f32; 3],
    /// Mean of what looks like teeth between the lips, and how much of it was seen, in square mouth widths.
    pub teeth: ([f32; 3], f32),
}

/// Puts the inner edges of the lips where the pixels show them, as far as the lips stand out from what is between them.
///
/// Where nothing is found, the landmarks are kept. `geometry` must be in pixels of `patch`.
pub fn find_lip_edges(patch: Patch<'_>, geometry: &mut MouthGeometry) -> LipColours {
    let look = Look { patch, geometry };
    let lip = look.median((4..13).flat_map(|i| {
        [0.4, 0.55, 0.7].map(|t| (station(i), along(geometry.lower_inner[i], geometry.lower_outer[i], t)))
    }));
    let upper = look.median((4..13).flat_map(|i| {
        [0.35, 0.5, 0.65].map(|t| (station(i), along(geometry.upper_outer[i], geometry.upper_inner[i], t)))
    }));
    let skin = look.median((5..12).flat_map(|i| {
        let u = station(i);
        [(u, geometry.lower_outer[i] + 0.14), (u, 0.5 * (geometry.upper_outer[i] + geometry.nose))]
    }));

    let mut up = [f32::NAN; STATIONS];
    let mut low = [f32::NAN; STATIONS];
    let mut teeth = ([0.0; 3], 0.0f32);
    if red(lip) > red(skin) + 0.03 {
        for i in 2..STATIONS - 2 {
            let u = station(i);
            let (top, bottom) = (geometry.upper_outer[i], geometry.lower_outer[i]);
            let seam = 0.5 * (geometry.upper_inner[i] + geometry.lower_inner[i]);
            let from_below = look.follow(u, along(seam, bottom, 0.55), along(seam, top, 0.7), lip);
            let from_above = look.follow(u, along(top, seam, 0.5), along(seam, bottom, 0.5), upper);
            if let (Some(a), Some(b)) = (from_above, from_below)
                && a <= b + 0.01
            {
                up[i] = a.min(b);
                low[i] = b;
                let mut v = a + 0.012;
                while v < b - 0.012 {
                    let colour = look.at(u, v);
                    if red(colour) < 0.5 * red(lip) && luma(colour) > 0.4 * luma(skin) {
                        (0..3).for_each(|c| teeth.0[c] += colour[c] * STEP);
                        teeth.1 += STEP;
                    }
                    v += STEP;
                }
            }
        }
    }
    if teeth.1 > 0.0 {
        teeth.0 = teeth.0.map(|c| c / teeth.1);
    }
    let found = up.iter().filter(|v| v.is_finite()).count();
    if found >= 7 {
        let (up, low) = (settle(&up, &geometry.upper_inner), settle(&low, &geometry.lower_inner));
        for i in 1..STATIONS - 1 {
            geometry.upper_inner[i] =
                up[i].clamp(geometry.upper_outer[i], geometry.lower_outer[i].max(geometry.upper_outer[i]));
            geometry.lower_inner[i] =
                low[i].clamp(geometry.upper_inner[i], geometry.lower_outer[i].max(geometry.upper_inner[i]));
        }
    }
    LipColours { lip, skin, teeth: (teeth.0, teeth.1 / (STATIONS - 1) as f32) }
}

struct Look<'a> {
    patch: Patch<'a>,
    geometry: &'a MouthGeometry,
}

impl Look<'_> {
    fn at(&self, u: f32, v: f32) -> [f32; 3] {
        let [x, y] = self.geometry.to_pixels([u, v]);
        self.patch.sample(x, y)
    }

    fn median(&self, points: impl Iterator<Item = (f32, f32)>) -> [f32; 3] {
        let mut seen: Vec<[f32; 3]> = points.map(|(u, v)| self.at(u, v)).collect();
        let middle = seen.len() / 2;
        seen.sort_by(|a, b| luma(*a).total_cmp(&luma(*b)));
        seen.get(middle).copied().unwrap_or([128.0; 3])
    }

    /// Follows a lip of this colour from `from` towards `to`; gives the `v` where it ends, if it does.
    fn follow(&self, u: f32, from: f32, to: f32, lip: [f32; 3]) -> Option<f32> {
        let here = self.at(u, from);
        // The lip's own colour at this place, kept near its median: a highlight must not set the standard.
        let own: [f32; 3] = std::array::from_fn(|c| 0.5 * (lip[c] + here[c]));
        let kept = |colour: [f32; 3]| {
            (luma(colour) / luma(own).max(1.0) - 0.62).min(red(colour) / red(own).max(0.02) - 0.55)
        };
        let steps = ((to - from).abs() / STEP) as usize;
        let direction = (to - from).signum() * STEP;
        let mut before = kept(here);
        if before <= 0.0 {
            return None;
        }
        for step in 1..=steps {
            let v = from + direction * step as f32;
            let now = kept(self.at(u, v));
            if now <= 0.0 {
                let part = before / (before - now);
                return Some(v - direction * (1.0 - part));
            }
            before = now;
        }
        None
    }
}

/// Fills what was not found with the landmarks, moved by what the found ones differ; then takes out outliers.
fn settle(found: &[f32; STATIONS], landmarks: &[f32; STATIONS]) -> [f32; STATIONS] {
    let mut differences: Vec<f32> =
        found.iter().zip(landmarks).filter(|(f, _)| f.is_finite()).map(|(f, l)| f - l).collect();
    differences.sort_by(f32::total_cmp);
    let typical = differences[differences.len() / 2];
    let filled: [f32; STATIONS] = std::array::from_fn(|i| {
        if found[i].is_finite() {
            found[i]
        } else {
            let towards_corner = 1.0 - (2.0 * station(i)).abs();
            landmarks[i] + typical * (2.0 * towards_corner).min(1.0)
        }
    });
    let median: [f32; STATIONS] = std::array::from_fn(|i| {
        if i == 0 || i == STATIONS - 1 {
            return filled[i];
        }
        let mut three = [filled[i - 1], filled[i], filled[i + 1]];
        three.sort_by(f32::total_cmp);
        three[1]
    });
    std::array::from_fn(|i| {
        if i == 0 || i == STATIONS - 1 {
            median[i]
        } else {
            0.25 * median[i - 1] + 0.5 * median[i] + 0.25 * median[i + 1]
        }
    })
}

fn along(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// How red a colour is for its brightness.
fn red([r, g, b]: [f32; 3]) -> f32 {
    (r - 0.5 * (g + b)) / (r + g + b + 1.0)
}

fn luma([r, g, b]: [f32; 3]) -> f32 {
    0.299 * r + 0.587 * g + 0.114 * b
}
