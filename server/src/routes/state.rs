//! `/health` and `/ready`: for whatever watches over the server.

use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::app::{App, BackendState};

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/health", get(health)).route("/ready", get(ready))
}

/// The process lives and answers.
async fn health() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// 200 when a backend can serve, 503 until then. The reasons may name files, so they need a token.
async fn ready(State(app): State<App>, headers: HeaderMap) -> (StatusCode, Json<Value>) {
    let backends = app.studio.backends();
    let serving = backends.iter().find(|backend| backend.state == BackendState::Ready);
    let status = if serving.is_some() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body = json!({ "ready": serving.is_some() });
    if app.access.caller(&headers, Instant::now()).is_some() {
        body["serving"] = json!(serving.map(|backend| &backend.name));
        body["backends"] = json!(backends);
    }
    (status, Json(body))
}
