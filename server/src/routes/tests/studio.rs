//! A studio in memory, to test the dialects with: sessions and avatars without media.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lipcast_engine::avatar::{AvatarId, Job};
use lipcast_engine::session::black_box::{AvatarMark, BlackBox, Limits, Recording, Subject};
use lipcast_engine::time::FrameRate;

use crate::app::{
    AvatarSummary, BackendReport, BackendState, Census, Mode, OfferRequest, QueuedSpeech, Rejection,
    SessionEvents, SessionReport, SpeechSource, StartRequest, Started, Studio, StudioError,
};
use crate::files::OpenedMedia;
use crate::metrics::Metrics;

/// What the routes did to it can be looked at.
#[derive(Default)]
pub(super) struct MemoryStudio {
    pub(super) state: Mutex<State>,
    pub(super) metrics: Arc<Metrics>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) avatars: Vec<AvatarId>,
    pub(super) current: Option<AvatarId>,
    pub(super) sessions: BTreeMap<String, SessionReport>,
    pub(super) last_speech: Option<SpeechSource>,
    pub(super) model_ready: bool,
    pub(super) model_required: bool,
    pub(super) full: bool,
    pub(super) events: BTreeMap<String, Arc<SessionEvents>>,
    pub(super) draining: bool,
}

impl MemoryStudio {
    fn summary(id: AvatarId) -> AvatarSummary {
        let builtin = id.as_str() == "lipcast";
        AvatarSummary { id, width: 512, height: 512, fps: 25.0, frame_count: 100, builtin, notes: Vec::new() }
    }
}

#[async_trait]
impl Studio for MemoryStudio {
    fn backends(&self) -> Vec<BackendReport> {
        let ready = self.state.lock().unwrap().model_ready;
        let (state, mode, detail) = match ready {
            true => (BackendState::Ready, Some(Mode::Model), ""),
            false => (BackendState::Failed, None, "model.onnx is missing"),
        };
        vec![
            BackendReport {
                name: "onnx".into(),
                state,
                mode,
                detail: detail.into(),
                required: self.state.lock().unwrap().model_required,
                restarts: 0,
                process: None,
                capacity_fps: None,
                load_fps: 0,
                last_reload: None,
            },
            BackendReport {
                name: "demo".into(),
                state: BackendState::Ready,
                mode: Some(Mode::Demo),
                detail: String::new(),
                required: false,
                restarts: 0,
                process: None,
                capacity_fps: None,
                load_fps: 0,
                last_reload: None,
            },
        ]
    }

    async fn initialize(&self) -> Vec<BackendReport> {
        self.backends()
    }

    async fn reload(&self, backend: &str) -> Result<BackendReport, StudioError> {
        match self.backends().into_iter().find(|report| report.name == backend) {
            Some(report) if report.state == BackendState::Ready => Ok(report),
            Some(report) => Err(StudioError::Conflict(report.detail)),
            None => Err(StudioError::Unknown(format!("there is no backend \"{backend}\""))),
        }
    }

    fn current_avatar(&self) -> Option<AvatarId> {
        self.state.lock().unwrap().current.clone()
    }

    fn avatars(&self) -> Result<Vec<AvatarSummary>, StudioError> {
        let own = self.state.lock().unwrap().avatars.clone();
        let builtin = AvatarId::parse("lipcast").unwrap();
        Ok(std::iter::once(builtin).chain(own).map(Self::summary).collect())
    }

    fn poster(&self, id: &AvatarId) -> Result<Vec<u8>, StudioError> {
        match self.avatars()?.iter().any(|avatar| avatar.id == *id) {
            true => Ok(vec![0xff, 0xd8]),
            false => Err(StudioError::Unknown(format!("there is no avatar \"{id}\""))),
        }
    }

    fn delete_avatar(&self, id: &AvatarId) -> Result<(), StudioError> {
        let mut state = self.state.lock().unwrap();
        let before = state.avatars.len();
        state.avatars.retain(|avatar| avatar != id);
        match before == state.avatars.len() {
            true => Err(StudioError::Unknown(format!("there is no avatar \"{id}\""))),
            false => Ok(()),
        }
    }

    fn prepare(&self, id: &AvatarId, source: &OpenedMedia, job: &Job) -> Result<AvatarSummary, StudioError> {
        match std::fs::read_to_string(source.path()).map_err(StudioError::internal)?.as_str() {
            "no face" => return Err(StudioError::Invalid("no face was found in any frame".into())),
            "endless" => {
                while !job.is_cancelled() {
                    std::thread::yield_now();
                }
                return Err(StudioError::Cancelled);
            }
            "panic" => panic!("a broken decoder"),
            _ => {}
        }
        self.state.lock().unwrap().avatars.push(id.clone());
        Ok(Self::summary(id.clone()))
    }

    async fn start(&self, request: StartRequest) -> Result<Started, StudioError> {
        let avatars = self.avatars()?;
        let mut state = self.state.lock().unwrap();
        if state.full {
            return Err(StudioError::Busy {
                detail: "16 sessions run, the most there may be".into(),
                retry_after: 5,
                reason: Rejection::Sessions,
            });
        }
        if state.sessions.contains_key(&request.session) {
            return Err(StudioError::Conflict(format!("session \"{}\" is running", request.session)));
        }
        let avatar = request.avatar.or(state.current.clone()).unwrap_or(AvatarId::parse("lipcast").unwrap());
        if !avatars.iter().any(|known| known.id == avatar) {
            return Err(StudioError::Unknown(format!("there is no avatar \"{avatar}\"")));
        }
        let report = SessionReport {
            session_id: request.session.clone(),
            avatar_id: avatar.clone(),
            backend: Some("demo".into()),
            moves: 0,
            last_move: None,
            mode: Mode::Demo,
            fps: 25.0,
            sample_rate: 16_000,
            video_queue: 3,
            audio_queue: 1,
            is_generating: true,
            utterances: 1,
            viewers: 0,
            held_frames: 0,
        };
        state.sessions.insert(request.session, report);
        state.current = Some(avatar.clone());
        state.last_speech = Some(request.speech);
        Ok(Started { avatar, backend: "demo".into(), mode: Mode::Demo, fps: 25.0 })
    }

    async fn speak(&self, session: &str, speech: SpeechSource) -> Result<QueuedSpeech, StudioError> {
        let seconds = self.speech_seconds(&speech)?;
        let mut state = self.state.lock().unwrap();
        let Some(report) = state.sessions.get_mut(session) else {
            return Err(StudioError::Unknown(format!("there is no session \"{session}\"")));
        };
        if report.utterances == 3 {
            return Err(StudioError::Conflict("2 utterances wait already".into()));
        }
        let position = report.utterances;
        report.utterances += 1;
        state.last_speech = Some(speech);
        Ok(QueuedSpeech { utterance_id: position as u64, position, seconds })
    }

    fn speech_seconds(&self, speech: &SpeechSource) -> Result<Option<f64>, StudioError> {
        match speech {
            SpeechSource::Nothing => Ok(Some(0.0)),
            SpeechSource::Builtin => Ok(Some(9.5)),
            SpeechSource::File(file) => {
                let bytes = std::fs::read(file.path()).map_err(StudioError::internal)?;
                match bytes.starts_with(b"RIFF") {
                    true => Ok((bytes.len() > 4).then_some(bytes.len() as f64)),
                    false => Err(StudioError::Invalid(format!("{} is no sound", file.name()))),
                }
            }
        }
    }

    fn check_speech(&self, file: &OpenedMedia) -> Result<f64, StudioError> {
        Ok(self.speech_seconds(&SpeechSource::File(file.clone()))?.unwrap_or(1.5))
    }

    async fn stop(&self, session: &str) -> Result<(), StudioError> {
        match self.state.lock().unwrap().sessions.remove(session) {
            Some(_) => Ok(()),
            None => Err(StudioError::Unknown(format!("there is no session \"{session}\""))),
        }
    }

    fn session(&self, session: &str) -> Option<SessionReport> {
        self.state.lock().unwrap().sessions.get(session).cloned()
    }

    fn events(&self, session: &str) -> Option<Arc<SessionEvents>> {
        let mut state = self.state.lock().unwrap();
        state
            .sessions
            .contains_key(session)
            .then(|| state.events.entry(session.to_owned()).or_default().clone())
    }

    fn recording(&self, session: &str) -> Result<Recording, StudioError> {
        let Some(report) = self.session(session) else {
            return Err(StudioError::Unknown("there is no such session".to_owned()));
        };
        let id = report.avatar_id.as_str().to_owned();
        let avatar =
            AvatarMark { id, frames_blake3: String::new(), frame_count: 100, width: 512, height: 512 };
        let (session, program) = (session.to_owned(), "lipcast".to_owned());
        let (fps, settings) = (FrameRate::FPS_25, BTreeMap::new());
        let subject = Subject { session, program, avatar, fps, settings };
        let black_box = BlackBox::new(subject, Limits::of(Duration::from_secs(1)));
        black_box.end("it was stopped");
        Ok(black_box.recording())
    }

    async fn drain(&self, _: Duration) {
        self.state.lock().unwrap().draining = true;
    }

    fn is_draining(&self) -> bool {
        self.state.lock().unwrap().draining
    }

    fn sessions(&self) -> Vec<SessionReport> {
        self.state.lock().unwrap().sessions.values().cloned().collect()
    }

    async fn offer(&self, request: OfferRequest) -> Result<String, StudioError> {
        if self.session(&request.session).is_none() {
            return Err(StudioError::Unknown(format!("there is no session \"{}\"", request.session)));
        }
        if request.sdp == "secret" {
            return Err(StudioError::internal("/srv/secret/key is unreadable"));
        }
        if !request.sdp.starts_with("v=0") {
            return Err(StudioError::Invalid(
                "the SDP offer cannot be read: it does not begin with v=0".into(),
            ));
        }
        Ok("v=0 answer".into())
    }

    fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    fn census(&self) -> Census {
        Census { running: self.state.lock().unwrap().sessions.len(), ..Census::default() }
    }

    async fn shut_down(&self) {}
}
