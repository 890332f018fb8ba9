//! The two samples as a host meets them: ordered chunks with their own alpha, and a canvas without source frames.
#![cfg(feature = "loader")]

mod common;

use std::sync::Arc;

use common::{Listener, avatar, example, params, session};
use lipcast_plugins_api::loader::{
    Avatar, FrameRequest, FrameResult, Inferer, Instance, NoProgress, Plugin, Session, Slot,
};
use lipcast_plugins_api::serde_json::{Value, json};
use lipcast_plugins_api::types::{Alpha, Code, Error, FrameOrder, IdleBy, PixelFormat, RestPolicy};

fn instance(name: &str) -> Instance {
    let plugin = Plugin::open(&example(name)).unwrap();
    plugin.create(Arc::new(Listener::default()), &Value::Null, &NoProgress).unwrap()
}

fn ask(
    inferer: &mut Inferer,
    session: &Session,
    slot: &mut Slot,
    frame: u64,
    change: impl FnOnce(&mut FrameRequest<'_>),
) -> Result<FrameResult, Error> {
    let mut batch = [FrameRequest::new(session, frame, 0, slot)];
    change(&mut batch[0]);
    inferer.infer_batch(&mut batch);
    let [request] = batch;
    request.result
}

fn opened(name: &str) -> (Inferer, Avatar, Instance) {
    let instance = instance(name);
    let avatar = avatar(&instance, 3);
    (instance.inferer().unwrap(), avatar, instance)
}

#[test]
fn the_sequential_sample_wants_every_frame_in_order_and_comes_back_to_rest() {
    let plugin = Plugin::open(&example("sequential")).unwrap();
    let capabilities = &plugin.descriptor().capabilities;
    assert_eq!((capabilities.order, capabilities.chunk_frames), (FrameOrder::Sequential, 4));
    let (mut inferer, avatar, _instance) = opened("sequential");
    assert_eq!(avatar.info().rest_policy, RestPolicy::Ask);
    let mut session = session(&inferer, &avatar);
    session.push_audio(0, &[0.9; 8 * 640], true).unwrap();
    let mut slot = Slot::new(avatar.slot_len());
    let (mut pictures, mut rested) = (Vec::new(), None);
    for frame in 0..100 {
        let result =
            ask(&mut inferer, &session, &mut slot, frame, |request| request.first = frame == 0).unwrap();
        assert_eq!((result.format, result.alpha), (PixelFormat::Rgba, Alpha::Inline));
        assert_eq!((result.rect.width, result.rect.height), (64, 48), "the whole canvas");
        pictures.push(slot.bytes().to_vec());
        if result.at_rest {
            rested = Some(frame);
            break;
        }
    }
    let rested = rested.expect("the head comes back after the speech");
    // The host waits for a second after the speech, which is eight frames long.
    assert!((9..8 + 25).contains(&rested), "at rest at frame {rested}");
    let opaque_rows = |picture: &[u8]| picture.chunks(4 * 64).position(|row| row.chunks(4).any(|p| p[3] > 0));
    assert!(
        opaque_rows(&pictures[7]) > opaque_rows(&pictures[rested as usize]),
        "loud: the head is further down"
    );
    let skipped = ask(&mut inferer, &session, &mut slot, rested + 2, |_| {}).unwrap_err();
    assert_eq!(skipped.code, Code::InvalidArg);
}

#[test]
fn a_late_frame_is_left_out_and_the_next_one_is_as_it_would_have_been() {
    let (mut inferer, avatar, _instance) = opened("sequential");
    let mut slot = Slot::new(avatar.slot_len());
    let mut last = |late: bool, reset: bool| {
        let mut session = session(&inferer, &avatar);
        if reset {
            session.push_audio(0, &[0.3; 640], false).unwrap();
            ask(&mut inferer, &session, &mut slot, 0, |_| {}).unwrap();
            session.reset(1).unwrap();
        }
        session.push_audio(0, &[0.9; 6400], true).unwrap();
        for frame in 0..6 {
            let answer = ask(&mut inferer, &session, &mut slot, frame, |request| {
                (request.first, request.discard_ok) = (frame == 0, late && frame == 3);
            });
            match answer {
                Err(error) => {
                    assert!(error.code == Code::Deadline && late && frame == 3, "frame {frame}: {error}")
                }
                Ok(_) => assert!(!late || frame != 3),
            }
        }
        slot.bytes().to_vec()
    };
    let undisturbed = last(false, false);
    assert!(last(true, false) == undisturbed, "a frame that was left out");
    assert!(last(false, true) == undisturbed, "a reset before");
}

#[test]
fn the_canvas_sample_draws_idle_with_alpha_and_says_what_did_not_change() {
    let (mut inferer, avatar, instance) = opened("canvas");
    assert_eq!((avatar.info().frame_count, avatar.info().idle), (0, IdleBy::Backend));
    let mut session = session(&inferer, &avatar);
    let mut slot = Slot::new(avatar.slot_len());
    session.push_audio(0, &[], true).unwrap();
    let mut looks = Vec::new();
    for frame in 0..10 {
        let result =
            ask(&mut inferer, &session, &mut slot, frame, |request| request.first = frame == 0).unwrap();
        assert!(result.at_rest && result.avatar_frame_used == 0, "frame {frame}");
        looks.push(result.unchanged);
    }
    // A blink begins the timeline and is over after an eighth of a second.
    assert_eq!(looks, [false, true, true, true, false, true, true, true, true, true]);
    let quiet = slot.bytes().to_vec();
    assert!(quiet.chunks(4).any(|pixel| pixel[3] == 0) && quiet.chunks(4).any(|pixel| pixel[3] == 255));

    session.push_audio(6400, &[0.7; 640], true).unwrap();
    let loud = ask(&mut inferer, &session, &mut slot, 10, |request| request.first = true).unwrap();
    assert_eq!((loud.format, loud.alpha, loud.at_rest), (PixelFormat::Rgba, Alpha::Inline, false));
    assert!(slot.bytes() != quiet, "the mouth opens");
    session.reset(1).unwrap();
    let fresh = ask(&mut inferer, &session, &mut slot, 11, |request| request.first = true).unwrap();
    assert!(!fresh.unchanged && slot.bytes() == quiet, "after a reset nothing was drawn before");
    assert_eq!(instance.load_avatar(&[0; 20]).err().unwrap().code, Code::BlobIncompatible);
}

#[test]
fn the_samples_refuse_settings_and_blobs_that_are_not_theirs() {
    for name in ["sequential", "canvas"] {
        let plugin = Plugin::open(&example(name)).unwrap();
        let error =
            plugin.create(Arc::new(Listener::default()), &json!({"colour": 1}), &NoProgress).err().unwrap();
        assert_eq!(
            (error.code, error.message.as_str()),
            (Code::InvalidArg, "this sample has no setting `colour`")
        );
        let instance = instance(name);
        let mut blob = Vec::new();
        let mut source = common::GreyFrames { count: 3 };
        instance.prepare_avatar(&mut source, &Value::Null, &mut blob, &NoProgress).unwrap();
        assert_eq!(instance.load_avatar(&blob).unwrap().info().canvas, params().canvas);
        for length in [0, 1, 4, 19, blob.len() - 1] {
            let error = instance.load_avatar(&blob[..length]).err().unwrap();
            assert_eq!(error.code, Code::BlobIncompatible, "{name}: {length} bytes");
        }
        for byte in 0..blob.len().min(80) {
            let mut mutant = blob.clone();
            mutant[byte] ^= 0x80;
            // Some bytes are only pixels; what loads must still be a canvas that a host takes, at a rate that it plays.
            if let Ok(avatar) = instance.load_avatar(&mutant) {
                let (num, den) = avatar.info().fps;
                assert!(num / den < 1_000 && num >= den, "{name}: byte {byte}: {num}/{den}");
            }
        }
    }
}
