//! The picture of the live path: 8-bit planar YUV 4:2:0, BT.601, limited range, even width and height.

/// The size cannot be held as I420.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a picture of {width}x{height} cannot be I420: both sides must be even and at least 2")]
pub struct SizeError {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
}

/// Borrowed planes of one picture. `u` and `v` have half the width and half the height of `y`.
#[derive(Debug, Clone, Copy)]
pub struct I420Ref<'a> {
    /// Luma width in pixels, even.
    pub width: usize,
    /// Luma height in pixels, even.
    pub height: usize,
    /// Luma, `y_stride` bytes a row, 16 to 235.
    pub y: &'a [u8],
    /// Blue difference, `uv_stride` bytes a row, 16 to 240.
    pub u: &'a [u8],
    /// Red difference, `uv_stride` bytes a row, 16 to 240.
    pub v: &'a [u8],
    /// Bytes from one luma row to the next.
    pub y_stride: usize,
    /// Bytes from one chroma row to the next.
    pub uv_stride: usize,
}

impl<'a> I420Ref<'a> {
    /// Views tightly packed planes (all of Y, then U, then V).
    ///
    /// # Panics
    /// When `data` is not exactly [`I420::byte_len`] long: the caller holds a picture of another size.
    pub fn packed(width: usize, height: usize, data: &'a [u8]) -> Self {
        assert_eq!(data.len(), I420::byte_len(width, height), "a packed {width}x{height} picture");
        let (y, uv) = data.split_at(width * height);
        let (u, v) = uv.split_at(width * height / 4);
        Self { width, height, y, u, v, y_stride: width, uv_stride: width / 2 }
    }
}

/// An owned picture, tightly packed: all of Y, then U, then V.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct I420 {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl I420 {
    /// Bytes of a packed picture.
    pub const fn byte_len(width: usize, height: usize) -> usize {
        width * height * 3 / 2
    }

    /// A black picture.
    ///
    /// # Errors
    /// When a side is odd or zero.
    pub fn black(width: usize, height: usize) -> Result<Self, SizeError> {
        if width < 2 || height < 2 || !width.is_multiple_of(2) || !height.is_multiple_of(2) {
            return Err(SizeError { width, height });
        }
        let mut data = vec![128; Self::byte_len(width, height)];
        data[..width * height].fill(16);
        Ok(Self { width, height, data })
    }

    /// Luma width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Luma height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The packed planes.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The packed planes, writable.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// The planes Y, U and V, writable; strides are `width` and `width / 2`.
    pub fn planes_mut(&mut self) -> (&mut [u8], &mut [u8], &mut [u8]) {
        let (y, uv) = self.data.split_at_mut(self.width * self.height);
        let (u, v) = uv.split_at_mut(self.width * self.height / 4);
        (y, u, v)
    }

    /// A view of the whole picture.
    pub fn as_view(&self) -> I420Ref<'_> {
        I420Ref::packed(self.width, self.height, &self.data)
    }

    /// Becomes a copy of `source`; both must have the same size, so that no memory is allocated.
    ///
    /// # Panics
    /// When the sizes differ: a session's canvas is fixed when it opens.
    pub fn copy_from(&mut self, source: I420Ref<'_>) {
        assert_eq!((self.width, self.height), (source.width, source.height), "one canvas a session");
        let (width, chroma) = (self.width, self.width / 2);
        let (y, u, v) = self.planes_mut();
        copy_plane(y, source.y, width, source.y_stride);
        copy_plane(u, source.u, chroma, source.uv_stride);
        copy_plane(v, source.v, chroma, source.uv_stride);
    }
}

fn copy_plane(target: &mut [u8], source: &[u8], width: usize, stride: usize) {
    if stride == width {
        let length = target.len();
        target.copy_from_slice(&source[..length]);
        return;
    }
    for (to, from) in target.chunks_exact_mut(width).zip(source.chunks(stride)) {
        to.copy_from_slice(&from[..width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sizes_are_refused() {
        assert_eq!(I420::black(3, 2), Err(SizeError { width: 3, height: 2 }));
        assert!(I420::black(0, 2).is_err());
    }

    #[test]
    fn copies_from_a_wider_stride() {
        let y: Vec<u8> = (0..32).collect();
        let (u, v) = (vec![7; 16], vec![9; 16]);
        let wide = I420Ref { width: 4, height: 4, y: &y, u: &u, v: &v, y_stride: 8, uv_stride: 8 };
        let mut picture = I420::black(4, 4).unwrap();
        picture.copy_from(wide);
        assert_eq!(&picture.data()[..8], &[0, 1, 2, 3, 8, 9, 10, 11]);
        assert_eq!(&picture.data()[16..], &[7, 7, 7, 7, 9, 9, 9, 9]);
    }
}
