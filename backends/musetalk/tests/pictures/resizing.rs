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
    let a = picture::<3>("A", 257, 301);
    assert_eq!(picture_crc(lanczos4(a.view(), [256, 256]).view()), 0x2f0b_498b, "spec");
}

#[test]
fn bilinear_equals_opencv() {
    let b = picture::<3>("B", 256, 256);
    for (width, height, crc) in [(170, 221, 0xf877_f0ca), (300, 333, 0x7242_0641), (128, 128, 0xe6bc_a1c6)] {
        assert_eq!(picture_crc(bilinear(b.view(), width, height).view()), crc, "spec {width}x{height}");
    }
}

#[test]
fn pillow() {
    let c = picture::<3>("C", 330, 330);
    assert_eq!(picture_crc(resample(c.view(), [512, 512], Filter::Bilinear).view()), 0x030d_ce59, "spec");
}
