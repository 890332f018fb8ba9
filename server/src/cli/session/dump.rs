//! `lipcast session dump`: asks the running server for a session's last minutes, and writes them to a file.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use axum::http::Uri;
use clap::Args;
use lipcast_engine::session::black_box::{Event, Recording};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::NamedTempFile;

use super::super::client::{Client, ClientError};
use super::super::{CliError, failed, load};
use crate::config::Secret;

/// Writes a session's last minutes to a file: what was said, what its backends were asked and answered, and faults.
///
/// Asks the server that the settings describe. The session may run, or have ended less than half an hour ago. The file
/// is as private as the speech in it.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The session.
    id: String,
    /// The file to write, "-" for standard output; without it, session-ID.jsonl.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The server to ask instead of the one of the settings.
    #[arg(long, value_name = "URL")]
    server: Option<Uri>,
    /// The token to show it; without it, the first of server.tokens.
    #[arg(long)]
    token: Option<String>,
    /// PEM file with the certificate that an https server shows, itself; without it, server.tls.cert.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
}

pub(super) fn run(settings: Option<&Path>, arguments: Arguments) -> Result<(), CliError> {
    let config = load(settings)?;
    let own = match &arguments.server {
        Some(url) => Client::of(url),
        None => Ok(Client::of_settings(&config.server)),
    };
    let mut client = own.map_err(|error| CliError::Setup(format!("--server: {error}")))?;
    client.certificate = arguments.certificate.or(config.server.tls.map(|files| files.cert));
    // A token of these settings is nobody else's to see.
    let configured = config.server.tokens.into_iter().next().filter(|_| arguments.server.is_none());
    client.token = arguments.token.map(Secret::new).or(configured);

    let path = format!("/v1/sessions/{}/dump", utf8_percent_encode(&arguments.id, NON_ALPHANUMERIC));
    let to_stdout = arguments.output.as_deref().is_some_and(|path| path.as_os_str() == "-");
    if to_stdout {
        let mut out = io::stdout().lock();
        client.get(&path, &mut out).map_err(in_words)?;
        return out.flush().map_err(failed);
    }
    let output = arguments.output.unwrap_or_else(|| file_name(&arguments.id));
    // Written aside first, so that what was dumped before stays until there is something better.
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unwritable = |error: io::Error| failed(format!("{}: {error}", output.display()));
    let mut file = NamedTempFile::with_prefix_in(".session-", folder).map_err(unwritable)?;
    client.get(&path, file.as_file_mut()).map_err(in_words)?;
    let written = File::open(file.path()).map_err(unwritable)?;
    let recording = Recording::read(BufReader::new(written))
        .map_err(|error| failed(format!("what the server sent is no recording: {error}")))?;
    file.persist(&output).map_err(|error| unwritable(error.error))?;
    println!("{}: {}", output.display(), summary(&recording));
    Ok(())
}

/// A name that means nothing to a file system.
fn file_name(session: &str) -> PathBuf {
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    format!("session-{}.jsonl", session.chars().map(plain).collect::<String>()).into()
}

/// How long, by whom, and what broke.
fn summary(recording: &Recording) -> String {
    let entries = &recording.entries;
    let span = match (entries.first(), entries.last()) {
        (Some(first), Some(last)) => last.at - first.at,
        _ => return "nothing was recorded".to_owned(),
    };
    let mut text = format!("{} events in {:.1} s", entries.len(), span.as_secs_f64());
    for mark in &recording.lines {
        text += &format!(", line {} to {}", mark.line, mark.backend.name);
    }
    for entry in entries {
        if let Event::Lost { backend, reason, .. } = &entry.event {
            text += &format!("\n  at frame {}: {backend} was lost: {reason}", entry.frame);
        }
    }
    text
}

fn in_words(error: ClientError) -> CliError {
    match error {
        ClientError::Unreachable { .. } => CliError::Unavailable(format!(
            "{error}\n    help: is the server running? --server asks another than the one of the settings"
        )),
        ClientError::Certificate { .. } | ClientError::NoCertificate => CliError::Setup(error.to_string()),
        ClientError::Refused { .. } | ClientError::BrokenOff(_) | ClientError::Io(_) => failed(error),
    }
}
