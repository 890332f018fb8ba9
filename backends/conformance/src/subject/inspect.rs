//! Asks `backend-host --inspect` about a library, in a process that may die of it.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lipcast_wire::spawn::in_words;
use serde_json::Value;

use super::{Inspect, Refused};

/// How long it may take: twenty times loading a model.
const LIMIT: Duration = Duration::from_secs(280);

/// Gives the answer, or how the process ended without one. The libraries of `preload` are opened first.
pub(super) fn run(
    host: &Path,
    preload: &[PathBuf],
    what: Inspect,
    library: &Path,
    config: &Value,
) -> Result<Value, Refused> {
    let refused = |reason: String| Refused { reason, lines: Vec::new() };
    let mut child = Command::new(host)
        .args(preload.iter().flat_map(|library| [OsStr::new("--preload"), library.as_os_str()]))
        .arg("--inspect")
        .arg(what.word())
        .arg(library)
        .arg(config.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| refused(format!("{} cannot be started: {error}", host.display())))?;
    // Both are read to their ends aside, so that a chatty library does not block.
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (out, err) = (thread::spawn(|| read(out)), thread::spawn(|| read(err)));
    let begin = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begin.elapsed() < LIMIT => thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(refused(format!(
                    "no end after {} s, inspecting: {}",
                    LIMIT.as_secs(),
                    what.word()
                )));
            }
        }
    };
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    let lines: Vec<String> = err.lines().map(|line| line.replace(char::is_control, " ")).collect();
    if status.signal().is_some() || !status.success() {
        let reason = format!("its process {}, inspecting: {}", in_words(status), what.word());
        return Err(Refused { reason, lines });
    }
    // A library may print too; the answer is the last line.
    let answer = out.lines().last().unwrap_or_default();
    serde_json::from_str(answer)
        .map_err(|error| Refused { reason: format!("its answer is not understood: {error}"), lines })
}

fn read(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // What came before an error is all there is.
        let _ = stream.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
