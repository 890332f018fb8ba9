//! The whole flow against the reference's, put together from this crate's parts in the reference's order:
//! each part is held to the reference by tests of its own, this holds the flow between them.

mod pipeline;

use lipcast_musetalk::audio::{WholeFile, Windows};
use lipcast_musetalk::face::boxes::{choose, truncated};
use lipcast_musetalk::face::outline::by_landmarks;
use lipcast_musetalk::image::{Bilinear, View, ViewMut, lanczos4};
use lipcast_musetalk::mask::{FEATHER, Mask, MaskPatch, blend, draw_patch, region, square};
use lipcast_musetalk::networks::{FACE, FACE_BYTES, FEATURES, HIDDEN_STATES};
use lipcast_musetalk::settings::MaskMode;
use lipcast_plugins_api::loader::FrameResult;
use lipcast_plugins_api::types::{Rect, SessionMode};
use pipeline::arithmetic::{encode_image, encode_mel, face};
use pipeline::clip::{Clip, HEIGHT, WIDTH, babble};
use pipeline::stage::Stage;
use serde_json::json;

const SIZE: [usize; 2] = [WIDTH as usize, HEIGHT as usize];

/// Rows of ten steps for each frame, as the reference cuts them out of the features of the whole file at 25
/// frames a second: zeros in front and behind, frame f at rows 2 f - 4 to 2 f + 5.
fn tokens(pcm: &[f32], frame: usize) -> Vec<f32> {
    let windows = Windows::reference((25, 1)).unwrap();
    let mut file = WholeFile::new(windows, pcm.to_vec()).unwrap();
    let encode = |mel: &[f32], columns: usize| Ok::<_, std::convert::Infallible>(encode_mel(mel, columns));
    let rows = file.features(encode).unwrap();
    let width = HIDDEN_STATES * FEATURES;
    let row = |at: i64| -> Vec<f32> {
        let known = usize::try_from(at).ok().and_then(|at| rows.chunks_exact(width).nth(at));
        known.map_or(vec![0.0; width], <[f32]>::to_vec)
    };
    (0..10).flat_map(|step| row(2 * frame as i64 - 4 + step)).collect()
}

/// The face box of a frame in the reference's way, without margin.
fn face_box(clip: &Clip, frame: u32) -> [i32; 4] {
    choose(Some(&truncated(&clip.points(frame))), 0, None).unwrap().rounded()
}

/// The latents of a frame, `[8, 32, 32]`.
fn latents(clip: &Clip, frame: u32) -> Vec<f32> {
    let rgb = clip.rgb(frame);
    let [x1, y1, x2, y2] = face_box(clip, frame).map(|side| side as usize);
    let crop = View::<3>::new(&rgb, SIZE[0], SIZE[1]).window(x1, y1, x2 - x1, y2 - y1);
    let crop = lanczos4(crop, [FACE, FACE]);
    let image = |keep: usize| -> Vec<f32> {
        let value = |at: usize| {
            let (channel, pixel) = (at / (FACE * FACE), at % (FACE * FACE));
            let byte = if pixel / FACE < keep { crop.pixels()[3 * pixel + channel] } else { 0 };
            ((f64::from(byte) / 255.0) as f32 - 0.5) / 0.5
        };
        (0..FACE_BYTES).map(value).collect()
    };
    [encode_image(&image(FACE / 2)), encode_image(&image(FACE))].concat()
}

/// What the reference shows of an avatar frame: source and generated face through the whole square's mask.
fn composed(clip: &Clip, frame: u32, generated: &[u8], mask: &Mask) -> Vec<u8> {
    let mut rgb = clip.rgb(frame);
    let generated = View::new(generated, FACE, FACE);
    let mut onto = ViewMut::new(&mut rgb, SIZE[0], SIZE[1]);
    blend(&mut onto, generated, face_box(clip, frame), mask, &mut Bilinear::default());
    rgb
}

/// What a host shows of it: source and patch through the patch's alpha, as Pillow pastes.
fn composed_by_host(clip: &Clip, frame: u32, result: &FrameResult, picture: &[u8], alpha: &[u8]) -> Vec<u8> {
    let mut rgb = clip.rgb(frame);
    let rect = result.rect;
    for (at, (pixel, alpha)) in picture.as_chunks::<3>().0.iter().zip(alpha).enumerate() {
        let (x, y) = (at % rect.width as usize + rect.x as usize, at / rect.width as usize + rect.y as usize);
        let under = &mut rgb[(y * SIZE[0] + x) * 3..][..3];
        for (under, over) in under.iter_mut().zip(pixel) {
            let sum =
                u32::from(*over) * u32::from(*alpha) + u32::from(*under) * (255 - u32::from(*alpha)) + 128;
            *under = (((sum >> 8) + sum) >> 8) as u8;
        }
    }
    rgb
}

/// Settings by which boxes are the reference's of version 1.
fn plain() -> serde_json::Value {
    json!({"smooth": false, "extra_margin": 0, "mask": "raw"})
}

#[test]
fn composed_frames_are_those_of_the_reference_byte_for_byte() {
    let clip = Clip::default();
    let mut stage = Stage::with(plain(), &clip);
    let speech = babble(1.0, 120.0);
    let mut session = stage.open(SessionMode::Whole, (25, 1)).unwrap();
    session.push_audio(0, &speech, true).unwrap();
    for (frame, on) in [(0, 0), (1, 1), (7, 4), (12, 5), (24, 2)] {
        let (result, picture) = stage.ask(&[(&session, frame, on)], |_, _| ()).remove(0).unwrap();
        let generated = face(&latents(&clip, on), &tokens(&speech, frame as usize), 1.0).unwrap();
        let bounds = face_box(&clip, on);
        let mask = whole_mask(&clip, on);
        let expected = composed(&clip, on, &generated, &mask);
        let alpha = stage.avatar.frame_mask(on).unwrap().alpha.unwrap().to_vec();
        let MaskPatch { rect, alpha: cut } = mask.patch(bounds, [WIDTH, HEIGHT]);
        assert_eq!((result.rect, &alpha), (rect, &cut), "frame {frame} on {on}");
        let found = composed_by_host(&clip, on, &result, &picture, &alpha);
        assert!(found == expected, "frame {frame} on {on}: {} bytes differ", differing(&found, &expected));
        assert!(found != clip.rgb(on));
    }
}

#[test]
fn a_whole_session_hears_what_the_reference_hears_across_thirty_seconds() {
    let clip = Clip::default();
    let mut stage = Stage::with(plain(), &clip);
    let speech = babble(31.0, 120.0);
    let mut session = stage.open(SessionMode::Whole, (25, 1)).unwrap();
    for (at, piece) in speech.chunks(16_000).enumerate() {
        let end = (at + 1) * 16_000 >= speech.len();
        session.push_audio(at as u64 * 16_000, piece, end).unwrap();
    }
    let whole = |frame: usize| face(&latents(&clip, 2), &tokens(&speech, frame), 1.0).unwrap();
    let rect = stage.avatar.frame_mask(2).unwrap().rect;
    for frame in [0, 300, 747, 749, 750, 751, 774] {
        let picture = stage.draw(&session, [frame as u64]).remove(0).1;
        let expected = patch(&clip, 2, &whole(frame), rect);
        assert!(picture == expected, "frame {frame}: {} bytes differ", differing(&picture, &expected));
    }
}

#[test]
fn shifted_latents_are_those_of_another_frame() {
    let clip = Clip::without(&[1]);
    let mut settings = plain();
    settings["compat"] = json!({"shift_latents": true});
    let mut stage = Stage::with(settings, &clip);
    let speech = babble(1.0, 120.0);
    let mut session = stage.open(SessionMode::Whole, (25, 1)).unwrap();
    session.push_audio(0, &speech, true).unwrap();
    // Latents of frames 0, 2, 3, 4, 5, then back from 5: frame 2 has those of 3, frame 5 those of 5 again.
    for (on, of) in [(0, 0), (2, 3), (3, 4), (4, 5), (5, 5)] {
        let (result, picture) = stage.ask(&[(&session, 9, on)], |_, _| ()).remove(0).unwrap();
        let generated = face(&latents(&clip, of), &tokens(&speech, 9), 1.0).unwrap();
        assert!(picture == patch(&clip, on, &generated, result.rect), "frame {on}");
    }
}

/// The mask of a frame; its label map is that which stands in for a parser's.
fn whole_mask(clip: &Clip, frame: u32) -> Mask {
    let bounds = face_box(clip, frame);
    let labels = by_landmarks(&clip.points(frame), square(bounds).unwrap());
    Mask::new(region(labels.view(), MaskMode::Raw, [90, 90]).view(), bounds, FEATHER).unwrap()
}

/// What of a generated face is drawn on avatar frame `on`.
fn patch(clip: &Clip, on: u32, generated: &[u8], rect: Rect) -> Vec<u8> {
    let mut patch = vec![0; (rect.area() * 3) as usize];
    let generated = View::new(generated, FACE, FACE);
    draw_patch(generated, face_box(clip, on), rect, &mut Bilinear::default(), &mut patch);
    patch
}

fn differing(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a != b).count()
}
