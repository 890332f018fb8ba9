//! Errors in the dialect of the route: the client gets a safe message, the log gets the cause.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::app::StudioError;

/// Whose shapes a path speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `/api/`: FastAPI's `{"detail": …}`.
    Seed,
    /// `/v1/`: problem details (RFC 9457).
    V1,
    /// Everything else: a line of text.
    Plain,
}

impl Dialect {
    /// The dialect of `path`.
    pub(crate) fn of(path: &str) -> Self {
        let first = path.split('/').nth(1).unwrap_or("");
        match first {
            "api" => Self::Seed,
            "v1" => Self::V1,
            _ => Self::Plain,
        }
    }

    /// An error response.
    pub(crate) fn error(self, status: StatusCode, detail: impl Into<String>) -> Response {
        let detail = detail.into();
        match self {
            Self::Seed => (status, Json(json!({ "detail": detail }))).into_response(),
            Self::V1 => {
                let title = status.canonical_reason().unwrap_or("Error");
                let problem = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
                let mut response = (status, Json(problem)).into_response();
                let kind = HeaderValue::from_static("application/problem+json");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            Self::Plain => (status, detail + "\n").into_response(),
        }
    }

    /// The response to a call that failed.
    pub(crate) fn failure(self, error: &StudioError) -> Response {
        if let StudioError::Internal(cause) = error {
            tracing::error!(cause, "a request failed");
        }
        let mut response = self.error(self.status(error), error.to_string());
        if let StudioError::Busy { retry_after, reason, .. } = error {
            response.extensions_mut().insert(*reason);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*retry_after));
        }
        response
    }

    /// The seed knows 400 only for what the client did wrong.
    fn status(self, error: &StudioError) -> StatusCode {
        match (error, self) {
            (StudioError::Busy { .. }, _) => StatusCode::SERVICE_UNAVAILABLE,
            (StudioError::Internal(_), _) => StatusCode::INTERNAL_SERVER_ERROR,
            (StudioError::Invalid(_), _) | (_, Self::Seed) => StatusCode::BAD_REQUEST,
            (StudioError::Unknown(_), _) => StatusCode::NOT_FOUND,
            (StudioError::Conflict(_) | StudioError::Cancelled, _) => StatusCode::CONFLICT,
        }
    }
}
