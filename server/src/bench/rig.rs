//! A server of its own for a measurement, and the clients that watch it: a real browser and aiortc.
//!
//! In: settings. Out: what the clients measured, as JSON. The server is this very program in a child process, with a
//! data folder that goes away with it, on a free port of the loopback address.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RigError {
    /// A file or a process of the rig itself.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The server ended before it listened.
    #[error("the server did not start; it said: {0}")]
    Server(String),
    /// A client is not installed.
    #[error("{0} is missing: run `cargo xtask test install` in the checkout first")]
    Client(PathBuf),
    /// A client ended without a measurement.
    #[error("{client} measured nothing: {message}")]
    Measure {
        /// Which one.
        client: &'static str,
        /// Its last words.
        message: String,
    },
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> RigError {
    move |source| RigError::Io { what, source }
}

/// A running server; ends when dropped.
pub struct Rig {
    folder: TempDir,
    server: Child,
    url: String,
    started_in: Duration,
}

impl Rig {
    /// Starts `program` with `settings` (the text of a `config.toml`, without `[media]`), whose media folder holds
    /// `files`.
    ///
    /// # Errors
    /// When the folder cannot be written or the server does not come up.
    pub fn start(program: &Path, settings: &str, files: &[(&str, &[u8])]) -> Result<Self, RigError> {
        Self::start_with(program, settings, files, None)
    }

    /// The same with the `avatars` of a former server's data folder, which then need not be prepared again.
    ///
    /// # Errors
    /// Likewise.
    pub fn start_with(
        program: &Path,
        settings: &str,
        files: &[(&str, &[u8])],
        avatars: Option<&Path>,
    ) -> Result<Self, RigError> {
        let folder = TempDir::with_prefix("lipcast-rig-").map_err(io("make a folder"))?;
        let media = folder.path().join("data/media");
        if let Some(avatars) = avatars {
            copy_folder(avatars, &folder.path().join("data/avatars")).map_err(io("copy the avatars"))?;
        }
        fs::create_dir_all(&media).map_err(io("make a folder"))?;
        for (name, bytes) in files {
            fs::write(media.join(name), bytes).map_err(io("write a media file"))?;
        }
        let config = folder.path().join("config.toml");
        fs::write(&config, format!("[media]\ndata_dir = \"data\"\n{settings}"))
            .map_err(io("write the settings"))?;
        let Launched { server, url, started_in } = launch(program, folder.path(), "127.0.0.1:0")?;
        Ok(Self { folder, server, url, started_in })
    }

    /// Starts `program` once more in the same folder and on the same port, after the server has ended.
    ///
    /// # Errors
    /// When the server still runs, or does not come up.
    pub fn restart(&mut self, program: &Path) -> Result<(), RigError> {
        if self.ended().is_none() {
            return Err(RigError::Server("the former one still runs".to_owned()));
        }
        let address = self.url.rsplit('/').next().expect("a split has a last part").to_owned();
        let Launched { server, url, started_in } = launch(program, self.folder.path(), &address)?;
        (self.server, self.url, self.started_in) = (server, url, started_in);
        Ok(())
    }

    /// How the server ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.server.try_wait().ok().flatten()
    }

    /// Waits until the server has ended by itself, or by a signal that somebody sent.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn wait(&mut self) -> Result<ExitStatus, RigError> {
        self.server.wait().map_err(io("wait for the server"))
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From starting the process to its line that says it listens.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// The server's process.
    pub fn process_id(&self) -> u32 {
        self.server.id()
    }

    /// Its working folder: `data/`, `config.toml` and the log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the server wrote to its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        let (source, target) = (from.join(&name), to.join(&name));
        if source.is_dir() {
            copy_folder(&source, &target)?;
        } else {
            fs::copy(source, target)?;
        }
    }
    Ok(())
}

struct Launched {
    server: Child,
    url: String,
    started_in: Duration,
}

/// Starts `program` with the settings of `folder`; its log is appended to.
fn launch(program: &Path, folder: &Path, address: &str) -> Result<Launched, RigError> {
    let log = folder.join("server.log");
    let appended = fs::File::options().create(true).append(true).open(&log).map_err(io("write the log"))?;
    let begun = Instant::now();
    let mut server = Command::new(program)
        .arg("--config")
        .arg(folder.join("config.toml"))
        .args(["serve", "--bind", address])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(appended)
        .spawn()
        .map_err(io("start the server"))?;
    let mut lines = BufReader::new(server.stdout.take().expect("piped above")).lines();
    let line = lines.next().and_then(Result::ok);
    let started_in = begun.elapsed();
    let Some(url) = line.and_then(|line| line.split_whitespace().last().map(str::to_owned)) else {
        let _ = server.wait();
        let said = fs::read_to_string(&log).unwrap_or_default();
        return Err(RigError::Server(said.trim().to_owned()));
    };
    // The server must never block on a pipe that nobody reads.
    std::thread::spawn(move || lines.for_each(drop));
    Ok(Launched { server, url, started_in })
}

impl Drop for Rig {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Headless Chromium: what a viewer sees, its player's buffers included.
    Browser,
    /// aiortc: what the server says, by RTP time and sender reports, without any player.
    Aiortc,
}

impl Client {
    /// Watches `rig` and returns the client's report. `arguments` go to the client (`--seconds 30`, `--start ''`, …);
    /// its script in the checkout at `root` tells them.
    ///
    /// # Errors
    /// When the client is not installed, or ends without a report.
    pub fn watch(self, root: &Path, rig: &Rig, arguments: &[&str]) -> Result<Value, RigError> {
        match self {
            Self::Browser => run_script(root, "watch.mjs", rig, arguments),
            Self::Aiortc => ask("aiortc", python_script(root, "watch.py")?, rig, arguments),
        }
    }
}

/// Where the clients' scripts lie in a checkout.
const SCRIPTS: &str = "server/tests/e2e";

/// Runs one of the browser's scripts against `rig` and returns its report.
///
/// # Errors
/// When the browser's client is not installed, or the script ends without a report.
pub fn run_script(root: &Path, script: &str, rig: &Rig, arguments: &[&str]) -> Result<Value, RigError> {
    let needed = root.join(SCRIPTS).join("node_modules/playwright-core");
    ask("the browser", installed(Path::new("node"), &needed, root, script)?, rig, arguments)
}

/// One of the Python scripts, to be given its arguments.
pub(super) fn python_script(root: &Path, script: &str) -> Result<Command, RigError> {
    let python = root.join("target/tools/venv/bin/python");
    installed(&python, &python, root, script)
}

/// `program script`, if the script and what it needs are there.
fn installed(program: &Path, needed: &Path, root: &Path, script: &str) -> Result<Command, RigError> {
    let script = root.join(SCRIPTS).join(script);
    if let Some(missing) = [needed, &script].into_iter().find(|path| !path.exists()) {
        return Err(RigError::Client(missing.to_owned()));
    }
    let mut command = Command::new(program);
    command.arg(script);
    Ok(command)
}

/// Runs `client --url … arguments` and reads the JSON of its last line.
fn ask(name: &'static str, mut client: Command, rig: &Rig, arguments: &[&str]) -> Result<Value, RigError> {
    let output = client
        .args(["--url", rig.url()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(io("start a client"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let report = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    report.ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        let message =
            said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no words").to_owned();
        RigError::Measure { client: name, message }
    })
}
