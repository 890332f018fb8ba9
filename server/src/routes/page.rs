//! The page: the files of `static/`, built into the program.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::Dialect;

/// Path below the site's root, content.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

struct Asset {
    content: &'static [u8],
    kind: &'static str,
    etag: String,
}

static ASSETS: LazyLock<HashMap<&str, Asset>> = LazyLock::new(|| {
    let asset = |(name, content): &(&'static str, &'static [u8])| {
        let etag = format!("\"{}\"", &blake3::hash(content).to_hex()[..16]);
        (*name, Asset { content, kind: content_type(name), etag })
    };
    FILES.iter().map(asset).collect()
});

/// A file of the page, or 404 in the dialect of the path.
pub(crate) async fn asset(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let Some(asset) = find(uri.path()) else {
        return Dialect::of(uri.path()).error(StatusCode::NOT_FOUND, "Not Found");
    };
    if method != Method::GET && method != Method::HEAD {
        return wrong_method(uri).await;
    }
    let known = headers.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let fresh = known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == asset.etag));
    let (status, body) = match fresh {
        true => (StatusCode::NOT_MODIFIED, Body::empty()),
        false => (StatusCode::OK, Body::from(asset.content)),
    };
    // A page of yesterday must not talk to a server of today.
    let headers = [(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, "no-cache"), (ETAG, asset.etag.as_str())];
    (status, headers, body).into_response()
}

/// Whether `path` is a file of the page, or the page itself.
pub(crate) fn is_part(path: &str) -> bool {
    // Without a page there is still the place where it would be, to say so.
    path == "/" || find(path).is_some()
}

/// 405 in the dialect of the path.
pub(crate) async fn wrong_method(uri: Uri) -> Response {
    Dialect::of(uri.path()).error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}

/// Whether the program was built without `static/`.
#[cfg(test)]
pub(crate) fn is_empty() -> bool {
    FILES.is_empty()
}

fn find(path: &str) -> Option<&'static Asset> {
    let name = path.trim_start_matches('/');
    ASSETS.get(if name.is_empty() { "index.html" } else { name })
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or("") {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "woff2" => "font/woff2",
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
