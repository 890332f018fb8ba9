//! The studio over a real engine, without a socket. Bad input at a whole server: `tests/bad_input.rs`.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use crossbeam_channel::Sender;
use lipcast_engine::backend::{
    AvatarSource, BackendError, Backends, Capacity, FrameReply, Instance, LoadedAvatar, LocalInstance,
    SessionParams, SessionPort,
};
use lipcast_plugins_api::author::plugin_table;
use lipcast_plugins_api::loader::Plugin;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::app::{App, BackendState, router};
use crate::config::Bases;

struct Server {
    router: Router,
    studio: EngineStudio,
    folder: tempfile::TempDir,
}

impl Server {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("data/media")).unwrap();
        fs::write(folder.path().join("libtext.so"), "not a library").unwrap();
        Self::open_in(folder).await
    }

    /// The first backend is a text file; the second is not there; what is linked into the program serves.
    async fn open_in(folder: tempfile::TempDir) -> Self {
        // Time enough on a machine that has other things to do.
        let text = "[server]\nrequest_timeout = \"10m\"\n[engine]\nbackends = [\"text\", \"gone\"]\nplugin_dirs = [\".\"]\n\
                    [backend.text]\nlibrary = \"libtext.so\"\nisolation = \"in-process\"\n\
                    [backend.gone]\nlibrary = \"libgone.so\"\nisolation = \"in-process\"\n";
        let bases = Bases { config: folder.path().to_owned(), program: folder.path().to_owned() };
        let config = Arc::new(Config::parse("test.toml", text, &bases).unwrap());
        let studio = EngineStudio::open(config.clone()).unwrap();
        studio.settled().await;
        let router = router(App::new(config, Arc::new(studio.clone())).unwrap());
        Self { router, studio, folder }
    }

    async fn send(&self, method: &str, uri: &str, body: Body) -> (u16, Value) {
        let request =
            Request::builder().method(method).uri(uri).header("host", "localhost").body(body).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    async fn post(&self, uri: &str) -> (u16, Value) {
        self.send("POST", uri, Body::empty()).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_that_cannot_be_opened_say_why_and_the_built_in_one_serves() {
    let server = Server::open().await;
    let backends = server.studio.backends();
    let states: Vec<_> = backends.iter().map(|backend| (backend.name.as_str(), backend.state)).collect();
    assert_eq!(
        states,
        [
            ("text", BackendState::Failed),
            ("gone", BackendState::Failed),
            ("demo (built in)", BackendState::Ready)
        ]
    );
    assert!(backends[0].detail.contains("libtext.so"), "{}", backends[0].detail);
    assert!(backends[1].detail.contains("libgone.so"), "{}", backends[1].detail);
    let (status, reply) = server.post("/api/webrtc/avatar/initialize").await;
    assert_eq!((status, &reply["status"]), (200, &json!("failed")));
    assert!(reply["detail"].as_str().unwrap().contains("text: "), "{reply}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_avatar_is_made_again() {
    let server = Server::open().await;
    assert_eq!(server.post("/api/webrtc/realtime/start?session_id=a").await.0, 200);
    server.studio.shut_down().await;
    let Server { folder, .. } = server;
    let frames = folder.path().join("data/avatars/linh/frames.i420");
    let whole = fs::metadata(&frames).unwrap().len();
    fs::OpenOptions::new().write(true).open(&frames).unwrap().set_len(whole / 2).unwrap();
    let server = Server::open_in(folder).await;
    let (status, reply) = server.post("/api/webrtc/realtime/start?session_id=a&avatar_id=linh").await;
    assert_eq!(status, 200, "{reply}");
    assert_eq!(fs::metadata(&frames).unwrap().len(), whole);
    server.studio.shut_down().await;
}

#[test]
fn a_backends_progress_reaches_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let bases = Bases { config: folder.path().to_owned(), program: folder.path().to_owned() };
    let stages = Stages::open(&Config::parse("t", "", &bases).unwrap()).unwrap();
    let job = Job::new();
    assert_eq!(job.backend_permille(), None);
    stages.stage_on(&stages.builtin_avatar().unwrap(), LAST_RESORT, &job).unwrap();
    assert!(job.backend_permille().unwrap() > 500, "{:?}", job.backend_permille());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_count_against_the_limit_while_they_start() {
    let server = Server::open().await;
    let most = server.studio.inner.config.server.max_sessions;
    let sessions = &server.studio.inner.sessions;
    let places: Vec<_> = (0..most).map(|n| sessions.take(&format!("s{n}")).unwrap()).collect();
    let (status, reply) = server.post("/api/webrtc/realtime/start?session_id=more").await;
    assert_eq!(status, 503, "{reply}");
    drop(places);
    assert!(sessions.take("more").is_ok(), "a start that came to nothing frees its place");
}

/// A backend that dies when the test says so, and was measured as the test says.
struct Mortal {
    inner: Arc<dyn Instance>,
    dead: AtomicBool,
    capacity: Mutex<Option<Capacity>>,
}

impl Mortal {
    fn new() -> Arc<Self> {
        let (dead, capacity) = Default::default();
        Arc::new(Self { inner: demo("mortal"), dead, capacity })
    }

    fn measure(&self, frames_per_second: f64, age: Duration) {
        *self.capacity.lock().unwrap() = Some(Capacity { frames_per_second, age });
    }
}

impl Instance for Mortal {
    fn name(&self) -> &str {
        "mortal"
    }

    fn summary(&self) -> String {
        self.inner.summary()
    }

    fn blob_key(&self) -> (&str, u32) {
        self.inner.blob_key()
    }

    fn lookahead_samples(&self) -> u64 {
        self.inner.lookahead_samples()
    }

    fn lookbehind_samples(&self) -> u64 {
        self.inner.lookbehind_samples()
    }

    fn batch_p99(&self) -> Duration {
        self.inner.batch_p99()
    }

    fn capacity(&self) -> Option<Capacity> {
        *self.capacity.lock().unwrap()
    }

    fn lost(&self) -> Option<String> {
        self.dead.load(Ordering::SeqCst).then(|| "it died".to_owned())
    }

    fn prepare_avatar(
        &self,
        source: &mut dyn AvatarSource,
        sink: &mut (dyn Write + Send),
        job: &Job,
    ) -> Result<(), BackendError> {
        self.inner.prepare_avatar(source, sink, job)
    }

    fn load_avatar(&self, blob: &[u8]) -> Result<Arc<dyn LoadedAvatar>, BackendError> {
        self.inner.load_avatar(blob)
    }

    fn open_session(
        &self,
        avatar: &Arc<dyn LoadedAvatar>,
        params: SessionParams,
        replies: Sender<FrameReply>,
    ) -> Result<Box<dyn SessionPort>, BackendError> {
        self.inner.open_session(avatar, params, replies)
    }
}

fn demo(name: &str) -> Arc<dyn Instance> {
    let plugin = Plugin::linked(plugin_table::<lipcast_demo::DemoBackend>()).unwrap();
    LocalInstance::create(name, &plugin, &json!({})).unwrap()
}

/// A studio in which `mortal` is preferred to the built-in demo.
fn studio_with(mortal: &Arc<Mortal>, folder: &tempfile::TempDir) -> EngineStudio {
    let bases = Bases { config: folder.path().to_owned(), program: folder.path().to_owned() };
    let config = Arc::new(Config::parse("t", "", &bases).unwrap());
    let backends = Backends::given(vec![mortal.clone()], demo(LAST_RESORT));
    let stages = Stages::of(Gallery::open(&config.media).unwrap(), backends);
    stages.settle_backends();
    let engine = Mutex::new(config.engine.clone());
    let (webrtc, clips) = (webrtc_settings(&config), Clips::new(speech_limits(&config)));
    let (current, sessions) = (Mutex::default(), Sessions::new(4));
    let inner = Inner {
        config,
        engine,
        reread: None,
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
    EngineStudio { inner: Arc::new(inner) }
}

fn start(session: &str) -> StartRequest {
    StartRequest { session: session.to_owned(), avatar: None, speech: SpeechSource::Builtin }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_outlives_its_backend_and_says_so() {
    let (folder, mortal) = (tempfile::tempdir().unwrap(), Mortal::new());
    let studio = studio_with(&mortal, &folder);
    assert_eq!(studio.start(start("s")).await.unwrap().backend, "mortal");
    let events = studio.events("s").unwrap();
    let performance = studio.running("s").unwrap();
    performance.live.begin();
    while performance.live.status().stats.speech < 5 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    mortal.dead.store(true, Ordering::SeqCst);
    let mut told = 0;
    // The understudy may have been loading still; then nobody draws for a moment.
    let change = loop {
        let (number, event) = events.next(told).await.unwrap();
        told = number;
        match event {
            SessionEvent::Backend(change) if change.to.is_some() => break change,
            SessionEvent::Backend(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((change.to.as_deref(), change.reason), (Some(LAST_RESORT), "lost"));
    // Told before the frame leaves, reported with it.
    while studio.session("s").unwrap().backend.as_deref() != Some(LAST_RESORT) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(studio.session("s").unwrap().last_move, Some(change));
    studio.stop("s").await.unwrap();
    let reason = "it was stopped".to_owned();
    assert_eq!(events.next(told).await, Some((told + 1, SessionEvent::Ended { reason })));
    assert_eq!(events.next(told + 1).await, None);
}

fn is_full(started: &Result<Started, StudioError>) -> bool {
    matches!(started, Err(StudioError::Busy { reason: Rejection::Capacity, retry_after: 1.., .. }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_admitted_as_far_as_the_backend_draws_in_time() {
    let (folder, mortal) = (tempfile::tempdir().unwrap(), Mortal::new());
    let studio = studio_with(&mortal, &folder);
    mortal.measure(70.0, Duration::ZERO);
    // While it is prepared for the avatar, a session may go to whoever has it; here room alone decides.
    studio.warm_up().await;
    // Side by side: one that is being opened counts already.
    let (a, b, c) =
        tokio::join!(studio.start(start("a")), studio.start(start("b")), studio.start(start("c")));
    let all = [a, b, c];
    let taken =
        all.iter().filter(|one| one.as_ref().is_ok_and(|started| started.backend == "mortal")).count();
    assert_eq!((taken, all.iter().filter(|one| is_full(one)).count()), (2, 1), "{all:?}");
    let load = |studio: &EngineStudio| {
        let report = studio.backends().into_iter().find(|report| report.name == "mortal").unwrap();
        (report.capacity_fps, report.load_fps)
    };
    assert_eq!(load(&studio), (Some(70), 50));
    let one = studio.sessions()[0].session_id.clone();
    studio.stop(&one).await.unwrap();
    assert_eq!(load(&studio), (Some(70), 25));
    assert_eq!(studio.start(start("d")).await.unwrap().backend, "mortal", "there is room again");
    assert!(is_full(&studio.start(start("e")).await), "the built-in one is not for those that are too many");
    studio.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_slower_than_real_time_is_passed_over_until_its_second_chance() {
    let (folder, mortal) = (tempfile::tempdir().unwrap(), Mortal::new());
    let studio = studio_with(&mortal, &folder);
    mortal.measure(20.0, Duration::ZERO);
    assert_eq!(studio.start(start("a")).await.unwrap().backend, LAST_RESORT);
    lock(&studio.inner.engine).standby = Standby::None;
    assert!(is_full(&studio.start(start("b")).await), "nobody stands in for it");
    mortal.measure(20.0, Capacity::SECOND_CHANCE);
    assert_eq!(studio.start(start("c")).await.unwrap().backend, "mortal");
    assert!(is_full(&studio.start(start("d")).await), "one is enough to see");
    studio.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ending_server_starts_nothing_and_tells_who_runs() {
    let server = Server::open().await;
    assert_eq!(server.post("/api/webrtc/realtime/start?session_id=a").await.0, 200);
    let events = server.studio.events("a").unwrap();
    // Nobody watches, so nobody is waited for.
    server.studio.drain(Duration::from_secs(600)).await;
    assert_eq!(events.next(0).await, Some((1, SessionEvent::Draining { seconds: 600 })));
    let (status, reply) = server.post("/api/webrtc/realtime/start?session_id=b").await;
    assert_eq!(status, 503, "{reply}");
    assert!(server.studio.session("a").is_some(), "it goes on until the end");
    server.studio.shut_down().await;
    let reason = "the server ends".to_owned();
    assert_eq!(events.next(1).await, Some((2, SessionEvent::Ended { reason })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_fails_leaves_the_old_backend_and_says_why() {
    let server = Server::open().await;
    let (status, reply) = server.post("/v1/backends/text/reload").await;
    assert_eq!(status, 409, "{reply}");
    let detail = reply["detail"].as_str().unwrap();
    assert!(detail.contains("libtext.so") && detail.contains("serves on"), "{detail}");
    let backends = server.studio.backends();
    let text = backends.iter().find(|backend| backend.name == "text").unwrap();
    let told = text.last_reload.as_ref().unwrap();
    assert_eq!((told.ok, told.reason.as_deref()), (false, Some(detail)), "it stays to be read");
    assert!(backends.iter().all(|backend| backend.name == "text" || backend.last_reload.is_none()));
    assert_eq!(server.post("/v1/backends/nobody/reload").await.0, 404);
}
