//! Lays a patch over an avatar's frame, all in I420.
//!
//! In: the avatar's frame and a patch (RGB24, RGBA, I420 or I420A) with its mask. Out: a whole picture.
//! The frame is copied once, only the patch is converted; buffers are reused from frame to frame.

mod blend;

mod planes;

mod pool;
pub use pool::PicturePool;

use lipcast_codecs::I420;

use crate::backend::{Alpha, FrameMask, Patch, Rect};

/// Why a patch cannot be laid over a picture: the backend broke the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// The rectangle is odd, empty, or reaches over the edge.
    #[error("patch {rect:?} does not fit a {width}x{height} canvas (sides even, inside, not empty)")]
    Rect {
        /// What the backend gave.
        rect: Rect,
        /// Canvas width in pixels.
        width: usize,
        /// Canvas height in pixels.
        height: usize,
    },
    /// There are more or fewer bytes than the format and the rectangle ask for.
    #[error("patch of {expected} bytes expected, {found} found")]
    Length {
        /// Bytes for this format and rectangle.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// The patch relies on a mask that is missing or of another size.
    #[error("the static mask is missing or does not match the patch {rect:?}")]
    Mask {
        /// What the backend gave.
        rect: Rect,
    },
    /// Inline alpha asked for, but the format has none.
    #[error("inline alpha needs RGBA or I420A")]
    NoInlineAlpha,
}

/// Composes patches; owns the scratch planes, so that a frame allocates nothing once they have grown.
#[derive(Debug, Default)]
pub struct Composer {
    planes: planes::Planes,
}

impl Composer {
    /// Blends `patch` into `picture`. `opacity` (0 to 255) scales its alpha: the host's way to blend in and out.
    ///
    /// # Errors
    /// When the patch breaks the contract; the picture is then untouched.
    pub fn lay(
        &mut self,
        picture: &mut I420,
        patch: &Patch,
        mask: Option<&FrameMask<'_>>,
        opacity: u8,
    ) -> Result<(), ComposeError> {
        let rect = patch.rect;
        let (width, height) = (picture.width(), picture.height());
        let canvas = Rect::new(0, 0, width as u32, height as u32);
        if rect.is_empty() || !rect.is_even() || !canvas.contains(&rect) {
            return Err(ComposeError::Rect { rect, width, height });
        }
        let expected = patch.format.bytes(&rect) as usize;
        if patch.pixels.len() != expected {
            return Err(ComposeError::Length { expected, found: patch.pixels.len() });
        }
        self.planes.fill(patch)?;
        let alpha = match patch.alpha {
            Alpha::Static => {
                let mask = mask.filter(|mask| mask.rect == rect).ok_or(ComposeError::Mask { rect })?;
                if mask.alpha.is_some_and(|alpha| alpha.len() as u64 != rect.area()) {
                    return Err(ComposeError::Mask { rect });
                }
                mask.alpha.or_else(|| self.planes.opaque(&rect))
            }
            Alpha::Inline => None,
            Alpha::Opaque => self.planes.opaque(&rect),
        };
        self.planes.blend_into(picture, &rect, alpha, opacity);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::PixelFormat;

    const RECT: Rect = Rect::new(4, 2, 4, 4);
    const AREA: usize = 16;

    fn patch(format: PixelFormat, alpha: Alpha, byte: u8) -> Patch {
        Patch { rect: RECT, format, alpha, pixels: vec![byte; format.bytes(&RECT) as usize].into() }
    }

    fn luma_at(picture: &I420, x: usize, y: usize) -> u8 {
        picture.data()[y * picture.width() + x]
    }

    #[test]
    fn an_opaque_patch_replaces_its_rectangle_and_nothing_else() {
        let mut picture = I420::black(16, 16).unwrap();
        let white = patch(PixelFormat::Rgb24, Alpha::Opaque, 255);
        Composer::default().lay(&mut picture, &white, None, 255).unwrap();
        for y in 0..16 {
            for x in 0..16 {
                let inside = (4..8).contains(&x) && (2..6).contains(&y);
                assert_eq!(luma_at(&picture, x, y), if inside { 235 } else { 16 }, "at {x},{y}");
            }
        }
    }

    #[test]
    fn a_mask_and_an_opacity_both_thin_the_patch() {
        let white = patch(PixelFormat::Rgb24, Alpha::Static, 255);
        let alpha = vec![128; AREA];
        let mask = FrameMask { rect: RECT, alpha: Some(&alpha) };
        let mut half = I420::black(16, 16).unwrap();
        Composer::default().lay(&mut half, &white, Some(&mask), 255).unwrap();
        assert!((125..=127).contains(&luma_at(&half, 5, 3)), "{}", luma_at(&half, 5, 3));
        let mut quarter = I420::black(16, 16).unwrap();
        Composer::default().lay(&mut quarter, &white, Some(&mask), 128).unwrap();
        assert!((70..=72).contains(&luma_at(&quarter, 5, 3)), "{}", luma_at(&quarter, 5, 3));
    }

    #[test]
    fn chroma_takes_the_mean_alpha_of_its_four_pixels() {
        let mut pixels = vec![235; AREA];
        pixels.extend(vec![228; AREA / 2]);
        let mut alpha = vec![0; AREA];
        alpha[0] = 255;
        alpha[1] = 255;
        pixels.extend(alpha);
        let patch =
            Patch { rect: RECT, format: PixelFormat::I420A, alpha: Alpha::Inline, pixels: pixels.into() };
        let mut picture = I420::black(16, 16).unwrap();
        Composer::default().lay(&mut picture, &patch, None, 255).unwrap();
        let (y, u, _) = picture.planes_mut();
        assert_eq!((y[2 * 16 + 4], y[2 * 16 + 5], y[3 * 16 + 4]), (235, 235, 16));
        assert_eq!((u[8 + 2], u[8 + 3]), (178, 128));
    }

    #[test]
    fn transparent_rgba_leaves_the_frame_as_it_was() {
        let mut picture = I420::black(16, 16).unwrap();
        let before = picture.clone();
        let clear = patch(PixelFormat::Rgba, Alpha::Inline, 0);
        Composer::default().lay(&mut picture, &clear, None, 255).unwrap();
        assert_eq!(picture, before);
    }

    #[test]
    fn what_breaks_the_contract_is_refused_and_changes_nothing() {
        let mut picture = I420::black(6, 6).unwrap();
        let before = picture.clone();
        let mut composer = Composer::default();
        let outside = patch(PixelFormat::I420, Alpha::Opaque, 9);
        assert!(matches!(composer.lay(&mut picture, &outside, None, 255), Err(ComposeError::Rect { .. })));
        let mut picture16 = I420::black(16, 16).unwrap();
        let mut short = patch(PixelFormat::Rgb24, Alpha::Opaque, 9);
        short.pixels = short.pixels[1..].to_vec().into();
        assert_eq!(
            composer.lay(&mut picture16, &short, None, 255),
            Err(ComposeError::Length { expected: 48, found: 47 })
        );
        let unmasked = patch(PixelFormat::Rgb24, Alpha::Static, 9);
        assert!(matches!(composer.lay(&mut picture16, &unmasked, None, 255), Err(ComposeError::Mask { .. })));
        let plain = patch(PixelFormat::I420, Alpha::Inline, 9);
        assert_eq!(composer.lay(&mut picture16, &plain, None, 255), Err(ComposeError::NoInlineAlpha));
        assert_eq!(picture, before);
        assert_eq!(picture16, I420::black(16, 16).unwrap());
    }
}
