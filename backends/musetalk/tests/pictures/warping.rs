//! Affine maps of OpenCV.

use lipcast_musetalk::image::warp_affine;

use crate::support::{picture, picture_crc};

/// OpenCV 4.9.0, on the way from a frame to the input of the landmark network.
#[test]
fn a_frame_fitted_into_288_by_384_equals_opencv() {
    for (width, height, expected) in
        [(1280, 720, 0xa5f7_68dc), (720, 1280, 0xb57a_843c), (100, 75, 0xbcd5_7eb1)]
    {
        let frame = picture::<3>("IMG", width, height);
        let (x, y) = (width as f64, height as f64);
        let scale = 288.0 / f64::max(1.25 * x, 0.75 * 1.25 * y);
        let map = [[scale, 0.0, 144.0 - scale * x / 2.0], [0.0, scale, 192.0 - scale * y / 2.0]];
        let fitted = warp_affine(frame.view(), map, [288, 384]);
        assert_eq!(picture_crc(fitted.view()), expected, "{width}x{height}");
    }
}

/// OpenCV 4.9.0.
#[test]
fn a_turned_and_sheared_picture_equals_opencv() {
    let map = [[0.75, -0.5, 40.25], [0.375, 0.875, -30.5]];
    let a = picture::<3>("A", 257, 301);
    assert_eq!(picture_crc(warp_affine(a.view(), map, [200, 180]).view()), 0xc745_3710);
    let grey = picture::<1>("A", 257, 301);
    assert_eq!(picture_crc(warp_affine(grey.view(), map, [200, 180]).view()), 0x58d1_8a17);
}

#[test]
fn a_map_without_an_inverse_shows_one_pixel_everywhere() {
    let a = picture::<3>("A", 4, 4);
    let out = warp_affine(a.view(), [[0.0; 3]; 2], [3, 2]);
    assert_eq!(out.pixels(), a.pixels()[..3].repeat(6));
}
