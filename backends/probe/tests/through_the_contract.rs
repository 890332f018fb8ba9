//! The probe as a host meets it: through the table, from prepare to picture.

use std::sync::Arc;

use lipcast_plugins_api::author::plugin_table;
use lipcast_plugins_api::loader::{
    Avatar, FrameRequest, Inferer, Instance, NoProgress, Plugin, SilentHost, Slot, Source,
};
use lipcast_plugins_api::serde_json::{Value, json};
use lipcast_plugins_api::types::{Code, Error, PixelFormat, Rect, SessionMode, SessionParams};
use lipcast_probe::barcode::{self, Barcode};
use lipcast_probe::{ProbeBackend, canvas};

/// An avatar without faces.
struct Blank {
    width: u32,
}

impl Source for Blank {
    fn frame_count(&self) -> u32 {
        10
    }
    fn size(&self) -> (u32, u32) {
        (self.width, 240)
    }
    fn fps(&self) -> (u32, u32) {
        (30_000, 1001)
    }
    fn frame(&mut self, _index: u32, _rgb: &mut Vec<u8>) -> Result<(), Error> {
        Err(Error::not_found("the probe does not look at frames"))
    }
    fn landmarks(&self, _index: u32) -> Option<[[f32; 2]; 68]> {
        None
    }
    fn face_box(&self, _index: u32) -> Option<[f32; 4]> {
        None
    }
}

fn instance(config: &Value) -> Result<Instance, Error> {
    Plugin::linked(plugin_table::<ProbeBackend>()).unwrap().create(Arc::new(SilentHost), config, &NoProgress)
}

fn open(config: &Value) -> (Inferer, Avatar, SessionParams) {
    let instance = instance(config).unwrap();
    let mut blob = Vec::new();
    instance.prepare_avatar(&mut Blank { width: 320 }, &Value::Null, &mut blob, &NoProgress).unwrap();
    let avatar = instance.load_avatar(&blob).unwrap();
    let params = SessionParams {
        mode: SessionMode::Live,
        canvas: (320, 240),
        fps: (30_000, 1001),
        params: Value::Null,
    };
    (instance.inferer().unwrap(), avatar, params)
}

#[test]
fn barcode_mode_writes_both_frame_numbers_and_comes_to_rest() {
    let (mut inferer, avatar, params) = open(&Value::Null);
    let mut session = inferer.open_session(&avatar, &params).unwrap();
    session.push_audio(params.first_sample(1_000), &[0.1; 1000], true).unwrap();
    for (frame, at_rest) in [(1_000, false), (1_001, false), (1_002, true)] {
        let mut slot = Slot::new(avatar.slot_len());
        let mut batch = [FrameRequest::new(&session, frame, 7, &mut slot)];
        inferer.infer_batch(&mut batch);
        let [request] = batch;
        let result = request.result.unwrap();
        assert_eq!(result.at_rest, at_rest, "frame {frame}");

        let rect = result.rect;
        let mut luma = vec![99; 320 * 240];
        for (y, row) in slot.bytes().chunks(rect.width as usize).take(rect.height as usize).enumerate() {
            let start = (y + rect.y as usize) * 320 + rect.x as usize;
            luma[start..start + row.len()].copy_from_slice(row);
        }
        assert_eq!(barcode::read(&luma, 320, 240, 320), Some(Barcode::new(frame, 7)));
    }
}

#[test]
fn flash_mode_lights_exactly_the_frame_that_holds_the_onset() {
    let (mut inferer, avatar, params) = open(&json!({"mode": "flash", "threshold": 0.5}));
    // One click on the first sample of frame 3, one on the last of frame 8, 20 ms long each.
    let onsets = [params.first_sample(3), params.first_sample(9) - 1];
    let mut pcm = vec![0.0; 16_000];
    for onset in onsets {
        for i in 0..320 {
            pcm[onset as usize + i] = if i / 8 % 2 == 0 { 0.8 } else { -0.8 };
        }
    }
    let mut session = inferer.open_session(&avatar, &params).unwrap();
    session.push_audio(0, &pcm, true).unwrap();
    let lit: Vec<u64> = (0..15)
        .filter(|frame| {
            let mut slot = Slot::new(avatar.slot_len());
            let mut batch = [FrameRequest::new(&session, *frame, 0, &mut slot)];
            inferer.infer_batch(&mut batch);
            let [request] = batch;
            let result = request.result.unwrap();
            let luma = &slot.bytes()[..result.rect.area() as usize];
            assert!(luma.iter().all(|value| *value == luma[0]) && [16, 235].contains(&luma[0]));
            luma[0] == 235
        })
        .collect();
    assert_eq!(lit, [3, 8]);
}

#[test]
fn canvas_mode_writes_every_byte_of_the_canvas() {
    for (format, expected) in [("rgb", PixelFormat::Rgb24), ("i420", PixelFormat::I420)] {
        let (mut inferer, avatar, params) = open(&json!({"mode": "canvas", "format": format}));
        let session = inferer.open_session(&avatar, &params).unwrap();
        for frame in [0, 1, 300] {
            let mut slot = Slot::new(avatar.slot_len());
            let mut batch = [FrameRequest::new(&session, frame, 0, &mut slot)];
            inferer.infer_batch(&mut batch);
            let [request] = batch;
            let result = request.result.unwrap();
            assert_eq!((result.rect, result.format), (Rect::new(0, 0, 320, 240), expected));
            let wrong =
                result.picture(&slot).iter().zip(0..).find(|(byte, at)| **byte != canvas::value(frame, *at));
            assert_eq!(wrong, None, "{format}, frame {frame}");
        }
    }
}

#[test]
fn wrong_settings_and_small_canvases_are_refused_with_a_reason() {
    for (config, reason) in [
        (json!({"mode": "strobe"}), "`mode` is \"barcode\", \"flash\" or \"canvas\", not \"strobe\""),
        (json!({"mode": "canvas", "format": "rgba"}), "`format` is \"rgb\" or \"i420\", not \"rgba\""),
        (json!({"mode": "flash", "threshold": 2}), "`threshold` is above 0 and at most 1, not 2"),
        (
            json!({"colour": 1}),
            "the probe has no setting `colour`; it has `mode`, `threshold`, `late_frames` and `format`",
        ),
    ] {
        let error = instance(&config).err().unwrap();
        assert_eq!((error.code, error.message.as_str()), (Code::InvalidArg, reason));
    }
    let instance = instance(&Value::Null).unwrap();
    let error = instance
        .prepare_avatar(&mut Blank { width: 64 }, &Value::Null, &mut Vec::new(), &NoProgress)
        .unwrap_err();
    assert_eq!(error.message, "a canvas of 64x240 is too small for a barcode");
}
