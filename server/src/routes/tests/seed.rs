//! `/api/webrtc/*`: every shape and every error.

use axum::http::{Method, Request};
use serde_json::json;

use super::*;
use crate::app::SpeechSource;

#[tokio::test]
async fn health_and_status() {
    let server = Server::new();
    let health = server.get("/api/health").await.json();
    assert_eq!(health["status"], "healthy");
    assert!(health["message"].is_string());
    server.get("/api/webrtc/musetalk/status").await.assert(
        200,
        json!({ "initialized": false, "current_avatar": null, "loaded_avatars": ["lipcast"], "backend": "demo" }),
    );
    server.studio.state.lock().unwrap().model_ready = true;
    let status = server.get("/api/webrtc/musetalk/status").await.json();
    assert_eq!((&status["initialized"], &status["backend"]), (&json!(true), &json!("onnx")));
}

#[tokio::test]
async fn initialize_tells_the_reasons() {
    let server = Server::new();
    let reply = server.post("/api/webrtc/avatar/initialize").await.json();
    assert_eq!(
        (&reply["status"], &reply["detail"]),
        (&json!("failed"), &json!("onnx: model.onnx is missing"))
    );
    server.studio.state.lock().unwrap().model_ready = true;
    assert_eq!(server.post("/api/webrtc/avatar/initialize").await.json()["status"], "success");
}

#[tokio::test]
async fn the_order_of_the_seeds_page_works() {
    let server = Server::new();
    let prepared = server
        .post("/api/webrtc/avatar/prepare?avatar_id=yongen&video_path=../MuseTalk/data/video/yongen.mp4")
        .await
        .json();
    assert_eq!((&prepared["status"], &prepared["avatar_id"]), (&json!("success"), &json!("yongen")));
    server
        .post("/api/webrtc/realtime/start?session_id=test&avatar_id=yongen&audio_path=..%2FMuseTalk%2Fdata/audio/yongen.wav")
        .await
        .assert(
            200,
            json!({ "status": "realtime_started", "session_id": "test", "avatar_id": "yongen", "backend": "demo",
                    "mode": "demo", "fps": 25 }),
        );
    let offer = json!({ "session_id": "test", "sdp": "v=0", "type": "offer", "fps": 25, "sample_rate": 16000, "more": 1 });
    server
        .post_body("/api/webrtc/offer", offer.to_string())
        .await
        .assert(200, json!({ "sdp": "v=0 answer", "type": "answer" }));
    let status = server.get("/api/webrtc/status/test").await.json();
    for (key, value) in [
        ("exists", json!(true)),
        ("fps", json!(25)),
        ("sample_rate", json!(16000)),
        ("video_queue", json!(3)),
        ("audio_queue", json!(1)),
    ] {
        assert_eq!(status[key], value, "{key}");
    }
    server
        .get("/api/webrtc/realtime/status/test")
        .await
        .assert(200, json!({ "exists": true, "is_generating": true, "product_id": null }));
    let stopped = server.post("/api/webrtc/realtime/stop?session_id=test").await.json();
    assert_eq!(stopped["status"], "stopped");
    for uri in ["/api/webrtc/status/test", "/api/webrtc/realtime/status/test"] {
        server.get(uri).await.assert(200, json!({ "exists": false }));
    }
}

#[tokio::test]
async fn the_three_shapes_of_start() {
    let server = Server::new();
    for (uri, session) in [
        ("/api/webrtc/realtime/start?session_id=a", "a"),
        ("/api/webrtc/realtime/start?session_id=b&fps=25&sample_rate=16000", "b"),
        ("/api/webrtc/realtime/start?session_id=c%20d&avatar_id=lipcast", "c d"),
    ] {
        let reply = server.post(uri).await.json();
        assert_eq!(
            (&reply["session_id"], &reply["avatar_id"]),
            (&json!(session), &json!("lipcast")),
            "{reply}"
        );
        let speech = server.studio.state.lock().unwrap().last_speech.clone();
        assert!(matches!(speech, Some(SpeechSource::Builtin)));
    }
    server.post("/api/webrtc/realtime/start?session_id=e&audio_path=").await;
    let speech = server.studio.state.lock().unwrap().last_speech.clone();
    assert!(matches!(speech, Some(SpeechSource::Nothing)));
}

#[tokio::test]
async fn missing_and_malformed_parameters_are_422_in_fastapis_form() {
    let server = Server::new();
    let missing = |name: &str| json!({ "loc": ["query", name], "msg": "Field required", "type": "missing" });
    let start = "/api/webrtc/realtime/start";
    server.post(start).await.assert(422, json!({ "detail": [missing("session_id")] }));
    server
        .post("/api/webrtc/avatar/prepare")
        .await
        .assert(422, json!({ "detail": [missing("avatar_id"), missing("video_path")] }));
    server.post("/api/webrtc/realtime/stop").await.assert(422, json!({ "detail": [missing("session_id")] }));
    let msg = "Input should be a valid integer, unable to parse string as an integer";
    server
        .post(&format!("{start}?session_id=a&fps=fast"))
        .await
        .assert(422, json!({ "detail": [{ "loc": ["query", "fps"], "msg": msg, "type": "int_parsing" }] }));
    let msg = "Input should be greater than or equal to 1";
    server.post(&format!("{start}?sample_rate=0")).await.assert(
        422,
        json!({ "detail": [missing("session_id"),
            { "loc": ["query", "sample_rate"], "msg": msg, "type": "greater_than_equal" }] }),
    );
}

#[tokio::test]
async fn malformed_offers_are_422_in_fastapis_form() {
    let server = Server::new();
    for (body, loc, kind) in [
        ("", json!(["body"]), "missing"),
        ("{\"session_id\": ", json!(["body", 15]), "json_invalid"),
        ("v=0", json!(["body", 1]), "json_invalid"),
        ("[1]", json!(["body"]), "model_attributes_type"),
        ("{\"session_id\":\"a\",\"sdp\":\"v=0\"}", json!(["body", "type"]), "missing"),
        (
            "{\"session_id\":7,\"sdp\":\"v=0\",\"type\":\"offer\"}",
            json!(["body", "session_id"]),
            "string_type",
        ),
        ("{\"session_id\":\"a\",\"sdp\":null,\"type\":\"offer\"}", json!(["body", "sdp"]), "string_type"),
        (
            "{\"session_id\":\"a\",\"sdp\":\"v=0\",\"type\":\"offer\",\"fps\":2.5}",
            json!(["body", "fps"]),
            "int_parsing",
        ),
    ] {
        let reply = server.post_body("/api/webrtc/offer", body.to_owned()).await;
        let (status, json) = (reply.status.as_u16(), reply.json());
        assert_eq!((status, json["detail"].as_array().map(Vec::len)), (422, Some(1)), "{body}: {json}");
        let error = &json["detail"][0];
        assert_eq!((&error["loc"], &error["type"]), (&loc, &json!(kind)), "{body}: {json}");
        assert!(error["msg"].is_string());
    }
    let deep = "[".repeat(100_000);
    assert_eq!(server.post_body("/api/webrtc/offer", deep).await.status, 422);
}

#[tokio::test]
async fn what_the_client_did_wrong_is_400_with_a_reason() {
    let server = Server::new();
    server.post("/api/webrtc/realtime/start?session_id=running").await;
    let start = "/api/webrtc/realtime/start?session_id=new";
    let long = "x".repeat(129);
    for (uri, part) in [
        (format!("{start}&avatar_id=nobody"), "no avatar \"nobody\""),
        (format!("{start}&avatar_id=../x"), "../x"),
        (format!("{start}&audio_path=/etc/passwd"), "outside of the media folders"),
        (format!("{start}&audio_path=../secret.wav"), "outside of the media folders"),
        (format!("{start}&audio_path=missing.wav"), "was not found"),
        (format!("{start}&audio_path=a%00.wav"), "control characters"),
        (format!("{start}&audio_path=../MuseTalk/data"), "is a folder"),
        (format!("{start}&product_id=7"), "product_id"),
        ("/api/webrtc/realtime/start?session_id=running".to_owned(), "\"running\" is running"),
        ("/api/webrtc/realtime/start?session_id=".to_owned(), "session_id must be"),
        (format!("/api/webrtc/realtime/start?session_id={long}"), "session_id must be"),
        ("/api/webrtc/realtime/stop?session_id=nobody".to_owned(), "no session \"nobody\""),
        ("/api/webrtc/avatar/prepare?avatar_id=a&video_path=../../x.mp4".to_owned(), "outside"),
        ("/api/webrtc/avatar/prepare?avatar_id=.a&video_path=x.mp4".to_owned(), ".a"),
    ] {
        server.post(&uri).await.assert_detail(400, part);
    }
    for (session, sdp, kind, part) in [
        ("running", "v=0", "answer", "type must be \"offer\""),
        ("running", "v=0", "ANSWER", "type must be \"offer\""),
        ("running", "v=0", "", "type must be \"offer\""),
        ("running", "nonsense", "offer", "cannot be read"),
        ("nobody", "v=0", "offer", "no session \"nobody\""),
    ] {
        let body = json!({ "session_id": session, "sdp": sdp, "type": kind }).to_string();
        server.post_body("/api/webrtc/offer", body).await.assert_detail(400, part);
    }
    assert!(server.get("/api/webrtc/status/%ff").await.status.is_client_error());
}

#[tokio::test]
async fn a_video_that_cannot_be_used_fails_with_its_reason() {
    let server = Server::new();
    let uri = "/api/webrtc/avatar/prepare?avatar_id=wall&video_path=../MuseTalk/data/video/wall.mp4";
    let reply = server.post(uri).await;
    assert_eq!(reply.status, 200);
    let json = reply.json();
    assert_eq!((&json["status"], &json["avatar_id"]), (&json!("failed"), &json!("wall")));
    assert_eq!(json["detail"], "no face was found in any frame");
}

#[tokio::test]
async fn a_panic_while_preparing_is_told_without_internals() {
    let server = Server::new();
    std::fs::write(server.folder.path().join("data/media/bad.mp4"), "panic").unwrap();
    let json = server.post("/api/webrtc/avatar/prepare?avatar_id=a&video_path=bad.mp4").await.json();
    assert_eq!((&json["status"], &json["detail"]), (&json!("failed"), &json!("internal error")));
}

#[tokio::test]
async fn capacity_is_503_with_retry_after() {
    let server = Server::new();
    server.studio.state.lock().unwrap().full = true;
    let reply = server.post("/api/webrtc/realtime/start?session_id=a").await;
    reply.assert_detail(503, "16 sessions");
    assert_eq!(reply.headers["retry-after"], "5");
}

#[tokio::test]
async fn trouble_of_our_own_is_500_without_internals() {
    let server = Server::new();
    server.post("/api/webrtc/realtime/start?session_id=a").await;
    let body = json!({ "session_id": "a", "sdp": "secret", "type": "offer" }).to_string();
    server.post_body("/api/webrtc/offer", body).await.assert(500, json!({ "detail": "internal error" }));
}

#[tokio::test]
async fn unknown_routes_and_methods_answer_in_the_dialect() {
    let server = Server::new();
    server.get("/api/webrtc/nowhere").await.assert(404, json!({ "detail": "Not Found" }));
    server.get("/api/webrtc/offer").await.assert(405, json!({ "detail": "Method Not Allowed" }));
    let delete = Request::builder().method(Method::DELETE).uri("/api/health").body(Body::empty()).unwrap();
    server.send(delete).await.assert(405, json!({ "detail": "Method Not Allowed" }));
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let server = Server::with("max_body = \"1KiB\"");
    let reply = server.post_body("/api/webrtc/offer", vec![b' '; 2048]).await;
    assert_eq!(reply.status, 413);
    assert!(reply.json()["detail"].is_string());
}
