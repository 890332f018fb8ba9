//! The studio over the engine: avatars from the store, backends that are ready, sessions that run.

mod admission;
mod backends;
mod black_boxes;
mod clips;
mod gallery;
mod loading;
mod performance;
mod reload;
mod sessions;
mod stages;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lipcast_codecs::VideoCodec;
use lipcast_engine::audio::{SpeechDecoder, SpeechLimits};
use lipcast_engine::avatar::{Avatar, AvatarId, Job};
use lipcast_engine::backend::Room;
use lipcast_engine::session::black_box::{AvatarMark, BlackBox, Limits, Recording, Subject};
use lipcast_engine::session::live::{LiveConfig, LiveState, SpeakError};
use lipcast_engine::session::{Cast as EngineCast, OpenError, Standby};
use tracing::Instrument;

use self::admission::{Admission, Admitted};
use self::black_boxes::BlackBoxes;
use self::clips::Clips;
use self::performance::{BeginError, Cast, Performance};
use self::sessions::{Ended, Sessions};
use crate::app::{
    AvatarSummary, BackendReport, Census, LastReload, OfferRequest, QueuedSpeech, Rejection, SessionEvent,
    SessionEvents, SessionReport, SpeechSource, StartRequest, Started, Studio, StudioError,
};
use crate::config::{CodecName, Config, EngineConfig};
use crate::files::OpenedMedia;
use crate::metrics::Metrics;
use crate::webrtc::WebrtcSettings;

pub(crate) use self::backends::{settings_mark, spec};
pub use self::gallery::Gallery;
pub(crate) use self::stages::last_resort;
pub use self::stages::{LAST_RESORT, Refusal, Stages, StudioOpenError};

/// Reads the settings again; the error is for whoever asked.
pub type Reread = Box<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// How often an ending server looks whether the last word was said.
const LOOK: Duration = Duration::from_millis(50);

/// Avatars, backends and sessions of one server. Clones share them.
#[derive(Clone)]
pub struct EngineStudio {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<Config>,
    /// `[engine]` and `[backend.*]` as they were read last; everything else stays as it was at the start.
    engine: Mutex<EngineConfig>,
    reread: Option<Reread>,
    webrtc: WebrtcSettings,
    stages: Stages,
    clips: Clips,
    current: Mutex<Option<AvatarId>>,
    /// How each backend's last reload went.
    reloads: Mutex<HashMap<String, LastReload>>,
    sessions: Arc<Sessions<Performance>>,
    black_boxes: Arc<BlackBoxes>,
    admission: Arc<Admission>,
    metrics: Arc<Metrics>,
}

impl EngineStudio {
    /// Opens the avatar store and begins to open the backends; returns at once.
    ///
    /// # Errors
    /// When the store's folder cannot be used, or not even the built-in backend works.
    pub fn open(config: Arc<Config>) -> Result<Self, StudioOpenError> {
        Self::open_from(config, None)
    }

    /// As [`open`](Self::open); `reread` is where a reload finds the backends' settings of that moment.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_from(config: Arc<Config>, reread: Option<Reread>) -> Result<Self, StudioOpenError> {
        let engine = Mutex::new(config.engine.clone());
        let stages = Stages::open(&config)?;
        let webrtc = webrtc_settings(&config);
        let clips = Clips::new(speech_limits(&config));
        let (current, sessions) = (Mutex::default(), Sessions::new(config.server.max_sessions));
        let inner = Inner {
            config,
            engine,
            reread,
            webrtc,
            stages,
            clips,
            current,
            reloads: Mutex::default(),
            sessions,
            black_boxes: Arc::default(),
            admission: Arc::default(),
            metrics: Arc::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
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
        let mut reports = self.inner.stages.backends();
        let reloads = lock(&self.inner.reloads);
        for report in &mut reports {
            report.last_reload = reloads.get(&report.name).cloned();
            let starting = self.inner.admission.starting(&report.name);
            report.load_fps = (self.running_on(&report.name) + starting).ceil() as u32;
        }
        reports
    }

    async fn initialize(&self) -> Vec<BackendReport> {
        self.in_background(Stages::retry_backends).await;
        self.backends()
    }

    async fn reload(&self, backend: &str) -> Result<BackendReport, StudioError> {
        let (studio, name) = (self.clone(), backend.to_owned());
        let replace = move || studio.replace(&studio.engine_now()?, &name);
        tokio::task::spawn_blocking(replace).await.map_err(StudioError::internal)??;
        let report = self.backends().into_iter().find(|report| report.name == backend);
        report.ok_or_else(|| StudioError::Unknown(format!("there is no backend \"{backend}\"")))
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
        let place = self.inner.sessions.take(&request.session)?;
        let (studio, job) = (self.clone(), place.job());
        let session = request.session.clone();
        let span = tracing::Span::current();
        // Whoever leaves while it starts stops the work; the place stays taken until that has ended, so that abandoned
        // starts cannot pile up.
        let _abandoned = CancelOnDrop(job.clone());
        let open = move || (span.in_scope(|| studio.open_session(request, job)), place);
        let (opened, place) = tokio::task::spawn_blocking(open).await.map_err(StudioError::internal)?;
        let stopped =
            || StudioError::Conflict(format!("session \"{}\" was stopped while it started", place.name()));
        let Opened { performance, ended, admitted } = match opened {
            Err(StudioError::Cancelled) => return Err(stopped()),
            opened => opened?,
        };
        let performance = Arc::new(performance);
        let started = Started {
            avatar: performance.avatar.clone(),
            backend: performance.backend.clone(),
            mode: performance.mode,
            fps: performance.stream().format().fps.as_f64(),
        };
        if !place.fill(&performance) {
            performance.end("it was stopped while it started");
            return Err(stopped());
        }
        // From here on it counts as one that runs.
        drop(admitted);
        *lock(&self.inner.current) = Some(started.avatar.clone());
        let (stream, grace) = (performance.stream(), self.inner.config.session.viewer_grace);
        let studio = self.clone();
        let span = performance.span();
        let of = Arc::downgrade(&performance);
        drop(performance);
        let watch = async move {
            let reason = Performance::until_over(stream, ended, grace).await;
            if let Some(performance) = of.upgrade()
                && studio.inner.sessions.remove(&session, &performance)
            {
                performance.end(reason);
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
        let queued = performance.live.speak(speech).map_err(|error| refuse(error, session))?;
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
        match self.inner.sessions.end(session).ok_or_else(|| unknown_session(session))? {
            Ended::Starting => tracing::info!(session, "stopped while it started"),
            Ended::Running(performance) => {
                performance.end("it was stopped");
                performance.span().in_scope(|| tracing::info!(reason = "it was stopped", "session ended"));
            }
        }
        Ok(())
    }

    fn session(&self, session: &str) -> Option<SessionReport> {
        self.running(session).map(|performance| performance.report(session))
    }

    fn events(&self, session: &str) -> Option<Arc<SessionEvents>> {
        self.running(session).map(|performance| performance.events.clone())
    }

    fn recording(&self, session: &str) -> Result<Recording, StudioError> {
        if self.inner.config.session.black_box.is_zero() {
            let detail = "session.black_box is \"0s\": nothing is recorded".to_owned();
            return Err(StudioError::Conflict(detail));
        }
        let running = self.running(session).and_then(|performance| performance.live.black_box().cloned());
        let found = running.or_else(|| self.inner.black_boxes.find(session, Instant::now()));
        found.map(|black_box| black_box.recording()).ok_or_else(|| {
            let detail = "there is no such session, neither running nor among the last that ended";
            StudioError::Unknown(detail.to_owned())
        })
    }

    fn sessions(&self) -> Vec<SessionReport> {
        let running = self.inner.sessions.all();
        running.iter().map(|(name, performance)| performance.report(name)).collect()
    }

    async fn offer(&self, request: OfferRequest) -> Result<String, StudioError> {
        let performance = self.running(&request.session).ok_or_else(|| unknown_session(&request.session))?;
        let max_viewers = self.inner.config.webrtc.max_viewers;
        performance.connect(&request.sdp, &self.inner.webrtc, max_viewers).await
    }

    async fn drain(&self, patience: Duration) {
        self.inner.sessions.drain();
        let seconds = patience.as_secs();
        for (_, performance) in self.inner.sessions.all() {
            performance.events.push(SessionEvent::Draining { seconds });
        }
        let deadline = tokio::time::Instant::now() + patience;
        let busy = || self.inner.sessions.all().iter().any(|(_, performance)| performance.is_busy());
        while busy() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(LOOK.min(patience)).await;
        }
    }

    fn is_draining(&self) -> bool {
        self.inner.sessions.is_closed()
    }

    fn metrics(&self) -> Arc<Metrics> {
        self.inner.metrics.clone()
    }

    fn census(&self) -> Census {
        let Inner { stages, sessions, .. } = &*self.inner;
        let (starting, all) = (sessions.starting(), sessions.all());
        let is_in = |state| all.iter().filter(|(_, one)| one.live.status().state == state).count();
        let (waiting, running) = (is_in(LiveState::Waiting), is_in(LiveState::Running));
        let viewers = all.iter().map(|(_, performance)| performance.viewers()).sum();
        Census { backends: stages.figures(), starting, waiting, running, viewers }
    }

    async fn shut_down(&self) {
        for performance in self.inner.sessions.close() {
            performance.end("the server ends");
        }
        self.inner.stages.stop();
    }
}

/// A session that is open, and its place until it is among those that run.
struct Opened {
    performance: Performance,
    ended: performance::Ended,
    admitted: Admitted,
}

impl EngineStudio {
    /// Reads the speech, loads the avatar and opens the session on the first backend that takes it. Blocks.
    /// `job` ends the waiting for the avatar.
    fn open_session(&self, request: StartRequest, job: Job) -> Result<Opened, StudioError> {
        let Inner { config, stages, .. } = &*self.inner;
        // Opened first: what is wrong with it is the client's to know before anything is loaded.
        let speech = self.open_speech(&request.speech)?;
        let avatar = match request.avatar {
            Some(id) => stages.avatar(&id)?,
            None => self.last_or_builtin()?,
        };
        let black_box = self.black_box(&request.session, &avatar);
        let (mut refused, mut full) = (Vec::<String>::new(), false);
        for stage in stages.stages_soon(&avatar, job.clone()) {
            if job.is_cancelled() {
                return Err(StudioError::Cancelled);
            }
            let (stage, mode) = match stage {
                Ok(stage) => stage,
                Err(refusal) => {
                    refused.push(refusal.to_string());
                    continue;
                }
            };
            let fps = avatar.fps();
            let engine = lock(&self.inner.engine).clone();
            let name = stage.instance.name().to_owned();
            if full && name == LAST_RESORT {
                // It serves when no other can, not those for whom the others have no room.
                continue;
            }
            let admitted =
                self.inner.admission.admit(&*stage.instance, fps.as_f64(), || self.running_on(&name));
            let admitted = match admitted {
                Ok(admitted) => admitted,
                Err(room) => {
                    // With somebody who takes over, whom a session would be moved to serves it from the start.
                    full |= room == Room::Full || engine.standby == Standby::None;
                    refused
                        .push(format!("{name}: it has no room for {} frames per second more", fps.as_f64()));
                    continue;
                }
            };
            let live = LiveConfig {
                fps,
                first_viewer_wait: config.session.first_viewer_wait,
                render_ahead: config.session.render_ahead,
                max_queued: config.session.max_queued,
                black_box: black_box.clone(),
                meter: self.inner.metrics.sessions.clone(),
            };
            let casting = Job::new();
            let understudies = EngineCast {
                casting: stages.casting(&avatar, casting.clone()),
                standby: engine.standby,
                return_after: engine.return_after,
            };
            let cast = Cast {
                session: request.session.clone(),
                avatar: avatar.id().clone(),
                mode,
                stage,
                live,
                cast: understudies,
                casting,
                black_boxes: self.inner.black_boxes.clone(),
                video_bitrate: config.webrtc.video_bitrate,
                audio_bitrate: config.webrtc.audio_bitrate,
                metrics: self.inner.metrics.clone(),
            };
            match Performance::begin(cast) {
                Ok((performance, ended)) => {
                    if let Some(speech) = speech {
                        performance.live.speak(speech).map_err(|error| refuse(error, &request.session))?;
                    }
                    return Ok(Opened { performance, ended, admitted });
                }
                Err(BeginError::Thread(error) | BeginError::Open(OpenError::Thread(error))) => {
                    return Err(no_thread(&error));
                }
                Err(BeginError::Open(error)) => {
                    tracing::warn!(%error, "a backend does not take the session; trying the next");
                    refused.push(error.to_string());
                }
            }
        }
        let (id, reasons) = (avatar.id(), refused.join("; "));
        if full {
            let detail = format!("no backend has room for another session: {reasons}");
            return Err(StudioError::Busy { detail, retry_after: 5, reason: Rejection::Capacity });
        }
        Err(StudioError::Conflict(format!("no backend can show avatar \"{id}\": {reasons}")))
    }

    /// Where the last minutes of a session are recorded; `None` where the settings want nothing of it.
    fn black_box(&self, session: &str, avatar: &Avatar) -> Option<BlackBox> {
        let window = self.inner.config.session.black_box;
        let engine = lock(&self.inner.engine);
        let settings = engine.backends.iter().map(|backend| (backend.name.clone(), settings_mark(backend)));
        let subject = Subject {
            session: session.to_owned(),
            program: concat!("lipcast ", env!("CARGO_PKG_VERSION")).to_owned(),
            avatar: AvatarMark::of(avatar),
            fps: avatar.fps(),
            settings: settings.collect(),
        };
        (!window.is_zero()).then(|| BlackBox::new(subject, Limits::of(window)))
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

    /// What the sessions want that the backend `name` draws for, frames per second.
    fn running_on(&self, name: &str) -> f64 {
        let all = self.inner.sessions.all();
        let on_it = all.iter().filter(|(_, one)| one.live.status().backend.as_deref() == Some(name));
        on_it.map(|(_, performance)| performance.stream().format().fps.as_f64()).sum()
    }

    fn running(&self, session: &str) -> Option<Arc<Performance>> {
        self.inner.sessions.running(session)
    }
}

/// Limits of speech files, as configured.
pub(crate) fn speech_limits(config: &Config) -> SpeechLimits {
    SpeechLimits { max_seconds: config.media.max_speech.as_secs_f64() }
}

/// Cancels a job; one that is done by then does not mind.
struct CancelOnDrop(Job);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
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

/// Why an utterance is not queued.
fn refuse(error: SpeakError, session: &str) -> StudioError {
    match error {
        SpeakError::Full { .. } => StudioError::Conflict(error.to_string()),
        SpeakError::Ended => unknown_session(session),
        SpeakError::Thread(_) => no_thread(&error),
    }
}

/// The system is at its limit; what runs goes on.
fn no_thread(error: &dyn std::fmt::Display) -> StudioError {
    tracing::warn!(%error, "a request is refused");
    let detail = "the server is at the limit of its threads".to_owned();
    StudioError::Busy { detail, retry_after: 5, reason: Rejection::Threads }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here panics while it holds a lock halfway through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod stages_tests;
#[cfg(test)]
mod tests;
