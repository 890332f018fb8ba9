//! What there is and what runs.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::SeedError;
use super::input::SessionPath;
use crate::app::{App, BackendState, Mode, StudioError};

/// `GET /api/health`
pub(super) async fn health() -> Json<Value> {
    Json(json!({ "status": "healthy", "message": "Lipcast is running" }))
}

/// `GET /api/webrtc/musetalk/status`
pub(super) async fn models(State(app): State<App>) -> Result<Json<Value>, SeedError> {
    let ready = |mode: Option<Mode>| {
        app.studio.backends().into_iter().find(|backend| {
            backend.state == BackendState::Ready && mode.is_none_or(|mode| backend.mode == Some(mode))
        })
    };
    let studio = app.studio.clone();
    // Reads the folder of avatars, and may wait for the built-in one to be drawn.
    let avatars = tokio::task::spawn_blocking(move || studio.avatars()).await;
    let avatars = avatars.map_err(StudioError::internal)??;
    let loaded: Vec<_> = avatars.into_iter().map(|avatar| avatar.id).collect();
    Ok(Json(json!({
        "initialized": ready(Some(Mode::Model)).is_some(),
        "current_avatar": app.studio.current_avatar(),
        "loaded_avatars": loaded,
        "backend": ready(None).map(|backend| backend.name),
    })))
}

/// `GET /api/webrtc/status/{session_id}`
pub(super) async fn session(State(app): State<App>, SessionPath(session): SessionPath) -> Json<Value> {
    Json(match app.studio.session(&session) {
        None => json!({ "exists": false }),
        Some(report) => json!({
            "exists": true,
            "fps": whole(report.fps),
            "sample_rate": report.sample_rate,
            "video_queue": report.video_queue,
            "audio_queue": report.audio_queue,
            "backend": report.backend,
            "mode": report.mode,
            "viewers": report.viewers,
            "held_frames": report.held_frames,
        }),
    })
}

/// `GET /api/webrtc/realtime/status/{session_id}`
pub(super) async fn realtime(State(app): State<App>, SessionPath(session): SessionPath) -> Json<Value> {
    Json(match app.studio.session(&session) {
        None => json!({ "exists": false }),
        Some(report) => {
            json!({ "exists": true, "is_generating": report.is_generating, "product_id": null })
        }
    })
}

/// 25 and not 25.0, as the seed wrote it; a broken rate stays one.
pub(super) fn whole(fps: f64) -> Value {
    if fps.fract() == 0.0 { json!(fps as u64) } else { json!(fps) }
}
