//! Speech files: what can be said, and new ones.

use axum::Json;
use axum::extract::multipart::MultipartRejection;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Problem, blocking, upload};
use crate::app::App;
use crate::files::UploadKind;

/// `GET /v1/speech`: files of the media folders by the path that `audio_path` takes.
/// Without any, the built-in clip is still there: leave `audio_path` out.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let speech = blocking(move || Ok(app.roots.list_speech())).await?;
    let speech: Vec<_> =
        speech.iter().map(|path| json!({ "path": path, "name": display_name(path) })).collect();
    Ok(Json(json!({ "speech": speech })))
}

/// `POST /v1/speech`, a form with a `file`: answers with the path that `audio_path` takes.
pub(super) async fn upload(
    State(app): State<App>,
    form: Result<Multipart, MultipartRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let path = upload::receive(&app.uploads, UploadKind::Speech, form).await?;
    let name = display_name(&path).to_owned();
    Ok((StatusCode::CREATED, Json(json!({ "path": path, "name": name }))))
}

/// The file's own name, without the hash that uploads carry in front.
fn display_name(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    match file.split_once('-') {
        Some((hash, name)) if hash.len() == 12 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => name,
        _ => file,
    }
}
