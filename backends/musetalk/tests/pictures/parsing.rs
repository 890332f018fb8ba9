//! Face parsing: the network's input, and labels of its output.

use lipcast_musetalk::face::parsing::{INPUT, LOGITS, input, labels, picture as seen};
use lipcast_musetalk::image::gaussian_blur;

use crate::support::{SEED, Words, float_crc, picture, picture_crc};

/// G3: the picture before it is normalised; Pillow 10.4.0 through the reference's own function.
#[test]
fn the_square_equals_the_reference() {
    let frame = gaussian_blur(picture::<3>("IMG", 640, 480).view(), 7);
    for (square, expected) in [
        ([185, 75, 455, 345], 0xe338_dfc2),
        ([-65, 153, 219, 437], 0xbaf9_7c1e),
        ([-107, 250, 193, 550], 0x65a1_dff8),
        ([510, -60, 750, 180], 0xaa08_0991),
    ] {
        assert_eq!(picture_crc(seen(frame.view(), square).view()), expected, "{square:?}");
    }
}

/// Every bit: torch 2.11 with the steps of torchvision's `ToTensor` and `Normalize`, on a picture of Pillow 10.4.0.
#[test]
fn the_input_equals_torchvision() {
    let frame = picture::<3>("IMG", 640, 480);
    let mut values = vec![0.0; INPUT];
    input(frame.view(), [-65, 153, 219, 437], &mut values);
    assert_eq!(values[0], -2.117_904, "black, left of the frame");
    assert_eq!(float_crc(&values), 0xedb4_58af);
}

/// numpy 2.4, which takes the first of equal values as well; the second output has four values only.
#[test]
fn labels_are_the_first_of_the_largest() {
    let logits: Vec<f32> = Words::new("logits", SEED).floats().take(LOGITS).collect();
    assert_eq!(picture_crc(labels(&logits).view()), 0xc466_b65c);
    let coarse: Vec<f32> = Words::new("logits", SEED).map(|word| (word >> 62) as f32).take(LOGITS).collect();
    assert_eq!(picture_crc(labels(&coarse).view()), 0x22de_867c);
}
