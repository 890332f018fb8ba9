//! Where the mouth of one frame is.
//!
//! In: 68 landmarks in iBUG order, pixels. Out: [`MouthGeometry`]: the mouth frame and the curves of the lips in it.

use super::smoothstep;

/// Places from corner to corner at which the lip curves are known, evenly spaced.
pub const STATIONS: usize = 17;

/// Faces narrower than this many pixels are left alone; up to one and a half times of it they move less.
const SMALLEST_FACE: f32 = 60.0;

/// The mouth frame of one picture and the lips in it.
///
/// A point of the mouth frame lies at `origin + u * across + v * down`, in pixels. Lip curves are `v` at the
/// [`STATIONS`], from the corner at `u = -0.5` to that at `u = 0.5`.
#[derive(Debug, Clone, PartialEq)]
pub struct MouthGeometry {
    /// The middle between the corners of the mouth, pixels.
    pub origin: [f32; 2],
    /// From corner to corner, pixels.
    pub across: [f32; 2],
    /// Down the face, as long as `across`, pixels; need not be at a right angle to it.
    pub down: [f32; 2],
    /// `v` of the base of the nose: nothing above it moves.
    pub nose: f32,
    /// `v` of the chin.
    pub chin: f32,
    /// How far the jaw reaches to the left and to the right, in `u`.
    pub reach: [f32; 2],
    /// How much of a movement is carried out, 0 to 1: less for faces that are small or turned away.
    pub strength: f32,
    /// Where skin meets the upper lip.
    pub upper_outer: [f32; STATIONS],
    /// Lower edge of the upper lip.
    pub upper_inner: [f32; STATIONS],
    /// Upper edge of the lower lip; never above `upper_inner`.
    pub lower_inner: [f32; STATIONS],
    /// Where the lower lip meets skin.
    pub lower_outer: [f32; STATIONS],
}

impl MouthGeometry {
    /// Reads the mouth out of 68 landmarks (iBUG order, pixels).
    ///
    /// `None` if they are not the landmarks of a face: not finite, collapsed, upside down in themselves.
    pub fn from_landmarks(landmarks: &[[f32; 2]; 68]) -> Option<Self> {
        if landmarks.iter().flatten().any(|c| !c.is_finite() || c.abs() > 1e5) {
            return None;
        }
        let eye = |from: usize| centre(&landmarks[from..from + 6]);
        let (left_eye, right_eye) = (eye(36), eye(42));
        let eyes = unit(sub(right_eye, left_eye))?;
        let corners = sub(landmarks[54], landmarks[48]);
        let width = length(corners);
        let face_width = length(sub(landmarks[16], landmarks[0]));
        if width < 4.0 || face_width < 1.2 * width {
            return None;
        }
        // A mouth may slant on its face, but not by much.
        let across = turn_towards(eyes, unit(corners)?, 0.26);
        let upright = [-across[1], across[0]];
        let bridge = centre(&landmarks[27..29]);
        let chin = centre(&landmarks[7..10]);
        let down = turn_towards(upright, unit(add(upright, unit(sub(chin, bridge))?))?, 0.26);

        let origin = scale(add(landmarks[48], landmarks[54]), 0.5);
        let mut geometry = Self {
            origin,
            across: scale(across, width),
            down: scale(down, width),
            nose: 0.0,
            chin: 0.0,
            reach: [0.0; 2],
            strength: strength(landmarks, face_width),
            upper_outer: [0.0; STATIONS],
            upper_inner: [0.0; STATIONS],
            lower_inner: [0.0; STATIONS],
            lower_outer: [0.0; STATIONS],
        };
        let at = |i: usize| geometry.to_mouth(landmarks[i]);
        let nose = (31..36).map(|i| at(i)[1]).fold(f32::MIN, f32::max);
        let chin = (7..10).map(|i| at(i)[1]).fold(f32::MIN, f32::max);
        // The corners are the landmarks that wander most: the jaw is measured at the height of the mouth, both sides.
        let reach = [-at(4)[0].min(at(5)[0]), at(12)[0].max(at(11)[0])];
        let curve = |points: &[usize]| {
            sample(&points.iter().map(|&i| at(i)).collect::<Vec<_>>()).map(|v| v.clamp(-2.0, 2.0))
        };
        let upper_outer = curve(&[48, 49, 50, 51, 52, 53, 54]);
        let lower_outer = curve(&[48, 59, 58, 57, 56, 55, 54]);
        let mut upper_inner = curve(&[48, 60, 61, 62, 63, 64, 54]);
        let mut lower_inner = curve(&[48, 60, 67, 66, 65, 64, 54]);
        for ((up, low), (above, below)) in
            upper_inner.iter_mut().zip(&mut lower_inner).zip(upper_outer.iter().zip(&lower_outer))
        {
            if *low < *up {
                *up = 0.5 * (*up + *low);
                *low = *up;
            }
            *up = up.clamp(above.min(*below), above.max(*below));
            *low = low.clamp(*up, below.max(*up));
        }
        geometry.nose = nose.clamp(-1.2, -0.15);
        geometry.chin = chin.clamp(0.35, 1.6);
        geometry.reach = reach.map(|r| r.clamp(0.6, 1.3));
        geometry.upper_outer = upper_outer;
        geometry.upper_inner = upper_inner;
        geometry.lower_inner = lower_inner;
        geometry.lower_outer = lower_outer;
        let plausible = nose < -0.05 && chin > 0.2 && upper_outer[STATIONS / 2] < lower_outer[STATIONS / 2];
        plausible.then_some(geometry)
    }

    /// Width of the mouth, pixels.
    pub fn width(&self) -> f32 {
        length(self.across)
    }

    /// Pixels to `(u, v)`.
    pub fn to_mouth(&self, point: [f32; 2]) -> [f32; 2] {
        let [a, b, c, d] = self.inverse();
        let p = sub(point, self.origin);
        [a * p[0] + b * p[1], c * p[0] + d * p[1]]
    }

    /// `(u, v)` to pixels.
    pub fn to_pixels(&self, point: [f32; 2]) -> [f32; 2] {
        add(self.origin, add(scale(self.across, point[0]), scale(self.down, point[1])))
    }

    /// The same mouth in a picture whose top left corner lies at `corner` of this one.
    pub fn relative_to(mut self, corner: [f32; 2]) -> Self {
        self.origin = sub(self.origin, corner);
        self
    }

    /// The same mouth in a picture `by` times the size.
    pub fn scaled(mut self, by: f32) -> Self {
        // Pixel centres lie at whole coordinates: half a pixel comes off before and goes on after.
        self.origin = self.origin.map(|c| (c + 0.5) * by - 0.5);
        self.across = scale(self.across, by);
        self.down = scale(self.down, by);
        self
    }

    /// Whether every number is in the range that [`Self::from_landmarks`] gives.
    pub fn is_sane(&self) -> bool {
        let curves = [&self.upper_outer, &self.upper_inner, &self.lower_inner, &self.lower_outer];
        let det = self.across[0] * self.down[1] - self.across[1] * self.down[0];
        let long = self.across.iter().chain(&self.down).all(|c| c.abs() < 1e5);
        self.origin.iter().all(|c| c.abs() < 1e5)
            && long
            && det > 0.5 * length(self.across) * length(self.down)
            && length(self.across) > 1.0
            && (-1.2..=-0.15).contains(&self.nose)
            && (0.35..=1.6).contains(&self.chin)
            && self.reach.iter().all(|r| (0.6..=1.3).contains(r))
            && (0.0..=1.0).contains(&self.strength)
            && curves.iter().all(|c| c.iter().all(|v| v.abs() <= 2.0))
            && self.upper_inner.iter().zip(&self.lower_inner).all(|(u, l)| u <= l)
    }

    /// Smallest and largest pixel coordinates of everything that can move: `[x0, y0, x1, y1]`.
    pub fn extent(&self) -> [f32; 4] {
        let (left, right) = (-self.reach[0] - 0.12, self.reach[1] + 0.12);
        let (top, bottom) = (self.nose - 0.1, self.chin + 0.62);
        let corners = [[left, top], [right, top], [left, bottom], [right, bottom]].map(|p| self.to_pixels(p));
        corners.iter().fold([f32::MAX, f32::MAX, f32::MIN, f32::MIN], |e, p| {
            [e[0].min(p[0]), e[1].min(p[1]), e[2].max(p[0]), e[3].max(p[1])]
        })
    }

    /// The largest distance between the lips, in mouth widths.
    pub fn gap(&self) -> f32 {
        self.lower_inner.iter().zip(&self.upper_inner).map(|(l, u)| l - u).fold(0.0, f32::max)
    }

    /// Rows of the matrix from pixels (relative to `origin`) to `(u, v)`.
    pub(super) fn inverse(&self) -> [f32; 4] {
        let ([ax, ay], [dx, dy]) = (self.across, self.down);
        let det = ax * dy - ay * dx;
        [dy / det, -dx / det, -ay / det, ax / det]
    }
}

/// `u` of a station.
pub(super) fn station(index: usize) -> f32 {
    index as f32 / (STATIONS - 1) as f32 - 0.5
}

/// `v` along a line through points sorted by `u`, at each station; the ends are held.
fn sample(points: &[[f32; 2]]) -> [f32; STATIONS] {
    std::array::from_fn(|i| {
        let u = station(i);
        let next = points.iter().position(|p| p[0] >= u).unwrap_or(points.len() - 1).max(1);
        let (a, b) = (points[next - 1], points[next]);
        let t = if b[0] > a[0] { ((u - a[0]) / (b[0] - a[0])).clamp(0.0, 1.0) } else { 0.0 };
        a[1] + (b[1] - a[1]) * t
    })
}

/// Less for faces that are small or turned away: 1 for a face to work on, 0 for one to leave alone.
fn strength(landmarks: &[[f32; 2]; 68], face_width: f32) -> f32 {
    let (left, right) = (length(sub(landmarks[30], landmarks[0])), length(sub(landmarks[30], landmarks[16])));
    let turned = (left / (left + right) - 0.5).abs();
    smoothstep(SMALLEST_FACE, 1.5 * SMALLEST_FACE, face_width) * (1.0 - smoothstep(0.22, 0.36, turned))
}

/// `wanted`, brought to within `most` radians of `base`; both are unit vectors.
fn turn_towards(base: [f32; 2], wanted: [f32; 2], most: f32) -> [f32; 2] {
    let angle = (base[0] * wanted[1] - base[1] * wanted[0])
        .atan2(base[0] * wanted[0] + base[1] * wanted[1])
        .clamp(-most, most);
    let (sin, cos) = angle.sin_cos();
    [base[0] * cos - base[1] * sin, base[0] * sin + base[1] * cos]
}

fn centre(points: &[[f32; 2]]) -> [f32; 2] {
    scale(points.iter().fold([0.0; 2], |s, p| add(s, *p)), 1.0 / points.len() as f32)
}

fn add(a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
    [a[0] + b[0], a[1] + b[1]]
}

fn sub(a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
    [a[0] - b[0], a[1] - b[1]]
}

fn scale(a: [f32; 2], by: f32) -> [f32; 2] {
    [a[0] * by, a[1] * by]
}

fn length(a: [f32; 2]) -> f32 {
    a[0].hypot(a[1])
}

fn unit(a: [f32; 2]) -> Option<[f32; 2]> {
    let long = length(a);
    (long > 1e-3).then(|| scale(a, 1.0 / long))
}
