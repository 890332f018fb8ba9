//! Blur, growing and shrinking of OpenCV; cropping and pasting of Pillow.

use lipcast_musetalk::image::{
    Element, Picture, Run, crop, dilate, erode, gaussian_blur, paste, paste_masked,
};

use crate::support::{picture, picture_crc};

#[test]
fn the_blur_equals_opencv() {
    let frame = picture::<3>("IMG", 640, 480);
    assert_eq!(picture_crc(gaussian_blur(frame.view(), 7).view()), 0x2965_1652, "spec");
    // OpenCV 4.9.0. The last ones reach over the picture's sides several times.
    let a = picture::<1>("A", 200, 150);
    for (size, expected) in [
        (1, 0x447a_d83f),
        (3, 0x7309_202d),
        (5, 0x938e_33a3),
        (9, 0x93f6_8cd2),
        (11, 0x11ff_c4af),
        (45, 0x5d06_29a7),
        (119, 0x0b27_ab53),
        (301, 0x9d01_763a),
    ] {
        assert_eq!(picture_crc(gaussian_blur(a.view(), size).view()), expected, "over {size} pixels");
    }
    let narrow = picture::<1>("A", 1, 40);
    assert_eq!(picture_crc(gaussian_blur(narrow.view(), 31).view()), 0xd2ea_1152);
}

#[test]
fn growing_and_shrinking_equal_opencv() {
    let a = picture::<1>("A", 90, 70);
    let run = |dy, left, right| Run { dy, left, right };
    // In a kernel of 33×33 with its anchor in the middle: rows 0, 7, 16, 20 and 32, each from a column to a column.
    let ragged =
        Element(vec![run(-16, -13, -12), run(-9, -16, 16), run(0, 0, 0), run(4, 4, 15), run(16, -16, -11)]);
    let ellipse = Element(vec![run(-1, 0, 0), run(0, -17, 17), run(1, 0, 0)]);
    // OpenCV 4.9.0; the last with its ellipse of 35×3 and two iterations.
    assert_eq!(picture_crc(dilate(a.view(), &ragged).view()), 0x93c4_2d37);
    assert_eq!(picture_crc(erode(a.view(), &ragged).view()), 0xb012_19bd);
    assert_eq!(picture_crc(erode(erode(a.view(), &ellipse).view(), &ellipse).view()), 0x0340_8ec9);
}

#[test]
fn an_element_wider_than_the_picture_covers_all_of_it() {
    let mut dot = Picture::<1>::new(5, 4);
    dot.view_mut().row_mut(2)[3] = 200;
    let wide = Element(vec![Run { dy: 0, left: -40, right: 40 }]);
    let grown = dilate(dot.view(), &wide);
    let expected: Vec<u8> = (0..20).map(|i| if i / 5 == 2 { 200 } else { 0 }).collect();
    assert_eq!(grown.pixels(), expected);
    let beside = Element(vec![Run { dy: 0, left: 9, right: 12 }, Run { dy: 9, left: 0, right: 0 }]);
    assert_eq!(dilate(dot.view(), &beside).pixels(), [0; 20]);
    assert_eq!(erode(dot.view(), &beside).pixels(), [255; 20]);
}

#[test]
fn cropping_equals_pillow() {
    // Pillow 10.4.0: over the upper left corner, over the lower right one, and all outside.
    let a = picture::<3>("A", 257, 301);
    for (part, expected) in [
        ([-20, -7, 60, 40], 0x6e8a_7ed6),
        ([200, 290, 400, 330], 0x9d67_886f),
        ([300, 10, 310, 20], 0xb534_8fd2),
    ] {
        assert_eq!(picture_crc(crop(a.view(), part).view()), expected, "{part:?}");
    }
}

#[test]
fn pasting_equals_pillow() {
    let over = picture::<3>("B", 100, 90);
    let mask = picture::<1>("C", 100, 90);
    // Pillow 10.4.0: over two corners, inside, and beside the picture.
    for (at, masked, opaque) in [
        ([-30, -40], 0x32ab_b6ca, 0x6f17_b7f8),
        ([190, 250], 0x97f0_69b7, 0x31f5_cf27),
        ([20, 30], 0x2727_0083, 0x3641_c9ac),
        ([-200, 0], 0x7102_d67e, 0x7102_d67e),
    ] {
        let mut a = picture::<3>("A", 257, 301);
        paste_masked(&mut a.view_mut(), over.view(), mask.view(), at);
        assert_eq!(picture_crc(a.view()), masked, "masked at {at:?}");
        let mut a = picture::<3>("A", 257, 301);
        paste(&mut a.view_mut(), over.view(), at);
        assert_eq!(picture_crc(a.view()), opaque, "opaque at {at:?}");
    }
}
