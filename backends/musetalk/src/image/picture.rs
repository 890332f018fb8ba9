//! The pictures that the operations work on: borrowed, borrowed to be written, owned.
//!
//! `C` is the number of interleaved bytes of a pixel: 3 for RGB or BGR, 1 for grey, masks and label maps.

/// A picture to read: `height` rows of `width` pixels, `stride` bytes from one row to the next.
#[derive(Debug, Clone, Copy)]
pub struct View<'a, const C: usize> {
    pixels: &'a [u8],
    width: usize,
    height: usize,
    stride: usize,
}

/// A picture to write, laid out as [`View`].
#[derive(Debug)]
pub struct ViewMut<'a, const C: usize> {
    pixels: &'a mut [u8],
    width: usize,
    height: usize,
    stride: usize,
}

/// A picture that owns its pixels; its rows are packed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture<const C: usize> {
    pixels: Vec<u8>,
    width: usize,
    height: usize,
}

impl<'a, const C: usize> View<'a, C> {
    /// A picture of packed rows. Panics when `pixels` is not `width * height * C` bytes: a bug of the caller.
    pub fn new(pixels: &'a [u8], width: usize, height: usize) -> Self {
        assert_eq!(pixels.len(), width * height * C, "bytes of a picture of {width}x{height}");
        Self { pixels, width, height, stride: width * C }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// One row, `width * C` bytes.
    pub fn row(&self, y: usize) -> &'a [u8] {
        &self.pixels[y * self.stride..][..self.width * C]
    }

    /// The rows from the top.
    pub fn rows(self) -> impl Iterator<Item = &'a [u8]> {
        (0..self.height).map(move |y| self.row(y))
    }

    /// A part of it. Panics when that does not lie inside: a bug of the caller.
    pub fn window(self, x: usize, y: usize, width: usize, height: usize) -> Self {
        assert!(x + width <= self.width && y + height <= self.height, "a window reaches out of its picture");
        let first = (y * self.stride + x * C).min(self.pixels.len());
        Self { pixels: &self.pixels[first..], width, height, stride: self.stride }
    }

    /// A copy that owns its pixels.
    pub fn to_picture(self) -> Picture<C> {
        let mut pixels = Vec::with_capacity(self.width * self.height * C);
        self.rows().for_each(|row| pixels.extend_from_slice(row));
        Picture { pixels, width: self.width, height: self.height }
    }
}

impl<'a, const C: usize> ViewMut<'a, C> {
    /// A picture of packed rows. Panics when `pixels` is not `width * height * C` bytes: a bug of the caller.
    pub fn new(pixels: &'a mut [u8], width: usize, height: usize) -> Self {
        assert_eq!(pixels.len(), width * height * C, "bytes of a picture of {width}x{height}");
        Self { pixels, width, height, stride: width * C }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// One row, `width * C` bytes.
    pub fn row_mut(&mut self, y: usize) -> &mut [u8] {
        &mut self.pixels[y * self.stride..][..self.width * C]
    }

    /// The same picture to read.
    pub fn view(&self) -> View<'_, C> {
        View { pixels: self.pixels, width: self.width, height: self.height, stride: self.stride }
    }
}

impl<const C: usize> Picture<C> {
    /// A picture of zeros.
    pub fn new(width: usize, height: usize) -> Self {
        Self { pixels: vec![0; width * height * C], width, height }
    }

    /// A picture of packed rows. Panics when `pixels` is not `width * height * C` bytes: a bug of the caller.
    pub fn from_pixels(pixels: Vec<u8>, width: usize, height: usize) -> Self {
        assert_eq!(pixels.len(), width * height * C, "bytes of a picture of {width}x{height}");
        Self { pixels, width, height }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// All bytes, row after row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// All bytes, row after row.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The whole picture to read.
    pub fn view(&self) -> View<'_, C> {
        View::new(&self.pixels, self.width, self.height)
    }

    /// The whole picture to write.
    pub fn view_mut(&mut self) -> ViewMut<'_, C> {
        ViewMut::new(&mut self.pixels, self.width, self.height)
    }
}
