//! `/v1/*`: what the page needs, and its errors.

use axum::http::Method;
use lipcast_engine::session::black_box::Recording;
use serde_json::json;

use super::*;
use crate::app::{BackendChange, SessionEvent, Studio};

/// The job once it is over.
async fn outcome(server: &Server, job: &str) -> Value {
    loop {
        let record = server.get(&format!("/v1/jobs/{job}")).await.json();
        if record["state"] != "running" {
            return record;
        }
        tokio::task::yield_now().await;
    }
}

#[track_caller]
fn assert_problem(reply: &Reply, status: u16, part: &str) {
    let json = reply.json();
    assert_eq!(reply.status.as_u16(), status, "{json}");
    assert_eq!(reply.headers["content-type"], "application/problem+json");
    assert_eq!(json["status"], status);
    assert!(json["title"].is_string() && json["type"].is_string());
    assert!(json["detail"].as_str().unwrap().contains(part), "{json} has no {part:?}");
}

#[tokio::test]
async fn an_avatar_from_upload_to_deletion() {
    let server = Server::new();
    let reply = server.upload("/v1/avatars/anna/source", "file", "me.mp4", b"a face").await;
    assert_eq!(reply.status, 202);
    let job = reply.json()["job"].as_str().unwrap().to_owned();
    assert_eq!(reply.headers["location"], format!("/v1/jobs/{job}"));
    let record = outcome(&server, &job).await;
    assert_eq!(
        (&record["state"], &record["avatar_id"], &record["progress"], &record["kind"]),
        (&json!("succeeded"), &json!("anna"), &json!(1.0), &json!("prepare"))
    );
    let sources = server.folder.path().join("data/media/sources");
    assert_eq!(std::fs::read_dir(sources).unwrap().count(), 0, "the upload is not needed any more");

    let avatars = server.get("/v1/avatars").await.json();
    assert_eq!(avatars["avatars"][1]["id"], "anna");
    assert_eq!(avatars["avatars"][1]["poster"], "/v1/avatars/anna/poster");
    assert_eq!(server.get("/v1/avatars/anna").await.json()["frame_count"], 100);
    let poster = server.get("/v1/avatars/anna/poster").await;
    assert_eq!(
        (poster.headers["content-type"].to_str().unwrap(), &poster.body[..]),
        ("image/jpeg", &[0xff, 0xd8][..])
    );
    let delete = || server.send(request(Method::DELETE, "/v1/avatars/anna", Body::empty()));
    assert_eq!(delete().await.status, 204);
    assert_problem(&delete().await, 404, "no avatar \"anna\"");
    assert_problem(&server.get("/v1/avatars/anna").await, 404, "no avatar \"anna\"");
}

#[tokio::test]
async fn a_job_can_be_cancelled_and_is_exclusive() {
    let server = Server::new();
    let reply = server.upload("/v1/avatars/anna/source", "file", "me.mp4", b"endless").await;
    let job = reply.json()["job"].as_str().unwrap().to_owned();
    let again = server.upload("/v1/avatars/anna/source", "file", "other.mp4", b"a face").await;
    assert_problem(&again, 409, "being prepared already");
    assert_eq!(server.post(&format!("/v1/jobs/{job}/cancel")).await.status, 200);
    assert_eq!(outcome(&server, &job).await["state"], "cancelled");
    assert_problem(&server.get("/v1/jobs/nothing").await, 404, "no such job");
    assert_problem(&server.post("/v1/jobs/nothing/cancel").await, 404, "no such job");
}

#[tokio::test]
async fn a_failed_job_says_why() {
    let server = Server::new();
    let reply = server.upload("/v1/avatars/wall/source", "file", "wall.mp4", b"no face").await;
    let record = outcome(&server, reply.json()["job"].as_str().unwrap()).await;
    assert_eq!(
        (&record["state"], &record["detail"]),
        (&json!("failed"), &json!("no face was found in any frame"))
    );
}

#[tokio::test]
async fn uploaded_speech_can_be_said() {
    let server = Server::new();
    let reply = server.upload("/v1/speech", "file", "../../My Voice.wav", b"RIFF1234").await;
    assert_eq!(reply.status, 201);
    let path = reply.json()["path"].as_str().unwrap().to_owned();
    assert_eq!((&reply.json()["name"], &reply.json()["seconds"]), (&json!("My-Voice.wav"), &json!(8.0)));
    let listed = server.get("/v1/speech").await.json();
    let paths: Vec<_> =
        listed["speech"].as_array().unwrap().iter().map(|s| s["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["eng.wav", &path, "../MuseTalk/data/audio/yongen.wav"]);
    let lengths: Vec<_> =
        listed["speech"].as_array().unwrap().iter().map(|s| s["seconds"].as_f64()).collect();
    assert_eq!(lengths, [None, Some(8.0), None], "what a file does not tell is left out");
    assert_eq!(listed["builtin"], json!({ "name": "Welcome", "seconds": 9.5 }));
    for path in paths {
        let uri =
            format!("/api/webrtc/realtime/start?session_id={}&audio_path={path}", path.replace('/', "_"));
        assert_eq!(server.post(&uri).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn uploads_that_cannot_be_taken_are_refused() {
    let server = Server::with("max_upload = \"1MiB\"");
    assert_problem(&server.upload("/v1/speech", "file", "a.wav", b"").await, 400, "empty");
    assert_problem(
        &server.upload("/v1/speech", "clip", "a.wav", b"RIFF").await,
        400,
        "no field named `file`",
    );
    assert_problem(
        &server.upload("/v1/speech", "file", "a.wav", &vec![0; (1 << 20) + 1]).await,
        413,
        "larger than",
    );
    assert_problem(
        &server.upload("/v1/avatars/..%2fx/source", "file", "a.mp4", b"a face").await,
        400,
        "../x",
    );
    assert_problem(&server.upload("/v1/speech", "file", "a.wav", b"no").await, 400, "a.wav is no sound");
    assert_problem(&server.post_body("/v1/speech", "RIFF").await, 400, "multipart");
    let media = server.folder.path().join("data/media/speech");
    assert!(std::fs::read_dir(media).unwrap().next().is_none(), "nothing stays of what was refused");
}

#[tokio::test]
async fn uploads_together_have_a_limit() {
    let server = Server::with_media("", "max_uploads = \"1MiB\"");
    let clip = [b"RIFF".as_slice(), &[7; 700 << 10]].concat();
    assert_eq!(server.upload("/v1/speech", "file", "a.wav", &clip).await.status, 201);
    let refused = server.upload("/v1/speech", "file", "b.wav", &clip).await;
    assert_problem(&refused, 507, "max_uploads");
    assert_eq!(server.get("/v1/speech").await.json()["speech"].as_array().unwrap().len(), 3, "two others");
}

#[tokio::test]
async fn sessions_and_backends_are_listed() {
    let server = Server::new();
    server.post("/api/webrtc/realtime/start?session_id=anna").await;
    assert_eq!(server.get("/v1/sessions").await.json()["sessions"][0]["session_id"], "anna");
    assert_eq!(server.get("/v1/sessions/anna").await.json()["backend"], "demo");
    assert_problem(&server.get("/v1/sessions/otto").await, 404, "no session \"otto\"");
    let stop = || server.send(request(Method::DELETE, "/v1/sessions/anna", Body::empty()));
    assert_eq!(stop().await.status, 204);
    assert_problem(&stop().await, 404, "no session \"anna\"");
    let backends = server.get("/v1/backends").await.json();
    assert_eq!(
        backends["backends"][0],
        json!({ "name": "onnx", "state": "failed", "detail": "model.onnx is missing", "required": false, "restarts": 0, "load_fps": 0 })
    );
}

/// `POST /v1/sessions/{session}/speech` with a JSON body.
async fn speak(server: &Server, session: &str, body: &str) -> Reply {
    let mut request =
        request(Method::POST, &format!("/v1/sessions/{session}/speech"), body.to_owned().into());
    request.headers_mut().insert("content-type", "application/json".parse().unwrap());
    server.send(request).await
}

#[tokio::test]
async fn speech_is_queued_on_a_running_session() {
    let server = Server::new();
    let eng = r#"{"path": "eng.wav", "mood": "unknown fields are ignored"}"#;
    assert_problem(&speak(&server, "anna", eng).await, 404, "no session \"anna\"");
    server.post("/api/webrtc/realtime/start?session_id=anna").await;
    let builtin = speak(&server, "anna", r#"{"builtin": true}"#).await;
    builtin.assert(202, json!({ "utterance_id": 1, "position": 1, "seconds": 9.5 }));
    speak(&server, "anna", eng).await.assert(202, json!({ "utterance_id": 2, "position": 2 }));
    assert_eq!(server.get("/v1/sessions/anna").await.json()["utterances"], 3);
    assert_problem(&speak(&server, "anna", eng).await, 409, "2 utterances wait already");
    for (body, status, part) in [
        ("{", 400, "JSON"),
        (r#"{"path": 1}"#, 422, "path"),
        ("{}", 400, "builtin"),
        (r#"{"path": "eng.wav", "builtin": true}"#, 400, "builtin"),
        (r#"{"path": "gone.wav"}"#, 400, "gone.wav"),
        (r#"{"path": "../../etc/passwd"}"#, 400, "outside"),
        (r#"{"path": "."}"#, 400, "folder"),
    ] {
        assert_problem(&speak(&server, "anna", body).await, status, part);
    }
    assert_problem(&server.post_body("/v1/sessions/anna/speech", "{}").await, 415, "application/json");
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems() {
    let server = Server::new();
    assert_problem(&server.get("/v1/nowhere").await, 404, "Not Found");
    assert_problem(&server.post("/v1/avatars").await, 405, "Method Not Allowed");
}

#[tokio::test]
async fn a_sessions_events_are_numbered_go_on_where_a_client_was_and_end() {
    let server = Server::new();
    assert_problem(&server.get("/v1/sessions/s/events").await, 404, "no session \"s\"");
    assert_eq!(server.post("/api/webrtc/realtime/start?session_id=s").await.status, 200);
    let events = server.studio.events("s").unwrap();
    let change = BackendChange { from: Some("model".into()), to: None, reason: "lost", frame: 75 };
    events.push(SessionEvent::Backend(change));
    events.push(SessionEvent::Draining { seconds: 5 });
    events.push(SessionEvent::Ended { reason: "it was stopped".into() });
    let reply = server.get("/v1/sessions/s/events").await;
    assert_eq!(reply.headers["content-type"], "text/event-stream");
    let (first, rest) = (
        "id: 1\nevent: backend\ndata: {\"from\":\"model\",\"to\":null,\"reason\":\"lost\",\"frame\":75}\n\n",
        "id: 2\nevent: draining\ndata: {\"seconds\":5}\n\nid: 3\nevent: ended\ndata: {\"reason\":\"it was stopped\"}\n\n",
    );
    assert_eq!(String::from_utf8(reply.body).unwrap(), format!("{first}{rest}"));
    let mut again = request(Method::GET, "/v1/sessions/s/events", Body::empty());
    again.headers_mut().insert("last-event-id", "1".parse().unwrap());
    assert_eq!(String::from_utf8(server.send(again).await.body).unwrap(), rest);
}

#[tokio::test]
async fn an_ending_server_is_not_ready() {
    let server = Server::new();
    assert_eq!(server.get("/ready").await.status, 200);
    server.studio.drain(std::time::Duration::ZERO).await;
    let reply = server.get("/ready").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["status"]), (503, &json!("draining")));
}

#[tokio::test]
async fn a_backend_is_reloaded_or_says_why_not() {
    let server = Server::new();
    assert_eq!(server.post("/v1/backends/demo/reload").await.json()["state"], "ready");
    assert_problem(&server.post("/v1/backends/onnx/reload").await, 409, "model.onnx is missing");
    assert_problem(&server.post("/v1/backends/x/reload").await, 404, "no backend \"x\"");
}

#[tokio::test]
async fn a_dump_is_for_the_operator() {
    let server = Server::with("tokens = [\"correct-horse-battery\"]");
    let ask = |method: Method, uri: &'static str, token: String| {
        let mut request = request(method, uri, Body::empty());
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        server.send(request)
    };
    let operator = || "correct-horse-battery".to_owned();
    ask(Method::POST, "/api/webrtc/realtime/start?session_id=anna&audio_path=", operator()).await;
    let dump = ask(Method::GET, "/v1/sessions/anna/dump", operator()).await;
    assert_eq!(dump.status, 200);
    assert_eq!(dump.headers["content-type"], "application/x-ndjson");
    assert_eq!(dump.headers["cache-control"], "no-store");
    let recording = Recording::read(&*dump.body).unwrap();
    assert_eq!(recording.subject.session, "anna");
    assert_problem(&ask(Method::GET, "/v1/sessions/otto/dump", operator()).await, 404, "no such session");
    // It holds what was said before a viewer came.
    let granted = ask(Method::POST, "/v1/sessions/anna/token", operator()).await.json();
    let own = granted["token"].as_str().unwrap().to_owned();
    assert_problem(&ask(Method::GET, "/v1/sessions/anna/dump", own).await, 403, "what was said");
    assert_problem(&server.get("/v1/sessions/anna/dump").await, 401, "token");
}
