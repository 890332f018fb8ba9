//! A patch as planes: converted once, then blended row by row.

use lipcast_codecs::I420;
use yuv::{BufferStoreMut, YuvConversionMode, YuvPlanarImageMut, YuvRange, YuvStandardMatrix};

use super::ComposeError;
use super::blend::{blend_row, halve_rows, scale_row};
use crate::backend::{Alpha, Patch, PixelFormat, Rect};

/// Scratch planes of one patch, reused from frame to frame.
#[derive(Debug, Default)]
pub(super) struct Planes {
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
    /// Filled for inline alpha and for opaque patches.
    pub(super) alpha: Vec<u8>,
    scaled: [Vec<u8>; 2],
    chroma_alpha: Vec<u8>,
}

impl Planes {
    /// Converts the patch to BT.601 limited planes. Its length was checked by the caller.
    pub(super) fn fill(&mut self, patch: &Patch) -> Result<(), ComposeError> {
        let area = patch.rect.area() as usize;
        let has_alpha = matches!(patch.format, PixelFormat::Rgba | PixelFormat::I420A);
        if patch.alpha == Alpha::Inline && !has_alpha {
            return Err(ComposeError::NoInlineAlpha);
        }
        self.y.resize(area, 0);
        self.u.resize(area / 4, 0);
        self.v.resize(area / 4, 0);
        match patch.format {
            PixelFormat::Rgb24 => self.convert(patch, 3),
            PixelFormat::Rgba => {
                self.convert(patch, 4);
                self.alpha.clear();
                self.alpha.extend(patch.pixels.iter().skip(3).step_by(4));
            }
            PixelFormat::I420 | PixelFormat::I420A => {
                let (y, rest) = patch.pixels.split_at(area);
                let (u, rest) = rest.split_at(area / 4);
                let (v, alpha) = rest.split_at(area / 4);
                self.y.copy_from_slice(y);
                self.u.copy_from_slice(u);
                self.v.copy_from_slice(v);
                self.alpha.clear();
                self.alpha.extend_from_slice(alpha);
            }
        }
        Ok(())
    }

    /// Replaces whatever alpha there is by full opacity; `None`, so that no mask overrides it.
    pub(super) fn opaque(&mut self, rect: &Rect) -> Option<&'static [u8]> {
        self.alpha.clear();
        self.alpha.resize(rect.area() as usize, 255);
        None
    }

    /// Blends into the picture at `rect`; `mask` overrides the patch's own alpha.
    pub(super) fn blend_into(&mut self, picture: &mut I420, rect: &Rect, mask: Option<&[u8]>, opacity: u8) {
        let (width, height) = (rect.width as usize, rect.height as usize);
        let (left, top, canvas) = (rect.x as usize, rect.y as usize, picture.width());
        let (half, chroma_canvas) = (width / 2, canvas / 2);
        let alpha = mask.unwrap_or(&self.alpha);
        self.chroma_alpha.resize(half, 0);
        let (y, u, v) = picture.planes_mut();
        for pair in 0..height / 2 {
            for (line, scaled) in self.scaled.iter_mut().enumerate() {
                let row = pair * 2 + line;
                scaled.clear();
                scaled.extend_from_slice(&alpha[row * width..(row + 1) * width]);
                if opacity != 255 {
                    scale_row(scaled, opacity);
                }
                let start = (top + row) * canvas + left;
                blend_row(&mut y[start..start + width], &self.y[row * width..], scaled);
            }
            halve_rows(&self.scaled[0], &self.scaled[1], &mut self.chroma_alpha);
            let start = (top / 2 + pair) * chroma_canvas + left / 2;
            blend_row(&mut u[start..start + half], &self.u[pair * half..], &self.chroma_alpha);
            blend_row(&mut v[start..start + half], &self.v[pair * half..], &self.chroma_alpha);
        }
    }

    fn convert(&mut self, patch: &Patch, bytes: u32) {
        let (width, height) = (patch.rect.width, patch.rect.height);
        let mut image = YuvPlanarImageMut {
            y_plane: BufferStoreMut::Borrowed(&mut self.y),
            y_stride: width,
            u_plane: BufferStoreMut::Borrowed(&mut self.u),
            u_stride: width / 2,
            v_plane: BufferStoreMut::Borrowed(&mut self.v),
            v_stride: width / 2,
            width,
            height,
        };
        let convert = if bytes == 3 { yuv::rgb_to_yuv420 } else { yuv::rgba_to_yuv420 };
        convert(
            &mut image,
            &patch.pixels,
            width * bytes,
            YuvRange::Limited,
            YuvStandardMatrix::Bt601,
            YuvConversionMode::Balanced,
        )
        // Lengths and strides were checked by `Composer::lay`; nothing else can be wrong.
        .expect("planes of the patch's own size");
    }
}
