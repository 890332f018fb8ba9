//! `[server]`: where to listen, who may call, and how much a caller may ask for.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml_edit::Item;

use super::reader::{Reader, Section};
use super::report::Complaint;
use super::values::{boolean, duration, integer, list, parsed, size, text};

/// Listening, tokens, limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Address and port to listen on.
    pub bind: SocketAddr,
    /// Serve without tokens on any address.
    pub open: bool,
    /// Bearer tokens that may do everything.
    pub tokens: Vec<Secret>,
    /// Life of a token that is good for one session.
    pub session_token_ttl: Duration,
    /// Origins whose pages may call this server.
    pub cors: Vec<String>,
    /// Sessions at a time.
    pub max_sessions: usize,
    /// Bytes of an ordinary request body.
    pub max_body: u64,
    /// Bytes of an uploaded file.
    pub max_upload: u64,
    /// Time to receive the head of a request.
    pub header_timeout: Duration,
    /// Time to answer an ordinary request.
    pub request_timeout: Duration,
    /// Time that running requests get at shutdown.
    pub drain_timeout: Duration,
    /// Certificate and key; `None` is plain HTTP.
    pub tls: Option<TlsFiles>,
}

/// PEM files for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// A text that never shows in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, to compare with.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A token shorter than this can be guessed.
const MIN_TOKEN: usize = 16;

const EXPOSURE_HELP: &str = "set server.tokens = [\"…\"] (16 characters or more), \
                             or server.open = true to serve everybody, or bind 127.0.0.1";

impl ServerConfig {
    pub(super) fn read(section: Section<'_, '_>, base: &Path) -> Self {
        let seconds = Duration::from_secs;
        let server = Self {
            bind: section.read(
                "bind",
                SocketAddr::from(([127, 0, 0, 1], 8000)),
                parsed("an address with a port", "127.0.0.1:8000"),
            ),
            open: section.read("open", false, boolean),
            tokens: section.read("tokens", Vec::new(), list(token)),
            session_token_ttl: section.read(
                "session_token_ttl",
                seconds(600),
                duration(seconds(10)..=seconds(86_400)),
            ),
            cors: section.read("cors", Vec::new(), list(origin)),
            max_sessions: section.read("max_sessions", 16, integer(1..=10_000)),
            max_body: section.read("max_body", 1 << 20, size(1 << 10..=64 << 20)),
            max_upload: section.read("max_upload", 1 << 30, size(1 << 20..=64 << 30)),
            header_timeout: section.read("header_timeout", seconds(10), duration(seconds(1)..=seconds(300))),
            request_timeout: section.read(
                "request_timeout",
                seconds(30),
                duration(seconds(1)..=seconds(600)),
            ),
            drain_timeout: section.read("drain_timeout", seconds(5), duration(seconds(0)..=seconds(3_600))),
            tls: read_tls(section.section("tls"), base),
        };
        section.finish();
        server
    }

    /// The same settings on another address.
    ///
    /// # Errors
    /// Says why, when others could reach it and no token is set.
    pub fn bound_to(self, bind: SocketAddr) -> Result<Self, String> {
        let server = Self { bind, ..self };
        match server.exposure() {
            Some(problem) => Err(format!("--bind: {problem}\n    help: {EXPOSURE_HELP}")),
            None => Ok(server),
        }
    }

    /// Refuses to be reachable by others without anybody having said who may call.
    pub(super) fn check_exposure(&self, reader: &Reader<'_>) {
        if let Some(problem) = self.exposure() {
            reader.complain("server.bind", Complaint::new(problem).help(EXPOSURE_HELP));
        }
    }

    fn exposure(&self) -> Option<String> {
        let exposed = !self.bind.ip().is_loopback() && self.tokens.is_empty() && !self.open;
        exposed.then(|| format!("{} can be reached from other machines, and no token is set", self.bind.ip()))
    }
}

fn read_tls(section: Section<'_, '_>, base: &Path) -> Option<TlsFiles> {
    let cert = section.read("cert", String::new(), text);
    let key = section.read("key", String::new(), text);
    let tls = match (cert.is_empty(), key.is_empty()) {
        (true, true) => None,
        (false, false) => {
            let files = TlsFiles { cert: base.join(cert), key: base.join(key) };
            for (name, path) in [("cert", &files.cert), ("key", &files.key)] {
                if let Err(error) = std::fs::File::open(path) {
                    section.complain(name, Complaint::new(format!("{}: {error}", path.display())));
                }
            }
            Some(files)
        }
        (cert_missing, _) => {
            let (given, missing) = if cert_missing { ("key", "cert") } else { ("cert", "key") };
            let complaint = Complaint::new(format!("`{given}` is set, but `{missing}` is not"));
            section.complain(given, complaint.help("TLS needs both; leave both empty for plain HTTP"));
            None
        }
    };
    section.finish();
    tls
}

fn token(item: &Item) -> Result<Secret, Complaint> {
    let token = text(item)?;
    if token.len() < MIN_TOKEN {
        let message =
            format!("a token of {} characters can be guessed; {MIN_TOKEN} is the least", token.len());
        return Err(Complaint::new(message).help("make one with: openssl rand -hex 24"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Complaint::new("a token is ASCII letters, digits and signs, without spaces"));
    }
    Ok(Secret(token))
}

fn origin(item: &Item) -> Result<String, Complaint> {
    let origin = text(item)?;
    let uri: Option<axum::http::Uri> = origin.parse().ok();
    let plain = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.path() == "/"
            && uri.query().is_none()
            && !origin.ends_with('/')
    });
    if plain {
        return Ok(origin);
    }
    let complaint = Complaint::new(format!("\"{origin}\" is not an origin"));
    Err(complaint.help("scheme, host and port, nothing after: \"https://example.org:8443\""))
}
