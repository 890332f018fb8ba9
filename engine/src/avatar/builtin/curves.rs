//! Curves through points, as paths to fill and as places along them.

use tiny_skia::{Path, PathBuilder};

/// The outline of a stroke of changing width along a polyline.
pub(super) fn ribbon(points: &[(f32, f32)], width: impl Fn(f32) -> f32) -> Option<Path> {
    let last = points.len().checked_sub(1).filter(|&last| last > 0)?;
    let side = |index: usize, sign: f32| {
        let (before, after) = (points[index.saturating_sub(1)], points[(index + 1).min(last)]);
        let (dx, dy) = (after.0 - before.0, after.1 - before.1);
        let half = sign * 0.5 * width(index as f32 / last as f32) / dx.hypot(dy).max(1e-3);
        (points[index].0 - dy * half, points[index].1 + dx * half)
    };
    let mut builder = PathBuilder::new();
    let (x, y) = side(0, 1.0);
    builder.move_to(x, y);
    for (index, sign) in (1..=last).map(|i| (i, 1.0)).chain((0..=last).rev().map(|i| (i, -1.0))) {
        let (x, y) = side(index, sign);
        builder.line_to(x, y);
    }
    builder.close();
    builder.finish()
}

/// A closed path with straight sides.
pub(super) fn polygon(points: &[(f32, f32)]) -> Path {
    let mut builder = PathBuilder::new();
    builder.move_to(points[0].0, points[0].1);
    for &(x, y) in &points[1..] {
        builder.line_to(x, y);
    }
    builder.close();
    builder.finish().expect("the drawing's points are finite")
}

/// A smooth closed path through `points` (Catmull-Rom).
pub(super) fn smooth_closed(points: &[(f32, f32)]) -> Path {
    let count = points.len();
    let mut builder = PathBuilder::new();
    builder.move_to(points[0].0, points[0].1);
    for i in 0..count {
        let [p0, p1, p2, p3] =
            [(i + count - 1) % count, i, (i + 1) % count, (i + 2) % count].map(|k| points[k]);
        cubic(&mut builder, p0, p1, p2, p3);
    }
    builder.close();
    builder.finish().expect("the drawing's points are finite")
}

/// A smooth open path through `points` (Catmull-Rom).
pub(super) fn smooth_open(points: &[(f32, f32)]) -> Path {
    let last = points.len() - 1;
    let mut builder = PathBuilder::new();
    builder.move_to(points[0].0, points[0].1);
    for i in 0..last {
        let [p0, p1, p2, p3] = [i.saturating_sub(1), i, i + 1, (i + 2).min(last)].map(|k| points[k]);
        cubic(&mut builder, p0, p1, p2, p3);
    }
    builder.finish().expect("the drawing's points are finite")
}

type Point = (f32, f32);

fn cubic(builder: &mut PathBuilder, p0: Point, p1: Point, p2: Point, p3: Point) {
    builder.cubic_to(
        p1.0 + (p2.0 - p0.0) / 6.0,
        p1.1 + (p2.1 - p0.1) / 6.0,
        p2.0 - (p3.0 - p1.0) / 6.0,
        p2.1 - (p3.1 - p1.1) / 6.0,
        p2.0,
        p2.1,
    );
}

/// The place at `t` = 0..1 on the smooth curve through `points`.
pub(super) fn along(points: &[(f32, f32)], t: f32) -> (f32, f32) {
    let last = points.len() - 1;
    let place = t.clamp(0.0, 1.0) * last as f32;
    let i = (place as usize).min(last - 1);
    let u = place - i as f32;
    let [p0, p1, p2, p3] = [i.saturating_sub(1), i, i + 1, (i + 2).min(last)].map(|k| points[k]);
    let blend = |a: f32, b: f32, c: f32, d: f32| {
        0.5 * (2.0 * b
            + (c - a) * u
            + (2.0 * a - 5.0 * b + 4.0 * c - d) * u * u
            + (3.0 * b - a - 3.0 * c + d) * u * u * u)
    };
    (blend(p0.0, p1.0, p2.0, p3.0), blend(p0.1, p1.1, p2.1, p3.1))
}
