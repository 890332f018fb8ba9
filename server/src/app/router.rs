//! All routes, and the layers around them from the outside in.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use axum::http::{Method, Request, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::classify::ServerErrorsFailureClass;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::trace::TraceLayer;

use super::{App, guard};
use crate::routes::{Dialect, metrics, page, seed, state, v1};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Room for what surrounds an uploaded file in its form, bytes.
const FORM_OVERHEAD: u64 = 64 * 1024;

/// The server's whole surface.
pub fn router(app: App) -> Router {
    let server = &app.config.server;
    let quick = Router::new()
        .merge(seed::quick())
        .merge(v1::quick())
        .merge(state::routes())
        .merge(metrics::routes())
        .fallback(page::asset)
        .layer(DefaultBodyLimit::max(server.max_body as usize))
        .layer(from_fn_with_state(app.clone(), guard::limit_time));
    let uploads = v1::uploads().layer(DefaultBodyLimit::max((server.max_upload + FORM_OVERHEAD) as usize));
    let cors = cors(&server.cors);
    quick
        .merge(seed::slow())
        .merge(uploads)
        .method_not_allowed_fallback(page::wrong_method)
        .layer(from_fn_with_state(app.clone(), guard::admit))
        .layer(from_fn_with_state(app.clone(), guard::count))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(cors)
        .layer(from_fn(guard::secure))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(TraceLayer::new_for_http().make_span_with(span).on_failure(log_failure))
        .layer(SetRequestIdLayer::new(REQUEST_ID, RandomId))
        .with_state(app)
}

fn cors(origins: &[String]) -> CorsLayer {
    // Checked while the settings were read: each is plain ASCII.
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE, HeaderName::from_static("last-event-id")])
        .expose_headers([REQUEST_ID, RETRY_AFTER])
}

fn span<B>(request: &Request<B>) -> tracing::Span {
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or("");
    // The path only: a query may name people and files.
    tracing::info_span!("request", id, method = %request.method(), path = request.uri().path())
}

/// Refusals for want of room and clients that leave are no faults of the server; its log shall not drown in them.
fn log_failure(failure: ServerErrorsFailureClass, took: Duration, _: &tracing::Span) {
    let milliseconds = took.as_millis();
    match failure {
        ServerErrorsFailureClass::StatusCode(StatusCode::SERVICE_UNAVAILABLE) => {
            tracing::info!(milliseconds, "refused for now");
        }
        ServerErrorsFailureClass::StatusCode(status) => tracing::error!(%status, milliseconds, "failed"),
        ServerErrorsFailureClass::Error(error) => tracing::debug!(error, milliseconds, "cut off"),
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = text, "a request handler panicked");
    Dialect::Seed.error(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
}

/// Request ids of this server; one that the client sent is kept.
#[derive(Clone)]
struct RandomId;

impl MakeRequestId for RandomId {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        let id = format!("{:016x}", rand::random::<u64>());
        HeaderValue::from_str(&id).ok().map(RequestId::new)
    }
}
