//! Preparations: how far they are, and how to stop one.

use axum::Json;
use axum::extract::State;

use super::{Name, Problem};
use crate::app::{App, JobRecord, StudioError};

/// `GET /v1/jobs/{id}`
pub(super) async fn show(State(app): State<App>, Name(id): Name) -> Result<Json<JobRecord>, Problem> {
    app.jobs.record(&id).map(Json).ok_or_else(unknown)
}

/// `POST /v1/jobs/{id}/cancel`: it stops within about one frame; one that is over stays as it is.
pub(super) async fn cancel(State(app): State<App>, Name(id): Name) -> Result<Json<JobRecord>, Problem> {
    app.jobs.cancel(&id).map(Json).ok_or_else(unknown)
}

fn unknown() -> Problem {
    Problem::Studio(StudioError::Unknown("there is no such job".to_owned()))
}
