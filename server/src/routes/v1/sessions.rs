//! Running sessions.

use std::time::Instant;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Name, Problem, speech};
use crate::app::{App, Caller, QueuedSpeech, Rejection, SessionReport, SpeechSource, StudioError};

/// `GET /v1/sessions`: all of them, for the operator; the guard keeps sessions' own tokens out.
pub(super) async fn list(State(app): State<App>) -> Json<Value> {
    Json(json!({ "sessions": app.studio.sessions() }))
}

/// `GET /v1/sessions/{id}`
pub(super) async fn show(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Name(id): Name,
) -> Result<Json<SessionReport>, Problem> {
    check(&caller, &id)?;
    let report = app.studio.session(&id);
    report.map(Json).ok_or_else(|| unknown(&id))
}

/// What to say: `{"path": "eng.wav"}`, a path as `GET /v1/speech` lists them, or `{"builtin": true}`.
#[derive(Debug, Deserialize)]
pub(super) struct Speech {
    path: Option<String>,
    #[serde(default)]
    builtin: bool,
}

/// `POST /v1/sessions/{id}/speech`: queues speech behind what the session is saying.
pub(super) async fn speak(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Name(id): Name,
    body: Result<Json<Speech>, JsonRejection>,
) -> Result<(StatusCode, Json<QueuedSpeech>), Problem> {
    check(&caller, &id)?;
    let Json(what) = body.map_err(|error| Problem::Status(error.status(), error.body_text()))?;
    if app.studio.session(&id).is_none() {
        return Err(unknown(&id));
    }
    let speech = match (what.path, what.builtin) {
        (Some(path), false) => SpeechSource::File(speech::resolve(&app, &path)?),
        (None, true) => SpeechSource::Builtin,
        _ => {
            let detail =
                "say what to speak: {\"path\": …} as GET /v1/speech lists it, or {\"builtin\": true}";
            return Err(Problem::Status(StatusCode::BAD_REQUEST, detail.to_owned()));
        }
    };
    let queued = app.studio.speak(&id, speech).await?;
    Ok((StatusCode::ACCEPTED, Json(queued)))
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
        Problem::Studio(StudioError::Busy { detail, retry_after: 60, reason: Rejection::Tokens })
    })?;
    Ok(Json(json!({
        "token": granted.token.reveal(),
        "session_id": id,
        "expires_in": granted.lives.as_secs(),
    })))
}

pub(super) fn unknown(session: &str) -> Problem {
    StudioError::Unknown(format!("there is no session \"{session}\"")).into()
}

pub(super) fn check(caller: &Caller, session: &str) -> Result<(), Problem> {
    if caller.may_use(session) {
        return Ok(());
    }
    let detail = "this token is good for its own session only".to_owned();
    Err(Problem::Status(StatusCode::FORBIDDEN, detail))
}
