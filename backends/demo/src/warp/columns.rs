//! What each lip does, from corner to corner of the mouth.
//!
//! In: the mouth of the source frame and a [`Pose`]. Out: one [`Column`] per fine step of `u`, in mouth widths.

use super::field::Jaw;
use super::geometry::{MouthGeometry, STATIONS};
use super::render::Pose;
use super::{mix, smoothstep};

/// Widest opening between the lips, in mouth widths.
const WIDEST: f32 = 0.29;
/// Part of an opening by which the upper lip rises; the lower lip does the rest.
const UPPER_RISES: f32 = 0.20;
/// Part of a closure that the upper lip does.
const UPPER_FALLS: f32 = 0.25;
/// Half of the range of `u` that columns cover.
const HALF: f32 = 0.56;
/// Columns in that range: fine enough that the nearest one will do.
const COLUMNS: usize = 449;

/// One lip at one `u`. Distances count from the edge of the lip outwards, away from the other lip.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lip {
    /// `v` of the inner edge in the posed picture.
    pub(super) edge: f32,
    /// How far the inner edge moves down, beyond what the jaw moves there.
    inner: f32,
    /// How far the outer edge moves down, likewise.
    outer: f32,
    /// One over the thickness of the posed lip.
    per_thickness: f32,
    thickness: f32,
    /// One over the length on which the movement fades out beyond the lip.
    per_fade: f32,
}

impl Lip {
    /// How far down the picture has moved at this distance from the edge.
    pub(super) fn shift(&self, distance: f32) -> f32 {
        let t = (distance * self.per_thickness).clamp(0.0, 1.0);
        let f = ((distance - self.thickness) * self.per_fade).clamp(0.0, 1.0);
        mix(self.inner, self.outer, t * t * (3.0 - 2.0 * t)) * (1.0 - f * f * (3.0 - 2.0 * f))
    }
}

/// Both lips and what lies between them at one `u`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Column {
    pub(super) upper: Lip,
    pub(super) lower: Lip,
    /// `v` of the lower edge of the upper lip in the source.
    pub(super) own_top: f32,
    /// Gap between the lips in the source.
    pub(super) own_gap: f32,
    /// Half the thickness of the dark line where lips meet.
    pub(super) line: f32,
}

/// The columns of one posed mouth.
#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    /// Gap at the widest place.
    pub(super) gap: f32,
    /// How far this picture is from its source, 0 to 1.
    pub(super) changed: f32,
}

impl Columns {
    pub(super) fn new() -> Self {
        Self { columns: vec![Column::default(); COLUMNS], gap: 0.0, changed: 0.0 }
    }

    /// The gap that a pose asks for in the middle of the mouth, minus the source's own.
    pub(super) fn drop(mouth: &MouthGeometry, rest_gap: f32, pose: &Pose) -> f32 {
        let own = mouth.gap();
        let base = own.min(rest_gap);
        let target = (1.0 - pose.closed) * mix(base, WIDEST, pose.opening);
        (target - own) * pose.presence
    }

    pub(super) fn pose(&mut self, mouth: &MouthGeometry, rest_gap: f32, pose: &Pose, jaw: &Jaw) {
        let own_widest = mouth.gap();
        let kept = if own_widest > 0.0 { (rest_gap / own_widest).min(1.0) } else { 1.0 };
        let round = (-pose.width).max(0.0) * pose.presence;
        // How fast the gap closes towards the corners: a slit for "ee", a small round for "oo", an oval for "ah".
        let power = 1.3 - 0.45 * pose.opening - pose.width * if pose.width < 0.0 { 0.8 } else { 0.35 };
        let press = pose.closed * pose.presence;
        self.gap = 0.0;
        self.changed = 0.0;
        for (i, column) in self.columns.iter_mut().enumerate() {
            let u = (i as f32 / (COLUMNS - 1) as f32 * 2.0 - 1.0) * HALF;
            let bow = (1.0 - 4.0 * u * u).max(0.0);
            let profile = bow.powf(power);
            let [top, low] = [at(&mouth.upper_inner, u), at(&mouth.lower_inner, u)];
            let low = low.max(top);
            let own = (low - top) * smoothstep(0.0, 0.1, bow);
            let low = top + own;
            let upper_lip = (top - at(&mouth.upper_outer, u)).max(0.03);
            let lower_lip = (at(&mouth.lower_outer, u) - low).max(0.03);

            let target = (1.0 - pose.closed) * mix(own * kept, WIDEST * profile, pose.opening);
            let extra = (target - own) * pose.presence;
            let (rise, fall) = if extra >= 0.0 {
                (-UPPER_RISES * extra, (1.0 - UPPER_RISES) * extra)
            } else {
                (-UPPER_FALLS * extra, (1.0 - UPPER_FALLS) * extra)
            };
            let tuck = press * bow.sqrt();
            let (tuck_upper, tuck_lower) =
                (tuck * (0.016 + 0.14 * upper_lip), tuck * (0.02 + 0.18 * lower_lip));
            let thicker = 0.16 * round * bow;

            let with_jaw = jaw.at(u, 0.5 * (top + low));
            let upper_edge = top + rise + with_jaw;
            let lower_edge = low + fall + with_jaw;
            column.upper = {
                let inner = rise + tuck_upper + with_jaw - jaw.at(u, upper_edge);
                let outer = inner - thicker * upper_lip - 0.4 * tuck_upper;
                let thickness = (upper_lip * (1.0 + thicker) - tuck_upper).max(0.02);
                let fade = (upper_edge - thickness - mouth.nose).max(0.1);
                lip(upper_edge, inner, outer.clamp(-0.5 * fade, 0.5 * fade), thickness, fade)
            };
            column.lower = {
                let inner = fall - tuck_lower + with_jaw - jaw.at(u, lower_edge);
                let outer = inner + thicker * lower_lip + 0.4 * tuck_lower;
                let thickness = (lower_lip * (1.0 + thicker) - tuck_lower).max(0.02);
                let fade = (mouth.chin + jaw.drop() - lower_edge - thickness).max(0.15);
                lip(lower_edge, inner, outer.clamp(-0.5 * fade, 0.9 * fade), thickness, fade)
            };
            column.own_top = top;
            column.own_gap = own;
            let gap = own + extra;
            let changed = ((extra.abs() + tuck_upper) / 0.03).min(1.0);
            column.line = changed * 0.011 * smoothstep(0.0, 0.3, bow);
            self.gap = self.gap.max(gap);
            self.changed = self.changed.max(changed);
        }
    }

    /// The column at `u`; beyond the corners, the last one, where nothing moves.
    pub(super) fn at(&self, u: f32) -> &Column {
        let place = (u / HALF * 0.5 + 0.5).clamp(0.0, 1.0) * (COLUMNS - 1) as f32;
        &self.columns[(place + 0.5) as usize]
    }
}

fn lip(edge: f32, inner: f32, outer: f32, thickness: f32, fade: f32) -> Lip {
    Lip { edge, inner, outer, thickness, per_thickness: 1.0 / thickness, per_fade: 1.0 / fade }
}

/// A lip curve between its stations (Catmull-Rom); held beyond the corners.
fn at(curve: &[f32; STATIONS], u: f32) -> f32 {
    let place = ((u + 0.5) * (STATIONS - 1) as f32).clamp(0.0, (STATIONS - 1) as f32);
    let i = (place as usize).min(STATIONS - 2);
    let t = place - i as f32;
    let [a, b, c, d] = [curve[i.saturating_sub(1)], curve[i], curve[i + 1], curve[(i + 2).min(STATIONS - 1)]];
    b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)))
}
