//! Tokens, foreign pages, headers, and the state of the server.

use axum::http::{Method, Version};
use serde_json::json;

use super::*;

const TOKENS: &str = "tokens = [\"correct-horse-battery\"]";

fn with_header(method: Method, uri: &str, name: &'static str, value: &str) -> Request<Body> {
    let mut request = request(method, uri, Body::empty());
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

#[tokio::test]
async fn tokens_guard_everything_but_the_page_and_health() {
    let server = Server::with(TOKENS);
    for uri in ["/health", "/api/health", "/ready"] {
        assert_eq!(server.get(uri).await.status, 200, "{uri}");
    }
    for uri in ["/v1/avatars", "/v1/backends", "/v1/sessions", "/api/webrtc/musetalk/status", "/v1/nowhere"] {
        let reply = server.get(uri).await;
        assert_eq!(
            (reply.status.as_u16(), reply.headers["www-authenticate"].to_str().unwrap()),
            (401, "Bearer")
        );
        let good = with_header(Method::GET, uri, "authorization", "Bearer correct-horse-battery");
        assert_ne!(server.send(good).await.status, 401, "{uri}");
        let bad = with_header(Method::GET, uri, "authorization", "Bearer correct-horse-batterz");
        assert_eq!(server.send(bad).await.status, 401, "{uri}");
    }
    server.post("/api/webrtc/realtime/stop?session_id=x").await.assert_detail(401, "Bearer");
}

#[tokio::test]
async fn a_sessions_token_is_good_for_that_session_alone() {
    let server = Server::with(TOKENS);
    let operator = "Bearer correct-horse-battery";
    let granted = with_header(Method::POST, "/v1/sessions/anna/token", "authorization", operator);
    let granted = server.send(granted).await.json();
    assert_eq!((&granted["session_id"], &granted["expires_in"]), (&json!("anna"), &json!(600)));
    let own = format!("Bearer {}", granted["token"].as_str().unwrap());
    for (method, uri, status) in [
        (Method::GET, "/api/webrtc/musetalk/status", 200),
        (Method::POST, "/api/webrtc/realtime/start?session_id=anna", 200),
        (Method::GET, "/api/webrtc/status/anna", 200),
        (Method::GET, "/api/webrtc/realtime/status/anna", 200),
        (Method::GET, "/v1/sessions/anna", 200),
        (Method::POST, "/api/webrtc/realtime/stop?session_id=anna", 200),
        (Method::POST, "/api/webrtc/realtime/start?session_id=otto", 403),
        (Method::GET, "/api/webrtc/status/otto", 403),
        (Method::GET, "/v1/sessions/otto", 403),
        (Method::DELETE, "/v1/sessions/otto", 403),
        (Method::POST, "/v1/sessions/anna/token", 403),
        (Method::GET, "/v1/avatars", 403),
        (Method::POST, "/api/webrtc/avatar/initialize", 403),
        (Method::GET, "/v1/sessions", 403),
        (Method::GET, "/v1/backends", 403),
    ] {
        let reply = server.send(with_header(method.clone(), uri, "authorization", &own)).await;
        assert_eq!(reply.status.as_u16(), status, "{method} {uri}");
    }
}

#[tokio::test]
async fn foreign_pages_cannot_post() {
    let server = Server::with("cors = [\"https://shop.example\"]");
    let uri = "/api/webrtc/realtime/stop?session_id=x";
    for (origin, status) in [
        ("http://localhost:8000", 400),
        ("https://shop.example", 400),
        ("https://evil.example", 403),
        ("http://localhost:9999", 403),
        ("null", 403),
    ] {
        let reply = server.send(with_header(Method::POST, uri, "origin", origin)).await;
        assert_eq!(reply.status.as_u16(), status, "{origin}");
        let allowed = reply.headers.get("access-control-allow-origin").map(|v| v.to_str().unwrap());
        assert_eq!(allowed, (origin == "https://shop.example").then_some(origin));
    }
    let rebound = with_header(Method::GET, "/v1/avatars", "host", "evil.example");
    assert_eq!(server.send(rebound).await.status, 403, "a foreign name that resolves to loopback");
}

/// As a browser asks over HTTP/2: the host is in the request's own address, and there is no `Host`.
#[tokio::test]
async fn http2_names_its_host_elsewhere() {
    let server = Server::new();
    let ask = |method: Method, host: &str, origin: &str| {
        let uri = format!("https://{host}/api/webrtc/realtime/stop?session_id=x");
        let request = Request::builder().method(method).version(Version::HTTP_2).uri(uri);
        server.send(request.header("origin", origin).body(Body::empty()).unwrap())
    };
    let same = ask(Method::POST, "localhost:8000", "https://localhost:8000").await;
    assert_eq!(same.status, 400, "our own page, about a session that is not there: {}", same.json());
    let foreign = ask(Method::POST, "localhost:8000", "https://evil.example").await;
    foreign.assert_detail(403, "pages of this origin");
    let rebound = ask(Method::GET, "evil.example", "https://evil.example").await;
    rebound.assert_detail(403, "loopback names only");
}

#[tokio::test]
async fn what_nobody_listed_is_closed() {
    let server = Server::with(TOKENS);
    for uri in ["/offer", "/whep", "/whep/anna", "/metrics", "/nowhere.js"] {
        assert_eq!(server.get(uri).await.status, 401, "{uri}");
        assert_eq!(server.post(uri).await.status, 401, "{uri}");
    }
    assert_eq!(server.post("/health").await.status, 401, "only reading is free");
    assert_ne!(server.get("/").await.status, 401);
}

#[tokio::test]
async fn every_answer_is_marked() {
    let server = Server::new();
    for uri in ["/", "/health", "/v1/avatars", "/api/nowhere"] {
        let reply = server.get(uri).await;
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        assert!(reply.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        assert!(!reply.headers["x-request-id"].is_empty());
    }
    let own = with_header(Method::GET, "/health", "x-request-id", "my-id-7");
    assert_eq!(server.send(own).await.headers["x-request-id"], "my-id-7");
}

#[tokio::test]
async fn readiness_names_who_serves_and_why_others_do_not() {
    let server = Server::new();
    let ready = server.get("/ready").await;
    assert_eq!(ready.status, 200, "demo serves");
    let ready = ready.json();
    assert_eq!((&ready["status"], &ready["serving"]), (&json!("degraded"), &json!("demo")));
    assert_eq!(ready["backends"][0]["detail"], "model.onnx is missing");
    let server = Server::with(TOKENS);
    server.get("/ready").await.assert(200, json!({ "ready": true, "status": "degraded" }));
    server.studio.state.lock().unwrap().model_ready = true;
    server.get("/ready").await.assert(200, json!({ "ready": true, "status": "ready" }));
}

#[tokio::test]
async fn a_required_backend_that_is_not_ready_is_503() {
    let server = Server::with(TOKENS);
    server.studio.state.lock().unwrap().model_required = true;
    server.get("/ready").await.assert(503, json!({ "ready": false, "status": "unavailable" }));
    server.studio.state.lock().unwrap().model_ready = true;
    server.get("/ready").await.assert(200, json!({ "ready": true, "status": "ready" }));
}

#[tokio::test]
async fn files_of_the_page_have_types_and_tags() {
    let server = Server::new();
    let page = server.get("/").await;
    if page.status == 404 {
        // Built without a page: then there is nothing to serve, and nothing else may be served for it.
        assert!(super::super::page::is_empty());
        return;
    }
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let tag = page.headers["etag"].to_str().unwrap();
    let again = server.send(with_header(Method::GET, "/", "if-none-match", tag)).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    for uri in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "/.git/config", "/nowhere.js"] {
        assert_eq!(server.get(uri).await.status, 404, "{uri}");
    }
}
