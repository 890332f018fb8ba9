//! Backends alone on the bench: opened as a server opens them, without avatars on disk, without encoding.
//!
//! In: what the settings would say of each. Out: their replies, one frame at a time.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use lipcast_engine::avatar::Job;
use lipcast_engine::backend::supervisor::Policy;
use lipcast_engine::backend::{
    AvatarSource, BackendError, BackendReport, Backends, FrameReply, FrameRequest, Instance, LoadedAvatar,
    Outcome, Patch, RequestFlags, SessionParams, SessionPort,
};
use lipcast_engine::time::FrameRate;
use lipcast_plugins_api::types::Error;
use serde_json::Value;

use crate::config::{BackendConfig, BackendSource, EngineConfig, Isolation};
use crate::studio::{StudioOpenError, last_resort, spec};

/// Frames a second of every avatar here.
const FPS: u32 = 25;

/// Samples of 16 kHz that belong to a frame.
const FRAME_SAMPLES: u64 = 16_000 / FPS as u64;

/// How long a reply may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a measurement came to no end.
#[derive(Debug, thiserror::Error)]
pub enum StandError {
    /// The rest of the program.
    #[error(transparent)]
    Open(#[from] StudioOpenError),
    /// A backend that did not come up.
    #[error("{name} is not ready: {reason}")]
    NotReady {
        /// Its name.
        name: String,
        /// Its state in words.
        reason: String,
    },
    /// A call of a backend.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A reply that should not have been.
    #[error("a frame was answered with {0}")]
    Reply(String),
    /// A file or a clock of the system.
    #[error("{what}: {source}")]
    System {
        /// What was looked at.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

/// A backend as `config.toml` would name it.
pub fn backend(name: &str, library: &str, isolation: Isolation, config: Value) -> BackendConfig {
    BackendConfig {
        name: name.to_owned(),
        source: BackendSource::Library(PathBuf::from(library)),
        preload: Vec::new(),
        folder: PathBuf::from("/"),
        isolation,
        required: false,
        init_timeout: Duration::from_secs(30),
        hard_deadline: Duration::from_secs(10),
        memory_limit: 0,
        max_backoff: Duration::from_secs(30),
        max_deaths: 5,
        core_dumps: false,
        config,
    }
}

/// Backends that are kept up.
pub struct Stand {
    backends: Arc<Backends>,
}

impl Stand {
    /// Opens all of them and waits until each is ready or has failed; `temper` changes how patient their supervisors
    /// are.
    ///
    /// # Errors
    /// When not even the built-in backend can be opened.
    pub fn open(
        engine: &EngineConfig,
        wanted: &[BackendConfig],
        temper: impl Fn(&mut Policy),
    ) -> Result<Self, StandError> {
        let tempered = |backend: &BackendConfig| {
            let mut spec = spec(engine, backend);
            temper(&mut spec.policy);
            spec
        };
        let backends = Backends::open(wanted.iter().map(tempered).collect(), last_resort()?);
        backends.wait_settled();
        Ok(Self { backends })
    }

    /// How `name` is doing.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn report(&self, name: &str) -> Result<BackendReport, StandError> {
        let found = self.backends.report().into_iter().find(|report| report.name == name);
        found.ok_or_else(|| StandError::NotReady { name: name.to_owned(), reason: "it is not there".into() })
    }

    /// The instance of `name` that serves.
    ///
    /// # Errors
    /// When none does.
    pub fn instance(&self, name: &str) -> Result<Arc<dyn Instance>, StandError> {
        let found = self.backends.ready().into_iter().find(|instance| instance.name() == name);
        found.ok_or_else(|| {
            let reason = self.report(name).map_or_else(|error| error.to_string(), |report| report.detail);
            StandError::NotReady { name: name.to_owned(), reason }
        })
    }

    /// Waits for a change of any backend's state after `known`, at most for `patience`.
    pub fn wait_changed(&self, known: u64, patience: Duration) {
        self.backends.wait_changed(known, patience);
    }

    /// Counts changes of any backend's state.
    pub fn changes(&self) -> u64 {
        self.backends.changes()
    }
}

/// A session with nobody watching.
pub struct Line {
    port: Box<dyn SessionPort>,
    replies: Receiver<FrameReply>,
    /// The next one.
    frame: u64,
    /// Frames whose audio was pushed.
    heard: u64,
}

impl Line {
    /// Opens a session over an avatar that is nothing but a canvas of `size`.
    ///
    /// # Errors
    /// When the backend refuses the canvas or the session.
    pub fn open(instance: &dyn Instance, size: (u32, u32)) -> Result<Self, StandError> {
        let mut blob = Vec::new();
        instance.prepare_avatar(&mut Blank(size), &mut blob, &Job::new())?;
        Self::over(instance, &instance.load_avatar(&blob)?)
    }

    /// Opens a session over `avatar`.
    fn over(instance: &dyn Instance, avatar: &Arc<dyn LoadedAvatar>) -> Result<Self, StandError> {
        let (sender, replies) = unbounded();
        let params = SessionParams { fps: FrameRate::FPS_25, whole: false };
        let port = instance.open_session(avatar, params, sender)?;
        Ok(Self { port, replies, frame: 0, heard: 0 })
    }

    /// Pushes the audio of the next `frames` frames, in one piece, if that of the next one is not there yet.
    pub fn hear(&mut self, frames: u64) {
        if self.heard <= self.frame {
            let pcm = vec![0.1; (frames * FRAME_SAMPLES) as usize];
            self.port.push_audio(self.heard * FRAME_SAMPLES, pcm, false);
            self.heard += frames;
        }
    }

    /// Asks for the next frame.
    pub fn ask(&mut self) {
        let frame = self.frame;
        self.frame += 1;
        self.port.request(FrameRequest {
            seq: frame,
            epoch: 0,
            frame,
            avatar_frame: 0,
            deadline: None,
            flags: RequestFlags::default(),
        });
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// When none comes.
    pub fn outcome(&self) -> Result<Outcome, StandError> {
        let reply = self.replies.recv_timeout(PATIENCE);
        reply.map(|reply| reply.outcome).map_err(|error| StandError::Reply(format!("nothing: {error}")))
    }

    /// The next frame, as a picture.
    ///
    /// # Errors
    /// When there is none.
    pub fn draw(&mut self) -> Result<Patch, StandError> {
        self.hear(1);
        self.ask();
        match self.outcome()? {
            Outcome::Patch(patch) => Ok(patch),
            other => Err(StandError::Reply(format!("{other:?}"))),
        }
    }
}

/// An avatar of one frame that nobody looks at.
struct Blank((u32, u32));

impl AvatarSource for Blank {
    fn frame_count(&self) -> u32 {
        1
    }
    fn size(&self) -> (u32, u32) {
        self.0
    }
    fn fps(&self) -> (u32, u32) {
        (FPS, 1)
    }
    fn frame(&mut self, _index: u32, rgb: &mut Vec<u8>) -> Result<(), Error> {
        rgb.clear();
        rgb.resize(self.0.0 as usize * self.0.1 as usize * 3, 0);
        Ok(())
    }
    fn landmarks(&self, _index: u32) -> Option<[[f32; 2]; 68]> {
        None
    }
    fn face_box(&self, _index: u32) -> Option<[f32; 4]> {
        None
    }
}
