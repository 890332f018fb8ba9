//! Backends up, avatars prepared.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::SeedError;
use super::input::{Params, avatar_name};
use crate::app::{App, BackendState, JobState, Mode};

/// `POST /api/webrtc/avatar/initialize`: starts or retries the configured backends and waits for the outcome.
pub(super) async fn initialize(State(app): State<App>) -> Json<Value> {
    let backends = app.studio.initialize().await;
    let failed: Vec<_> = backends.iter().filter(|backend| backend.state != BackendState::Ready).collect();
    let serving = backends.iter().find(|backend| backend.state == BackendState::Ready);
    // Demo is no answer to a backend that was configured and did not come up.
    let model_serves = serving.is_some_and(|backend| backend.mode == Some(Mode::Model));
    if model_serves || serving.is_some() && failed.is_empty() {
        return Json(json!({ "status": "success", "backends": backends }));
    }
    let reasons: Vec<_> =
        failed.iter().map(|backend| format!("{}: {}", backend.name, backend.detail)).collect();
    Json(json!({ "status": "failed", "detail": reasons.join("; "), "backends": backends }))
}

/// `POST /api/webrtc/avatar/prepare?avatar_id=A&video_path=P`: blocks until done; a client that goes away
/// leaves the job running.
pub(super) async fn prepare(State(app): State<App>, mut params: Params) -> Result<Json<Value>, SeedError> {
    let (avatar, video) = (params.required("avatar_id"), params.required("video_path"));
    params.finish()?;
    let avatar = avatar_name(&avatar)?;
    let source = app.roots.resolve(&video)?;
    let job = app.jobs.prepare(app.studio.clone(), avatar.clone(), source, async {})?;
    let record = app.jobs.wait(&job).await;
    Ok(Json(match record {
        Some(record) if record.state == JobState::Succeeded => {
            json!({ "status": "success", "avatar_id": avatar, "job": job })
        }
        record => {
            let detail = record.and_then(|record| record.detail).unwrap_or_default();
            json!({ "status": "failed", "avatar_id": avatar, "detail": detail, "job": job })
        }
    }))
}
