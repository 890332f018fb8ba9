//! `lipcast serve`: listens first, then opens the backends; ends politely on SIGTERM and ctrl-c.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum_server::tls_rustls::RustlsConfig;
use axum_server::{Handle, Server};
use clap::Args;
use hyper_util::rt::TokioTimer;
use rustix::process::{Resource, Rlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, load, telemetry};
use crate::app::{App, BackendReport, BackendState, Studio, router};
use crate::config::{Config, ServerConfig, TlsFiles};
use crate::metrics::Metrics;
use crate::studio::{EngineStudio, Reread};

#[derive(Debug, Default, Args)]
pub(super) struct Arguments {
    /// Listen here instead of at server.bind. Port 0 takes a free one, which the first line of output tells.
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<SocketAddr>,
}

pub(super) fn run(settings: Option<&Path>, arguments: Arguments) -> Result<(), CliError> {
    let mut config = load(settings)?;
    if let Some(bind) = arguments.bind {
        config.server = config.server.bound_to(bind).map_err(CliError::Setup)?;
    }
    let _log = telemetry::start(&config.log);
    raise_descriptor_limit();
    let listener = listen(config.server.bind)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("lipcast-io")
        .build()
        .map_err(|error| CliError::Failed(format!("no runtime: {error}")))?;
    let file = settings.map(Path::to_owned);
    let reread = Box::new(move || load(file.as_deref()).map_err(|error| error.to_string()));
    let outcome = runtime.block_on(serve(config, reread, listener));
    // Work that blocks, such as a preparation, has been asked to stop; it gets a moment to clean up.
    runtime.shutdown_timeout(Duration::from_millis(1_500));
    outcome
}

/// Serves until a signal, or until a required backend fails.
async fn serve(config: Config, reread: Reread, listener: TcpListener) -> Result<(), CliError> {
    let config = Arc::new(config);
    let failed = |error: std::io::Error| CliError::Failed(error.to_string());
    let address = listener.local_addr().map_err(failed)?;
    let tls = match &config.server.tls {
        Some(files) => Some(load_tls(files).await?),
        None => None,
    };
    let studio = EngineStudio::open_from(config.clone(), Some(reread));
    let studio = Arc::new(studio.map_err(|error| CliError::Setup(error.to_string()))?);
    count_panics(studio.metrics());
    let app = App::new(config.clone(), studio.clone())
        .map_err(|error| CliError::Setup(format!("media.data_dir: {error}")))?;
    let jobs = app.jobs.clone();

    let handle = Handle::new();
    let missing = Arc::new(Mutex::new(None));
    tokio::spawn(open_backends(studio.clone(), handle.clone(), missing.clone()));
    tokio::spawn(end_on_signal(handle.clone(), config.server.drain_timeout, {
        let (studio, drain) = (studio.clone(), config.server.drain_timeout);
        async move {
            studio.drain(drain).await;
            jobs.cancel_all();
            studio.shut_down().await;
        }
    }));
    tokio::spawn(reload_on_hangup(studio.clone()));
    announce(address, tls.is_some());
    let service = router(app).into_make_service();
    let served = match tls {
        Some(tls) => {
            let server = axum_server::from_tcp_rustls(listener, tls).map_err(failed)?.handle(handle);
            limited(server, &config.server).serve(service).await
        }
        None => {
            let server = axum_server::from_tcp(listener).map_err(failed)?.handle(handle);
            limited(server, &config.server).serve(service).await
        }
    };
    served.map_err(failed)?;
    match missing.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(reason) => Err(CliError::Required(reason)),
        None => Ok(()),
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, CliError> {
    let listener = TcpListener::bind(address).map_err(|error| {
        let help = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another program has this port: end it, or choose another with --bind"
            }
            std::io::ErrorKind::PermissionDenied => {
                "ports below 1024 need a right of their own: choose a higher one"
            }
            std::io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
            _ => "choose another address with --bind",
        };
        CliError::Setup(format!("server.bind: cannot listen on {address}: {error}\n    help: {help}"))
    })?;
    listener.set_nonblocking(true).map_err(|error| CliError::Failed(error.to_string()))?;
    Ok(listener)
}

async fn load_tls(files: &TlsFiles) -> Result<RustlsConfig, CliError> {
    // An error means that a provider is installed already, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    RustlsConfig::from_pem_file(&files.cert, &files.key).await.map_err(|error| {
        let (cert, key) = (files.cert.display(), files.key.display());
        CliError::Setup(format!("server.tls: {cert} with {key}: {error}\n    help: both are PEM; the key belongs to the first certificate"))
    })
}

/// What a connection may cost that says little or nothing.
fn limited<A>(mut server: Server<SocketAddr, A>, config: &ServerConfig) -> Server<SocketAddr, A> {
    let builder = server.http_builder();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(config.header_timeout).max_headers(100);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(32 * 1024).max_concurrent_streams(100);
    // The times above begin with a connection's first byte; this one with the connection.
    server.first_request_timeout(config.header_timeout).accept_error_handler(|from, error| match from {
        // Somebody who speaks no TLS, or left: their business.
        Some(from) => tracing::debug!(%from, %error, "a connection came to nothing"),
        None => tracing::warn!(%error, "a connection could not be accepted"),
    })
}

/// A server with many viewers has more sockets than a shell's usual 1024 files; the hard limit is the system's word.
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit on open files stays");
    }
}

/// Whoever catches them, panics are counted where they happen.
fn count_panics(metrics: Arc<Metrics>) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        metrics.panics.add(1);
        before(panic);
    }));
}

fn announce(address: SocketAddr, tls: bool) {
    let scheme = if tls { "https" } else { "http" };
    // A server goes on when nobody reads.
    let _ = writeln!(std::io::stdout(), "Lipcast listens on {scheme}://{address}");
    tracing::info!(%address, tls, version = env!("CARGO_PKG_VERSION"), "listening");
}

async fn open_backends(
    studio: Arc<EngineStudio>,
    handle: Handle<SocketAddr>,
    missing: Arc<Mutex<Option<String>>>,
) {
    let backends = studio.settled().await;
    let is_missing = |backend: &&BackendReport| backend.required && backend.state != BackendState::Ready;
    if let Some(backend) = backends.iter().find(is_missing) {
        let reason = format!("required backend {} did not come up: {}", backend.name, backend.detail);
        *missing.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        studio.shut_down().await;
        handle.shutdown();
        return;
    }
    studio.warm_up().await;
}

/// SIGHUP: the settings of backends are read again.
async fn reload_on_hangup(studio: Arc<EngineStudio>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        studio.reload_changed().await;
    }
}

/// First signal: `farewell`, in which sessions finish what they say and are ended, while requests are answered still;
/// then no new connections, and those that are open get what is left of `drain`. Second signal: at once.
async fn end_on_signal(handle: Handle<SocketAddr>, drain: Duration, farewell: impl Future<Output = ()>) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be received: the server ends abruptly");
        return;
    };
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    tracing::info!(?drain, "ending; a second signal ends at once");
    let deadline = Instant::now() + drain;
    let polite = async {
        farewell.await;
        // The last words of the sessions are still on their way.
        let left = deadline.saturating_duration_since(Instant::now()).max(LAST_WORDS.min(drain));
        handle.graceful_shutdown(Some(left));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = polite => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    handle.shutdown();
}

/// What connections get at least after the last session ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
