//! Avatars: what there is, what they look like, new ones from a video.

use axum::Json;
use axum::extract::multipart::MultipartRejection;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{AvatarName, Problem, blocking, upload};
use crate::app::{App, AvatarSummary, StudioError};
use crate::files::UploadKind;

/// `GET /v1/avatars`
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let studio = app.studio.clone();
    let avatars = blocking(move || studio.avatars()).await?;
    let current = app.studio.current_avatar();
    let avatars: Vec<_> = avatars.iter().map(describe).collect();
    Ok(Json(json!({ "avatars": avatars, "current": current })))
}

/// `GET /v1/avatars/{id}`
pub(super) async fn show(State(app): State<App>, AvatarName(id): AvatarName) -> Result<Json<Value>, Problem> {
    let avatars = blocking(move || app.studio.avatars()).await?;
    match avatars.iter().find(|avatar| avatar.id == id) {
        Some(avatar) => Ok(Json(describe(avatar))),
        None => Err(Problem::Studio(StudioError::Unknown(format!("there is no avatar \"{id}\"")))),
    }
}

/// `GET /v1/avatars/{id}/poster`: a JPEG.
pub(super) async fn poster(State(app): State<App>, AvatarName(id): AvatarName) -> Result<Response, Problem> {
    let jpeg = blocking(move || app.studio.poster(&id)).await?;
    // An avatar may be prepared anew under its name, so a poster is kept for a minute only.
    Ok(([(CONTENT_TYPE, "image/jpeg"), (CACHE_CONTROL, "private, max-age=60")], jpeg).into_response())
}

/// `DELETE /v1/avatars/{id}`
pub(super) async fn delete(
    State(app): State<App>,
    AvatarName(id): AvatarName,
) -> Result<StatusCode, Problem> {
    blocking(move || app.studio.delete_avatar(&id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/avatars/{id}/source`, a form with a `file`: the avatar is prepared from it as a job.
pub(super) async fn source(
    State(app): State<App>,
    AvatarName(id): AvatarName,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Response, Problem> {
    let path = upload::receive(&app.uploads, UploadKind::Source, form).await?;
    let source = app.roots.resolve(&path).map_err(StudioError::internal)?;
    // The avatar keeps its own copy of what it was made from.
    let (uploads, upload) = (app.uploads.clone(), path.clone());
    let discard = async move { uploads.discard(&upload).await };
    let job = match app.jobs.prepare(app.studio.clone(), id, source, discard) {
        Ok(job) => job,
        Err(error) => {
            app.uploads.discard(&path).await;
            return Err(error.into());
        }
    };
    let location = format!("/v1/jobs/{job}");
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(json!({ "job": job }))).into_response())
}

fn describe(avatar: &AvatarSummary) -> Value {
    let mut text = json!(avatar);
    text["poster"] = json!(format!("/v1/avatars/{}/poster", avatar.id));
    text
}
