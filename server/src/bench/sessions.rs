//! How many sessions a core carries, beside a Python server on aiortc that does the same work in the same run.
//!
//! In: a count of sessions and a time to watch them. Out: processor time a session needs a second, with and without
//! the encoders. Both servers play the built-in avatar and paste a patch of one size over every frame, without a model;
//! the viewers are the same program and do not decode.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lipcast_engine::avatar::builtin::{self, Builtin};
use serde::Deserialize;

use super::cpu::CpuTimes;
use super::rig::{Rig, RigError, python_script};
use super::sync;

/// What one server needed.
#[derive(Debug, Clone)]
pub struct Cost {
    /// What was measured.
    pub server: &'static str,
    /// Parts of a core that a session takes: processor time over the seconds of session that arrived, so that a server
    /// that falls behind is not rewarded for it.
    pub all: f64,
    /// The same without the time inside the encoders.
    pub around: f64,
    /// Share of the frames due that arrived.
    pub delivered: f64,
}

impl Cost {
    /// Milliseconds a frame takes without the encoders.
    pub fn around_ms_per_frame(&self) -> f64 {
        self.around * 1000.0 / Builtin::fps().as_f64()
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:28} {:5.1} sessions a core, {:6.2} % of a core each, {:5.2} % without the encoders \
             ({:.2} ms a frame), {:.0} % of the frames came",
            self.server,
            1.0 / self.all,
            self.all * 100.0,
            self.around * 100.0,
            self.around_ms_per_frame(),
            self.delivered * 100.0
        )
    }
}

/// Measures Lipcast, then the Python server with BGR pictures, then with I420 ones.
///
/// # Errors
/// When a server or the viewers do not start: they come with `cargo xtask test install` in the checkout at `root`.
pub fn measure(program: &Path, root: &Path, sessions: u32, seconds: u32) -> Result<Vec<Cost>, RigError> {
    let settings = "[session]\nrender_ahead = \"200ms\"\n[engine]\nbackends = [\"probe\"]\n\
         [backend.probe]\nlibrary = \"liblipcast_probe.so\"\nrequired = true\n\
         [webrtc]\nvideo_bitrate = 1000000\n";
    let speech = sync::clicks(seconds + 60);
    let rig = Rig::start(program, settings, &[("speech.wav", &speech)])?;
    let watch = Watch { root, sessions, seconds };
    let mut viewers = watch.start(rig.url(), &["--start", "audio_path=speech.wav"])?;
    let before = cpu(rig.process_id())?;
    let delivered = viewers.finish(&watch)?;
    let after = cpu(rig.process_id())?;
    // The thread that encodes does nothing else but hand the result on.
    let (all, encoders) = (after.since(&before, ""), after.since(&before, "live-encode"));
    let mut costs = vec![watch.cost("Lipcast", all.as_secs_f64(), encoders.as_secs_f64(), delivered)];

    let frames = rig.folder().join("data/avatars").join(builtin::ID).join("frames.i420");
    let speech = rig.folder().join("data/media/speech.wav");
    for (server, pixels) in [("aiortc, BGR as OpenCV has it", "bgr24"), ("aiortc, I420", "yuv420p")] {
        let python = Python::start(root, &frames, &speech, pixels)?;
        let mut viewers = watch.start(&python.url, &[])?;
        let before = (cpu(python.child.id())?, python.encoding()?);
        let delivered = viewers.finish(&watch)?;
        let after = (cpu(python.child.id())?, python.encoding()?);
        let all = after.0.since(&before.0, "").as_secs_f64();
        costs.push(watch.cost(server, all, after.1 - before.1, delivered));
    }
    Ok(costs)
}

fn cpu(process: u32) -> Result<CpuTimes, RigError> {
    CpuTimes::of(process).map_err(|source| RigError::Io { what: "read a process's times", source })
}

struct Watch<'a> {
    root: &'a Path,
    sessions: u32,
    seconds: u32,
}

#[derive(Deserialize)]
struct Received {
    video: Vec<u32>,
}

impl Watch<'_> {
    /// `all` and `encoders` are seconds of processor time.
    fn cost(&self, server: &'static str, all: f64, encoders: f64, delivered: f64) -> Cost {
        let arrived = f64::from(self.sessions) * f64::from(self.seconds) * delivered;
        Cost { server, all: all / arrived, around: (all - encoders) / arrived, delivered }
    }

    /// Connects all viewers; returns when each has a picture.
    fn start(&self, url: &str, arguments: &[&str]) -> Result<Viewers, RigError> {
        let mut command = python_script(self.root, "viewers.py")?;
        command.args(["--url", url, "--sessions", &self.sessions.to_string()]);
        command.args(["--seconds", &self.seconds.to_string()]).args(arguments);
        let mut viewers = Viewers(Talker::start(command, "the viewers")?);
        match viewers.0.line()?.as_str() {
            "watching" => Ok(viewers),
            other => Err(RigError::Measure { client: "viewers.py", message: other.to_owned() }),
        }
    }
}

struct Viewers(Talker);

impl Viewers {
    /// Waits until they have watched long enough; their share of the frames.
    fn finish(&mut self, watch: &Watch<'_>) -> Result<f64, RigError> {
        let line = self.0.line()?;
        let received: Received = serde_json::from_str(&line)
            .map_err(|_| RigError::Measure { client: "viewers.py", message: line.clone() })?;
        let due = f64::from(watch.sessions) * f64::from(watch.seconds) * Builtin::fps().as_f64();
        Ok(received.video.iter().copied().map(f64::from).sum::<f64>() / due)
    }
}

/// The server to compare with.
struct Python {
    child: Talker,
    url: String,
}

impl Python {
    fn start(root: &Path, frames: &Path, speech: &Path, pixels: &str) -> Result<Self, RigError> {
        let mut command = python_script(root, "aiortc_server.py")?;
        command.arg("--frames").arg(frames).arg("--speech").arg(speech).args(["--pixels", pixels]);
        command.args(["--size", &format!("{}x{}", Builtin::WIDTH, Builtin::HEIGHT)]);
        command.args(["--fps", &Builtin::fps().as_f64().to_string()]);
        let mut child = Talker::start(command, "the Python server")?;
        let line = child.line()?;
        let url = line.split_whitespace().last().unwrap_or_default().to_owned();
        Ok(Self { child, url })
    }

    /// Seconds spent inside its encoders so far.
    fn encoding(&self) -> Result<f64, RigError> {
        let failed = |message: String| RigError::Measure { client: "aiortc_server.py", message };
        let reply = get(&self.url, "/cost").map_err(|error| failed(error.to_string()))?;
        let body = reply.rsplit("\r\n\r\n").next().unwrap_or_default();
        let cost: serde_json::Value =
            serde_json::from_str(body).map_err(|error| failed(error.to_string()))?;
        cost["seconds"].as_f64().ok_or_else(|| failed(reply))
    }
}

/// One small reply over plain HTTP.
fn get(url: &str, path: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(url.trim_start_matches("http://"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

/// A child process that says what it does, line by line; ends when dropped.
struct Talker {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    name: &'static str,
}

impl Talker {
    fn start(mut command: Command, name: &'static str) -> Result<Self, RigError> {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| RigError::Io { what: "start a client", source })?;
        let lines = BufReader::new(process.stdout.take().expect("piped above")).lines();
        Ok(Self { process, lines, name })
    }

    fn id(&self) -> u32 {
        self.process.id()
    }

    fn line(&mut self) -> Result<String, RigError> {
        let line = self.lines.next().and_then(Result::ok);
        line.ok_or(RigError::Measure { client: self.name, message: "it ended early".to_owned() })
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
