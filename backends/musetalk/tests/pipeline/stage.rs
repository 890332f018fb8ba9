//! An instance with one avatar, as a host has it.

use std::sync::{Arc, Mutex};

use lipcast_musetalk::MuseTalk;
use lipcast_plugins_api::author::plugin_table;
use lipcast_plugins_api::loader::{
    Avatar, FrameRequest, FrameResult, HostServices, Inferer, Instance, NoProgress, Plugin, Progress,
    Session, SilentHost, Slot,
};
use lipcast_plugins_api::types::{Code, Error, LogLevel, SessionMode, SessionParams};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::arithmetic::Arithmetic;
use super::bundle::{self, FOUR};
use super::clip::{Clip, HEIGHT, WIDTH};

/// Samples of a video frame at 25 frames a second.
pub const FRAME: usize = 640;

pub type Drawn = Result<(FrameResult, Vec<u8>), Error>;

pub fn create(config: &Value) -> Result<Instance, Error> {
    create_with(config, &NoProgress)
}

pub fn create_with(config: &Value, progress: &dyn Progress) -> Result<Instance, Error> {
    plugin().create(Arc::new(SilentHost), config, progress)
}

pub fn plugin() -> Plugin {
    Plugin::linked(plugin_table::<MuseTalk<Arithmetic>>()).expect("a backend of our own contract")
}

pub fn prepare(instance: &Instance, clip: &Clip) -> Result<Vec<u8>, Error> {
    let mut blob = Vec::new();
    instance.prepare_avatar(&mut clip.clone(), &Value::Null, &mut blob, &NoProgress)?;
    Ok(blob)
}

/// The code of a call that has to fail, and its line.
pub fn refusal<T>(done: Result<T, Error>) -> (Code, String) {
    match done {
        Ok(_) => panic!("it was taken"),
        Err(error) => (error.code, error.message),
    }
}

/// Keeps what is logged: message and fields.
#[derive(Clone, Default)]
pub struct Diary(Arc<Mutex<Vec<(String, Value)>>>);

impl Diary {
    pub fn entries(&self) -> Vec<(String, Value)> {
        self.0.lock().unwrap().clone()
    }
}

impl HostServices for Diary {
    fn log(&self, _level: LogLevel, _target: &str, message: &str, fields_json: &str) {
        let fields = serde_json::from_str(fields_json).unwrap_or_default();
        self.0.lock().unwrap().push((message.to_owned(), fields));
    }
}

/// Wants a long call to end once it has told its progress so often; 0: from the start.
pub struct Impatient {
    pub after: usize,
    pub told: Mutex<Vec<(u32, String)>>,
}

impl Impatient {
    pub fn after(after: usize) -> Self {
        Self { after, told: Mutex::default() }
    }
}

impl Progress for Impatient {
    fn is_cancelled(&self) -> bool {
        self.told.lock().unwrap().len() >= self.after
    }
    fn progress(&self, permille: u32, stage: &str) {
        self.told.lock().unwrap().push((permille, stage.to_owned()));
    }
}

pub struct Stage {
    pub instance: Instance,
    pub avatar: Avatar,
    inferer: Inferer,
    _folder: TempDir,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(json!({}), &Clip::default())
    }

    /// With settings of its own, a bundle of the four networks, and `clip` for an avatar.
    pub fn with(settings: Value, clip: &Clip) -> Self {
        Self::over(bundle::of(&FOUR), settings, clip)
    }

    pub fn over(folder: TempDir, settings: Value, clip: &Clip) -> Self {
        let instance = create(&bundle::settings(folder.path(), settings)).unwrap();
        let avatar = instance.load_avatar(&prepare(&instance, clip).unwrap()).unwrap();
        Self { inferer: instance.inferer().unwrap(), instance, avatar, _folder: folder }
    }

    pub fn session(&self) -> Session {
        self.open(SessionMode::Live, (25, 1)).unwrap()
    }

    pub fn open(&self, mode: SessionMode, fps: (u32, u32)) -> Result<Session, Error> {
        let params = SessionParams { mode, canvas: (WIDTH, HEIGHT), fps, params: Value::Null };
        self.inferer.open_session(&self.avatar, &params)
    }

    /// One batch of requests: session, video frame, avatar frame; `change` may change them before they are
    /// asked.
    pub fn ask(
        &mut self,
        asked: &[(&Session, u64, u32)],
        change: impl Fn(usize, &mut FrameRequest<'_>),
    ) -> Vec<Drawn> {
        let mut slots: Vec<Slot> = asked.iter().map(|_| Slot::new(self.avatar.slot_len())).collect();
        let mut requests: Vec<_> = asked
            .iter()
            .zip(&mut slots)
            .map(|((session, frame, on), slot)| FrameRequest::new(session, *frame, *on, slot))
            .collect();
        requests.iter_mut().enumerate().for_each(|(at, request)| change(at, request));
        self.inferer.infer_batch(&mut requests);
        let results: Vec<_> = requests.into_iter().map(|request| request.result).collect();
        results
            .into_iter()
            .zip(slots)
            .map(|(result, slot)| result.map(|r| (r, r.picture(&slot).to_vec())))
            .collect()
    }

    /// Frames of one session on avatar frame 2, in batches as large as may be.
    pub fn draw(
        &mut self,
        session: &Session,
        frames: impl IntoIterator<Item = u64>,
    ) -> Vec<(FrameResult, Vec<u8>)> {
        let asked: Vec<_> = frames.into_iter().map(|frame| (session, frame, 2)).collect();
        asked.chunks(16).flat_map(|batch| self.ask(batch, |_, _| ())).map(Result::unwrap).collect()
    }

    pub fn count(&self, key: &str) -> u64 {
        self.instance.stats().unwrap().unwrap()[key].as_u64().unwrap()
    }
}
