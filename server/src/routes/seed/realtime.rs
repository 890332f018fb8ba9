//! Sessions begin and end.

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::SeedError;
use super::input::{Params, avatar_name, session_name};
use super::status::whole;
use crate::app::{App, Caller, SpeechSource, StartRequest};

/// `POST /api/webrtc/realtime/start?session_id=S[&avatar_id=A][&audio_path=P][&fps=25][&sample_rate=16000]`
///
/// Without `avatar_id` the avatar used last (or the built-in one) appears; without `audio_path` it says the
/// built-in clip, and with an empty one nothing yet. `fps` and `sample_rate` are what the client expects:
/// the avatar decides the one and the backend the other, and the answer tells.
pub(super) async fn start(
    State(app): State<App>,
    caller: Extension<Caller>,
    mut params: Params,
) -> Result<Json<Value>, SeedError> {
    let session = params.required("session_id");
    let (avatar, audio) = (params.optional("avatar_id"), params.optional("audio_path"));
    let shop = params.optional("product_id").is_some();
    params.optional_count("fps");
    params.optional_count("sample_rate");
    params.finish()?;
    if shop {
        return Err(SeedError::bad(
            "product_id belongs to a shop that this server does not have; give avatar_id and audio_path",
        ));
    }
    session_name(&session, &caller)?;
    let avatar = avatar.as_deref().filter(|name| !name.is_empty()).map(avatar_name).transpose()?;
    let speech = match audio.as_deref() {
        None => SpeechSource::Builtin,
        Some("") => SpeechSource::Nothing,
        Some(path) => {
            let file = app.roots.resolve(path)?;
            if file.is_folder() {
                return Err(SeedError::bad(format!("\"{}\" is a folder, not a speech file", file.name())));
            }
            SpeechSource::File(file)
        }
    };
    let started = app.studio.start(StartRequest { session: session.clone(), avatar, speech }).await?;
    Ok(Json(json!({
        "status": "realtime_started",
        "session_id": session,
        "avatar_id": started.avatar,
        "backend": started.backend,
        "mode": started.mode,
        "fps": whole(started.fps),
    })))
}

/// `POST /api/webrtc/realtime/stop?session_id=S`
pub(super) async fn stop(
    State(app): State<App>,
    caller: Extension<Caller>,
    mut params: Params,
) -> Result<Json<Value>, SeedError> {
    let session = params.required("session_id");
    params.finish()?;
    session_name(&session, &caller)?;
    app.studio.stop(&session).await?;
    Ok(Json(json!({ "status": "stopped", "session_id": session })))
}
