//! Face boxes made steady over time.
//!
//! In: the box of each frame, found in it alone, so that it trembles by as much as the landmarks are coarse:
//! with DWPose on a full-HD picture by 4 pixels. Out: boxes that follow the head without trembling and
//! without lag.
//!
//! Frames with a face and no cut between them are a run, and runs have nothing to do with each other. In a
//! run each side of the box is a local regression (Cleveland, 1979, without its robust passes) over a quarter
//! of a second to either side: a parabola, least squares under biweight weights, so that even movement and
//! its acceleration pass unchanged and neither delayed nor flattened; a straight line where one half of the
//! window is missing. A box that differs from the median of its neighbourhood, as one found in a smeared
//! frame does, has no weight.

use super::boxes::FaceBox;

/// Seconds to either side that a box is smoothed over. Movements up to 2 Hz, which heads make, pass.
const REACH: f64 = 0.25;
/// Frames to either side that say whether a box went astray.
const NEIGHBOURS: usize = 2;
/// A box whose sides are off by more than this part of its size went astray.
const ASTRAY: f64 = 0.08;
/// The picture was cut where boxes move or grow by more than this part of their size at once.
const CUT: f64 = 0.25;
/// Frames before and after that have to agree that there is a cut.
const WITNESSES: usize = 3;

/// Smooths the boxes of consecutive frames of a clip at `fps` frames a second. Frames without a box stay
/// without.
pub fn smooth(boxes: &mut [Option<FaceBox>], fps: f64) {
    let reach = ((REACH * fps).round() as usize).max(1);
    for run in runs(boxes) {
        let found: Vec<[f64; 4]> = boxes[run.clone()].iter().flatten().map(FaceBox::sides).collect();
        let trusted: Vec<bool> = (0..found.len()).map(|at| is_trusted(&found, at)).collect();
        for (at, face) in boxes[run].iter_mut().enumerate() {
            let sides = std::array::from_fn(|side| {
                let value = |index: usize| trusted[index].then(|| found[index][side]);
                fit(value, found.len(), at, reach).unwrap_or(found[at][side])
            });
            *face = Some(FaceBox::from_sides(sides));
        }
    }
}

/// How much boxes tremble: the root mean square of the second differences of their sides over time, pixels. A
/// box that stands still or moves evenly has none; one whose sides are off by independent errors of deviation
/// s has √6·s. Frames without a box are no neighbours.
pub fn jitter(boxes: &[Option<FaceBox>]) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u64);
    for three in boxes.windows(3) {
        let [Some(before), Some(here), Some(after)] = three else { continue };
        for ((a, b), c) in before.sides().iter().zip(here.sides()).zip(after.sides()) {
            sum += (a - 2.0 * b + c).powi(2);
            count += 1;
        }
    }
    if count == 0 { 0.0 } else { (sum / count as f64).sqrt() }
}

/// Stretches of frames that all have a box, with no cut inside.
fn runs(boxes: &[Option<FaceBox>]) -> Vec<std::ops::Range<usize>> {
    let mut runs = Vec::new();
    let mut first = 0;
    for at in 0..=boxes.len() {
        let ends = boxes.get(at).is_none_or(Option::is_none);
        if ends || (at > first && is_cut(boxes, first, at)) {
            if at > first {
                runs.push(first..at);
            }
            first = if ends { at + 1 } else { at };
        }
    }
    runs
}

/// Whether there is a cut just before frame `at`, of a run that begins at `first`. The step has to be one of
/// the frames around it too, so that a single box that went astray makes none.
fn is_cut(boxes: &[Option<FaceBox>], first: usize, at: usize) -> bool {
    let after: Vec<FaceBox> = boxes[at..].iter().map_while(|face| *face).take(WITNESSES).collect();
    let before: Vec<FaceBox> =
        boxes[first.max(at.saturating_sub(WITNESSES))..at].iter().flatten().copied().collect();
    let (Some(last), Some(next)) = (before.last(), after.first()) else { return false };
    let median_of = |faces: &[FaceBox]| {
        FaceBox::from_sides(std::array::from_fn(|side| median(faces.iter().map(|face| face.sides()[side]))))
    };
    is_jump(last, next) && is_jump(&median_of(&before), &median_of(&after))
}

fn is_jump(a: &FaceBox, b: &FaceBox) -> bool {
    let ([aw, ah], [bw, bh]) = (a.size(), b.size());
    let most = CUT * 0.25 * (aw + ah + bw + bh);
    let moved = (a.left + a.right - b.left - b.right).hypot(a.top + a.bottom - b.top - b.bottom) / 2.0;
    moved > most || (aw - bw).abs() > most || (ah - bh).abs() > most
}

/// Whether the box of a run's frame `at` is like those around it.
fn is_trusted(run: &[[f64; 4]], at: usize) -> bool {
    let near = &run[at.saturating_sub(NEIGHBOURS)..(at + NEIGHBOURS + 1).min(run.len())];
    let middle: [f64; 4] = std::array::from_fn(|side| median(near.iter().map(|face| face[side])));
    let [width, height] = FaceBox::from_sides(middle).size();
    let off = |side: usize| (run[at][side] - middle[side]).abs();
    (0..4).all(|side| off(side) <= ASTRAY * if side % 2 == 0 { width } else { height })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The local regression at place `at` of `count` values, of which some are left out. `None`: too few are
/// left.
fn fit(value: impl Fn(usize) -> Option<f64>, count: usize, at: usize, reach: usize) -> Option<f64> {
    let (before, after) = (at.min(reach), (count - 1 - at).min(reach));
    // A parabola that hangs on one side only swings with the noise at its free end.
    let parabola = 2 * before.min(after) >= reach.max(2);
    // Σ w·x^n for n up to 4, and Σ w·x^n·y for n up to 2.
    let (mut moments, mut sums, mut seen) = ([0.0; 5], [0.0; 3], 0);
    for index in at - before..=at + after {
        let Some(y) = value(index) else { continue };
        let x = (index as f64 - at as f64) / (reach + 1) as f64;
        let weight = (1.0 - x * x).powi(2);
        seen += 1;
        (0..5).for_each(|n| moments[n] += weight * x.powi(n as i32));
        (0..3).for_each(|n| sums[n] += weight * x.powi(n as i32) * y);
    }
    let [m0, m1, m2, m3, m4] = moments;
    let line = |m0: f64, m1: f64, m2: f64, s0: f64, s1: f64| {
        let determinant = m0 * m2 - m1 * m1;
        (determinant > 1e-9 * m0 * m0).then(|| (s0 * m2 - s1 * m1) / determinant)
    };
    if parabola && seen > 3 {
        // Cramer's rule for the constant of the parabola, which is its value at x = 0.
        let minors = [m2 * m4 - m3 * m3, m1 * m4 - m2 * m3, m1 * m3 - m2 * m2];
        let determinant = m0 * minors[0] - m1 * minors[1] + m2 * minors[2];
        if determinant > 1e-9 * m0.powi(3) {
            return Some((sums[0] * minors[0] - sums[1] * minors[1] + sums[2] * minors[2]) / determinant);
        }
    }
    match seen {
        0 => None,
        1 | 2 => Some(sums[0] / m0),
        _ => line(m0, m1, m2, sums[0], sums[1]).or(Some(sums[0] / m0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FPS: f64 = 25.0;

    fn face(x: f64, y: f64) -> FaceBox {
        FaceBox { left: x, top: y, right: x + 200.0, bottom: y + 220.0 }
    }

    fn clip(count: usize, at: impl Fn(f64) -> [f64; 2]) -> Vec<Option<FaceBox>> {
        (0..count).map(|frame| at(frame as f64 / FPS)).map(|[x, y]| Some(face(x, y))).collect()
    }

    /// Errors in -1…1 that do not repeat, of deviation 0.58.
    fn noise(n: usize) -> f64 {
        let mut z = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((z ^ (z >> 27)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    fn worst(a: &[Option<FaceBox>], b: &[Option<FaceBox>]) -> f64 {
        let sides = a.iter().flatten().zip(b.iter().flatten()).flat_map(|(a, b)| {
            a.sides().into_iter().zip(b.sides()).map(|(a, b)| (a - b).abs()).collect::<Vec<_>>()
        });
        sides.fold(0.0, f64::max)
    }

    #[test]
    fn even_movement_and_its_acceleration_pass_unchanged() {
        let moving = clip(50, |t| [100.0 + 30.0 * t, 80.0 - 12.0 * t]);
        let mut smoothed = moving.clone();
        smooth(&mut smoothed, FPS);
        assert!(worst(&smoothed, &moving) < 1e-9);

        let faster = clip(50, |t| [100.0 + 20.0 * t * t, 80.0]);
        let mut smoothed = faster.clone();
        smooth(&mut smoothed, FPS);
        assert!(worst(&smoothed[3..47], &faster[3..47]) < 1e-9);
    }

    #[test]
    fn a_nod_is_neither_delayed_nor_flattened() {
        let nodding = clip(100, |t| [100.0, 80.0 + 20.0 * (std::f64::consts::TAU * t).sin()]);
        let mut smoothed = nodding.clone();
        smooth(&mut smoothed, FPS);
        // Twenty pixels up and down within a second: off by less than a third of a pixel.
        assert!(worst(&smoothed[6..94], &nodding[6..94]) < 0.3, "{}", worst(&smoothed, &nodding));
    }

    #[test]
    fn trembling_is_taken_out() {
        let still = clip(200, |_| [100.0, 80.0]);
        let mut trembling: Vec<Option<FaceBox>> = (0..200)
            .map(|frame| {
                let sides = face(100.0, 80.0).sides();
                let off = |side: usize| sides[side] + 2.0 * noise(4 * frame + side);
                Some(FaceBox::from_sides(std::array::from_fn(off)))
            })
            .collect();
        let before = jitter(&trembling);
        smooth(&mut trembling, FPS);
        let after = jitter(&trembling);
        // √6 times the deviation of 2/√3 pixels before.
        assert!((2.5..3.2).contains(&before), "{before}");
        assert!(after < before / 15.0, "{before} before, {after} after");
        assert!(worst(&trembling, &still) < 2.0);
    }

    #[test]
    fn a_box_that_went_astray_has_no_say() {
        let still = clip(40, |_| [100.0, 80.0]);
        let mut astray = still.clone();
        astray[20] = Some(FaceBox { left: 20.0, top: 300.0, right: 90.0, bottom: 400.0 });
        smooth(&mut astray, FPS);
        assert!(worst(&astray, &still) < 1e-9);
    }

    #[test]
    fn nothing_passes_a_cut_or_a_gap() {
        let first = clip(20, |t| [100.0 + t, 80.0]);
        let second = clip(20, |t| [400.0 - 2.0 * t, 120.0]);
        let mut both = [first.clone(), second.clone()].concat();
        smooth(&mut both, FPS);
        assert!(worst(&both[..20], &first) < 1e-9 && worst(&both[20..], &second) < 1e-9);

        let mut gap = [first.clone(), vec![None; 2], first.clone()].concat();
        smooth(&mut gap, FPS);
        assert!(gap[20].is_none() && gap[21].is_none());
        assert!(worst(&gap[..20], &first) < 1e-9 && worst(&gap[22..], &first) < 1e-9);
    }

    #[test]
    fn short_runs_stay_what_they_are() {
        for count in 1..4 {
            let still = clip(count, |_| [100.0, 80.0]);
            let mut smoothed = still.clone();
            smooth(&mut smoothed, FPS);
            assert!(worst(&smoothed, &still) < 1e-9, "{count} frames");
        }
        smooth(&mut [], FPS);
        smooth(&mut [None, None], FPS);
    }

    #[test]
    fn jitter_is_what_its_words_say() {
        let still = clip(10, |t| [100.0 + 25.0 * t, 80.0]);
        assert!(jitter(&still) < 1e-9);
        // One pixel to and fro on two of four sides: second differences of ±2 there, 0 on the others.
        let swinging: Vec<_> = (0..10).map(|frame| Some(face(100.0 + f64::from(frame % 2), 80.0))).collect();
        assert!((jitter(&swinging) - 2.0_f64.sqrt()).abs() < 1e-9);
        assert_eq!(jitter(&[None, Some(face(0.0, 0.0)), None]), 0.0);
    }
}
