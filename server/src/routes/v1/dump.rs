//! The last minutes of a session, as a file.

use std::convert::Infallible;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use super::{Name, Problem};
use crate::app::{App, Caller};

/// `GET /v1/sessions/{id}/dump`: JSON lines. For the operator alone: it holds all that was said, also before a viewer
/// came.
pub(super) async fn write(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Name(id): Name,
) -> Result<Response, Problem> {
    if caller != Caller::Operator {
        let detail = "a session's token is not good for what was said in it".to_owned();
        return Err(Problem::Status(StatusCode::FORBIDDEN, detail));
    }
    let recording = app.studio.recording(&id)?;
    let chunks = recording.into_chunks().map(|chunk| Ok::<_, Infallible>(Bytes::from(chunk)));
    let headers = [(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(stream::iter(chunks))).into_response())
}
