//! How the portrait moves: every motion is a sum of whole periods over the loop, so that it closes seamlessly.

use std::f32::consts::TAU;

use super::FRAME_COUNT;
use super::eyes::Look;
use super::maths::step;

/// The portrait's pose in one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pose {
    /// Shift of the head, picture pixels.
    pub(super) shift: (f32, f32),
    /// Turn of the head in the picture plane, radians, clockwise.
    pub(super) roll: f32,
    /// Shift of the nearest point of the face against the farthest, picture pixels: turning and nodding.
    pub(super) turn: (f32, f32),
    /// Rise of the shoulders with the breath, 0..1.
    pub(super) breath: f32,
    /// Eyes and lids.
    pub(super) look: Look,
}

/// Frames at which a blink begins, and how long the lids need down and up again.
const BLINKS: [usize; 2] = [46, 139];
const DOWN: f32 = 2.5;
const SHUT: f32 = 1.2;
const UP: f32 = 4.5;

/// Where the eyes rest, from which frame on.
const GLANCES: [(usize, (f32, f32)); 6] = [
    (0, (0.0, 0.0)),
    (30, (0.5, 0.1)),
    (72, (-0.6, 0.0)),
    (104, (0.1, -0.3)),
    (141, (0.5, 0.15)),
    (178, (0.0, 0.0)),
];

/// The pose of frame `index`.
pub(super) fn pose(index: usize) -> Pose {
    let phase = index as f32 / FRAME_COUNT as f32;
    let wave = |periods: f32, offset: f32| (TAU * (periods * phase + offset)).sin();
    let sway = 0.72 * wave(1.0, 0.0) + 0.28 * wave(2.0, 0.13) + 0.10 * wave(3.0, 0.61);
    let nod = 0.62 * wave(1.0, 0.31) + 0.38 * wave(2.0, 0.72) + 0.12 * wave(3.0, 0.2);
    let breath = 0.5 + 0.5 * wave(2.0, 0.4);
    let turn = (4.2 * sway, 2.0 * nod);
    let eyes = gaze(index as f32);
    Pose {
        shift: (2.6 * sway, 1.1 * nod - 0.7 * breath),
        roll: 0.011 * (0.8 * wave(1.0, 0.08) + 0.35 * wave(2.0, 0.5)),
        turn,
        breath,
        // The eyes stay on the viewer while the head turns.
        look: Look {
            gaze: (fine(eyes.0 - 0.26 * turn.0), fine(eyes.1 - 0.2 * turn.1)),
            closed: closed(index as f32),
        },
    }
}

/// Rounded to what can be seen, so that eyes at rest are painted once.
fn fine(shift: f32) -> f32 {
    (shift * 8.0).round() / 8.0
}

/// How far the lids are shut.
fn closed(frame: f32) -> f32 {
    BLINKS
        .iter()
        .map(|&start| {
            let t = frame - start as f32;
            step(0.0, DOWN, t) * step(DOWN + SHUT + UP, DOWN + SHUT, t)
        })
        .fold(0.0, f32::max)
}

/// Small jumps between resting places, two frames each.
fn gaze(frame: f32) -> (f32, f32) {
    GLANCES.windows(2).fold(GLANCES[0].1, |at, pair| {
        let (start, to) = pair[1];
        let done = step(-0.5, 1.5, frame - start as f32);
        (at.0 + (to.0 - pair[0].1.0) * done, at.1 + (to.1 - pair[0].1.1) * done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_closes_without_a_jump() {
        let (last, first) = (pose(FRAME_COUNT - 1), pose(0));
        let largest =
            (1..FRAME_COUNT).map(|i| (pose(i).shift.0 - pose(i - 1).shift.0).abs()).fold(0.0, f32::max);
        assert!((last.shift.0 - first.shift.0).abs() <= largest);
        assert!((last.roll - first.roll).abs() < 0.002);
        assert_eq!((last.look.closed, first.look.closed), (0.0, 0.0));
    }

    #[test]
    fn each_blink_shuts_the_eyes_and_opens_them_again() {
        for start in BLINKS {
            let lids: Vec<f32> = (start..start + 10).map(|i| pose(i).look.closed).collect();
            assert!(lids.iter().any(|&closed| closed > 0.98), "{lids:?}");
            assert_eq!((lids[0], lids[9]), (0.0, 0.0));
        }
    }
}
