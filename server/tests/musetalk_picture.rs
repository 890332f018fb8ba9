//! What a viewer gets of MuseTalk's mouth beside what the reference would have shown: its frame, blended in RGB and
//! converted, and ours, converted before and blended in I420.

use lipcast_codecs::I420;
use lipcast_engine::backend::{Alpha, FrameMask, Patch, PixelFormat};
use lipcast_engine::compose::Composer;
use lipcast_engine::media::rgb_to_i420;
use lipcast_musetalk::image::{Bilinear, Picture, View};
use lipcast_musetalk::mask::{FEATHER, Mask, blend, draw_patch};
use lipcast_musetalk::networks::FACE;

const SIZE: [usize; 2] = [640, 480];

/// Faces in the middle, at an edge, with odd sides, and beyond a corner.
const BOXES: [[i32; 4]; 4] =
    [[220, 140, 400, 370], [0, 100, 160, 300], [301, 77, 474, 302], [500, 330, 700, 560]];

/// A picture with edges, slopes and grain, `[height, width, 3]`: as uneven as a photograph.
fn photograph(seed: u32, [width, height]: [usize; 2]) -> Vec<u8> {
    let mut state = seed;
    let mut grain = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 28) as f64 - 7.5
    };
    let shade = |x: f64, y: f64, channel: f64| {
        let slope =
            128.0 + 60.0 * (x * 0.013 + channel).sin() + 40.0 * (y * 0.021 - channel + f64::from(seed)).cos();
        let edge = if (x * 0.05).sin() * (y * 0.04).cos() > 0.3 { 40.0 } else { 0.0 };
        slope + edge - 20.0
    };
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x as f64, y as f64)));
    pixels
        .flat_map(|(x, y)| {
            let light = grain();
            [0.0, 1.0, 2.0].map(|channel| (shade(x, y, channel) + light).clamp(0.0, 255.0) as u8)
        })
        .collect()
}

/// The part of the head that the mouth's mask covers, `[512, 512]`.
fn jaw() -> Picture<1> {
    let inside = |x: i32, y: i32| (x - 256).pow(2) * 4 + (y - 250).pow(2) * 3 < 4 * 170 * 170;
    let pixels = (0..512 * 512).map(|at| if inside(at % 512, at / 512) { 255 } else { 0 }).collect();
    Picture::from_pixels(pixels, 512, 512)
}

/// Y, U and V of an RGB picture in plain arithmetic: BT.601, limited range, chroma of the mean of 2×2 pixels, rounded
/// half up. As `tools/musetalk/reference/picture.py` converts the reference's frames.
fn converted(rgb: &[u8], [width, height]: [usize; 2]) -> [Vec<u8>; 3] {
    let pixel =
        |x: usize, y: usize| [0, 1, 2].map(|channel| f64::from(rgb[(y * width + x) * 3 + channel]) / 255.0);
    let round = |value: f64| (value + 0.5).floor() as u8;
    let luma = |x, y| {
        let [red, green, blue] = pixel(x, y);
        round(16.0 + 65.481 * red + 128.553 * green + 24.966 * blue)
    };
    let mean = |x: usize, y: usize| {
        let four = [
            pixel(2 * x, 2 * y),
            pixel(2 * x + 1, 2 * y),
            pixel(2 * x, 2 * y + 1),
            pixel(2 * x + 1, 2 * y + 1),
        ];
        [0, 1, 2].map(|channel| four.iter().map(|pixel| pixel[channel]).sum::<f64>() / 4.0)
    };
    let u = |x, y| {
        let [red, green, blue] = mean(x, y);
        round(128.0 - 37.797 * red - 74.203 * green + 112.0 * blue)
    };
    let v = |x, y| {
        let [red, green, blue] = mean(x, y);
        round(128.0 + 112.0 * red - 93.786 * green - 18.214 * blue)
    };
    let all = |width: usize, height: usize| (0..width * height).map(move |at| (at % width, at / width));
    [
        all(width, height).map(|(x, y)| luma(x, y)).collect(),
        all(width / 2, height / 2).map(|(x, y)| u(x, y)).collect(),
        all(width / 2, height / 2).map(|(x, y)| v(x, y)).collect(),
    ]
}

#[test]
fn a_live_frame_is_within_a_level_of_the_references() {
    let [width, height] = SIZE;
    let (source, face) = (photograph(1, SIZE), photograph(2, [FACE, FACE]));
    let face = View::<3>::new(&face, FACE, FACE);
    for face_box in BOXES {
        let mask = Mask::new(jaw().view(), face_box, FEATHER).unwrap();

        // The reference: the whole square is blended in RGB. The tests of the masks hold `blend` to Pillow's bytes.
        let mut frame = Picture::from_pixels(source.clone(), width, height);
        blend(&mut frame.view_mut(), face, face_box, &mask, &mut Bilinear::default());
        let expected = converted(frame.pixels(), SIZE);

        // Ours: the patch that a backend sends, laid over the avatar's frame.
        let found = mask.patch(face_box, SIZE.map(|side| side as u32));
        let mut pixels = vec![0; PixelFormat::Rgb24.bytes(&found.rect) as usize];
        draw_patch(face, face_box, found.rect, &mut Bilinear::default(), &mut pixels);
        let patch = Patch {
            rect: found.rect,
            format: PixelFormat::Rgb24,
            alpha: Alpha::Static,
            pixels: pixels.into(),
        };
        let mut picture = I420::black(width, height).unwrap();
        rgb_to_i420(&source, width, height, &mut picture);
        let alpha = FrameMask { rect: found.rect, alpha: Some(&found.alpha) };
        Composer::default().lay(&mut picture, &patch, Some(&alpha), 255).unwrap();

        let shown = picture.as_view();
        for (plane, shown, expected) in
            [("Y", shown.y, &expected[0]), ("U", shown.u, &expected[1]), ("V", shown.v, &expected[2])]
        {
            let apart: Vec<u8> = shown.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).collect();
            let beyond = apart.iter().filter(|levels| **levels > 1).count();
            let worst = apart.iter().max().unwrap();
            println!("{plane} of {face_box:?}: {beyond} of {} beyond a level, {worst} at worst", apart.len());
            // Both sides round twice on the way, in RGB or in YUV; where all four go one way, that makes two.
            assert!(*worst <= 2 && beyond * 10_000 <= apart.len(), "{plane} of {face_box:?}");
            assert_eq!(shown.len(), expected.len());
        }
        // There is something to see.
        let before = converted(&source, SIZE);
        assert!(before[0].iter().zip(&expected[0]).filter(|(a, b)| a.abs_diff(**b) > 8).count() > 1_000);
    }
}
