//! What is asked of a backend for one frame, and what it answers.

use std::time::Instant;

use super::RequestFlags;

/// A rectangle of the canvas in pixels; all four are even, so that chroma samples are never shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl Rect {
    /// Whether the rectangle is even-aligned, not empty, and inside a canvas of that size.
    pub fn fits(&self, canvas_width: u32, canvas_height: u32) -> bool {
        let even = [self.x, self.y, self.width, self.height].iter().all(|side| side.is_multiple_of(2));
        even && self.width > 0
            && self.height > 0
            && self.x.checked_add(self.width).is_some_and(|right| right <= canvas_width)
            && self.y.checked_add(self.height).is_some_and(|bottom| bottom <= canvas_height)
    }

    /// Pixels inside.
    pub fn area(&self) -> usize {
        self.width as usize * self.height as usize
    }
}

/// How a patch's pixels lie in [`Patch::pixels`], tightly packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchFormat {
    /// Full-range sRGB, 3 bytes a pixel.
    Rgb24,
    /// Full-range sRGB and alpha, 4 bytes a pixel, not premultiplied.
    Rgba,
    /// BT.601 limited planes Y, U, V.
    I420,
    /// Planes Y, U, V, then a full-size alpha plane.
    I420A,
}

impl PatchFormat {
    /// Bytes of a patch with this rectangle.
    pub fn byte_len(self, rect: &Rect) -> usize {
        match self {
            Self::Rgb24 => rect.area() * 3,
            Self::Rgba => rect.area() * 4,
            Self::I420 => rect.area() * 3 / 2,
            Self::I420A => rect.area() * 5 / 2,
        }
    }
}

/// Where a patch's transparency comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpha {
    /// The avatar's mask of the frame that was used.
    Static,
    /// Inside the pixels (RGBA, I420A).
    Inline,
    /// None: the patch replaces what is under it.
    Opaque,
}

/// The part of a frame that a backend drew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Where it goes.
    pub rect: Rect,
    /// How the pixels lie.
    pub format: PatchFormat,
    /// Where its transparency comes from.
    pub alpha: Alpha,
    /// [`PatchFormat::byte_len`] bytes.
    pub pixels: Vec<u8>,
}

/// Asks for one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRequest {
    /// Counts a session's requests, so that a late reply is told from the next.
    pub seq: u64,
    /// Bumped by every barge-in; replies of an older epoch are dropped.
    pub epoch: u32,
    /// Frame k of the session's clock.
    pub frame: u64,
    /// Which of the avatar's frames lies under it.
    pub avatar_frame: u32,
    /// When the frame leaves; `None` offline, where every frame is waited for.
    pub deadline: Option<Instant>,
    /// First or last of a run; may be thrown away.
    pub flags: RequestFlags,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A patch to lay over the avatar's frame.
    Patch(Patch),
    /// The avatar's frame as it is: nothing was redrawn.
    Unchanged,
    /// Dropped before the backend saw it, because its deadline had passed.
    Expired,
    /// The backend refused or broke; its own words.
    Failed(String),
}

/// The answer to one [`FrameRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameReply {
    /// The request's number.
    pub seq: u64,
    /// The request's epoch.
    pub epoch: u32,
    /// What came of it.
    pub outcome: Outcome,
    /// The mouth is at rest: the host may go back to the avatar's own frames.
    pub at_rest: bool,
    /// The avatar frame that was really used; differs from the request's for backends that choose their own.
    pub avatar_frame_used: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_must_lie_inside_and_even() {
        let rect = Rect { x: 2, y: 4, width: 6, height: 8 };
        assert!(rect.fits(8, 12));
        assert!(!rect.fits(6, 12));
        assert!(!Rect { x: 1, ..rect }.fits(100, 100));
        assert!(!Rect { x: u32::MAX - 1, ..rect }.fits(100, 100));
        assert!(!Rect { width: 0, ..rect }.fits(100, 100));
    }
}
