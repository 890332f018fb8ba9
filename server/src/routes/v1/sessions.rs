//! Running sessions.

use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::{Name, Problem};
use crate::app::{App, Caller, SessionReport, StudioError};

/// `GET /v1/sessions`
pub(super) async fn list(State(app): State<App>, Extension(caller): Extension<Caller>) -> Json<Value> {
    let mut sessions = app.studio.sessions();
    sessions.retain(|session| caller.may_use(&session.session_id));
    Json(json!({ "sessions": sessions }))
}

/// `GET /v1/sessions/{id}`
pub(super) async fn show(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Name(id): Name,
) -> Result<Json<SessionReport>, Problem> {
    check(&caller, &id)?;
    let report = app.studio.session(&id);
    report.map(Json).ok_or_else(|| StudioError::Unknown("there is no such session".to_owned()).into())
}

/// `DELETE /v1/sessions/{id}`
pub(super) async fn stop(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Name(id): Name,
) -> Result<StatusCode, Problem> {
    check(&caller, &id)?;
    app.studio.stop(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/sessions/{id}/token`: a token that is good for this session alone, for a viewer's page.
/// The session need not run yet.
pub(super) async fn token(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Name(id): Name,
) -> Result<Json<Value>, Problem> {
    if caller != Caller::Operator {
        let detail = "a session's token cannot make another".to_owned();
        return Err(Problem::Status(StatusCode::FORBIDDEN, detail));
    }
    let granted = app.access.grant(&id, Instant::now()).ok_or_else(|| {
        let detail = "too many session tokens are out".to_owned();
        Problem::Studio(StudioError::Busy { detail, retry_after: 60 })
    })?;
    Ok(Json(json!({
        "token": granted.token.reveal(),
        "session_id": id,
        "expires_in": granted.lives.as_secs(),
    })))
}

fn check(caller: &Caller, session: &str) -> Result<(), Problem> {
    if caller.may_use(session) {
        return Ok(());
    }
    let detail = "this token is good for its own session only".to_owned();
    Err(Problem::Status(StatusCode::FORBIDDEN, detail))
}
