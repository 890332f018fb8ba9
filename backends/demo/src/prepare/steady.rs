//! What is known about each frame, made steady over time.
//!
//! In: landmarks (pixels), corners and lip edges found in each frame by itself. Out: the same, with gaps bridged, frames
//! that went astray outvoted, and faces that come and go eased in and out.

use crate::warp::{MouthGeometry, STATIONS};

/// Landmarks are taken at their word within this part of the width of the mouth.
const TRUSTED: f32 = 0.02;
/// A face that is lost for no more than this many frames is taken to have moved evenly meanwhile.
const BRIDGED: usize = 6;
/// A face that comes or goes is eased in and out over this many frames.
const EASE: usize = 8;

/// Fills short gaps between faces with what lies between them.
pub(super) fn bridge(landmarks: &mut [Option<[[f32; 2]; 68]>]) {
    let mut last: Option<usize> = None;
    for i in 0..landmarks.len() {
        let Some(after) = landmarks[i] else { continue };
        if let Some(from) = last.replace(i)
            && i - from <= BRIDGED + 1
            && let Some(before) = landmarks[from]
        {
            for (step, missing) in (from + 1..i).enumerate() {
                let t = (step + 1) as f32 / (i - from) as f32;
                landmarks[missing] = Some(std::array::from_fn(|k| {
                    std::array::from_fn(|c| before[k][c] + (after[k][c] - before[k][c]) * t)
                }));
            }
        }
    }
}

/// Moves the landmarks of the corners of each mouth towards those found in its pixels (left, right), where they are
/// clearly elsewhere.
pub(super) fn move_corners(landmarks: &mut [Option<[[f32; 2]; 68]>], corners: &[Option<[[f32; 2]; 2]>]) {
    for (index, points) in landmarks.iter_mut().enumerate() {
        let Some(points) = points else { continue };
        let trusted = TRUSTED * (points[54][0] - points[48][0]).hypot(points[54][1] - points[48][1]);
        for (side, (corner, inner)) in [(48, 60), (54, 64)].into_iter().enumerate() {
            for axis in 0..2 {
                let near = index.saturating_sub(3)..(index + 4).min(corners.len());
                let mut seen: Vec<f32> = corners[near].iter().flatten().map(|c| c[side][axis]).collect();
                if seen.is_empty() {
                    continue;
                }
                // The mean of the middle: a single frame that went astray has no say.
                seen.sort_by(f32::total_cmp);
                let cut = seen.len() / 4;
                let kept = &seen[cut..seen.len() - cut];
                let moved = kept.iter().sum::<f32>() / kept.len() as f32 - points[corner][axis];
                let moved = moved.signum() * (moved.abs() - trusted).max(0.0);
                points[corner][axis] += moved;
                points[inner][axis] += 0.7 * moved;
            }
        }
    }
}

/// Gives frames without a face the mouth of a neighbour, and eases all movement out towards them. `None`: no face at all.
pub(super) fn fill(found: Vec<Option<MouthGeometry>>) -> Option<Vec<MouthGeometry>> {
    let strengths: Vec<f32> = found.iter().map(|m| m.as_ref().map_or(0.0, |m| m.strength)).collect();
    if strengths.iter().all(|s| *s <= 0.0) {
        return None;
    }
    // The least of the neighbourhood, then its mean: never more than a frame allows, and no jumps.
    let around = |i: usize, far: usize| i.saturating_sub(far)..(i + far + 1).min(strengths.len());
    let least: Vec<f32> = (0..strengths.len())
        .map(|i| strengths[around(i, EASE)].iter().copied().fold(1.0, f32::min))
        .collect();
    let eased = |i: usize| {
        let near = &least[around(i, EASE)];
        (near.iter().sum::<f32>() / near.len() as f32).min(strengths[i])
    };
    let mut last = found.iter().flatten().next().cloned()?;
    let mouths = found.into_iter().enumerate().map(|(i, mouth)| {
        let mut mouth = mouth.unwrap_or_else(|| last.clone());
        last = mouth.clone();
        mouth.strength = eased(i);
        mouth
    });
    Some(mouths.collect())
}

/// Steadies the inner edges of the lips over time: the median of three frames, then a short mean.
pub(super) fn lip_edges(mouths: &mut [MouthGeometry]) {
    let edges: Vec<[[f32; STATIONS]; 2]> = mouths.iter().map(|m| [m.upper_inner, m.lower_inner]).collect();
    let near = |i: usize, by: isize| &edges[i.saturating_add_signed(by).min(edges.len() - 1)];
    let middle: Vec<[[f32; STATIONS]; 2]> = (0..edges.len())
        .map(|i| {
            std::array::from_fn(|lip| {
                std::array::from_fn(|s| {
                    let mut three = [near(i, -1)[lip][s], edges[i][lip][s], near(i, 1)[lip][s]];
                    three.sort_by(f32::total_cmp);
                    three[1]
                })
            })
        })
        .collect();
    for (i, mouth) in mouths.iter_mut().enumerate() {
        let (before, here, after) =
            (&middle[i.saturating_sub(1)], &middle[i], &middle[(i + 1).min(middle.len() - 1)]);
        let mean = |lip: usize, s: usize| 0.25 * before[lip][s] + 0.5 * here[lip][s] + 0.25 * after[lip][s];
        for s in 0..STATIONS {
            mouth.upper_inner[s] = mean(0, s);
            mouth.lower_inner[s] = mean(1, s).max(mouth.upper_inner[s]);
        }
    }
}
