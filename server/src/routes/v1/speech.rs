//! Speech files: what can be said, and new ones.

use axum::Json;
use axum::extract::multipart::MultipartRejection;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Problem, blocking, upload};
use crate::app::{App, SpeechSource, StudioError};
use crate::files::{OpenedMedia, UploadKind};

/// `GET /v1/speech`: files of the media folders by the path that `audio_path` takes, and the built-in clip, which
/// is said when `audio_path` is left out. `seconds` is missing where only playing a file would tell.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    blocking(move || {
        let seconds = |speech| app.studio.speech_seconds(&speech).ok().flatten();
        let describe = |path: &String| {
            // A file that cannot be opened or read is listed, too: whoever put it there should see it.
            let file = app.roots.resolve(path).ok();
            clip(path, file.and_then(|file| seconds(SpeechSource::File(file))))
        };
        let speech: Vec<_> = app.roots.list_speech().iter().map(describe).collect();
        let mut builtin = json!({ "name": "Welcome" });
        put_seconds(&mut builtin, seconds(SpeechSource::Builtin));
        Ok(Json(json!({ "speech": speech, "builtin": builtin })))
    })
    .await
}

/// `POST /v1/speech`, a form with a `file`: answers with the path that `audio_path` takes. What is not speech, or
/// too long, is refused and not kept.
pub(super) async fn upload(
    State(app): State<App>,
    form: Result<Multipart, MultipartRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let path = upload::receive(&app.uploads, UploadKind::Speech, form).await?;
    let file = resolve(&app, &path)?;
    let studio = app.studio.clone();
    match blocking(move || studio.check_speech(&file)).await {
        Ok(seconds) => Ok((StatusCode::CREATED, Json(clip(&path, Some(seconds))))),
        Err(problem) => {
            app.uploads.discard(&path).await;
            Err(problem.in_words_of_sender(&path))
        }
    }
}

/// The file that a client's path names.
pub(super) fn resolve(app: &App, path: &str) -> Result<OpenedMedia, Problem> {
    let file = app.roots.resolve(path)?;
    if file.is_folder() {
        let detail = format!("\"{}\" is a folder, not a speech file", file.name());
        return Err(Problem::Status(StatusCode::BAD_REQUEST, detail));
    }
    Ok(file)
}

fn clip(path: &str, seconds: Option<f64>) -> Value {
    let mut clip = json!({ "path": path, "name": display_name(path) });
    put_seconds(&mut clip, seconds);
    clip
}

fn put_seconds(clip: &mut Value, seconds: Option<f64>) {
    if let Some(seconds) = seconds {
        clip["seconds"] = json!((seconds * 1000.0).round() / 1000.0);
    }
}

impl Problem {
    /// With an upload called what its sender called it.
    fn in_words_of_sender(self, path: &str) -> Self {
        let kept = path.rsplit('/').next().unwrap_or(path);
        match self {
            Self::Studio(StudioError::Invalid(text)) => {
                Self::Studio(StudioError::Invalid(text.replace(kept, display_name(path))))
            }
            other => other,
        }
    }
}

/// The file's own name, without the hash that uploads carry in front.
fn display_name(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    match file.split_once('-') {
        Some((hash, name)) if hash.len() == 12 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => name,
        _ => file,
    }
}
