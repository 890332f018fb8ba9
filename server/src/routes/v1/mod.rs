//! The native API, `/v1/*`: JSON, problem details for errors, jobs for long work.

mod avatars;
mod dump;
mod events;
mod jobs;
mod sessions;
mod speech;
mod upload;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use lipcast_engine::avatar::AvatarId;
use serde_json::{Value, json};

use super::Dialect;
use crate::app::{App, BackendReport, StudioError};
use crate::files::PathError;

/// Routes that answer at once.
pub(crate) fn quick() -> Router<App> {
    Router::new()
        .route("/v1/avatars", get(avatars::list))
        .route("/v1/avatars/{id}", get(avatars::show).delete(avatars::delete))
        .route("/v1/avatars/{id}/poster", get(avatars::poster))
        .route("/v1/backends", get(backends))
        .route("/v1/jobs/{id}", get(jobs::show))
        .route("/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/v1/sessions", get(sessions::list))
        .route("/v1/sessions/{id}", get(sessions::show).delete(sessions::stop))
        .route("/v1/sessions/{id}/dump", get(dump::write))
        .route("/v1/sessions/{id}/events", get(events::follow))
        .route("/v1/sessions/{id}/speech", post(sessions::speak))
        .route("/v1/sessions/{id}/token", post(sessions::token))
}

/// Routes that take a file or load a model; they last for as long as that takes.
pub(crate) fn uploads() -> Router<App> {
    Router::new()
        .route("/v1/avatars/{id}/source", post(avatars::source))
        .route("/v1/backends/{id}/reload", post(reload))
        .route("/v1/speech", get(speech::list).post(speech::upload))
}

/// `GET /v1/backends`: in order of preference.
async fn backends(State(app): State<App>) -> Json<Value> {
    Json(json!({ "backends": app.studio.backends() }))
}

/// `POST /v1/backends/{id}/reload`: a new one takes its place; answers when it serves.
async fn reload(State(app): State<App>, Name(id): Name) -> Result<Json<BackendReport>, Problem> {
    Ok(Json(app.studio.reload(&id).await?))
}

/// Why a request of this dialect is refused.
#[derive(Debug)]
pub(super) enum Problem {
    Status(StatusCode, String),
    Studio(StudioError),
}

impl From<StudioError> for Problem {
    fn from(error: StudioError) -> Self {
        Self::Studio(error)
    }
}

impl From<PathError> for Problem {
    fn from(error: PathError) -> Self {
        Self::Status(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        match self {
            Self::Status(status, detail) => Dialect::V1.error(status, detail),
            Self::Studio(error) => Dialect::V1.failure(&error),
        }
    }
}

/// The name in the path.
struct Name(String);

/// The avatar in the path.
struct AvatarName(AvatarId);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(error) => Err(Problem::Status(error.status(), error.body_text())),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AvatarName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Name(name) = Name::from_request_parts(parts, state).await?;
        match AvatarId::parse(&name) {
            Ok(id) => Ok(Self(id)),
            Err(error) => Err(Problem::Status(StatusCode::BAD_REQUEST, error.to_string())),
        }
    }
}

/// Runs `work`, which reads files, off the threads that serve requests.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StudioError> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Problem::from),
        Err(panic) => Err(Problem::Studio(StudioError::internal(panic))),
    }
}
