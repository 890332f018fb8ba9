//! The seed API, `/api/webrtc/*` and `/api/health`: shapes and errors as its FastAPI server had them.

mod avatar;
mod input;
mod offer;
mod realtime;
mod status;

use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;

use self::input::FieldError;
use super::Dialect;
use crate::app::{App, StudioError};
use crate::files::PathError;

/// Routes that answer at once.
pub(crate) fn quick() -> Router<App> {
    Router::new()
        .route("/api/health", get(status::health))
        .route("/api/webrtc/musetalk/status", get(status::models))
        .route("/api/webrtc/status/{session_id}", get(status::session))
        .route("/api/webrtc/realtime/status/{session_id}", get(status::realtime))
        .route("/api/webrtc/realtime/stop", post(realtime::stop))
        .route("/api/webrtc/offer", post(offer::offer))
}

/// Routes that answer when the work is done.
pub(crate) fn slow() -> Router<App> {
    Router::new()
        .route("/api/webrtc/avatar/initialize", post(avatar::initialize))
        .route("/api/webrtc/avatar/prepare", post(avatar::prepare))
        // It may have to draw, mend or load an avatar first.
        .route("/api/webrtc/realtime/start", post(realtime::start))
}

/// Why a request of this dialect is refused.
#[derive(Debug)]
pub(super) enum SeedError {
    /// 422: parameters are missing or malformed.
    Fields(Vec<FieldError>),
    /// Another status, with its detail.
    Status(StatusCode, String),
    /// What the studio said.
    Studio(StudioError),
}

impl SeedError {
    fn bad(detail: impl Into<String>) -> Self {
        Self::Status(StatusCode::BAD_REQUEST, detail.into())
    }
}

impl From<StudioError> for SeedError {
    fn from(error: StudioError) -> Self {
        Self::Studio(error)
    }
}

impl From<PathError> for SeedError {
    fn from(error: PathError) -> Self {
        Self::bad(error.to_string())
    }
}

impl IntoResponse for SeedError {
    fn into_response(self) -> Response {
        match self {
            Self::Fields(fields) => {
                (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "detail": fields }))).into_response()
            }
            Self::Status(status, detail) => Dialect::Seed.error(status, detail),
            Self::Studio(error) => Dialect::Seed.failure(&error),
        }
    }
}
