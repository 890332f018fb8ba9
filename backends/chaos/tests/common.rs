//! A host for the chaos backend: an avatar without pictures, and a session of it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::sync::{Arc, Mutex};

use lipcast_plugins_api::loader::{
    Avatar, FrameRequest, FrameResult, HostServices, Inferer, Instance, NoProgress, Plugin, Slot, Source,
};
use lipcast_plugins_api::serde_json::{Value, json};
use lipcast_plugins_api::types::{Error, LogLevel, SessionMode, SessionParams};
use lipcast_probe::barcode::{self, Barcode};

/// An avatar of ten frames without faces.
pub(crate) struct Blank;

impl Source for Blank {
    fn frame_count(&self) -> u32 {
        10
    }
    fn size(&self) -> (u32, u32) {
        (320, 240)
    }
    fn fps(&self) -> (u32, u32) {
        (25, 1)
    }
    fn frame(&mut self, _index: u32, _rgb: &mut Vec<u8>) -> Result<(), Error> {
        Err(Error::not_found("chaos does not look at frames"))
    }
    fn landmarks(&self, _index: u32) -> Option<[[f32; 2]; 68]> {
        None
    }
    fn face_box(&self, _index: u32) -> Option<[f32; 4]> {
        None
    }
}

/// Keeps every line of log.
#[derive(Default)]
pub(crate) struct Listener(pub(crate) Mutex<Vec<String>>);

impl HostServices for Listener {
    fn log(&self, _level: LogLevel, _target: &str, message: &str, _fields_json: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

/// An instance with one avatar.
pub(crate) struct Stage {
    pub(crate) instance: Instance,
    pub(crate) inferer: Inferer,
    pub(crate) avatar: Avatar,
    pub(crate) listener: Arc<Listener>,
}

/// Settings with one fault.
pub(crate) fn fault(fault: Value) -> Value {
    json!({ "faults": [fault] })
}

pub(crate) fn create(config: &Value, listener: Arc<Listener>) -> Result<Instance, Error> {
    Plugin::linked(lipcast_chaos::plugin()).unwrap().create(listener, config, &NoProgress)
}

pub(crate) fn blob(instance: &Instance) -> Result<Vec<u8>, Error> {
    let mut blob = Vec::new();
    instance.prepare_avatar(&mut Blank, &Value::Null, &mut blob, &NoProgress)?;
    Ok(blob)
}

pub(crate) const PARAMS: SessionParams =
    SessionParams { mode: SessionMode::Live, canvas: (320, 240), fps: (25, 1), params: Value::Null };

impl Stage {
    pub(crate) fn new(config: &Value) -> Self {
        let listener = Arc::<Listener>::default();
        let instance = create(config, listener.clone()).unwrap();
        let avatar = instance.load_avatar(&blob(&instance).unwrap()).unwrap();
        Self { inferer: instance.inferer().unwrap(), instance, avatar, listener }
    }

    /// Draws `frames` of a session that heard `pcm`, each alone: the slot's bytes, and how it went.
    pub(crate) fn draw(
        &mut self,
        pcm: &[f32],
        frames: std::ops::Range<u64>,
    ) -> Vec<(Vec<u8>, Result<FrameResult, Error>)> {
        let mut session = self.inferer.open_session(&self.avatar, &PARAMS).unwrap();
        session.push_audio(0, pcm, true).unwrap();
        frames
            .map(|frame| {
                let mut slot = Slot::new(self.avatar.slot_len());
                let mut batch = [FrameRequest::new(&session, frame, 7, &mut slot)];
                self.inferer.infer_batch(&mut batch);
                let [request] = batch;
                let result = request.result;
                (slot.bytes().to_vec(), result)
            })
            .collect()
    }
}

/// Speech: a sound that never repeats.
pub(crate) fn speech(samples: usize) -> Vec<f32> {
    (0..samples).map(|i| (i as f32 * 0.03 + (i as f32 * 0.0007).sin() * 9.0).sin() * 0.4).collect()
}

/// The barcode of a picture that lies at the barcode's place.
pub(crate) fn read(bytes: &[u8], result: &FrameResult) -> Option<Barcode> {
    let rect = result.rect;
    let mut luma = vec![99; 320 * 240];
    for (y, row) in bytes.chunks(rect.width as usize).take(rect.height as usize).enumerate() {
        let start = (y + rect.y as usize) * 320 + rect.x as usize;
        luma[start..start + row.len()].copy_from_slice(row);
    }
    barcode::read(&luma, 320, 240, 320)
}
