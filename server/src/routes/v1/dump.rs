//! The last minutes of a session, as a file.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::{Name, Problem};
use crate::app::{App, Caller, Rejection, StudioError};

/// Dumps under way in this process. Each holds a copy of all that a session said, and takes a processor for a while.
static DUMPS: Semaphore = Semaphore::const_new(2);

/// A reader that takes nothing for so long gets no more.
const PATIENCE: Duration = Duration::from_secs(20);

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
    let permit = DUMPS.try_acquire().map_err(|_| {
        let detail = "two sessions are being dumped already".to_owned();
        StudioError::Busy { detail, retry_after: 5, reason: Rejection::Dumps }
    })?;
    let copied = tokio::task::spawn_blocking(move || app.studio.recording(&id)).await;
    let recording = copied.map_err(StudioError::internal)??;
    // A few pieces ahead of the reader: what is not read yet is not written out yet.
    let (chunks, written) = mpsc::channel::<Bytes>(4);
    let runtime = Handle::current();
    let write = move || {
        // Sessions come first. Of this thread alone; where the system refuses, it is as it was.
        let _ = rustix::process::nice(10);
        for chunk in recording.into_chunks() {
            let sent = runtime.block_on(async { timeout(PATIENCE, chunks.send(chunk.into())).await });
            if !matches!(sent, Ok(Ok(()))) {
                // The reader is gone or stalls: what it has lacks its last line, so it is no recording.
                break;
            }
        }
        drop(permit);
    };
    std::thread::Builder::new()
        .name("session dump".to_owned())
        .spawn(write)
        .map_err(StudioError::internal)?;
    let body = unfold(written, |mut written| async move {
        let chunk = written.recv().await?;
        Some((Ok::<_, Infallible>(chunk), written))
    });
    let headers = [(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(body)).into_response())
}
