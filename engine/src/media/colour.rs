//! RGB24 (packed, full-range) to the I420 of the live path (BT.601, limited range), and back.

use lipcast_codecs::{I420, I420Ref};
use yuv::{
    BufferStoreMut, YuvConversionMode, YuvPlanarImage, YuvPlanarImageMut, YuvRange, YuvStandardMatrix,
    rgb_to_yuv420, yuv420_to_rgb,
};

/// Converts one RGB24 frame of `width` x `height` pixels into `out`.
///
/// # Panics
/// When `rgb` or `out` has another size: the caller mixes up frames of two videos.
pub fn rgb_to_i420(rgb: &[u8], width: usize, height: usize, out: &mut I420) {
    assert_eq!(rgb.len(), width * height * 3, "an RGB24 frame of {width}x{height}");
    assert_eq!((out.width(), out.height()), (width, height), "the target of the same size");
    let (y, u, v) = out.planes_mut();
    let mut planes = YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y),
        y_stride: width as u32,
        u_plane: BufferStoreMut::Borrowed(u),
        u_stride: width as u32 / 2,
        v_plane: BufferStoreMut::Borrowed(v),
        v_stride: width as u32 / 2,
        width: width as u32,
        height: height as u32,
    };
    rgb_to_yuv420(
        &mut planes,
        rgb,
        width as u32 * 3,
        YuvRange::Limited,
        YuvStandardMatrix::Bt601,
        YuvConversionMode::Balanced,
    )
    .expect("sizes were checked above");
}

/// Converts a picture to RGB24; `out` becomes `width * height * 3` bytes long.
///
/// # Panics
/// When the planes do not cover the picture.
pub fn i420_to_rgb(picture: I420Ref<'_>, out: &mut Vec<u8>) {
    out.resize(picture.width * picture.height * 3, 0);
    let planes = YuvPlanarImage {
        y_plane: picture.y,
        y_stride: picture.y_stride as u32,
        u_plane: picture.u,
        u_stride: picture.uv_stride as u32,
        v_plane: picture.v,
        v_stride: picture.uv_stride as u32,
        width: picture.width as u32,
        height: picture.height as u32,
    };
    yuv420_to_rgb(&planes, out, picture.width as u32 * 3, YuvRange::Limited, YuvStandardMatrix::Bt601)
        .expect("an I420 picture covers its size");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_colours_have_their_bt601_values() {
        // 100 % bars of BT.601 limited range.
        for (rgb, yuv) in [
            ([255, 255, 255], [235, 128, 128]),
            ([0, 0, 0], [16, 128, 128]),
            ([255, 0, 0], [81, 90, 240]),
            ([0, 255, 0], [145, 54, 34]),
            ([0, 0, 255], [41, 240, 110]),
        ] {
            let frame: Vec<u8> = rgb.repeat(8 * 4);
            let mut picture = I420::black(8, 4).unwrap();
            rgb_to_i420(&frame, 8, 4, &mut picture);
            let view = picture.as_view();
            let got = [view.y[9], view.u[3], view.v[3]];
            assert!(got.iter().zip(yuv).all(|(a, b)| a.abs_diff(b) <= 1), "{rgb:?}: {got:?}, not {yuv:?}");
            let mut back = Vec::new();
            i420_to_rgb(view, &mut back);
            assert_eq!(back.len(), frame.len());
            assert!(back.iter().zip(&frame).all(|(a, b)| a.abs_diff(*b) <= 3), "{rgb:?}: {:?}", &back[..3]);
        }
    }
}
