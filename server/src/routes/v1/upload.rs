//! Receives the `file` of a form, straight to disk.

use std::time::Duration;

use axum::extract::Multipart;
use axum::extract::multipart::MultipartRejection;
use axum::http::StatusCode;

use super::Problem;
use crate::app::{Rejection, StudioError};
use crate::files::{UploadError, UploadKind, Uploads};

/// An upload that pauses for longer has lost its sender.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Writes the form's `file` and gives its path below the media folders. Other fields are skipped.
pub(super) async fn receive(
    uploads: &Uploads,
    kind: UploadKind,
    form: Result<Multipart, MultipartRejection>,
) -> Result<String, Problem> {
    let mut form = form.map_err(|error| Problem::Status(error.status(), error.body_text()))?;
    loop {
        let field = in_time(form.next_field()).await?;
        let Some(mut field) = field else {
            let detail = "the form has no field named `file`".to_owned();
            return Err(Problem::Status(StatusCode::BAD_REQUEST, detail));
        };
        if field.name() != Some("file") {
            continue;
        }
        let name = field.file_name().unwrap_or("file").to_owned();
        let mut upload = uploads.begin(kind, &name).await?;
        while let Some(bytes) = in_time(field.chunk()).await? {
            upload.write(&bytes).await?;
        }
        return Ok(upload.finish().await?);
    }
}

async fn in_time<T>(
    step: impl Future<Output = Result<T, axum::extract::multipart::MultipartError>>,
) -> Result<T, Problem> {
    match tokio::time::timeout(LONGEST_PAUSE, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Problem::Status(error.status(), error.body_text())),
        Err(_) => Err(UploadError::Interrupted("nothing came for 30 seconds".to_owned()).into()),
    }
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        let status = match &error {
            UploadError::Disk(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                let detail = "this server's disk is full".to_owned();
                return Self::Studio(StudioError::Busy { detail, retry_after: 60, reason: Rejection::Disk });
            }
            UploadError::Disk(_) => return Self::Studio(StudioError::internal(error)),
            UploadError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            UploadError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            UploadError::Interrupted(_) => StatusCode::REQUEST_TIMEOUT,
            UploadError::Empty => StatusCode::BAD_REQUEST,
        };
        Self::Status(status, error.to_string())
    }
}
