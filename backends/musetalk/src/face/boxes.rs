//! From the landmarks of a frame to the face box that is cut out and drawn over.
//!
//! In: 68 points (iBUG order) and what a face detector found, pixels of the source, y down. Out: a box in the
//! same pixels, from its first column and row to one past its last.
//!
//! The steps and their order are those of the reference's `get_landmark_and_bbox` and of its callers: the box
//! reaches from the leftmost to the rightmost point, from the lowest point up to as far above the nose bridge
//! as that point lies below it; where that is no box, the detector's takes its place; then it grows
//! downwards.

/// Points of a face in pixels, x and y, iBUG order.
pub type Points = [[f32; 2]; 68];

/// The third point of the nose bridge, the vertical middle of a face box.
const MIDDLE: usize = 29;

/// Boxes with a side of fewer pixels than this are no faces: nothing of a mouth could be seen in them.
pub const LEAST_SIDE: i32 = 16;

/// A face box, pixels; between the steps it may lie between them, and reach out of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaceBox {
    /// First column.
    pub left: f64,
    /// First row.
    pub top: f64,
    /// One past the last column.
    pub right: f64,
    /// One past the last row.
    pub bottom: f64,
}

/// A face box on whole pixels: first column, first row, one past the last column, one past the last row.
pub type PixelBox = [i32; 4];

impl FaceBox {
    /// The box of four numbers: left, top, right, bottom.
    pub fn from_sides([left, top, right, bottom]: [f64; 4]) -> Self {
        Self { left, top, right, bottom }
    }

    /// Left, top, right, bottom.
    pub fn sides(&self) -> [f64; 4] {
        [self.left, self.top, self.right, self.bottom]
    }

    /// The box around `points`, before anything is looked at. `shift` moves the nose bridge down by so many
    /// pixels first, and with it the upper edge by twice as many; the reference moves the point itself, so
    /// that it counts when the lowest point is sought.
    pub fn around(points: &Points, shift: i32) -> Self {
        let mut points = *points;
        points[MIDDLE][1] += shift as f32;
        let middle = f64::from(points[MIDDLE][1]);
        let extreme = |axis: usize, pick: fn(f64, f64) -> f64| {
            points.iter().map(|p| f64::from(p[axis])).reduce(pick).unwrap_or(middle)
        };
        let bottom = extreme(1, f64::max);
        let top = (middle - (bottom - middle)).max(0.0);
        Self { left: extreme(0, f64::min), top, right: extreme(0, f64::max), bottom }
    }

    /// Whether it has an inside and begins within the picture; the reference asks no more of one.
    pub fn is_usable(&self) -> bool {
        self.bottom - self.top > 0.0 && self.right - self.left > 0.0 && self.left >= 0.0
    }

    /// Columns and rows.
    pub fn size(&self) -> [f64; 2] {
        [self.right - self.left, self.bottom - self.top]
    }

    /// The box that reaches `margin` pixels further down, but not out of a picture of `height` rows. Without
    /// a margin it stays as it is, as version 1 has it.
    #[must_use]
    pub fn extended(self, margin: u32, height: u32) -> Self {
        if margin == 0 {
            return self;
        }
        Self { bottom: (self.bottom + f64::from(margin)).min(f64::from(height)), ..self }
    }

    /// The nearest whole pixels.
    pub fn rounded(&self) -> PixelBox {
        // A float beyond i32 becomes the nearest i32; such a box fails `is_drawable` later.
        self.sides().map(|side| side.round() as i32)
    }
}

/// The box of one frame: around its `points`, or, where that is none, what the `detected` face has. `None`:
/// no box.
pub fn choose(points: Option<&Points>, shift: i32, detected: Option<FaceBox>) -> Option<FaceBox> {
    points
        .map(|points| FaceBox::around(points, shift))
        .filter(FaceBox::is_usable)
        .or(detected)
        .filter(FaceBox::is_usable)
}

/// The points on whole pixels, cut towards zero, as the reference takes them.
pub fn truncated(points: &Points) -> Points {
    points.map(|point| point.map(f32::trunc))
}

/// The part of a box that lies on a canvas of `width` by `height` pixels.
pub fn clamped([left, top, right, bottom]: PixelBox, width: u32, height: u32) -> PixelBox {
    let [width, height] = [width, height].map(|side| i32::try_from(side).unwrap_or(i32::MAX));
    [left.clamp(0, width), top.clamp(0, height), right.clamp(0, width), bottom.clamp(0, height)]
}

/// Whether a face can be cut out of, and drawn into, this box of a canvas of `width` by `height` pixels: it
/// has [`LEAST_SIDE`] columns and rows on the canvas, and is not larger than three canvases.
pub fn is_drawable(face: PixelBox, width: u32, height: u32) -> bool {
    let [left, top, right, bottom] = clamped(face, width, height);
    let sane = |first: i32, last: i32, side: u32| i64::from(last) - i64::from(first) <= 3 * i64::from(side);
    right - left >= LEAST_SIDE
        && bottom - top >= LEAST_SIDE
        && sane(face[0], face[2], width)
        && sane(face[1], face[3], height)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A face from (100, 80) to (180, 200) whose nose bridge is at row 130.
    fn points() -> Points {
        let mut points = [[140.0, 150.0]; 68];
        points[0] = [100.0, 120.0];
        points[8] = [140.0, 200.0];
        points[16] = [180.0, 120.0];
        points[19] = [120.0, 80.0];
        points[MIDDLE] = [140.0, 130.0];
        points
    }

    fn sides(face: Option<FaceBox>) -> Option<[f64; 4]> {
        face.map(|face| face.sides())
    }

    const DETECTED: FaceBox = FaceBox { left: 90.0, top: 70.0, right: 190.0, bottom: 210.0 };

    #[test]
    fn it_reaches_as_far_above_the_nose_bridge_as_below_it() {
        // Row 60 is above all points: 130 - (200 - 130).
        assert_eq!(sides(choose(Some(&points()), 0, None)), Some([100.0, 60.0, 180.0, 200.0]));
    }

    #[test]
    fn a_shift_moves_the_bridge_and_the_upper_edge_twice_as_far() {
        assert_eq!(FaceBox::around(&points(), 5).sides(), [100.0, 70.0, 180.0, 200.0]);
        assert_eq!(FaceBox::around(&points(), -5).sides(), [100.0, 50.0, 180.0, 200.0]);
    }

    #[test]
    fn a_bridge_that_is_shifted_below_the_chin_is_the_lowest_point_itself() {
        // Row 210 is the lowest then, and the box has no rows: the detector's is taken.
        assert_eq!(FaceBox::around(&points(), 80).sides(), [100.0, 210.0, 180.0, 210.0]);
        assert_eq!(choose(Some(&points()), 80, Some(DETECTED)), Some(DETECTED));
        assert_eq!(choose(Some(&points()), 80, None), None);
    }

    #[test]
    fn the_upper_edge_does_not_leave_the_picture() {
        let high = points().map(|[x, y]| [x, y - 75.0]);
        assert_eq!(FaceBox::around(&high, 0).sides(), [100.0, 0.0, 180.0, 125.0]);
    }

    #[test]
    fn what_begins_left_of_the_picture_gives_way_to_the_detector() {
        let mut left = points();
        left[0][0] = -1.0;
        assert_eq!(choose(Some(&left), 0, Some(DETECTED)), Some(DETECTED));
        assert_eq!(choose(Some(&left), 0, None), None);
        let flat = [[50.0, 60.0]; 68];
        assert_eq!(choose(Some(&flat), 0, Some(DETECTED)), Some(DETECTED));
        assert_eq!(choose(None, 0, Some(DETECTED)), Some(DETECTED));
    }

    #[test]
    fn the_margin_comes_after_the_choice_and_ends_at_the_picture() {
        assert_eq!(DETECTED.extended(10, 720).bottom, 220.0);
        assert_eq!(DETECTED.extended(10, 215).bottom, 215.0);
        let beyond = FaceBox { bottom: 300.0, ..DETECTED };
        assert_eq!(beyond.extended(10, 256).bottom, 256.0);
        assert_eq!(beyond.extended(0, 256).bottom, 300.0, "version 1 does not look at the picture");
    }

    #[test]
    fn whole_points_give_whole_boxes_and_others_are_cut_towards_zero() {
        let mut between = points().map(|[x, y]| [x + 0.9, y + 0.9]);
        between[0][0] = -0.9;
        let face = FaceBox::around(&truncated(&between), 0);
        assert_eq!(face.sides(), [0.0, 60.0, 180.0, 200.0]);
        assert_eq!(face.rounded(), [0, 60, 180, 200]);
    }

    #[test]
    fn a_box_is_cut_at_the_canvas_and_needs_something_on_it() {
        assert_eq!(clamped([-5, -6, 900, 700], 640, 480), [0, 0, 640, 480]);
        assert!(is_drawable([-5, -6, 900, 700], 640, 480));
        assert!(!is_drawable([700, 10, 900, 200], 640, 480), "all of it beyond the right edge");
        assert!(!is_drawable([630, 10, 900, 200], 640, 480), "ten columns");
        assert!(is_drawable([624, 10, 900, 200], 640, 480));
        assert!(!is_drawable([0, 0, i32::MAX, i32::MAX], 640, 480));
        assert!(!is_drawable([i32::MIN, 0, i32::MAX, 200], 640, 480));
        assert!(!is_drawable(FaceBox::from_sides([f64::NAN; 4]).rounded(), 640, 480));
    }
}
