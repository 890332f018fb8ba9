//! `GET /metrics`: the server in numbers, for Prometheus.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Dialect;
use crate::app::App;
use crate::metrics::Exporter;

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(app): State<App>) -> Response {
    let exporter = app.exporter.clone();
    // It reads a file for each backend's process.
    match tokio::task::spawn_blocking(move || exporter.text()).await {
        Ok(Ok(text)) => ([(CONTENT_TYPE, Exporter::CONTENT_TYPE)], text).into_response(),
        failed => {
            tracing::error!(?failed, "the figures cannot be written");
            Dialect::Plain.error(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
        }
    }
}
