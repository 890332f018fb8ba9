//! The studio over the engine: avatars from the store, backends that are ready, sessions that run.

mod clips;
mod performance;
mod stages;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lipcast_codecs::VideoCodec;
use lipcast_engine::audio::{SpeechDecoder, SpeechLimits};
use lipcast_engine::avatar::{Avatar, AvatarId, Job};
use lipcast_engine::session::live::{LiveConfig, SpeakError};
use tracing::Instrument;

use self::clips::Clips;
use self::performance::{BeginError, Cast, Performance};
use crate::app::{
    AvatarSummary, BackendReport, OfferRequest, QueuedSpeech, SessionReport, SpeechSource, StartRequest,
    Started, Studio, StudioError,
};
use crate::config::{CodecName, Config};
use crate::files::OpenedMedia;
use crate::webrtc::WebrtcSettings;

pub use self::stages::{Stages, StudioOpenError};

/// Avatars, backends and sessions of one server. Clones share them.
#[derive(Clone)]
pub struct EngineStudio {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<Config>,
    webrtc: WebrtcSettings,
    stages: Stages,
    clips: Clips,
    current: Mutex<Option<AvatarId>>,
    sessions: Mutex<HashMap<String, Slot>>,
}

/// A session's name is taken from the moment it is asked for.
enum Slot {
    Starting,
    Running(Arc<Performance>),
}

impl EngineStudio {
    /// Opens the avatar store and begins to open the backends; returns at once.
    ///
    /// # Errors
    /// When the store's folder cannot be used, or not even the built-in backend works.
    pub fn open(config: Arc<Config>) -> Result<Self, StudioOpenError> {
        let stages = Stages::open(&config)?;
        let webrtc = webrtc_settings(&config);
        let clips = Clips::new(speech_limits(&config));
        let (current, sessions) = (Mutex::default(), Mutex::default());
        Ok(Self { inner: Arc::new(Inner { config, webrtc, stages, clips, current, sessions }) })
    }

    /// Returns when each backend is ready, has failed or is past its deadline.
    pub async fn settled(&self) -> Vec<BackendReport> {
        self.in_background(Stages::settle_backends).await;
        self.backends()
    }

    /// Makes and loads what the first session of a fresh server would wait for.
    pub async fn warm_up(&self) {
        self.in_background(Stages::warm_up).await;
    }

    async fn in_background(&self, work: fn(&Stages)) {
        let studio = self.clone();
        if let Err(panic) = tokio::task::spawn_blocking(move || work(&studio.inner.stages)).await {
            tracing::error!(%panic, "work of the studio");
        }
    }
}

#[async_trait]
impl Studio for EngineStudio {
    fn backends(&self) -> Vec<BackendReport> {
        self.inner.stages.backends()
    }

    async fn initialize(&self) -> Vec<BackendReport> {
        self.in_background(Stages::retry_backends).await;
        self.backends()
    }

    fn current_avatar(&self) -> Option<AvatarId> {
        lock(&self.inner.current).clone()
    }

    fn avatars(&self) -> Result<Vec<AvatarSummary>, StudioError> {
        self.inner.stages.avatars()
    }

    fn poster(&self, id: &AvatarId) -> Result<Vec<u8>, StudioError> {
        self.inner.stages.poster(id)
    }

    fn delete_avatar(&self, id: &AvatarId) -> Result<(), StudioError> {
        self.inner.stages.delete(id)?;
        lock(&self.inner.current).take_if(|current| current == id);
        Ok(())
    }

    fn prepare(&self, id: &AvatarId, source: &OpenedMedia, job: &Job) -> Result<AvatarSummary, StudioError> {
        let prepared = self.inner.stages.prepare(id, source.path(), job);
        let avatar = prepared.map_err(|error| match error {
            StudioError::Invalid(text) => StudioError::Invalid(source.in_words_of_client(&text)),
            other => other,
        })?;
        *lock(&self.inner.current) = Some(id.clone());
        Ok(AvatarSummary::of(&avatar))
    }

    async fn start(&self, request: StartRequest) -> Result<Started, StudioError> {
        let place = self.take_place(&request.session)?;
        let studio = self.clone();
        let session = request.session.clone();
        let span = tracing::Span::current();
        let opened =
            tokio::task::spawn_blocking(move || span.in_scope(|| studio.open_session(request))).await;
        let (performance, ended) = opened.map_err(StudioError::internal)??;
        let performance = Arc::new(performance);
        let started = Started {
            avatar: performance.avatar.clone(),
            backend: performance.backend.clone(),
            mode: performance.mode,
            fps: performance.stream().format().fps.as_f64(),
        };
        *lock(&self.inner.current) = Some(started.avatar.clone());
        place.fill(performance.clone());
        let (stream, grace) = (performance.stream(), self.inner.config.session.viewer_grace);
        let studio = self.clone();
        let span = performance.span();
        let of = Arc::downgrade(&performance);
        drop(performance);
        let watch = async move {
            let reason = Performance::until_over(stream, ended, grace).await;
            if let Some(performance) = of.upgrade() {
                studio.remove(&session, &performance);
                performance.live.end();
                tracing::info!(reason, "session ended");
            }
        };
        tokio::spawn(watch.instrument(span));
        Ok(started)
    }

    async fn speak(&self, session: &str, speech: SpeechSource) -> Result<QueuedSpeech, StudioError> {
        let performance = self.running(session).ok_or_else(|| unknown_session(session))?;
        let studio = self.clone();
        let speech = tokio::task::spawn_blocking(move || studio.open_speech(&speech)).await;
        let speech = speech.map_err(StudioError::internal)??;
        let speech = speech.ok_or_else(|| StudioError::Invalid("there is nothing to say".to_owned()))?;
        let seconds = speech.info().seconds;
        let queued = performance.live.speak(speech).map_err(|error| match error {
            SpeakError::Full { .. } => StudioError::Conflict(error.to_string()),
            SpeakError::Ended => unknown_session(session),
        })?;
        Ok(QueuedSpeech { utterance_id: queued.id.0, position: queued.ahead, seconds })
    }

    fn speech_seconds(&self, speech: &SpeechSource) -> Result<Option<f64>, StudioError> {
        match speech {
            SpeechSource::Nothing => Ok(Some(0.0)),
            SpeechSource::Builtin => Ok(self.inner.stages.builtin_speech()?.info().seconds),
            SpeechSource::File(file) => self.inner.clips.seconds(file),
        }
    }

    fn check_speech(&self, file: &OpenedMedia) -> Result<f64, StudioError> {
        self.inner.clips.check(file)
    }

    async fn stop(&self, session: &str) -> Result<(), StudioError> {
        let performance = self.running(session).ok_or_else(|| unknown_session(session))?;
        self.remove(session, &performance);
        performance.live.end();
        performance.span().in_scope(|| tracing::info!(reason = "it was stopped", "session ended"));
        Ok(())
    }

    fn session(&self, session: &str) -> Option<SessionReport> {
        self.running(session).map(|performance| performance.report(session))
    }

    fn sessions(&self) -> Vec<SessionReport> {
        let running: Vec<_> = lock(&self.inner.sessions)
            .iter()
            .filter_map(|(name, slot)| Some((name.clone(), slot.running()?)))
            .collect();
        let mut reports: Vec<_> =
            running.iter().map(|(name, performance)| performance.report(name)).collect();
        reports.sort_by(|a, b| a.session_id.cmp(&b.session_id));
        reports
    }

    async fn offer(&self, request: OfferRequest) -> Result<String, StudioError> {
        let performance = self.running(&request.session).ok_or_else(|| unknown_session(&request.session))?;
        let max_viewers = self.inner.config.webrtc.max_viewers;
        performance.connect(&request.sdp, &self.inner.webrtc, max_viewers).await
    }

    async fn shut_down(&self) {
        let sessions = std::mem::take(&mut *lock(&self.inner.sessions));
        for performance in sessions.values().filter_map(Slot::running) {
            performance.live.end();
        }
    }
}

impl EngineStudio {
    /// Reads the speech, loads the avatar and opens the session on the first backend that takes it. Blocks.
    fn open_session(&self, request: StartRequest) -> Result<(Performance, performance::Ended), StudioError> {
        let Inner { config, stages, .. } = &*self.inner;
        // Opened first: what is wrong with it is the client's to know before anything is loaded.
        let speech = self.open_speech(&request.speech)?;
        let avatar = match request.avatar {
            Some(id) => stages.avatar(&id)?,
            None => self.last_or_builtin()?,
        };
        let mut refused = None;
        for (stage, mode) in stages.stages_for(&avatar) {
            let fps = avatar.fps();
            let live = LiveConfig {
                fps,
                first_viewer_wait: config.session.first_viewer_wait,
                render_ahead: config.session.render_ahead,
                max_queued: config.session.max_queued,
            };
            let cast = Cast {
                session: request.session.clone(),
                avatar: avatar.id().clone(),
                mode,
                stage,
                live,
                video_bitrate: config.webrtc.video_bitrate,
                audio_bitrate: config.webrtc.audio_bitrate,
            };
            match Performance::begin(cast) {
                Ok((performance, ended)) => {
                    if let Some(speech) = speech {
                        performance.live.speak(speech).map_err(StudioError::internal)?;
                    }
                    return Ok((performance, ended));
                }
                Err(BeginError::Open(error)) => {
                    tracing::warn!(%error, "a backend does not take the session; trying the next");
                    refused = Some(error);
                }
                Err(error) => return Err(StudioError::internal(error)),
            }
        }
        match refused {
            Some(error) => Err(StudioError::internal(error)),
            None => Err(StudioError::internal("no backend can show this avatar")),
        }
    }

    fn open_speech(&self, speech: &SpeechSource) -> Result<Option<SpeechDecoder>, StudioError> {
        match speech {
            SpeechSource::Nothing => Ok(None),
            SpeechSource::Builtin => self.inner.stages.builtin_speech().map(Some),
            SpeechSource::File(file) => self.inner.clips.open(file).map(Some),
        }
    }

    /// The avatar used last, if it is still there, or the built-in one.
    fn last_or_builtin(&self) -> Result<Arc<Avatar>, StudioError> {
        let last = lock(&self.inner.current).clone();
        match last.map(|id| self.inner.stages.avatar(&id)) {
            Some(Ok(avatar)) => Ok(avatar),
            _ => self.inner.stages.builtin_avatar(),
        }
    }

    fn take_place(&self, session: &str) -> Result<Place, StudioError> {
        let mut sessions = lock(&self.inner.sessions);
        if sessions.contains_key(session) {
            let detail =
                format!("session \"{session}\" is running; stop it first, or choose another session_id");
            return Err(StudioError::Conflict(detail));
        }
        let most = self.inner.config.server.max_sessions;
        if sessions.len() >= most {
            let detail = format!("{most} sessions run, the most there may be");
            return Err(StudioError::Busy { detail, retry_after: 5 });
        }
        sessions.insert(session.to_owned(), Slot::Starting);
        Ok(Place { studio: self.clone(), session: session.to_owned(), filled: false })
    }

    fn running(&self, session: &str) -> Option<Arc<Performance>> {
        lock(&self.inner.sessions).get(session).and_then(Slot::running)
    }

    /// Frees the name, unless another performance has it by now.
    fn remove(&self, session: &str, performance: &Arc<Performance>) {
        let mut sessions = lock(&self.inner.sessions);
        let own =
            sessions.get(session).and_then(Slot::running).is_some_and(|now| Arc::ptr_eq(&now, performance));
        if own {
            sessions.remove(session);
        }
    }
}

impl Slot {
    fn running(&self) -> Option<Arc<Performance>> {
        match self {
            Self::Starting => None,
            Self::Running(performance) => Some(performance.clone()),
        }
    }
}

/// A name that is taken while its session is being opened; freed when that fails.
struct Place {
    studio: EngineStudio,
    session: String,
    filled: bool,
}

impl Place {
    fn fill(mut self, performance: Arc<Performance>) {
        lock(&self.studio.inner.sessions).insert(self.session.clone(), Slot::Running(performance));
        self.filled = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.filled {
            lock(&self.studio.inner.sessions).remove(&self.session);
        }
    }
}

/// Limits of speech files, as configured.
pub(crate) fn speech_limits(config: &Config) -> SpeechLimits {
    SpeechLimits { max_seconds: config.media.max_speech.as_secs_f64() }
}

fn webrtc_settings(config: &Config) -> WebrtcSettings {
    let mut settings = WebrtcSettings::for_http_address(config.server.bind.ip());
    let webrtc = &config.webrtc;
    if !webrtc.addresses.is_empty() {
        settings.addresses = webrtc.addresses.iter().map(|address| SocketAddr::new(*address, 0)).collect();
    }
    settings.public_addresses = webrtc.nat_1to1.clone();
    settings.video_codecs = webrtc
        .codecs
        .iter()
        .map(|codec| match codec {
            CodecName::H264 => VideoCodec::H264,
            CodecName::Vp8 => VideoCodec::Vp8,
        })
        .collect();
    settings
}

fn unknown_session(session: &str) -> StudioError {
    StudioError::Unknown(format!("there is no session \"{session}\""))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here panics while it holds a lock halfway through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
