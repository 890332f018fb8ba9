//! The edges of the lips, found in the pixels.
//!
//! Landmarks put the inner edges of the lips a few pixels off, and call a mouth closed whose teeth show. Closing such a
//! mouth would leave the teeth on the lips. So the dark line between the corners is followed, and from it each lip is
//! looked for, up and down: it begins where the picture is no longer dark, nor pale as teeth are.
//!
//! In: pixels and [`MouthGeometry`] from landmarks. Out: the same geometry with better inner edges, and colours.

use super::geometry::{MouthGeometry, STATIONS, station};
use super::render::Patch;

/// How finely a lip is looked for, in mouth widths.
const STEP: f32 = 0.008;
/// The widest that a source's own mouth is taken to be open.
const WIDEST_OWN: f32 = 0.4;

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
    let skin = look.median((5..12).flat_map(|i| {
        let u = station(i);
        [(u, geometry.lower_outer[i] + 0.14), (u, 0.5 * (geometry.upper_outer[i] + geometry.nose))]
    }));

    let mut teeth = ([0.0; 3], 0.0f32);
    let seam = (red(lip) > red(skin) + 0.03).then(|| look.seam()).flatten();
    if let Some(seam) = seam {
        let upper = look.median((5..12).flat_map(|i| [0.04, 0.06, 0.08].map(|d| (station(i), seam[i] - d))));
        let found: [[f32; 2]; STATIONS] = std::array::from_fn(|i| {
            if !(2..STATIONS - 2).contains(&i) {
                return [seam[i]; 2];
            }
            let u = station(i);
            let reach = WIDEST_OWN * (1.0 - (2.0 * u).powi(2));
            // The lower lip catches light from above, and what lies above it does not.
            let below = look.reach(u, seam[i], seam[i] + reach, lip, 0.75);
            [look.reach(u, seam[i], seam[i] - 0.5 * reach, upper, 0.62), below]
        });
        let (up, low) = (settle(found.map(|f| f[0])), settle(found.map(|f| f[1])));
        for i in 2..STATIONS - 2 {
            let mut v = up[i] + 0.012;
            while v < low[i] - 0.012 {
                let colour = look.at(station(i), v);
                if red(colour) < 0.5 * red(lip) && luma(colour) > 0.4 * luma(skin) {
                    (0..3).for_each(|c| teeth.0[c] += colour[c] * STEP);
                    teeth.1 += STEP;
                }
                v += STEP;
            }
        }
        for i in 1..STATIONS - 1 {
            let bow = 1.0 - (2.0 * station(i)).powi(2);
            geometry.upper_inner[i] = up[i];
            geometry.lower_inner[i] = low[i].max(up[i]);
            geometry.upper_outer[i] = geometry.upper_outer[i].clamp(up[i] - 0.3, up[i] - 0.07 * bow);
            geometry.lower_outer[i] = geometry.lower_outer[i]
                .clamp(geometry.lower_inner[i] + 0.10 * bow, geometry.lower_inner[i] + 0.4);
        }
    }
    if teeth.1 > 0.0 {
        teeth.0 = teeth.0.map(|c| c / teeth.1);
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

    /// The dark line between the lips, from corner to corner: the darkest smooth path. `None` if it is not dark.
    fn seam(&self) -> Option<[f32; STATIONS]> {
        const COLUMNS: usize = 2 * (STATIONS - 1) + 1;
        const ROWS: usize = 52;
        const ROW: f32 = 0.01;
        let v = |row: usize| -0.22 + row as f32 * ROW;
        let u = |column: usize| column as f32 / (COLUMNS - 1) as f32 - 0.5;
        let light: Vec<[f32; ROWS]> = (0..COLUMNS)
            .map(|column| {
                let column: [f32; ROWS] = std::array::from_fn(|row| luma(self.at(u(column), v(row))));
                let mean = column.iter().sum::<f32>() / ROWS as f32;
                column.map(|l| l / mean.max(1.0))
            })
            .collect();
        // Both ends lie at the corners, v = 0.
        let end = |row: usize| if v(row).abs() < 0.035 { 0.0 } else { f32::MAX / 4.0 };
        let mut cost: [f32; ROWS] = std::array::from_fn(end);
        let mut from = vec![[0usize; ROWS]; COLUMNS];
        for column in 1..COLUMNS {
            let mut next = [f32::MAX; ROWS];
            for row in 0..ROWS {
                let near = row.saturating_sub(3)..(row + 4).min(ROWS);
                for (before, sum) in near.clone().zip(&cost[near]) {
                    let bend = before.abs_diff(row) as f32;
                    let sum = sum + light[column][row] + 0.012 * bend * bend;
                    if sum < next[row] {
                        next[row] = sum;
                        from[column][row] = before;
                    }
                }
            }
            cost = next;
        }
        let mut row = (0..ROWS).min_by(|a, b| (cost[*a] + end(*a)).total_cmp(&(cost[*b] + end(*b))))?;
        let mut path = [0.0; COLUMNS];
        let mut sum = 0.0;
        for column in (0..COLUMNS).rev() {
            path[column] = v(row);
            sum += light[column][row];
            row = from[column][row];
        }
        let dark = sum / (COLUMNS as f32) < 0.8;
        dark.then(|| std::array::from_fn(|i| path[2 * i]))
    }

    /// Where, on the way from the seam to `to`, a lip of this colour begins, or at least `lightness` of its luma; the
    /// seam itself if it does not.
    fn reach(&self, u: f32, seam: f32, to: f32, lip: [f32; 3], lightness: f32) -> f32 {
        let kept = |v: f32| {
            let colour = self.at(u, v);
            (luma(colour) / luma(lip).max(1.0) - lightness).min(red(colour) / red(lip).max(0.02) - 0.55)
        };
        let steps = ((to - seam).abs() / STEP) as usize;
        let direction = (to - seam).signum() * STEP;
        let mut before = kept(seam);
        // The last place that is not lip, before there is nothing but lip for a while: the line itself may look like one.
        let (mut edge, mut run) = (seam, 0);
        for step in 1..=steps {
            let v = seam + direction * step as f32;
            let now = kept(v);
            run = if now > 0.0 { run + 1 } else { 0 };
            if now > 0.0 && before <= 0.0 {
                edge = v - direction * now / (now - before);
            }
            if run as f32 * STEP > 0.06 {
                return edge;
            }
            before = now;
        }
        if run > 2 { edge } else { seam }
    }
}

/// Takes out outliers and small steps; the ends stay.
fn settle(found: [f32; STATIONS]) -> [f32; STATIONS] {
    let inner = 1..STATIONS - 1;
    let median: [f32; STATIONS] = std::array::from_fn(|i| {
        if !inner.contains(&i) {
            return found[i];
        }
        let mut three = [found[i - 1], found[i], found[i + 1]];
        three.sort_by(f32::total_cmp);
        three[1]
    });
    std::array::from_fn(|i| {
        if inner.contains(&i) {
            0.25 * median[i - 1] + 0.5 * median[i] + 0.25 * median[i + 1]
        } else {
            median[i]
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
