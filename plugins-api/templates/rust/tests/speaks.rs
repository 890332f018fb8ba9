//! The backend as a server meets it: prepared, loaded, spoken to.

use std::sync::Arc;

use lipcast_plugins_api::author::plugin_table;
use lipcast_plugins_api::loader::{FrameRequest, Instance, NoProgress, Plugin, SilentHost, Slot, Source};
use lipcast_plugins_api::serde_json::{Value, json};
use lipcast_plugins_api::types::{Code, Error, SessionMode, SessionParams};
use talker::Talker;

/// Two grey frames of 128 by 96; the second has no face.
struct Grey;

impl Source for Grey {
    fn frame_count(&self) -> u32 {
        2
    }
    fn size(&self) -> (u32, u32) {
        (128, 96)
    }
    fn fps(&self) -> (u32, u32) {
        (25, 1)
    }
    fn frame(&mut self, _index: u32, rgb: &mut Vec<u8>) -> Result<(), Error> {
        rgb.clear();
        rgb.resize(128 * 96 * 3, 128);
        Ok(())
    }
    fn landmarks(&self, index: u32) -> Option<[[f32; 2]; 68]> {
        // A mouth 32 wide with its line at row 48; the other points do not matter here.
        let mut points = [[64.0, 48.0]; 68];
        (points[48], points[54]) = ([48.0, 48.0], [80.0, 48.0]);
        (index == 0).then_some(points)
    }
    fn face_box(&self, _index: u32) -> Option<[f32; 4]> {
        None
    }
}

fn create(config: &Value) -> Result<Instance, Error> {
    let plugin = Plugin::linked(plugin_table::<Talker>()).unwrap();
    plugin.create(Arc::new(SilentHost), config, &NoProgress)
}

fn blob(instance: &Instance) -> Vec<u8> {
    let mut blob = Vec::new();
    instance.prepare_avatar(&mut Grey, &Value::Null, &mut blob, &NoProgress).unwrap();
    blob
}

#[test]
fn the_mouth_opens_in_speech_and_rests_in_silence() {
    let instance = create(&json!({"strength": 1.5})).unwrap();
    let avatar = instance.load_avatar(&blob(&instance)).unwrap();
    let mut inferer = instance.inferer().unwrap();
    let params =
        SessionParams { mode: SessionMode::Live, canvas: (128, 96), fps: (25, 1), params: Value::Null };
    let mut session = inferer.open_session(&avatar, &params).unwrap();
    // Four frames of speech, and then none.
    session.push_audio(0, &[0.3; 4 * 640], true).unwrap();
    let mut slot = Slot::new(avatar.slot_len());
    for frame in 0..7 {
        let mut batch = [FrameRequest::new(&session, frame, 0, &mut slot)];
        inferer.infer_batch(&mut batch);
        let [request] = batch;
        let result = request.result.unwrap();
        // 40 ms before a frame are heard too, so frame 4 still moves.
        assert_eq!(result.rect.is_empty(), frame > 4, "frame {frame}");
        assert_eq!(result.at_rest, frame > 4, "frame {frame}");
        let is_dark = |pixel: &[u8]| pixel[0] == 60 && pixel[3] == 255;
        let dark = result.picture(&slot).chunks(4).filter(|pixel| is_dark(pixel)).count();
        assert_eq!(dark > 20, frame <= 4, "frame {frame}: {dark} dark pixels");
    }
    let mut batch = [FrameRequest::new(&session, 3, 1, &mut slot)];
    inferer.infer_batch(&mut batch);
    assert!(batch[0].result.as_ref().unwrap().rect.is_empty(), "no face, so nothing is painted");
}

#[test]
fn settings_and_blobs_are_not_believed() {
    for config in [json!({"strenght": 1}), json!({"strength": 3}), json!({"strength": "much"}), json!(7)] {
        assert_eq!(create(&config).err().unwrap().code, Code::InvalidArg, "{config}");
    }
    let instance = create(&Value::Null).unwrap();
    let whole = blob(&instance);
    for length in [0, 1, 24, whole.len() - 1] {
        assert_eq!(instance.load_avatar(&whole[..length]).err().unwrap().code, Code::BlobIncompatible);
    }
}
