//! The mouth in a picture: how far it is open, how wide it is, and how much differs from the avatar at rest.
//!
//! In: an output picture, the avatar's own picture of the same index (its mouth as recorded, "rest"), and the 68
//! landmarks of that own picture. Out: [`MouthMeasure`].
//!
//! Works in a mouth frame: origin midway between the corners (48, 54), x along them, unit one mouth width, so that
//! the size of the face and its roll do not matter.
//!
//! * **Opening**: what is neither lip nor skin between the lips. The colours of lips and skin are learned from the own
//!   picture (lips: between the outer and the inner contour; skin: a band around the mouth). In each column across
//!   the mouth, pixels count that are clearly darker than both, or clearly less red than both (teeth); only the
//!   longest run near the line between the corners counts, so nostrils, beard and a shadow under the lip do not.
//! * **Width**: the corners are found again by matching the own picture's texture around them, to a fraction of a pixel.
//! * **Movement**: mean absolute difference of luma in a fixed box around the mouth.

/// Borrowed RGB picture, 8 bits, packed rows.
#[derive(Debug, Clone, Copy)]
pub struct Canvas<'a> {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height * 3` bytes, RGB.
    pub rgb: &'a [u8],
}

/// What one picture's mouth does.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MouthMeasure {
    /// Inner-mouth area over the square of the mouth's width at rest: 0 closed, some 0.2 to 0.3 wide open. A mouth
    /// that is recorded open has a value of its own at rest.
    pub opening: f64,
    /// Distance of the corners over that at rest: below 1 rounded, above 1 spread.
    pub width: f64,
    /// Mean absolute luma difference to the rest picture in the mouth's box, levels of 0..255.
    pub movement: f64,
}

/// Columns and rows per mouth width in the mouth frame.
const GRID: usize = 80;
/// Half the width of the area looked at, mouth widths.
const HALF_ACROSS: f64 = 0.6;
/// How far above and below the line of the corners the lips may be, mouth widths.
const ABOVE: f64 = 0.35;
const BELOW: f64 = 0.75;
/// An opening begins or ends within this distance of the line of the corners, mouth widths.
const NEAR: f64 = 0.22;
/// Half the side of the texture around a corner, and how far it is looked for, mouth widths.
const PATCH: f64 = 0.14;
const REACH: f64 = 0.16;

/// Measures one picture against the avatar's own. `None` where the landmarks give no mouth inside both pictures (less
/// than 8 pixels wide, or outside), or the sizes differ.
pub fn measure(picture: Canvas<'_>, rest: Canvas<'_>, landmarks: &[[f32; 2]; 68]) -> Option<MouthMeasure> {
    let fits = |c: &Canvas<'_>| c.rgb.len() == c.width * c.height * 3;
    if (picture.width, picture.height) != (rest.width, rest.height) || !fits(&picture) || !fits(&rest) {
        return None;
    }
    let frame = MouthFrame::new(landmarks)?;
    let far = HALF_ACROSS.max(BELOW);
    let inside = |x: f64, y: f64| x >= 0.0 && y >= 0.0 && x < rest.width as f64 && y < rest.height as f64;
    if !inside(frame.centre.0, frame.centre.1) || frame.width * far > 4.0 * rest.width as f64 {
        return None;
    }
    let tones = Tones::learn(&rest, &frame, landmarks);
    Some(MouthMeasure {
        opening: opening(&picture, &frame, &tones),
        width: width(&picture, &rest, &frame),
        movement: movement(&picture, &rest, &frame),
    })
}

/// Where the mouth is: pixel position from mouth coordinates.
struct MouthFrame {
    centre: (f64, f64),
    /// Unit vector along the corners, left to right in the picture.
    across: (f64, f64),
    /// Pixels between the corners.
    width: f64,
}

impl MouthFrame {
    fn new(landmarks: &[[f32; 2]; 68]) -> Option<Self> {
        let point = |i: usize| (f64::from(landmarks[i][0]), f64::from(landmarks[i][1]));
        let (left, right) = (point(48), point(54));
        let (dx, dy) = (right.0 - left.0, right.1 - left.1);
        let width = dx.hypot(dy);
        (width.is_finite() && width >= 8.0).then(|| Self {
            centre: ((left.0 + right.0) / 2.0, (left.1 + right.1) / 2.0),
            across: (dx / width, dy / width),
            width,
        })
    }

    /// Pixel of mouth coordinates (mouth widths; y downwards).
    fn pixel(&self, x: f64, y: f64) -> (f64, f64) {
        let (ax, ay) = (self.across.0 * self.width, self.across.1 * self.width);
        (self.centre.0 + x * ax - y * ay, self.centre.1 + x * ay + y * ax)
    }

    /// Mouth coordinates of a pixel.
    fn mouth(&self, x: f64, y: f64) -> (f64, f64) {
        let (dx, dy) = (x - self.centre.0, y - self.centre.1);
        let (ax, ay) = self.across;
        ((dx * ax + dy * ay) / self.width, (dy * ax - dx * ay) / self.width)
    }
}

/// A colour as luma (0..255) and its blue and red differences (-128..127).
type Tone = [f64; 3];

/// The colour at a pixel position, bilinear; the border is repeated.
fn sample(canvas: &Canvas<'_>, (x, y): (f64, f64)) -> Tone {
    let x = x.clamp(0.0, canvas.width as f64 - 1.001).max(0.0);
    let y = y.clamp(0.0, canvas.height as f64 - 1.001).max(0.0);
    let (ix, iy, fx, fy) = (x as usize, y as usize, x.fract(), y.fract());
    let at = |x: usize, y: usize, c: usize| {
        let (x, y) = (x.min(canvas.width - 1), y.min(canvas.height - 1));
        f64::from(canvas.rgb[(y * canvas.width + x) * 3 + c])
    };
    let [r, g, b] = [0, 1, 2].map(|c| {
        let top = at(ix, iy, c) * (1.0 - fx) + at(ix + 1, iy, c) * fx;
        let bottom = at(ix, iy + 1, c) * (1.0 - fx) + at(ix + 1, iy + 1, c) * fx;
        top * (1.0 - fy) + bottom * fy
    });
    let luma = 0.299 * r + 0.587 * g + 0.114 * b;
    [luma, 0.564 * (b - luma), 0.713 * (r - luma)]
}

/// What lips and skin look like in this avatar's own picture.
struct Tones {
    /// Below this luma nothing of the closed mouth lies.
    dark: f64,
    /// Below this red difference neither lips nor skin lie, but teeth do.
    pale: f64,
}

impl Tones {
    fn learn(rest: &Canvas<'_>, frame: &MouthFrame, landmarks: &[[f32; 2]; 68]) -> Self {
        let contour = |range: std::ops::RangeInclusive<usize>| -> Vec<(f64, f64)> {
            range.map(|i| frame.mouth(landmarks[i][0].into(), landmarks[i][1].into())).collect()
        };
        let (outer, inner) = (contour(48..=59), contour(60..=67));
        let (mut lips, mut skin) = (Vec::new(), Vec::new());
        for (x, y) in grid() {
            let tone = sample(rest, frame.pixel(x, y));
            if contains(&outer, (x, y)) {
                // Not the seam between closed lips, which may be dark.
                let seam = inner.iter().any(|p| (p.0 - x).abs() < 0.1 && (p.1 - y).abs() < 0.04);
                if !seam && !contains(&inner, (x, y)) {
                    lips.push(tone);
                }
            } else {
                skin.push(tone);
            }
        }
        let luma = |tones: &[Tone], q: f64| {
            let lumas: Vec<f64> = tones.iter().map(|tone| tone[0]).collect();
            super::series::quantile(&lumas, q)
        };
        let median = |tones: &[Tone], c: usize| {
            super::series::quantile(&tones.iter().map(|tone| tone[c]).collect::<Vec<_>>(), 0.5)
        };
        // Drawn and shaded lips have dark rims: a low quantile, well under the middle of both.
        let usual = luma(&lips, 0.5).min(luma(&skin, 0.5));
        let darkest = luma(&lips, 0.1).min(luma(&skin, 0.1));
        Self {
            dark: (0.72 * usual).min(0.92 * darkest).max(0.4 * usual),
            pale: 0.6 * median(&lips, 2).min(median(&skin, 2)),
        }
    }

    fn is_dark(&self, tone: Tone) -> bool {
        tone[0] < self.dark
    }

    fn is_pale(&self, tone: Tone) -> bool {
        !self.is_dark(tone) && tone[2] < self.pale
    }
}

fn steps(from: f64, to: f64) -> impl Iterator<Item = f64> {
    let count = ((to - from) * GRID as f64).round() as usize;
    (0..count).map(move |i| from + (i as f64 + 0.5) / GRID as f64)
}

fn grid() -> impl Iterator<Item = (f64, f64)> {
    steps(-HALF_ACROSS, HALF_ACROSS).flat_map(|x| steps(-ABOVE, BELOW).map(move |y| (x, y)))
}

/// Even-odd rule.
fn contains(polygon: &[(f64, f64)], (x, y): (f64, f64)) -> bool {
    let mut inside = false;
    for (i, a) in polygon.iter().enumerate() {
        let b = polygon[(i + 1) % polygon.len()];
        if (a.1 > y) != (b.1 > y) && x < (b.0 - a.0) * (y - a.1) / (b.1 - a.1) + a.0 {
            inside = !inside;
        }
    }
    inside
}

/// The inner-mouth area, squared mouth widths.
fn opening(picture: &Canvas<'_>, frame: &MouthFrame, tones: &Tones) -> f64 {
    let columns: Vec<f64> = steps(-HALF_ACROSS, HALF_ACROSS).collect();
    let rows: Vec<f64> = steps(-ABOVE, BELOW).collect();
    let mut area = 0usize;
    for &x in &columns {
        let column: Vec<Tone> = rows.iter().map(|&y| sample(picture, frame.pixel(x, y))).collect();
        area += inner_run(&column, &rows, tones);
    }
    area as f64 / (GRID * GRID) as f64
}

/// In one column: the longest run of dark and pale pixels that begins or ends near the seam.
fn inner_run(column: &[Tone], rows: &[f64], tones: &Tones) -> usize {
    let inner: Vec<bool> = column.iter().map(|&tone| tones.is_dark(tone) || tones.is_pale(tone)).collect();
    let mut longest = 0;
    let mut start = 0;
    for run in inner.chunk_by(|a, b| a == b) {
        let end = start + run.len();
        // The upper lip moves little: an opening begins near the line of the corners; nostrils and chin do not.
        let near = rows[start] < NEAR && rows[end - 1] > -NEAR;
        // Skin that is taken for teeth reaches the edge of the area; teeth do not.
        if run[0] && near && start > 0 && end < inner.len() {
            longest = longest.max(run.len());
        }
        start = end;
    }
    longest
}

/// The distance of the corners over that at rest.
fn width(picture: &Canvas<'_>, rest: &Canvas<'_>, frame: &MouthFrame) -> f64 {
    1.0 + corner(picture, rest, frame, 0.5) - corner(picture, rest, frame, -0.5)
}

/// How far the corner at mouth coordinate `x` has moved across, mouth widths: texture matching on luma without its
/// mean, first on whole steps of a pixel, then by a parabola.
fn corner(picture: &Canvas<'_>, rest: &Canvas<'_>, frame: &MouthFrame, x: f64) -> f64 {
    let pixel = 1.0 / frame.width;
    let half = (PATCH * frame.width).round().max(3.0) as i64;
    let reach = (REACH * frame.width).round().max(2.0) as i64;
    let lift = (0.5 * REACH * frame.width).round().max(1.0) as i64;
    // A little outside the corner: inside, the opening mouth changes what is seen.
    let origin = x + 0.6 * PATCH * x.signum();
    let read = |canvas: &Canvas<'_>, i: i64, j: i64| {
        sample(canvas, frame.pixel(origin + i as f64 * pixel, j as f64 * pixel))[0]
    };
    let side = 2 * (half + reach) + 1;
    let tall = 2 * (half + lift) + 1;
    let seen: Vec<f64> = (0..tall)
        .flat_map(|j| (0..side).map(move |i| (i, j)))
        .map(|(i, j)| read(picture, i - half - reach, j - half - lift))
        .collect();
    // Some 17 by 17 points of the texture are enough.
    let stride = (half / 8).max(1) as usize;
    let points: Vec<(i64, i64)> = (-half..=half)
        .step_by(stride)
        .flat_map(|j| (-half..=half).step_by(stride).map(move |i| (i, j)))
        .collect();
    let template: Vec<f64> = points.iter().map(|&(i, j)| read(rest, i, j)).collect();
    let count = points.len() as f64;
    let template_mean = template.iter().sum::<f64>() / count;
    let cost = |dx: i64, dy: i64| {
        let at = |(i, j): (i64, i64)| seen[((j + dy + half + lift) * side + i + dx + half + reach) as usize];
        let seen_mean = points.iter().map(|&point| at(point)).sum::<f64>() / count;
        let pairs = points.iter().zip(&template);
        pairs.map(|(&point, t)| (at(point) - seen_mean - t + template_mean).powi(2)).sum::<f64>()
    };
    // The smallest move wins a tie: a flat texture has not moved.
    let mut best = (cost(0, 0), 0, 0);
    for dy in -lift..=lift {
        for dx in -reach..=reach {
            let c = cost(dx, dy);
            if c < best.0 - 1e-9 {
                best = (c, dx, dy);
            }
        }
    }
    let (peak, dx, dy) = best;
    if dx.abs() == reach {
        return dx as f64 * pixel;
    }
    let (before, after) = (cost(dx - 1, dy), cost(dx + 1, dy));
    let bend = before - 2.0 * peak + after;
    let part = if bend > 1e-9 { (0.5 * (before - after) / bend).clamp(-0.5, 0.5) } else { 0.0 };
    (dx as f64 + part) * pixel
}

/// Mean absolute luma difference in the box of the mouth.
fn movement(picture: &Canvas<'_>, rest: &Canvas<'_>, frame: &MouthFrame) -> f64 {
    let (mut sum, mut count) = (0.0, 0usize);
    for (x, y) in grid() {
        let at = frame.pixel(x, y);
        sum += (sample(picture, at)[0] - sample(rest, at)[0]).abs();
        count += 1;
    }
    sum / count as f64
}

#[cfg(test)]
mod tests;
