//! Lanczos4 and bilinear of OpenCV, bilinear and bicubic of Pillow.

use lipcast_musetalk::image::{Bilinear, Filter, Picture, View, lanczos4, resample};

use crate::support::{picture, picture_crc};

fn bilinear(source: View<'_, 3>, width: usize, height: usize) -> Picture<3> {
    let mut out = Picture::new(width, height);
    Bilinear::default().resize(source, [width, height], [0, 0], &mut out.view_mut());
    out
}

#[test]
fn lanczos4_equals_opencv() {
    // The first: spec; the others: OpenCV 4.9.0.
    for (from, to, expected) in [
        ([257, 301], [256, 256], 0x2f0b_498b),
        ([257, 301], [96, 40], 0x551f_cbc5),
        ([257, 301], [31, 302], 0xc52d_0937),
        ([1, 37], [5, 64], 0x43a9_816c),
        ([37, 1], [64, 5], 0x56e2_1cc9),
        ([3, 3], [1, 1], 0x84f1_67c9),
    ] {
        let a = picture::<3>("A", from[0], from[1]);
        assert_eq!(picture_crc(lanczos4(a.view(), to).view()), expected, "{from:?} to {to:?}");
    }
}

#[test]
fn bilinear_equals_opencv() {
    // The first three: spec; the others: OpenCV 4.9.0.
    for (name, from, to, expected) in [
        ("B", [256, 256], [170, 221], 0xf877_f0ca),
        ("B", [256, 256], [300, 333], 0x7242_0641),
        ("B", [256, 256], [128, 128], 0xe6bc_a1c6),
        ("A", [257, 301], [64, 75], 0x0a8f_644e),
        ("A", [257, 301], [31, 302], 0x6246_9014),
        ("A", [1, 37], [5, 64], 0x15ab_d55b),
        ("A", [37, 1], [64, 5], 0xd958_3771),
        ("A", [3, 3], [1, 1], 0x84f1_67c9),
    ] {
        let source = picture::<3>(name, from[0], from[1]);
        let resized = bilinear(source.view(), to[0], to[1]);
        assert_eq!(picture_crc(resized.view()), expected, "{from:?} to {to:?}");
    }
}

#[test]
fn a_part_of_a_bilinear_picture_has_the_bytes_of_the_whole() {
    let b = picture::<3>("B", 256, 256);
    // One resizer for all, so that tables of one call would show in the next.
    let mut resizer = Bilinear::default();
    for (size, origin, part) in [
        ([300, 333], [150, 166], [150, 167]),
        ([300, 333], [150, 166], [151, 167]),
        ([300, 334], [150, 166], [151, 167]),
        ([170, 221], [0, 110], [170, 1]),
        ([170, 221], [-1, -1], [172, 223]),
        ([170, 221], [160, 215], [40, 20]),
        ([1, 1], [-1, 0], [2, 2]),
    ] {
        let whole = bilinear(b.view(), size[0], size[1]);
        let mut out = Picture::new(part[0], part[1]);
        resizer.resize(b.view(), size, origin, &mut out.view_mut());
        for y in 0..part[1] {
            for x in 0..part[0] {
                let at = |i: usize, axis: usize| {
                    (i as i32 + origin[axis]).clamp(0, size[axis] as i32 - 1) as usize
                };
                let expected = &whole.view().row(at(y, 1))[at(x, 0) * 3..][..3];
                assert_eq!(
                    &out.view().row(y)[x * 3..][..3],
                    expected,
                    "{x}, {y} of {part:?} at {origin:?} of {size:?}"
                );
            }
        }
    }
}

#[test]
fn colour_resampling_equals_pillow() {
    // The first: spec; the others: Pillow 10.4.0.
    for (filter, from, to, expected) in [
        (Filter::Bilinear, [330, 330], [512, 512], 0x030d_ce59),
        (Filter::Bilinear, [257, 301], [63, 500], 0xdf5c_faf8),
        (Filter::Bilinear, [257, 301], [257, 40], 0x541b_4cae),
        (Filter::Bilinear, [1, 37], [5, 64], 0xeca0_5554),
        (Filter::Bilinear, [37, 1], [64, 5], 0x59b9_56f7),
        (Filter::Bicubic, [330, 330], [512, 512], 0xbe31_0b42),
        (Filter::Bicubic, [257, 301], [63, 500], 0xc6d6_6036),
        (Filter::Bicubic, [257, 301], [257, 40], 0xd840_ae8b),
        (Filter::Bicubic, [1, 37], [5, 64], 0x070d_df69),
        (Filter::Bicubic, [37, 1], [64, 5], 0xb4f6_eb76),
    ] {
        let name = if from == [330, 330] { "C" } else { "A" };
        let source = picture::<3>(name, from[0], from[1]);
        let resampled = resample(source.view(), to, filter);
        assert_eq!(picture_crc(resampled.view()), expected, "{filter:?} of {from:?} to {to:?}");
    }
}

#[test]
fn grey_resampling_equals_pillow() {
    // Pillow 10.4.0.
    for (from, to, bilinear, bicubic) in [
        ([512, 512], [270, 270], 0x3b9b_3a56, 0x1ef4_0d88),
        ([512, 512], [701, 701], 0x3f8f_d10d, 0xb516_f2bf),
        ([301, 257], [40, 257], 0x3d03_015b, 0x1d7a_cdf6),
    ] {
        let a = picture::<1>("A", from[0], from[1]);
        let crc = |filter| picture_crc(resample(a.view(), to, filter).view());
        assert_eq!([crc(Filter::Bilinear), crc(Filter::Bicubic)], [bilinear, bicubic], "{from:?} to {to:?}");
    }
}

#[test]
fn a_picture_of_its_own_size_stays_as_it_is() {
    let a = picture::<3>("A", 61, 47);
    let size = [61, 47];
    assert_eq!(bilinear(a.view(), 61, 47), a);
    assert_eq!(lanczos4(a.view(), size), a);
    assert_eq!(resample(a.view(), size, Filter::Bilinear), a);
    assert_eq!(resample(a.view(), size, Filter::Bicubic), a);
}

#[test]
fn a_window_resizes_like_its_copy() {
    let a = picture::<3>("A", 90, 80);
    let window = a.view().window(13, 7, 51, 60);
    let copy = window.to_picture();
    assert_eq!(bilinear(window, 70, 31), bilinear(copy.view(), 70, 31));
    assert_eq!(lanczos4(window, [70, 31]), lanczos4(copy.view(), [70, 31]));
    let pillow = |view| resample(view, [70, 31], Filter::Bicubic);
    assert_eq!(pillow(window), pillow(copy.view()));
}
