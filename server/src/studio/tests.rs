//! Bad input through the whole server, engine included: each gets its answer, and a session beside it misses no frame.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::app::{App, BackendState, router};
use crate::config::Bases;
use crate::live::Medium;

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
        let text = "[server]\nrequest_timeout = \"10m\"\n[media]\nmax_speech = \"5s\"\n[engine]\nbackends = [\"text\", \"gone\"]\nplugin_dirs = [\".\"]\n\
                    [backend.text]\nlibrary = \"libtext.so\"\n[backend.gone]\nlibrary = \"libgone.so\"\n";
        let bases = Bases { config: folder.path().to_owned(), program: folder.path().to_owned() };
        let config = Arc::new(Config::parse("test.toml", text, &bases).unwrap());
        let studio = EngineStudio::open(config.clone()).unwrap();
        studio.settled().await;
        let router = router(App::new(config, Arc::new(studio.clone())).unwrap());
        Self { router, studio, folder }
    }

    fn media(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("data/media").join(name)
    }

    /// Runs ffmpeg to make a clip in the media folder.
    fn clip(&self, arguments: &str, name: &str) {
        let mut command = Command::new("ffmpeg");
        command
            .args(["-v", "error", "-nostdin", "-y"])
            .args(arguments.split_whitespace())
            .arg(self.media(name));
        assert!(command.status().unwrap().success(), "{arguments}");
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

/// Somebody who watches a session without a network, and notes which frames came.
struct Watcher {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<Vec<i64>>,
}

impl Watcher {
    fn of(server: &Server, session: &str) -> Self {
        let stream = server.studio.running(session).unwrap().stream();
        let mut share = stream.subscribe(Some(VideoCodec::H264)).unwrap();
        let enough = Arc::new(AtomicBool::new(false));
        let done = enough.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut timestamps = Vec::new();
            while let Some(frame) = runtime.block_on(share.next()) {
                if matches!(frame.medium, Medium::Video { .. }) {
                    timestamps.push(frame.timestamp);
                    if done.load(Ordering::Relaxed) && timestamps.len() > 50 {
                        break;
                    }
                }
            }
            timestamps
        });
        Self { enough, thread }
    }

    /// Frames seen; fails when one of them is missing.
    fn frames(self) -> usize {
        self.enough.store(true, Ordering::Relaxed);
        let timestamps = self.thread.join().unwrap();
        for pair in timestamps.windows(2) {
            assert_eq!(pair[1] - pair[0], 3_600, "a frame of 1/25 s is missing after {}", pair[0]);
        }
        timestamps.len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_answered_and_a_session_beside_it_misses_nothing() {
    let server = Server::open().await;
    server.clip("-f lavfi -i sine=d=1 -ar 44100", "tone.wav");
    server.clip("-f lavfi -i sine=d=6 -ar 8000", "long.wav");
    server.clip("-f lavfi -i sine=d=1 -ar 192000 -ac 6", "wide.wav");
    server.clip("-f lavfi -i testsrc2=s=320x240:d=1 -pix_fmt yuv420p", "wall.mp4");
    server.clip("-f lavfi -i color=gray:s=16x16 -frames:v 1 -vf scale=1:1", "dot.png");
    fs::write(server.media("empty.wav"), "").unwrap();
    fs::write(server.media("text.wav"), "this is no sound, and never was").unwrap();
    fs::write(server.media("text.mp4"), "this is no film, and never was").unwrap();
    fs::write(server.media("empty.mp4"), "").unwrap();
    let tone = fs::read(server.media("tone.wav")).unwrap();
    fs::write(server.media("silent.wav"), &tone[..tone.len() - 88_200]).unwrap();
    let film = fs::read(server.media("wall.mp4")).unwrap();
    fs::write(server.media("cut.mp4"), &film[..film.len() / 2]).unwrap();

    let (status, started) = server.post("/api/webrtc/realtime/start?session_id=beside").await;
    assert_eq!(
        (status, &started["mode"], &started["avatar_id"]),
        (200, &json!("demo"), &json!("linh")),
        "{started}"
    );
    let watcher = Watcher::of(&server, "beside");

    let start = "/api/webrtc/realtime/start?session_id=other";
    for (query, part) in [
        ("&audio_path=gone.wav", "not found"),
        ("&audio_path=empty.wav", "empty"),
        ("&audio_path=text.wav", "text.wav"),
        ("&audio_path=wall.mp4", "wall.mp4"),
        ("&audio_path=long.wav", "long.wav"),
        ("&audio_path=../../etc/passwd", "outside"),
        ("&avatar_id=nobody", "nobody"),
    ] {
        let (status, reply) = server.post(&format!("{start}{query}")).await;
        assert_eq!(status, 400, "{query}: {reply}");
        let detail = reply["detail"].as_str().unwrap();
        assert!(detail.contains(part) && !detail.contains("/tmp"), "{query}: {detail}");
        assert!(server.studio.session("other").is_none(), "{query}: the name stays free");
    }
    let (status, reply) = server.post("/api/webrtc/realtime/start?session_id=beside").await;
    assert_eq!(status, 400, "a second start of a running session: {reply}");

    let (status, reply) = server.post(&format!("{start}&audio_path=wide.wav")).await;
    assert_eq!(status, 200, "six channels at 192 kHz are fine: {reply}");
    assert_eq!(server.post("/api/webrtc/realtime/stop?session_id=other").await.0, 200);

    for (video, part) in [
        ("text.mp4", "text.mp4"),
        ("empty.mp4", "empty"),
        ("cut.mp4", "cut.mp4"),
        ("tone.wav", "tone.wav"),
        ("wall.mp4", "no face"),
        ("dot.png", "dot.png"),
    ] {
        let (status, reply) =
            server.post(&format!("/api/webrtc/avatar/prepare?avatar_id=new&video_path={video}")).await;
        assert_eq!((status, &reply["status"]), (200, &json!("failed")), "{video}: {reply}");
        let detail = reply["detail"].as_str().unwrap();
        assert!(detail.contains(part) && !detail.contains("/tmp"), "{video}: {detail}");
    }
    let id = AvatarId::parse("new").unwrap();
    assert!(server.studio.avatars().unwrap().iter().all(|avatar| avatar.id != id), "nothing stays of it");

    let offer = include_str!("../../tests/data/offer_chromium.sdp");
    let no_codec =
        offer.replace("H264", "X264").replace("VP8", "XP8").replace("VP9", "XP9").replace("AV1", "XV1");
    for sdp in [
        "",
        "hello",
        "v=0\r\n",
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
        &offer[..600],
        &no_codec,
    ] {
        let body = json!({ "session_id": "beside", "sdp": sdp, "type": "offer" }).to_string();
        let (status, reply) = server.send("POST", "/api/webrtc/offer", body.into()).await;
        let shown: String = sdp.chars().take(40).collect();
        assert_eq!(status, 400, "{shown}: {reply}");
        assert!(reply["detail"].as_str().unwrap().contains("offer"), "{shown}: {reply}");
    }
    assert!(watcher.frames() > 50);
    server.studio.shut_down().await;
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
