//! The studio over a real engine, without a socket. Bad input at a whole server: `tests/bad_input.rs`.

use std::fs;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
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
                    [backend.text]\nlibrary = \"libtext.so\"\n[backend.gone]\nlibrary = \"libgone.so\"\n";
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
