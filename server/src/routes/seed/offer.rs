//! A viewer's offer.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::SeedError;
use super::input::{Body, session_name};
use crate::app::{App, Caller, OfferRequest};

/// `POST /api/webrtc/offer {"session_id":S,"sdp":s,"type":"offer","fps":25?,"sample_rate":16000?}`
pub(super) async fn offer(
    State(app): State<App>,
    caller: Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, SeedError> {
    let body = body.map_err(|error| SeedError::Status(error.status(), error.body_text()))?;
    let mut body = Body::parse(&body)?;
    let (session, sdp, kind) = (body.text("session_id"), body.text("sdp"), body.text("type"));
    body.optional_count("fps");
    body.optional_count("sample_rate");
    body.finish()?;
    session_name(&session, &caller)?;
    if !kind.eq_ignore_ascii_case("offer") {
        let shown: String = kind.chars().take(40).collect();
        return Err(SeedError::bad(format!("type must be \"offer\", not \"{shown}\"")));
    }
    let sdp = app.studio.offer(OfferRequest { session, sdp }).await?;
    Ok(Json(json!({ "sdp": sdp, "type": "answer" })))
}
