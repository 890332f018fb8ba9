//! What moves besides the lips: the jaw goes down, the corners of the mouth go in and out.
//!
//! In: the mouth of the source frame and a [`Pose`]. Out: movements on a coarse grid over the patch, read bilinearly;
//! they end inside the patch, so that its border never changes.

use super::columns::Columns;
use super::geometry::MouthGeometry;
use super::render::Pose;
use super::smoothstep;

/// Side of a grid cell, pixels.
pub(super) const CELL: usize = 8;
/// The chin goes this part of the way of the lower lip.
const CHIN_FOLLOWS: f32 = 0.5;
/// Widening and narrowing of the mouth at the most spread and the most rounded.
const SPREADS: f32 = 0.09;
const ROUNDS: f32 = 0.12;

/// The jaw on its way down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Jaw {
    drop: f32,
    nose: f32,
    chin: f32,
    per_reach: [f32; 2],
}

impl Jaw {
    pub(super) fn new(mouth: &MouthGeometry, rest_gap: f32, pose: &Pose) -> Self {
        let drop = Columns::drop(mouth, rest_gap, pose);
        // Lips that close on an open source take the jaw along less: they mostly do it by themselves.
        let drop = if drop > 0.0 { CHIN_FOLLOWS * 0.8 * drop } else { 0.25 * drop };
        Self { drop, nose: mouth.nose, chin: mouth.chin, per_reach: mouth.reach.map(|r| 1.0 / (r + 0.1)) }
    }

    /// How far the chin moves down, in mouth widths.
    pub(super) fn drop(&self) -> f32 {
        self.drop
    }

    /// How far the jaw takes this place down.
    pub(super) fn at(&self, u: f32, v: f32) -> f32 {
        let side = if u < 0.0 { self.per_reach[0] } else { self.per_reach[1] };
        let x = (u * side).abs().min(1.0);
        let across = (1.0 - x * x) * (1.0 - x * x);
        let rise = smoothstep(self.nose * 0.7, self.chin - 0.08, v);
        let below = self.chin + self.drop + 0.02;
        self.drop * across * rise * (1.0 - smoothstep(below, below + 0.42, v))
    }
}

/// Movement at one node of the grid, in mouth widths.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Node {
    /// Where this place comes from, to the right.
    pub(super) aside: f32,
    /// How far the jaw has moved it down.
    pub(super) jaw: f32,
    /// How much of any movement is let through: 1 inside, 0 at the border of the patch.
    pub(super) open: f32,
}

/// The grid over one patch.
#[derive(Debug, Default)]
pub(super) struct Field {
    nodes: Vec<Node>,
    across: usize,
}

impl Field {
    pub(super) fn pose(&mut self, mouth: &MouthGeometry, size: [usize; 2], pose: &Pose, jaw: &Jaw) {
        let [width, height] = size;
        self.across = width.div_ceil(CELL) + 1;
        let down = height.div_ceil(CELL) + 1;
        self.nodes.clear();
        self.nodes.reserve(self.across * down);
        let stretch =
            pose.presence * if pose.width > 0.0 { SPREADS * pose.width } else { ROUNDS * pose.width };
        let narrows = (0.06 * jaw.drop().max(0.0)).min(0.02);
        let aside = 1.0 / (1.0 + stretch - narrows) - 1.0;
        let border = |at: usize, size: usize| {
            let most = (size - 1) as f32;
            let inside = (at as f32).min(most - at as f32).max(0.0);
            smoothstep(1.0, (0.09 * most).max(6.0), inside)
        };
        for row in 0..down {
            for column in 0..self.across {
                let (x, y) = (column * CELL, row * CELL);
                let [u, v] = mouth.to_mouth([x as f32, y as f32]);
                let reach = mouth.reach[usize::from(u >= 0.0)].min(1.1);
                let sideways = 1.0 - smoothstep(0.5, reach.max(0.8), u.abs());
                let upright =
                    smoothstep(mouth.nose, mouth.nose * 0.35, v).min(1.0 - smoothstep(0.12, 0.5, v));
                let open = border(x, width) * border(y, height);
                self.nodes.push(Node {
                    aside: u.clamp(-0.6, 0.6) * aside * sideways * upright * open,
                    jaw: jaw.at(u, v) * open,
                    open,
                });
            }
        }
    }

    /// The four nodes around a cell: top left, top right, bottom left, bottom right.
    pub(super) fn cell(&self, column: usize, row: usize) -> [Node; 4] {
        let first = row * self.across + column;
        [
            self.nodes[first],
            self.nodes[first + 1],
            self.nodes[first + self.across],
            self.nodes[first + self.across + 1],
        ]
    }
}

impl Node {
    /// A node `t` of the way from `a` to `b`.
    pub(super) fn between(a: Node, b: Node, t: f32) -> Node {
        Node {
            aside: a.aside + (b.aside - a.aside) * t,
            jaw: a.jaw + (b.jaw - a.jaw) * t,
            open: a.open + (b.open - a.open) * t,
        }
    }
}
