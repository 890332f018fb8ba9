//! Landmarks over time: short gaps bridged, single outliers removed, trembling taken out without delay.
//!
//! The whole clip is known, so that filters look both ways and do not lag. Where the head really moves, the light
//! filter counts; where it rests, the heavy one does. Nothing is smoothed across a cut.

use std::ops::Range;

use super::geometry::{box_of, distance};
use super::{FrameFace, Landmarks};

/// What was seen in one frame, before smoothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting {
    pub(crate) face: Option<FrameFace>,
    /// This frame does not continue the one before.
    pub(crate) cut: bool,
}

/// Longest gap that is bridged between two faces, and half of it at a scene's ends: one second at 25 fps.
const LONGEST_GAP: usize = 25;
/// Frames on each side that the filters look at.
const HEAVY: usize = 10;
const LIGHT: usize = 3;
/// Distance between the two filters' results, as a part of the face's width: below the first it is noise,
/// above the second it is movement.
const NOISE: f32 = 0.004;
const MOVEMENT: f32 = 0.014;

/// The faces of a clip, smoothed; `mean` is the landmark model's mean shape.
pub(crate) fn smooth(sightings: &[Sighting], mean: &Landmarks) -> Vec<Option<FrameFace>> {
    let mut faces: Vec<Option<FrameFace>> = sightings.iter().map(|sighting| sighting.face).collect();
    for scene in scenes(sightings) {
        bridge(&mut faces[scene.clone()]);
        let mut start = scene.start;
        while start < scene.end {
            let length = faces[start..scene.end].iter().take_while(|face| face.is_some()).count();
            if length > 0 {
                let run: Vec<FrameFace> = faces[start..start + length].iter().flatten().copied().collect();
                for (face, smoothed) in faces[start..].iter_mut().zip(smooth_run(&run, mean)) {
                    *face = Some(smoothed);
                }
            }
            start += length.max(1);
        }
    }
    faces
}

fn scenes(sightings: &[Sighting]) -> Vec<Range<usize>> {
    let mut starts: Vec<usize> =
        (0..sightings.len()).filter(|&frame| frame == 0 || sightings[frame].cut).collect();
    starts.push(sightings.len());
    starts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// Fills gaps with faces between their neighbours, at low confidence.
fn bridge(faces: &mut [Option<FrameFace>]) {
    let known: Vec<usize> = (0..faces.len()).filter(|&frame| faces[frame].is_some()).collect();
    let (Some(&first), Some(&last)) = (known.first(), known.last()) else { return };
    let held =
        |face: Option<FrameFace>| face.map(|face| FrameFace { confidence: face.confidence.min(0.3), ..face });
    if first <= LONGEST_GAP / 2 {
        let lent = held(faces[first]);
        faces[..first].fill(lent);
    }
    if faces.len() - 1 - last <= LONGEST_GAP / 2 {
        let lent = held(faces[last]);
        faces[last + 1..].fill(lent);
    }
    for pair in known.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let (Some(one), Some(other)) = (faces[from], faces[to]) else { continue };
        if to - from - 1 <= LONGEST_GAP {
            for (step, face) in (1..).zip(&mut faces[from + 1..to]) {
                *face = Some(between(&one, &other, step as f32 / (to - from) as f32));
            }
        }
    }
}

fn between(one: &FrameFace, other: &FrameFace, part: f32) -> FrameFace {
    FrameFace {
        face_box: mix(one.face_box, other.face_box, part),
        landmarks: std::array::from_fn(|point| mix(one.landmarks[point], other.landmarks[point], part)),
        confidence: one.confidence.min(other.confidence).min(0.4),
    }
}

fn smooth_run(run: &[FrameFace], mean: &Landmarks) -> Vec<FrameFace> {
    let steady = without_outliers(run);
    (0..run.len())
        .map(|frame| {
            let light = fitted(&steady, run, frame, LIGHT, true);
            let heavy = fitted(&steady, run, frame, HEAVY, false);
            let width = run[frame].box_width().max(1.0);
            let landmarks = std::array::from_fn(|point| {
                let part = moving(distance(light[point], heavy[point]) / width);
                mix(heavy[point], light[point], part)
            });
            // The box follows the head, and not each blink of the landmarks that it is fitted to.
            let (calm, quick) = (box_of(mean, &heavy), box_of(mean, &light));
            let apart = calm.iter().zip(&quick).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let face_box = mix(calm, quick, moving(apart / width / 3.0));
            FrameFace { landmarks, face_box, confidence: run[frame].confidence }
        })
        .collect()
}

/// 0 for what is noise, 1 for what is movement; a smooth step between. In parts of the face's width.
fn moving(apart: f32) -> f32 {
    let part = ((apart - NOISE) / (MOVEMENT - NOISE)).clamp(0.0, 1.0);
    part * part * (3.0 - 2.0 * part)
}

fn mix<const N: usize>(one: [f32; N], other: [f32; N], part: f32) -> [f32; N] {
    std::array::from_fn(|index| one[index] + (other[index] - one[index]) * part)
}

/// Median of three frames, coordinate by coordinate.
fn without_outliers(run: &[FrameFace]) -> Vec<Landmarks> {
    (0..run.len())
        .map(|frame| {
            if frame == 0 || frame + 1 == run.len() {
                return run[frame].landmarks;
            }
            let of = |frame: usize, point: usize, axis: usize| run[frame].landmarks[point][axis];
            std::array::from_fn(|point| {
                std::array::from_fn(|axis| {
                    let [a, b, c] = [frame - 1, frame, frame + 1].map(|frame| of(frame, point, axis));
                    a.max(b).min(a.min(b).max(c))
                })
            })
        })
        .collect()
}

/// Landmarks of `frame` on a line (or parabola) fitted to the frames around it: weighted by how near they are, and
/// by how certain.
fn fitted(shapes: &[Landmarks], run: &[FrameFace], frame: usize, reach: usize, curved: bool) -> Landmarks {
    let (start, end) = (frame.saturating_sub(reach), (frame + reach + 1).min(run.len()));
    let weights: Vec<(f64, f64)> = (start..end)
        .map(|near| {
            let away = near as f64 - frame as f64;
            let nearness = (1.0 - (away.abs() / (reach as f64 + 1.0)).powi(3)).powi(3);
            (away, nearness * f64::from(run[near].confidence.max(0.05)))
        })
        .collect();
    let factors = fit_at_zero(&weights, curved);
    let mut landmarks = [[0.0_f64; 2]; 68];
    for (shape, factor) in shapes[start..end].iter().zip(factors) {
        for (sum, point) in landmarks.iter_mut().zip(shape) {
            sum[0] += factor * f64::from(point[0]);
            sum[1] += factor * f64::from(point[1]);
        }
    }
    landmarks.map(|point| point.map(|value| value as f32))
}

/// For samples at distance `x` with weight `w`: the factors that give a least-squares polynomial's value at 0.
fn fit_at_zero(samples: &[(f64, f64)], curved: bool) -> Vec<f64> {
    let moment = |power: i32| samples.iter().map(|&(x, w)| w * x.powi(power)).sum::<f64>();
    let [m0, m1, m2, m3, m4] = [0, 1, 2, 3, 4].map(moment);
    // Solve the normal equations for the polynomial whose products give the constant term (Cramer's rule).
    let determinant = m0 * (m2 * m4 - m3 * m3) - m1 * (m1 * m4 - m3 * m2) + m2 * (m1 * m3 - m2 * m2);
    let [c0, c1, c2] = if curved && samples.len() >= 4 && determinant.abs() > 1e-9 {
        [m2 * m4 - m3 * m3, m2 * m3 - m1 * m4, m1 * m3 - m2 * m2].map(|cofactor| cofactor / determinant)
    } else if samples.len() >= 2 && (m0 * m2 - m1 * m1).abs() > 1e-9 {
        let determinant = m0 * m2 - m1 * m1;
        [m2 / determinant, -m1 / determinant, 0.0]
    } else {
        [1.0 / m0.max(1e-12), 0.0, 0.0]
    };
    samples.iter().map(|&(x, w)| w * (c0 + c1 * x + c2 * x * x)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEAN: Landmarks = {
        let mut mean = [[0.0; 2]; 68];
        let mut point = 0;
        while point < 68 {
            mean[point] = [(point % 9) as f32 / 8.0, (point / 9) as f32 / 7.0];
            point += 1;
        }
        mean
    };

    fn face_at(x: f32, y: f32) -> FrameFace {
        let landmarks = MEAN.map(|point| [x + 200.0 * point[0], y + 200.0 * point[1]]);
        FrameFace { face_box: box_of(&MEAN, &landmarks), landmarks, confidence: 0.9 }
    }

    fn seen(face: FrameFace) -> Sighting {
        Sighting { face: Some(face), cut: false }
    }

    const NOTHING: Sighting = Sighting { face: None, cut: false };

    #[test]
    fn a_moving_head_is_followed_without_delay() {
        let clip: Vec<_> = (0..60).map(|frame| seen(face_at(100.0 + 5.0 * frame as f32, 50.0))).collect();
        for (frame, face) in smooth(&clip, &MEAN).into_iter().enumerate() {
            let error = face.unwrap().landmarks[0][0] - (100.0 + 5.0 * frame as f32);
            assert!(error.abs() < 0.05, "frame {frame} is off by {error}");
        }
    }

    #[test]
    fn trembling_of_a_still_head_is_taken_out() {
        let tremble = |frame: usize| (frame * 7919 % 13) as f32 / 13.0 - 0.5;
        let clip: Vec<_> = (0..80).map(|frame| seen(face_at(100.0 + tremble(frame), 50.0))).collect();
        let x: Vec<f32> = smooth(&clip, &MEAN).iter().map(|face| face.unwrap().landmarks[30][0]).collect();
        let steps: f32 = x[5..75].windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum::<f32>() / 69.0;
        let before: f32 =
            (5..74).map(|frame| (tremble(frame + 1) - tremble(frame)).abs()).sum::<f32>() / 69.0;
        assert!(steps < 0.15 * before, "{steps} of {before} is left");
    }

    #[test]
    fn one_wild_frame_does_not_show() {
        let mut clip: Vec<_> = (0..30).map(|_| seen(face_at(100.0, 50.0))).collect();
        clip[15] = seen(face_at(160.0, 50.0));
        let faces = smooth(&clip, &MEAN);
        assert!((faces[15].unwrap().face_box[0] - 100.0).abs() < 1.0);
    }

    #[test]
    fn short_gaps_are_bridged_and_long_ones_stay() {
        let mut clip: Vec<_> = (0..100).map(|_| seen(face_at(100.0, 50.0))).collect();
        clip[10..15].fill(NOTHING);
        clip[30..70].fill(NOTHING);
        clip[95..].fill(NOTHING);
        let faces = smooth(&clip, &MEAN);
        assert!(faces[12].is_some_and(|face| face.confidence < 0.5));
        assert!(faces[50].is_none());
        assert!(faces[99].is_some());
    }

    #[test]
    fn nothing_is_smoothed_or_bridged_across_a_cut() {
        let mut clip: Vec<_> = (0..40).map(|_| seen(face_at(100.0, 50.0))).collect();
        for sighting in &mut clip[20..] {
            *sighting = seen(face_at(400.0, 90.0));
        }
        clip[20].cut = true;
        let faces = smooth(&clip, &MEAN);
        assert!((faces[19].unwrap().face_box[0] - 100.0).abs() < 0.5);
        assert!((faces[20].unwrap().face_box[0] - 400.0).abs() < 0.5);
        clip[18..20].fill(NOTHING);
        assert!((smooth(&clip, &MEAN)[19].unwrap().face_box[0] - 100.0).abs() < 0.5);
    }
}
