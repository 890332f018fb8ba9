//! A client of a running server's HTTP API, for commands that ask it.
//!
//! One request a connection. Over TLS the server has to show exactly the certificate that is expected of it, whoever
//! signed that: the commands ask a server whose settings they read, not the world.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::config::{Secret, ServerConfig};

/// Silence after which a server is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer; more is none that was asked for.
const LARGEST: u64 = 1 << 30;

/// A server to ask.
pub(super) struct Client {
    tls: bool,
    host: String,
    port: u16,
    /// Shown to it, if there is one.
    pub(super) token: Option<Secret>,
    /// PEM file with the certificate that it shows, over TLS.
    pub(super) certificate: Option<PathBuf>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("no server answers at {server}: {reason}")]
    Unreachable { server: String, reason: String },
    #[error("{}: {reason}", path.display())]
    Certificate { path: PathBuf, reason: String },
    #[error("an https server wants --certificate, the PEM file with the certificate that it shows")]
    NoCertificate,
    #[error("the server says {status}: {detail}")]
    Refused { status: u16, detail: String },
    #[error("the server's answer broke off: {0}")]
    BrokenOff(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Client {
    /// The server at `url`: scheme, host and port.
    ///
    /// # Errors
    /// In a line what is no such address.
    pub(super) fn of(url: &Uri) -> Result<Self, String> {
        let wrong = || format!("\"{url}\" is not the address of a server, like http://127.0.0.1:8000");
        let tls = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let host = url.host().filter(|_| url.path() == "/" && url.query().is_none()).ok_or_else(wrong)?;
        let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host: host.to_owned(), port, token: None, certificate: None })
    }

    /// The server that `config` describes, from this machine.
    pub(super) fn of_settings(config: &ServerConfig) -> Self {
        let address = match config.bind.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            address => address,
        };
        let host = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        Self { tls: config.tls.is_some(), host, port: config.bind.port(), token: None, certificate: None }
    }

    /// Writes the answer to `GET path` to `out`. Blocks.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, or breaks off, and when `out` fails.
    pub(super) fn get(&self, path: &str, out: &mut impl Write) -> Result<(), ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let stream = self.connect().await?;
            match self.tls_config()? {
                None => self.ask(stream, path, out).await,
                Some(config) => {
                    let name = ServerName::try_from(self.host.trim_matches(['[', ']']).to_owned())
                        .map_err(|error| self.unreachable(error))?;
                    let secured = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream);
                    let secured = self.within(secured).await?;
                    self.ask(secured, path, out).await
                }
            }
        })
    }

    async fn connect(&self) -> Result<TcpStream, ClientError> {
        let host = self.host.trim_matches(['[', ']']);
        self.within(TcpStream::connect((host, self.port))).await
    }

    async fn ask(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        path: &str,
        out: &mut impl Write,
    ) -> Result<(), ClientError> {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut requests, connection) = self.within(handshake).await?;
        tokio::spawn(connection);
        let mut request = Request::get(path).header(HOST, format!("{}:{}", self.host, self.port));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| self.unreachable(error))?;
        let response = self.within(requests.send_request(request)).await?;
        let status = response.status();
        if !status.is_success() {
            let detail = detail(response.into_body()).await;
            return Err(ClientError::Refused { status: status.as_u16(), detail });
        }
        let (mut body, mut came) = (response.into_body(), 0);
        loop {
            let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
            let frame = frame.map_err(|_| ClientError::BrokenOff("it says nothing more".to_owned()))?;
            let Some(frame) = frame else { return Ok(()) };
            let frame = frame.map_err(|error| ClientError::BrokenOff(error.to_string()))?;
            if let Ok(data) = frame.into_data() {
                came += data.len() as u64;
                if came > LARGEST {
                    return Err(ClientError::BrokenOff(format!("more than {} MiB", LARGEST >> 20)));
                }
                out.write_all(&data)?;
            }
        }
    }

    /// How to speak TLS; `None` without.
    fn tls_config(&self) -> Result<Option<ClientConfig>, ClientError> {
        if !self.tls {
            return Ok(None);
        }
        let path = self.certificate.as_ref().ok_or(ClientError::NoCertificate)?;
        let unusable = |reason: String| ClientError::Certificate { path: path.clone(), reason };
        let certificate = CertificateDer::from_pem_file(path).map_err(|error| unusable(error.to_string()))?;
        let provider = Arc::new(ring::default_provider());
        let expected = Arc::new(Expected { certificate, provider: provider.clone() });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Some(config.dangerous().with_custom_certificate_verifier(expected).with_no_client_auth()))
    }

    async fn within<T, E: std::error::Error>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, ClientError> {
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(done) => done.map_err(|error| self.unreachable(error)),
            Err(_) => Err(self.unreachable("it does not answer")),
        }
    }

    fn unreachable(&self, reason: impl ToString) -> ClientError {
        let scheme = if self.tls { "https" } else { "http" };
        let server = format!("{scheme}://{}:{}", self.host, self.port);
        ClientError::Unreachable { server, reason: reason.to_string() }
    }
}

/// What a problem document says, or the text as it is.
async fn detail(body: Incoming) -> String {
    let bytes = match Limited::new(body, 64 << 10).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return "nothing that can be read".to_owned(),
    };
    let problem: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    let detail = problem.and_then(|problem| problem["detail"].as_str().map(str::to_owned));
    detail.unwrap_or_else(|| String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Takes one certificate and no other.
#[derive(Debug)]
struct Expected {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *shown == self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_scheme_host_and_port() {
        let of = |url: &str| {
            Client::of(&url.parse().unwrap()).map(|client| (client.tls, client.host, client.port))
        };
        assert_eq!(of("http://127.0.0.1:9"), Ok((false, "127.0.0.1".into(), 9)));
        assert_eq!(of("https://example.org/"), Ok((true, "example.org".into(), 443)));
        assert_eq!(of("http://[::1]:80"), Ok((false, "[::1]".into(), 80)));
        for wrong in ["example.org:80", "ftp://example.org", "http://example.org/v1", "/v1"] {
            assert!(of(wrong).unwrap_err().contains("is not the address of a server"), "{wrong}");
        }
    }
}
