//! Masks, and frames composed with them: G4, G5 and G6 of the specification.

use lipcast_musetalk::image::{Bilinear, Picture, View, ViewMut, crop, gaussian_blur, paste_masked};
use lipcast_musetalk::mask::{FEATHER, Mask, MaskPatch, OFFLINE_FEATHER, blend, draw_patch, region, square};
use lipcast_musetalk::settings::MaskMode;

use crate::support::{crc, labels, picture, picture_crc};

/// A box, its square, the CRC of its alpha, and those of the frame blended as the reference's real-time and offline
/// scripts do.
struct Case {
    face_box: [i32; 4],
    square: [i32; 4],
    alpha: u32,
    real_time: u32,
    offline: u32,
}

/// The first two: spec; the others: the reference's functions with OpenCV 4.9.0, Pillow 10.4.0 and a given label map.
/// Boxes that leave the picture to the left and below, above and to the right, and altogether; one of 5×3 pixels, which
/// is as wide as its square; the smallest; and one whose square leaves the picture on three sides.
const CASES: [Case; 8] = [
    Case {
        face_box: [250, 120, 390, 301],
        square: [185, 75, 455, 345],
        alpha: 0xa9c7_9fef,
        real_time: 0x34e0_8481,
        offline: 0xc0c7_fe99,
    },
    Case {
        face_box: [4, 200, 150, 390],
        square: [-65, 153, 219, 437],
        alpha: 0x5291_c9f4,
        real_time: 0xe2b6_9c5d,
        offline: 0x4f41_ea73,
    },
    Case {
        face_box: [-37, 300, 123, 501],
        square: [-107, 250, 193, 550],
        alpha: 0x5b96_1f52,
        real_time: 0x355d_76b1,
        offline: 0x2643_1cad,
    },
    Case {
        face_box: [560, -20, 700, 140],
        square: [510, -60, 750, 180],
        alpha: 0xd597_6c1e,
        real_time: 0x32f4_55e4,
        offline: 0xf4c3_b58f,
    },
    Case {
        face_box: [-300, 10, -100, 200],
        square: [-350, -45, -50, 255],
        alpha: 0x3346_2ba4,
        real_time: 0x2965_1652,
        offline: 0x2965_1652,
    },
    Case {
        face_box: [100, 50, 105, 53],
        square: [99, 48, 105, 54],
        alpha: 0xe76d_6898,
        real_time: 0xc629_b75c,
        offline: 0xc629_b75c,
    },
    Case {
        face_box: [300, 200, 302, 201],
        square: [300, 199, 302, 201],
        alpha: 0x5b2d_3356,
        real_time: 0x6300_8e1f,
        offline: 0x6300_8e1f,
    },
    Case {
        face_box: [101, 33, 398, 471],
        square: [-79, -76, 577, 580],
        alpha: 0x8cb7_0e23,
        real_time: 0xc388_62ff,
        offline: 0x8351_6826,
    },
];

fn jaw() -> Picture<1> {
    region(labels().view(), MaskMode::Jaw, [90, 90])
}

fn frame() -> Picture<3> {
    gaussian_blur(picture::<3>("IMG", 640, 480).view(), 7)
}

#[test]
fn regions_equal_the_reference() {
    let labels = labels();
    // The first four: spec; the others: the reference's function, OpenCV 4.9.0.
    for (mode, cheeks, expected, pixels) in [
        (MaskMode::Jaw, [90, 90], 0x8c9f_95a4, 113_777),
        (MaskMode::Neck, [90, 90], 0x0f59_2d9d, 136_448),
        (MaskMode::Raw, [90, 90], 0xbc5d_1fb7, 128_000),
        (MaskMode::Jaw, [80, 80], 0x55a5_676e, 113_580),
        (MaskMode::Jaw, [0, 0], 0x214e_dadd, 106_799),
        (MaskMode::Jaw, [40, 150], 0x90da_25be, 120_719),
        (MaskMode::Jaw, [256, 300], 0x416c_d1f2, 156_523),
    ] {
        let region = region(labels.view(), mode, cheeks);
        let shown = region.pixels().iter().filter(|value| **value == 255).count();
        assert_eq!((picture_crc(region.view()), shown), (expected, pixels), "{mode:?} {cheeks:?}");
    }
}

#[test]
fn masks_and_blended_frames_equal_the_reference() {
    let (jaw, frame, face) = (jaw(), frame(), picture::<3>("B", 256, 256));
    let mut resizer = Bilinear::default();
    for case in CASES {
        let face_box = case.face_box;
        let mut blended = |feather| {
            let mask = Mask::new(jaw.view(), face_box, feather).unwrap();
            let mut frame = frame.clone();
            blend(&mut frame.view_mut(), face.view(), face_box, &mask, &mut resizer);
            (mask, picture_crc(frame.view()))
        };
        let (mask, real_time) = blended(FEATHER);
        assert_eq!(mask.square, case.square, "square of {face_box:?}");
        assert_eq!(crc(&mask.alpha), case.alpha, "alpha of {face_box:?}");
        assert_eq!(real_time, case.real_time, "real-time frame of {face_box:?}");
        assert_eq!(blended(OFFLINE_FEATHER).1, case.offline, "offline frame of {face_box:?}");
    }
}

#[test]
fn alphas_have_the_sums_of_the_specification() {
    for (face_box, sum) in [([250, 120, 390, 301], 2_882_761), ([4, 200, 150, 390], 3_158_722)] {
        let mask = Mask::new(jaw().view(), face_box, FEATHER).unwrap();
        assert_eq!(mask.alpha.iter().map(|alpha| u32::from(*alpha)).sum::<u32>(), sum);
    }
}

/// What the live path sends gives, to the byte, the frame that the reference composes of whole squares.
#[test]
fn a_patch_alone_gives_the_frame_of_the_reference() {
    let (jaw, frame, face) = (jaw(), frame(), picture::<3>("B", 256, 256));
    let mut resizer = Bilinear::default();
    for case in CASES {
        let mask = Mask::new(jaw.view(), case.face_box, FEATHER).unwrap();
        let patch = mask.patch(case.face_box, [640, 480]);
        let MaskPatch { rect, alpha } = &patch;
        assert!(rect.is_even() && rect.x + rect.width <= 640 && rect.y + rect.height <= 480, "{rect:?}");
        assert_eq!(alpha.len() as u64, rect.area());
        let (width, height) = (rect.width as usize, rect.height as usize);
        let mut pixels = vec![0; width * height * 3];
        let mut pasted = frame.clone();
        if !rect.is_empty() {
            draw_patch(face.view(), case.face_box, *rect, &mut resizer, &mut pixels);
            paste_masked(
                &mut pasted.view_mut(),
                View::new(&pixels, width, height),
                View::new(alpha, width, height),
                [rect.x as i32, rect.y as i32],
            );
        }
        assert_eq!(picture_crc(pasted.view()), case.real_time, "{:?}", case.face_box);
    }
}

/// A smaller even rectangle would miss a pixel: the outer two lines on each side have one that shows.
#[test]
fn a_patch_is_as_small_as_it_can_be() {
    for case in CASES {
        let mask = Mask::new(jaw().view(), case.face_box, FEATHER).unwrap();
        let MaskPatch { rect, alpha } = mask.patch(case.face_box, [640, 480]);
        assert_eq!(rect.is_empty(), case.face_box[2] < 0, "only the box beside the picture shows nothing");
        if rect.is_empty() {
            continue;
        }
        let (width, height) = (rect.width as usize, rect.height as usize);
        let shows = |x: usize, y: usize| alpha[y * width + x] > 0;
        for x in [0, width - 2] {
            assert!((0..height).any(|y| shows(x, y) || shows(x + 1, y)), "{rect:?} columns {x} and on");
        }
        for y in [0, height - 2] {
            assert!((0..width).any(|x| shows(x, y) || shows(x, y + 1)), "{rect:?} rows {y} and on");
        }
    }
}

/// Beyond the box the patch goes on with the face's border, as the host takes chroma of 2×2 pixels together.
#[test]
fn a_patch_goes_on_beyond_an_odd_box() {
    let face = picture::<3>("B", 256, 256);
    let face_box = [101, 33, 398, 471];
    let mask = Mask::new(jaw().view(), face_box, FEATHER).unwrap();
    let MaskPatch { rect, .. } = mask.patch(face_box, [640, 480]);
    assert!(rect.x == 100 && rect.y + rect.height == 472, "{rect:?} reaches one pixel over the box");
    let (width, height) = (rect.width as usize, rect.height as usize);
    let mut pixels = vec![0; width * height * 3];
    draw_patch(face.view(), face_box, rect, &mut Bilinear::default(), &mut pixels);
    let at = |x: usize, y: usize| &pixels[(y * width + x) * 3..][..3];
    assert!((0..height).all(|y| at(0, y) == at(1, y)));
    assert!((0..width).all(|x| at(x, height - 1) == at(x, height - 2)));
}

#[test]
fn boxes_that_cannot_be_drawn_over_are_refused() {
    let huge = 1 << 21;
    for face_box in [
        [0, 0, 0, 0],
        [10, 10, 11, 11],
        [10, 10, 10, 50],
        [50, 10, 10, 50],
        [0, 0, 9000, 100],
        [huge, 0, huge + 100, 100],
        [i32::MIN, 0, i32::MAX, 100],
    ] {
        let error = square(face_box).unwrap_err();
        assert!(error.to_string().contains(&format!("{face_box:?}")), "{error}");
        assert_eq!(Mask::new(jaw().view(), face_box, FEATHER), Err(error));
    }
}

/// Where the square leaves the picture, face parsing and the blend see black; nothing is read or written outside.
#[test]
fn a_square_beside_the_picture_changes_nothing() {
    let mut small = picture::<3>("A", 16, 12);
    let before = small.clone();
    let face_box = [200, 100, 260, 180];
    assert_eq!(crop(small.view(), square(face_box).unwrap()).pixels().iter().max(), Some(&0));
    let mask = Mask::new(jaw().view(), face_box, FEATHER).unwrap();
    let mut view: ViewMut<'_, 3> = small.view_mut();
    blend(&mut view, picture::<3>("B", 256, 256).view(), face_box, &mask, &mut Bilinear::default());
    assert_eq!(small, before);
}
