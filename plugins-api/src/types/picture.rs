//! Rectangles on the canvas, pixel formats, and how a picture is blended.

use crate::abi;

/// Pixels of the canvas, origin at the top left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Rect {
    /// A rectangle of `width` by `height` pixels at `x`, `y`.
    pub const fn new(x: u32, y: u32, width: u32, height: u32) -> Self {
        Self { x, y, width, height }
    }

    /// Whether it holds no pixel.
    pub const fn is_empty(&self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// Whether all four numbers are even, as the contract asks.
    pub const fn is_even(&self) -> bool {
        (self.x | self.y | self.width | self.height) & 1 == 0
    }

    /// Whether `inner` lies inside; an empty one always does.
    pub fn contains(&self, inner: &Rect) -> bool {
        let end = |start: u32, length: u32| u64::from(start) + u64::from(length);
        inner.is_empty()
            || (inner.x >= self.x
                && inner.y >= self.y
                && end(inner.x, inner.width) <= end(self.x, self.width)
                && end(inner.y, inner.height) <= end(self.y, self.height))
    }

    /// Pixels, without overflow.
    pub const fn area(&self) -> u64 {
        self.width as u64 * self.height as u64
    }

    pub(crate) fn to_abi(self) -> abi::Rect {
        abi::Rect { x: self.x, y: self.y, width: self.width, height: self.height }
    }

    #[cfg_attr(not(feature = "loader"), allow(dead_code, reason = "only hosts read rectangles"))]
    pub(crate) fn from_abi(rect: abi::Rect) -> Self {
        Self { x: rect.x, y: rect.y, width: rect.width, height: rect.height }
    }
}

/// How the pixels of a result are laid out. Rows are packed; planes follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// R, G, B bytes, full-range sRGB.
    Rgb24,
    /// R, G, B, A bytes, full-range sRGB, straight alpha.
    Rgba,
    /// Y, U, V planes, BT.601 limited range.
    I420,
    /// I420 followed by a full-size alpha plane.
    I420A,
}

impl PixelFormat {
    /// Bytes of a picture of `rect`'s size (even sides).
    pub fn bytes(self, rect: &Rect) -> u64 {
        let area = rect.area();
        match self {
            Self::Rgb24 => area * 3,
            Self::Rgba => area * 4,
            Self::I420 => area * 3 / 2,
            Self::I420A => area * 5 / 2,
        }
    }

    /// Whether the format itself carries alpha.
    pub fn has_alpha(self) -> bool {
        matches!(self, Self::Rgba | Self::I420A)
    }

    /// The contract's number.
    pub fn to_abi(self) -> u32 {
        match self {
            Self::Rgb24 => abi::FORMAT_RGB24,
            Self::Rgba => abi::FORMAT_RGBA,
            Self::I420 => abi::FORMAT_I420,
            Self::I420A => abi::FORMAT_I420A,
        }
    }

    /// Reads the contract's number.
    pub fn from_abi(format: u32) -> Option<Self> {
        match format {
            abi::FORMAT_RGB24 => Some(Self::Rgb24),
            abi::FORMAT_RGBA => Some(Self::Rgba),
            abi::FORMAT_I420 => Some(Self::I420),
            abi::FORMAT_I420A => Some(Self::I420A),
            _ => None,
        }
    }
}

/// How a result is blended onto the canvas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alpha {
    /// With the mask of the avatar frame used; the rect is that mask's.
    Static,
    /// With the alpha in the picture itself.
    Inline,
    /// Not at all: pasted.
    Opaque,
}

impl Alpha {
    /// The contract's number.
    pub fn to_abi(self) -> u32 {
        match self {
            Self::Static => abi::ALPHA_STATIC,
            Self::Inline => abi::ALPHA_INLINE,
            Self::Opaque => abi::ALPHA_OPAQUE,
        }
    }

    /// Reads the contract's number.
    pub fn from_abi(alpha: u32) -> Option<Self> {
        match alpha {
            abi::ALPHA_STATIC => Some(Self::Static),
            abi::ALPHA_INLINE => Some(Self::Inline),
            abi::ALPHA_OPAQUE => Some(Self::Opaque),
            _ => None,
        }
    }
}

/// A source frame: RGB24, full-range sRGB, rows from the top.
#[derive(Clone, Copy, Debug)]
pub struct RgbFrame<'a> {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next; at least 3·width.
    pub stride: u32,
    /// At least stride·(height-1) + 3·width bytes.
    pub data: &'a [u8],
}

impl RgbFrame<'_> {
    /// Row `y`: 3·width bytes.
    pub fn row(&self, y: u32) -> &[u8] {
        let start = y as usize * self.stride as usize;
        &self.data[start..start + self.width as usize * 3]
    }
}
