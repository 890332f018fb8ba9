//! `/health` and `/ready`: for whatever watches over the server.

use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::app::{App, BackendReport, BackendState};

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/health", get(health)).route("/ready", get(ready))
}

/// The process lives and answers.
async fn health() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// 200 when sessions can be served: something is ready, and every backend that the settings insist on. 503 until
/// then. `status` is "ready" when all that is configured is, "degraded" when something less serves, "unavailable"
/// with 503, "draining" with 503 when the server is about to end. The reasons may name files, so they need a token.
async fn ready(State(app): State<App>, headers: HeaderMap) -> (StatusCode, Json<Value>) {
    let backends = app.studio.backends();
    let is_ready = |backend: &BackendReport| backend.state == BackendState::Ready;
    let serving = backends.iter().find(|backend| is_ready(backend));
    let draining = app.studio.is_draining();
    let ready = !draining
        && serving.is_some()
        && backends.iter().all(|backend| is_ready(backend) || !backend.required);
    let (status, word) = match ready {
        false if draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        true if backends.iter().all(is_ready) => (StatusCode::OK, "ready"),
        true => (StatusCode::OK, "degraded"),
    };
    let mut body = json!({ "ready": ready, "status": word });
    if app.access.caller(&headers, Instant::now()).is_some() {
        body["serving"] = json!(serving.map(|backend| &backend.name));
        body["backends"] = json!(backends);
    }
    (status, Json(body))
}
