//! The demo backend as a host meets it: through the table, from prepare to picture.

mod common;

use std::sync::Arc;

use common::{Clip, babble};
use lipcast_demo::DemoBackend;
use lipcast_plugins_api::author::{Backend, plugin_table};
use lipcast_plugins_api::loader::{
    Avatar, FrameRequest, FrameResult, Inferer, Instance, NoProgress, Plugin, Session, SilentHost, Slot,
};
use lipcast_plugins_api::serde_json::{Value, json};
use lipcast_plugins_api::types::{Code, SessionMode, SessionParams};

/// Samples of a video frame.
const FRAME: usize = 640;

fn create(config: &Value) -> Result<Instance, lipcast_plugins_api::types::Error> {
    Plugin::linked(plugin_table::<DemoBackend>()).unwrap().create(Arc::new(SilentHost), config, &NoProgress)
}

fn blob_of(clip: &mut Clip) -> Vec<u8> {
    let mut blob = Vec::new();
    create(&Value::Null).unwrap().prepare_avatar(clip, &Value::Null, &mut blob, &NoProgress).unwrap();
    blob
}

fn clip(gaps: &[f32]) -> Clip {
    Clip { gaps: gaps.to_vec(), faceless: Vec::new() }
}

/// An instance with one avatar of six frames.
struct Stage {
    inferer: Inferer,
    avatar: Avatar,
}

impl Stage {
    fn new() -> Self {
        let instance = create(&Value::Null).unwrap();
        let avatar = instance.load_avatar(&blob_of(&mut clip(&[0.0; 6]))).unwrap();
        Self { inferer: instance.inferer().unwrap(), avatar }
    }

    fn session(&self) -> Session {
        let params = SessionParams {
            mode: SessionMode::Live,
            canvas: (common::WIDTH as u32, common::HEIGHT as u32),
            fps: (25, 1),
            params: Value::Null,
        };
        self.inferer.open_session(&self.avatar, &params).unwrap()
    }

    /// The results of some frames, one call each, on avatar frame 2.
    fn draw(
        &mut self,
        session: &Session,
        frames: impl IntoIterator<Item = u64>,
    ) -> Vec<(FrameResult, Vec<u8>)> {
        frames.into_iter().map(|frame| self.batch(&[(session, frame)]).remove(0)).collect()
    }

    fn batch(&mut self, asked: &[(&Session, u64)]) -> Vec<(FrameResult, Vec<u8>)> {
        let mut slots: Vec<Slot> = asked.iter().map(|_| Slot::new(self.avatar.slot_len())).collect();
        let mut requests: Vec<_> = asked
            .iter()
            .zip(&mut slots)
            .map(|((s, frame), slot)| FrameRequest::new(s, *frame, 2, slot))
            .collect();
        self.inferer.infer_batch(&mut requests);
        let results: Vec<FrameResult> = requests.into_iter().map(|r| r.result.unwrap()).collect();
        results
            .into_iter()
            .zip(slots)
            .map(|(result, slot)| (result, result.picture(&slot).to_vec()))
            .collect()
    }
}

#[test]
fn silence_shows_the_avatar_itself_and_speech_moves_the_mouth_until_it_rests() {
    let mut stage = Stage::new();
    let mut session = stage.session();
    session.push_audio(10 * FRAME as u64, &[0.0; 25 * FRAME], false).unwrap();
    session.push_audio(35 * FRAME as u64, &babble(2.0), true).unwrap();
    let before = stage.draw(&session, 0..10);
    assert!(before.iter().all(|(r, _)| r.at_rest && r.rect.is_empty()));
    let speech = stage.draw(&session, 36..85);
    assert!(speech.iter().all(|(r, _)| !r.at_rest));
    let moved = speech.iter().filter(|(r, _)| !r.rect.is_empty()).count();
    assert!(moved > 30, "{moved} of {}", speech.len());
    let pictures: std::collections::HashSet<&Vec<u8>> = speech.iter().map(|(_, p)| p).collect();
    assert!(pictures.len() > 20, "{} different pictures", pictures.len());

    let after = stage.draw(&session, 85..110);
    let rest = after.iter().position(|(r, _)| r.at_rest).unwrap();
    assert!((4..15).contains(&rest), "at rest {rest} frames after the speech");
    assert!(after[rest..].iter().all(|(r, _)| r.at_rest && r.rect.is_empty()));
}

#[test]
fn a_result_lies_where_its_mask_says_and_the_mask_fades_out_at_its_border() {
    let mut stage = Stage::new();
    let mut session = stage.session();
    session.push_audio(0, &babble(1.0), true).unwrap();
    let info = *stage.avatar.info();
    assert_eq!((info.canvas, info.frame_count), ((256, 320), 6));
    let (result, picture) = stage
        .draw(&session, 5..20)
        .into_iter()
        .find(|(r, _)| !r.rect.is_empty())
        .expect("speech moves the mouth");
    let mask = stage.avatar.frame_mask(2).unwrap();
    assert_eq!(result.rect, mask.rect);
    assert_eq!(picture.len() as u64, 3 * mask.rect.area());
    assert!(info.max_rect.contains(&mask.rect) && mask.rect.is_even());
    let alpha = mask.alpha.unwrap();
    let (width, height) = (mask.rect.width as usize, mask.rect.height as usize);
    assert!(alpha[..width].iter().chain(&alpha[(height - 1) * width..]).all(|a| *a == 0));
    assert_eq!(alpha[height / 2 * width + width / 2], 255);
    assert_eq!(stage.avatar.frame_mask(6).err().unwrap().code, Code::NotFound);
}

#[test]
fn batches_order_and_repetition_make_no_difference() {
    let mut stage = Stage::new();
    let (mut one, mut other) = (stage.session(), stage.session());
    let speech = babble(2.0);
    one.push_audio(0, &speech, true).unwrap();
    other.push_audio(0, &speech[3_000..], true).unwrap();
    let alone: Vec<_> = (0..30).map(|k| (stage.draw(&one, [k]), stage.draw(&other, [k]))).collect();
    for k in (0..30).rev() {
        let both = stage.batch(&[(&one, k), (&other, k)]);
        let (a, b) = &alone[k as usize];
        assert_eq!((&both[0].1, &both[1].1), (&a[0].1, &b[0].1), "frame {k}");
    }
}

#[test]
fn audio_beyond_the_lookahead_does_not_matter() {
    let mut stage = Stage::new();
    let lookahead = DemoBackend::descriptor().capabilities.lookahead_ms as usize * 16;
    let (mut short, mut long) = (stage.session(), stage.session());
    let speech = babble(2.0);
    long.push_audio(0, &speech, true).unwrap();
    let last = 24;
    let cut = (last as usize + 1) * FRAME + lookahead;
    short.push_audio(0, &speech[..cut], false).unwrap();
    let [a, b] = [&short, &long].map(|session| stage.draw(session, 0..=last));
    assert!(a.iter().zip(&b).all(|(a, b)| a.1 == b.1));
    assert!(a.iter().any(|(r, _)| !r.rect.is_empty()));
}

#[test]
fn a_reset_forgets_and_a_second_run_is_like_the_first() {
    let mut stage = Stage::new();
    let mut session = stage.session();
    let speech = babble(1.0);
    session.push_audio(0, &speech, true).unwrap();
    let first: Vec<_> = stage.draw(&session, 0..25).into_iter().map(|(_, p)| p).collect();
    session.reset(1).unwrap();
    assert!(stage.draw(&session, 25..30).iter().all(|(r, _)| r.at_rest && r.rect.is_empty()));
    session.push_audio(100 * FRAME as u64, &speech, true).unwrap();
    let second: Vec<_> = stage.draw(&session, 100..125).into_iter().map(|(_, p)| p).collect();
    assert!(first == second);
    let error = session.push_audio(0, &speech, true).err().unwrap();
    assert_eq!(error.code, Code::InvalidArg);
}

#[test]
fn frames_without_a_face_are_bridged_or_left_alone() {
    let mut clip = Clip { gaps: vec![0.0; 60], faceless: (30..60).chain([10, 11]).collect() };
    let avatar = create(&Value::Null).unwrap().load_avatar(&blob_of(&mut clip)).unwrap();
    let empty: Vec<u32> = (0..60).filter(|i| avatar.frame_mask(*i).unwrap().rect.is_empty()).collect();
    assert!(!empty.contains(&10) && !empty.contains(&11) && !empty.contains(&15), "{empty:?}");
    assert!((30..60).all(|i| empty.contains(&i)), "{empty:?}");

    clip.faceless = (0..60).collect();
    let error = create(&Value::Null)
        .unwrap()
        .prepare_avatar(&mut clip, &Value::Null, &mut Vec::new(), &NoProgress)
        .err()
        .unwrap();
    assert_eq!(error.code, Code::InvalidArg);
    assert!(error.message.starts_with("none of the 60 frames of 256x320 shows a face"), "{}", error.message);
}

#[test]
fn a_blob_is_the_same_each_time_and_small() {
    let [first, second] = [0, 1].map(|_| blob_of(&mut clip(&[0.0, 4.0, 8.0])));
    assert!(first == second);
    // A patch of 150 × 130 pixels or so, at one and a half bytes each.
    assert!(first.len() < 3 * 40_000, "{} bytes", first.len());
}

#[test]
fn a_damaged_blob_is_an_error_and_never_a_panic() {
    let instance = create(&Value::Null).unwrap();
    let blob = blob_of(&mut clip(&[0.0, 3.0]));
    let refused = |bytes: &[u8], what: &str| match instance.load_avatar(bytes) {
        Ok(_) => panic!("loaded although {what}"),
        Err(error) => assert_eq!(error.code, Code::BlobIncompatible, "{what}: {error}"),
    };
    for length in (0..100).chain((100..blob.len()).step_by(997)).chain([blob.len() - 1]) {
        refused(&blob[..length], &format!("cut to {length}"));
    }
    refused(&[&blob[..], &[0]].concat(), "a byte longer");
    for at in (0..100).chain((100..blob.len()).step_by(499)).chain(blob.len() - 900..blob.len()) {
        let mut bytes = blob.clone();
        bytes[at] ^= 1 << (at % 8);
        refused(&bytes, &format!("a bit of byte {at} is flipped"));
    }
    assert!(instance.load_avatar(&blob).is_ok());
}

#[test]
fn a_setting_it_does_not_have_is_refused() {
    let error = create(&json!({"smile": true})).err().unwrap();
    assert_eq!(
        (error.code, error.message.as_str()),
        (Code::InvalidArg, "the demo backend has no setting `smile`")
    );
}
