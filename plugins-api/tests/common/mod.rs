//! A host and an avatar for the tests, and the way to compiled examples.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use lipcast_plugins_api::loader::{Avatar, HostServices, Inferer, Instance, NoProgress, Session, Source};
use lipcast_plugins_api::serde_json::Value;
use lipcast_plugins_api::types::{Error, LogLevel, SessionMode, SessionParams};

/// The built example `name`; cargo builds examples before tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().unwrap().parent().unwrap();
    target.join("examples").join(format!("lib{name}.so"))
}

/// Keeps every line of log.
#[derive(Default)]
pub(crate) struct Listener {
    pub(crate) lines: Mutex<Vec<String>>,
}

impl HostServices for Listener {
    fn log(&self, level: LogLevel, target: &str, message: &str, _fields_json: &str) {
        self.lines.lock().unwrap().push(format!("{level:?} {target}: {message}"));
    }
}

/// Grey frames of 64x48, a face in each but the last.
pub(crate) struct GreyFrames {
    pub(crate) count: u32,
}

impl Source for GreyFrames {
    fn frame_count(&self) -> u32 {
        self.count
    }

    fn size(&self) -> (u32, u32) {
        (64, 48)
    }

    fn fps(&self) -> (u32, u32) {
        (25, 1)
    }

    fn frame(&mut self, index: u32, rgb: &mut Vec<u8>) -> Result<(), Error> {
        rgb.clear();
        rgb.resize(64 * 48 * 3, index as u8);
        Ok(())
    }

    fn landmarks(&self, index: u32) -> Option<[[f32; 2]; 68]> {
        (index + 1 < self.count).then_some([[1.0, 2.0]; 68])
    }

    fn face_box(&self, index: u32) -> Option<[f32; 4]> {
        (index + 1 < self.count).then_some([8.0, 8.0, 40.0, 40.0])
    }

    fn assets(&self) -> Vec<String> {
        vec!["weights.bin".into()]
    }

    fn asset(&self, name: &str) -> Option<Arc<[u8]>> {
        (name == "weights.bin").then(|| Arc::from(*b"trained"))
    }
}

/// Prepares and loads [`GreyFrames`] of `count` frames.
pub(crate) fn avatar(instance: &Instance, count: u32) -> Avatar {
    let mut blob = Vec::new();
    instance.prepare_avatar(&mut GreyFrames { count }, &Value::Null, &mut blob, &NoProgress).unwrap();
    instance.load_avatar(&blob).unwrap()
}

/// A live session of 25 frames a second over `avatar`.
pub(crate) fn session(inferer: &Inferer, avatar: &Avatar) -> Session {
    inferer.open_session(avatar, &params()).unwrap()
}

pub(crate) fn params() -> SessionParams {
    SessionParams { mode: SessionMode::Live, canvas: (64, 48), fps: (25, 1), params: Value::Null }
}
