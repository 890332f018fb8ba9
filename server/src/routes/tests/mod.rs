//! The dialects without a socket: requests in, status and JSON out, over a studio in memory.

mod guard;
mod metrics;
mod seed;
mod studio;
mod v1;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt;

use self::studio::MemoryStudio;
use crate::app::{App, router};
use crate::config::{Bases, Config};

/// A server over an empty data folder with two clips and a video below `../MuseTalk`.
struct Server {
    router: Router,
    studio: Arc<MemoryStudio>,
    folder: tempfile::TempDir,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Server {
    fn new() -> Self {
        Self::with("")
    }

    /// With further lines of `[server]`.
    fn with(server: &str) -> Self {
        Self::with_media(server, "")
    }

    /// With further lines of `[server]` and of `[media]`.
    fn with_media(server: &str, media: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for sub in ["data/media", "talk/data/video", "talk/data/audio"] {
            std::fs::create_dir_all(at(sub)).unwrap();
        }
        std::fs::write(at("data/media/eng.wav"), "RIFF").unwrap();
        std::fs::write(at("talk/data/audio/yongen.wav"), "RIFF").unwrap();
        std::fs::write(at("talk/data/video/yongen.mp4"), "a face").unwrap();
        std::fs::write(at("talk/data/video/wall.mp4"), "no face").unwrap();
        let roots = "roots = [{ path = \"talk\", prefix = \"../MuseTalk\" }]";
        let text = format!("[server]\n{server}\n[media]\n{media}\n{roots}");
        let bases = Bases { config: folder.path().to_owned(), program: folder.path().to_owned() };
        let config = Arc::new(Config::parse("test.toml", &text, &bases).unwrap());
        let studio = Arc::new(MemoryStudio::default());
        let router = router(App::new(config, studio.clone()).unwrap());
        Self { router, studio, folder }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), 1 << 24).await.unwrap().to_vec();
        Reply { status, headers, body }
    }

    async fn get(&self, uri: &str) -> Reply {
        self.send(request(Method::GET, uri, Body::empty())).await
    }

    async fn post(&self, uri: &str) -> Reply {
        self.send(request(Method::POST, uri, Body::empty())).await
    }

    async fn post_body(&self, uri: &str, body: impl Into<Body>) -> Reply {
        self.send(request(Method::POST, uri, body.into())).await
    }

    /// A form with one file in `field`.
    async fn upload(&self, uri: &str, field: &str, name: &str, content: &[u8]) -> Reply {
        let mut body = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--edge\r\n\
             Content-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--edge--\r\n");
        let mut request = request(Method::POST, uri, body.into());
        let kind = "multipart/form-data; boundary=edge".parse().unwrap();
        request.headers_mut().insert("content-type", kind);
        self.send(request).await
    }
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    #[track_caller]
    fn assert(&self, status: u16, json: Value) {
        assert_eq!((self.status.as_u16(), self.json()), (status, json));
    }

    /// Asserts a seed error whose detail contains `part`.
    #[track_caller]
    fn assert_detail(&self, status: u16, part: &str) {
        let json = self.json();
        assert_eq!(self.status.as_u16(), status, "{json}");
        assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
        assert!(json["detail"].as_str().unwrap().contains(part), "{json} has no {part:?}");
    }
}

fn request(method: Method, uri: &str, body: Body) -> Request<Body> {
    Request::builder().method(method).uri(uri).header("host", "localhost:8000").body(body).unwrap()
}
