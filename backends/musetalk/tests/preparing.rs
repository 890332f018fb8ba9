//! Preparing and loading avatars.

mod pipeline;

use std::sync::Arc;

use lipcast_musetalk::face::boxes::FaceBox;
use lipcast_musetalk::import::{BOXES_ASSET, MASKS_ASSET};
use lipcast_musetalk::networks::Network;
use lipcast_plugins_api::loader::{Avatar, Instance, NoProgress};
use lipcast_plugins_api::types::{Code, Rect};
use pipeline::bundle::{self, FOUR};
use pipeline::clip::{Clip, HEIGHT, WIDTH};
use pipeline::stage::{Diary, Impatient, create, plugin, prepare, refusal};
use serde_json::{Value, json};
use tempfile::TempDir;

fn instance(settings: Value) -> (TempDir, Instance) {
    over(&FOUR, settings)
}

fn over(networks: &[Network], settings: Value) -> (TempDir, Instance) {
    let folder = bundle::of(networks);
    let instance = create(&bundle::settings(folder.path(), settings)).unwrap();
    (folder, instance)
}

fn avatar(instance: &Instance, clip: &Clip) -> Avatar {
    instance.load_avatar(&prepare(instance, clip).unwrap()).unwrap()
}

fn rects(avatar: &Avatar) -> Vec<Rect> {
    (0..avatar.info().frame_count).map(|frame| avatar.frame_mask(frame).unwrap().rect).collect()
}

#[test]
fn what_preparing_needs_is_given_back_at_the_start_and_after_each_avatar() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("releases");
    let (_folder, instance) = instance(json!({ "options": { "releases": file } }));
    let blobs = [0, 1].map(|_| prepare(&instance, &Clip::default()).unwrap());
    assert!(blobs[0] == blobs[1]);
    // The thread of the networks ends with the instance.
    drop(instance);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "released\n".repeat(3));
}

#[test]
fn patches_lie_on_the_lower_face_and_fade_into_it() {
    let (_folder, instance) = instance(json!({}));
    let clip = Clip::default();
    let avatar = avatar(&instance, &clip);
    let info = *avatar.info();
    assert_eq!((info.canvas, info.fps, info.frame_count), ((WIDTH, HEIGHT), (25, 1), 6));
    for frame in 0..6 {
        let mask = avatar.frame_mask(frame).unwrap();
        let rect = mask.rect;
        assert!(rect.is_even() && info.max_rect.contains(&rect) && !rect.is_empty(), "{rect:?}");
        assert!(Rect::new(0, 0, WIDTH, HEIGHT).contains(&info.max_rect));
        let points = clip.points(frame);
        let bounds = FaceBox::around(&points, 0);
        let (left, right) = (f64::from(rect.x), f64::from(rect.x + rect.width));
        assert!(left >= bounds.left - 2.0 && right <= bounds.right + 2.0, "{rect:?} {bounds:?}");
        assert!(f64::from(rect.y + rect.height) <= bounds.bottom + 12.0);
        // The whole mouth shows the generated face, the border of the patch the source.
        let alpha = mask.alpha.unwrap();
        let at = |[x, y]: [f32; 2]| alpha[((y as u32 - rect.y) * rect.width + x as u32 - rect.x) as usize];
        assert_eq!(at(points[66]), 255);
        assert!(at(points[48]) > 200 && at(points[54]) > 200);
        assert!(alpha[..rect.width as usize].iter().all(|a| *a < 32), "its first row");
    }
    assert_eq!(avatar.frame_mask(6).err().unwrap().code, Code::NotFound);
}

#[test]
fn a_blob_is_the_same_each_time_whatever_runs_beside_it() {
    let (_folder, instance) = instance(json!({}));
    let clip = Clip::without(&[2]);
    let alone = prepare(&instance, &clip).unwrap();
    let both = std::thread::scope(|scope| {
        let other = scope.spawn(|| prepare(&instance, &Clip::default()).unwrap());
        let again = prepare(&instance, &clip).unwrap();
        (again, other.join().unwrap())
    });
    assert!(both.0 == alone && both.1 != alone);
    let (_other_folder, other) = over(&FOUR, json!({"batches": [1, 4]}));
    assert!(prepare(&other, &clip).unwrap() == alone, "a batch of four gives what one by one does");
}

#[test]
fn frames_without_a_face_are_left_alone_and_their_neighbours_keep_what_is_theirs() {
    let (_folder, instance) = instance(json!({"smooth": false}));
    let all = avatar(&instance, &Clip::default());
    for faceless in [vec![0], vec![2, 3], vec![5], vec![0, 1, 2, 4, 5]] {
        let some = avatar(&instance, &Clip::without(&faceless));
        for frame in 0..6 {
            let found = some.frame_mask(frame).unwrap();
            if faceless.contains(&frame) {
                assert!(found.rect.is_empty() && found.alpha.is_none(), "frame {frame}");
            } else {
                let expected = all.frame_mask(frame).unwrap();
                assert_eq!((found.rect, found.alpha), (expected.rect, expected.alpha), "frame {frame}");
            }
        }
    }
}

#[test]
fn no_face_at_all_is_refused_with_the_count() {
    for networks in [&FOUR[..], &Network::ALL] {
        let (_folder, instance) = over(networks, json!({}));
        let nobody = Clip::without(&[0, 1, 2, 3, 4, 5]);
        let (code, message) = refusal(prepare(&instance, &nobody));
        assert_eq!(code, Code::InvalidArg);
        assert_eq!(message, "none of the 6 frames of 320x288 shows a face");
    }
    let (_folder, instance) = instance(json!({}));
    let (code, message) = refusal(prepare(&instance, &Clip { frames: 0, ..Clip::default() }));
    assert_eq!((code, message.as_str()), (Code::InvalidArg, "there are no frames to prepare"));
    let outside = Clip { middle: |_| [900.0, 140.0], ..Clip::default() };
    let (code, message) = refusal(prepare(&instance, &outside));
    assert_eq!(code, Code::InvalidArg);
    assert!(message.starts_with("6 of the 6 frames of 320x288 show a face, and each"), "{message}");

    // Boxes of an import that was made for another picture.
    let huge = serde_json::to_vec(&[[-4000, -4000, 4000, 4000]; 6]).unwrap();
    let huge = Clip { assets: vec![(BOXES_ASSET.into(), huge.into())], ..Clip::default() };
    let (_, message) = refusal(prepare(&instance, &huge));
    assert!(message.contains("larger than three pictures"), "{message}");
}

#[test]
fn the_bundles_own_networks_find_the_face_where_the_host_found_it() {
    let (_folder, by_host) = instance(json!({"smooth": false}));
    let (_other, by_networks) = over(&Network::ALL, json!({"smooth": false}));
    let clip = Clip::without(&[3]);
    let (expected, found) = (rects(&avatar(&by_host, &clip)), rects(&avatar(&by_networks, &clip)));
    assert!(expected[3].is_empty() && found[3].is_empty());
    for (expected, found) in expected.iter().zip(&found).filter(|(rect, _)| !rect.is_empty()) {
        // The landmark network sees this canvas at 0.72 of its size, in bins of half a pixel.
        let off = |a: u32, b: u32| a.abs_diff(b) <= 8;
        assert!(off(expected.x, found.x) && off(expected.y, found.y), "{expected:?} {found:?}");
        assert!(off(expected.width, found.width) && off(expected.height, found.height));
    }
    // The host has no say where the bundle has networks for all.
    let mut hidden = Clip::default();
    hidden.assets.clear();
    let no_help = avatar(&by_networks, &hidden);
    assert!(rects(&no_help).iter().all(|rect| !rect.is_empty()));
}

#[test]
fn trembling_landmarks_make_steady_boxes_and_the_log_tells() {
    let folder = bundle::of(&FOUR);
    let told = |settings: Value| {
        let diary = Diary::default();
        let config = bundle::settings(folder.path(), settings);
        let instance = plugin().create(Arc::new(diary.clone()), &config, &NoProgress).unwrap();
        let clip = Clip { frames: 40, tremble: 2.0, middle: |_| [160.3, 140.2], ..Clip::default() };
        prepare(&instance, &clip).unwrap();
        let (message, fields) = diary.entries().pop().unwrap();
        assert!(
            message.starts_with("an avatar of 40 frames, 40 with a face; its boxes trembled by"),
            "{message}"
        );
        (fields["jitter_before"].as_f64().unwrap(), fields["jitter_after"].as_f64().unwrap())
    };
    // Two pixels to and fro are second differences of eight.
    let (before, after) = told(json!({}));
    assert!((7.0..9.0).contains(&before) && after < 0.5, "{before} before, {after} after");
    let (before, after) = told(json!({"smooth": false}));
    assert_eq!(before, after);
}

#[test]
fn boxes_that_come_with_the_source_are_taken_as_they_are() {
    let (_folder, instance) = instance(json!({"extra_margin": 40}));
    let boxes = |json: &str| Clip {
        assets: vec![(BOXES_ASSET.into(), json.as_bytes().into())],
        middle: |_| [160.0, 140.0],
        ..Clip::default()
    };
    let given = boxes("[[90,60,230,240],null,[90,60,230,240],[91,60,231,240],[90,60,230,400],[0,0,4,4]]");
    let found = rects(&avatar(&instance, &given));
    assert!(found[1].is_empty() && found[5].is_empty());
    assert_eq!(found[0], found[2]);
    // Nothing of the mask lies below the box: no margin was added.
    assert!(found[0].y + found[0].height <= 240 && found[0].x >= 90 && found[0].x + found[0].width <= 230);
    assert!(found[4].y + found[4].height <= HEIGHT);
    for (json, what) in [("[null]", "has 1 boxes for 6 frames"), ("[1]", "musetalk-boxes.json: ")] {
        let (code, message) = refusal(prepare(&instance, &boxes(json)));
        assert!(code == Code::InvalidArg && message.contains(what), "{message}");
    }
}

#[test]
fn masks_that_come_with_the_source_are_taken_as_they_are() {
    let (_folder, instance) = instance(json!({}));
    let boxes = "[[90,60,230,240],[90,60,230,240],null,null,null,null]";
    // Of the square around the box, 270 pixels wide, rows 200 to 219 and columns 60 to 99 show the face.
    let square = [25_i32, 15, 295, 285];
    let mut masks = [&b"LCMASKS1"[..], &6_u32.to_le_bytes()].concat();
    for _ in 0..6 {
        masks.extend(square.iter().flat_map(|at| at.to_le_bytes()));
        masks.extend((0..270 * 270).map(|at| {
            let (row, column) = (at / 270, at % 270);
            if (200..220).contains(&row) && (80..100).contains(&column) { 77 } else { 0 }
        }));
    }
    let clip = |masks: &[u8]| Clip {
        assets: vec![(BOXES_ASSET.into(), boxes.as_bytes().into()), (MASKS_ASSET.into(), masks.into())],
        ..Clip::default()
    };
    let avatar = avatar(&instance, &clip(&masks));
    let mask = avatar.frame_mask(1).unwrap();
    // From column 25 + 80 on: the even one before.
    assert_eq!(mask.rect, Rect::new(104, 214, 22, 22));
    let alpha = mask.alpha.unwrap();
    assert_eq!(alpha.iter().filter(|alpha| **alpha == 77).count(), 400);
    assert_eq!(alpha.iter().filter(|alpha| **alpha == 0).count(), 22 * 22 - 400);

    for (broken, what) in
        [(&masks[..masks.len() - 1], "cut off"), (&b"LCMASKS1\0\0\0\0"[..], "0 masks for 6")]
    {
        let (code, message) = refusal(prepare(&instance, &clip(broken)));
        assert!(code == Code::InvalidArg && message.contains(what), "{message}");
        assert!(message.starts_with("musetalk-masks.bin: "), "{message}");
    }
}

#[test]
fn compat_settings_change_what_they_say() {
    let blob = |settings: Value| {
        let (_folder, instance) = over(&Network::ALL, settings);
        prepare(&instance, &Clip { frames: 3, ..Clip::without(&[1]) }).unwrap()
    };
    let ours = blob(json!({}));
    let sampled = |seed: u64| blob(json!({"compat": {"sample": seed}}));
    assert!(sampled(1) == sampled(1) && sampled(1) != sampled(2) && sampled(1) != ours);
    for changed in [
        json!({"mask": "raw"}),
        json!({"mask": "neck"}),
        json!({"extra_margin": 0}),
        json!({"smooth": false}),
        json!({"refine": true}),
        json!({"compat": {"offline_blur": true}}),
        json!({"compat": {"bbox_shift": 7}}),
        json!({"compat": {"shift_latents": true}}),
    ] {
        assert!(blob(changed.clone()) != ours, "{changed}");
    }
}

#[test]
fn a_box_may_leave_the_picture_where_the_reference_lets_it() {
    let low = Clip { middle: |_| [160.0, 220.0], ..Clip::default() };
    for unclamped in [false, true] {
        let (_folder, instance) = instance(json!({"compat": {"unclamped_box": unclamped}}));
        let avatar = avatar(&instance, &low);
        let rect = avatar.frame_mask(0).unwrap().rect;
        assert!(Rect::new(0, 0, WIDTH, HEIGHT).contains(&rect) && !rect.is_empty(), "{rect:?}");
    }
}

#[test]
fn a_blob_of_other_networks_or_settings_has_to_be_prepared_again() {
    let (_folder, first) = instance(json!({}));
    let blob = prepare(&first, &Clip::default()).unwrap();
    let load = |instance: &Instance| instance.load_avatar(&blob).map(|_| ());
    assert!(load(&first).is_ok());
    let told = refusal(load(&instance(json!({"mask": "raw"})).1));
    assert_eq!(
        told,
        (Code::BlobIncompatible, "the blob was prepared with other networks or settings".into())
    );
    let encoder = bundle::with_gains(&FOUR.map(|n| (n, if n == Network::VaeEncoder { 1.5 } else { 1.0 })));
    let encoder = create(&bundle::settings(encoder.path(), json!({}))).unwrap();
    assert_eq!(refusal(load(&encoder)).0, Code::BlobIncompatible);
    // What only speech runs through is of no account, nor is what batches it runs in.
    let unet = bundle::with_gains(&FOUR.map(|n| (n, if n == Network::Unet { 1.5 } else { 1.0 })));
    let unet = create(&bundle::settings(unet.path(), json!({"batches": [2], "context": 3.0}))).unwrap();
    assert!(load(&unet).is_ok());
}

#[test]
fn a_damaged_blob_is_an_error_and_never_a_panic() {
    let (_folder, instance) = instance(json!({}));
    let blob = prepare(&instance, &Clip { frames: 2, ..Clip::default() }).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        let (code, message) = refusal(instance.load_avatar(bytes));
        assert_eq!(code, Code::BlobIncompatible, "{what}: {message}");
    };
    for length in (0..120).chain((120..blob.len()).step_by(4_999)).chain([blob.len() - 1]) {
        refused(&blob[..length], &format!("cut to {length}"));
    }
    refused(&[&blob[..], &[0]].concat(), "a byte longer");
    for at in (0..120).chain((120..blob.len()).step_by(4_999)).chain(blob.len() - 40..blob.len()) {
        let mut bytes = blob.clone();
        bytes[at] ^= 1 << (at % 8);
        refused(&bytes, &format!("a bit of byte {at} is flipped"));
    }
    assert!(instance.load_avatar(&blob).is_ok());
}

#[test]
fn a_preparation_that_is_cancelled_ends_there_and_another_one_works() {
    let (_folder, instance) = over(&Network::ALL, json!({}));
    let clip = Clip { frames: 3, ..Clip::default() };
    let mut steps = 0;
    for after in 0.. {
        let impatient = Impatient::after(after);
        let mut blob = Vec::new();
        let done = instance.prepare_avatar(&mut clip.clone(), &Value::Null, &mut blob, &impatient);
        let told = impatient.told.into_inner().unwrap();
        assert!(told.is_sorted_by_key(|(permille, _)| *permille), "{told:?}");
        match done {
            Ok(()) => break,
            Err(error) => assert_eq!(error.code, Code::Cancelled, "after {after}"),
        }
        steps = after + 1;
    }
    assert!(steps >= 6, "cancelled at {steps} places");
    prepare(&instance, &clip).unwrap();
}

#[test]
fn a_bundle_that_only_speaks_prepares_nothing() {
    let speaking = [Network::WhisperEncoder, Network::Unet, Network::VaeDecoder];
    let (_folder, instance) = over(&speaking, json!({}));
    let (code, message) = refusal(prepare(&instance, &Clip::default()));
    assert!(code == Code::ModelMissing && message.contains("vae_encoder"), "{message}");
}
