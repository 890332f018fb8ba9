//! What every request passes before a route sees it: who calls, from which page, and for how long.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;

use super::{App, Caller, Rejection};
use crate::config::ServerConfig;
use crate::routes::{Dialect, page};

/// Refuses callers without a token and pages that are not ours; tells the routes who calls.
pub(super) async fn admit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let dialect = Dialect::of(path);
    if let Err(reason) = check_page(&app.config.server, &request) {
        return dialect.error(StatusCode::FORBIDDEN, reason);
    }
    if is_public(request.method(), path) {
        return next.run(request).await;
    }
    match app.access.caller(request.headers(), Instant::now()) {
        Some(Caller::Session(_)) if !is_for_sessions(path) => {
            dialect.error(StatusCode::FORBIDDEN, "this token is good for its own session only")
        }
        Some(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        None => {
            let detail = "a token is needed: Authorization: Bearer <token>";
            let mut response = dialect.error(StatusCode::UNAUTHORIZED, detail);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response.extensions_mut().insert(Rejection::Unauthorized);
            response
        }
    }
}

/// Ends requests that take longer than `server.request_timeout`.
pub(super) async fn limit_time(State(app): State<App>, request: Request, next: Next) -> Response {
    let dialect = Dialect::of(request.uri().path());
    match tokio::time::timeout(app.config.server.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let mut response =
                dialect.error(StatusCode::SERVICE_UNAVAILABLE, "this took too long; try again");
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            response.extensions_mut().insert(Rejection::Timeout);
            response
        }
    }
}

/// Counts what was refused, in whichever dialect: whoever refuses says why beside the response.
pub(super) async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(reason) = response.extensions().get::<Rejection>() {
        app.metrics.rejected(*reason);
    }
    response
}

/// Headers that keep a browser from doing more with an answer than it should.
pub(super) async fn secure(request: Request, next: Next) -> Response {
    const CONTENT: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                           media-src 'self' blob: mediastream:; connect-src 'self'; base-uri 'none'; \
                           form-action 'none'; frame-ancestors 'none'";
    const HEADERS: [(HeaderName, HeaderValue); 5] = [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (
            HeaderName::from_static("permissions-policy"),
            HeaderValue::from_static("microphone=(self), camera=(), geolocation=()"),
        ),
    ];
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// The page, and whether the server lives, are for everybody: they hold no secrets. Everything else needs a caller,
/// what is not there included, so that a route of tomorrow is closed until it is listed here.
fn is_public(method: &Method, path: &str) -> bool {
    let reads = method == Method::GET || method == Method::HEAD;
    reads && (["/health", "/api/health", "/ready"].contains(&path) || page::is_part(path))
}

/// What a session's own token is good for: all that `lipcast.js` asks for to show that session. The routes check
/// that it is that session; the status of the models is the same for everybody.
fn is_for_sessions(path: &str) -> bool {
    ["/api/webrtc/musetalk/status", "/api/webrtc/offer"].contains(&path)
        || ["/api/webrtc/realtime/", "/api/webrtc/status/", "/v1/sessions/"]
            .iter()
            .any(|prefix| path.starts_with(prefix))
}

/// Keeps other sites' pages out, which a browser on this machine would otherwise let call a loopback server.
fn check_page<B>(config: &ServerConfig, request: &axum::http::Request<B>) -> Result<(), &'static str> {
    let headers = request.headers();
    let host = host(request.uri(), headers);
    let private = config.tokens.is_empty() && !config.open;
    if private && !host.is_none_or(is_loopback) {
        return Err("this server answers to its loopback names only (set server.open or server.tokens)");
    }
    if request.method().is_safe() {
        return Ok(());
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or("");
    let same = origin.split_once("://").is_some_and(|(_, authority)| Some(authority) == host);
    if same || config.cors.iter().any(|allowed| allowed == origin) {
        return Ok(());
    }
    Err("pages of this origin may not call this server (see server.cors)")
}

/// Whom the client meant to call. HTTP/2 says it in the request's own address and HTTP/1.1 in `Host`; where both do,
/// the address counts (RFC 9112, section 3.2.2). `None` only from clients older than both, which no browser is.
fn host<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Option<&'r str> {
    let named = uri.authority().map(axum::http::uri::Authority::as_str);
    // A name with other characters than ASCII is nobody's.
    named.or_else(|| Some(headers.get(header::HOST)?.to_str().unwrap_or("")))
}

/// Whether `host` (with or without port) names this machine to itself. Defeats DNS rebinding.
fn is_loopback(host: &str) -> bool {
    let address = host
        .parse::<SocketAddr>()
        .map(|address| address.ip())
        .or_else(|_| host.trim_matches(['[', ']']).parse::<IpAddr>());
    match address {
        Ok(address) => address.is_loopback(),
        Err(_) => {
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
            name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_several_names() {
        for host in [
            "localhost",
            "localhost:8000",
            "127.0.0.1:80",
            "127.0.0.1",
            "[::1]:8000",
            "[::1]",
            "a.localhost:1",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.org", "127.0.0.1.example.org", "10.0.0.1:80", "localhost.evil.example", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
