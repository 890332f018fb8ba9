//! A whole server with its clients: what the tests over real connections share.

#![allow(dead_code, unreachable_pub, reason = "each test binary is a crate that uses its own part of this")]

pub(crate) mod clips;
pub(crate) mod relay;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use lipcast_server::bench::rig::{Client, Rig};
use serde_json::Value;

/// Settings of a server whose pictures carry their frame numbers. It may run two seconds ahead: the tests count frames,
/// also on a machine that has other things to do.
pub(crate) const PROBE: &str = "[session]\nrender_ahead = \"2s\"\n[engine]\nbackends = [\"probe\"]\n\
     [backend.probe]\nlibrary = \"liblipcast_probe.so\"\nrequired = true\n";

/// Settings of a server with the demo backend, allowed to run ahead likewise.
pub(crate) const DEMO: &str = "[session]\nrender_ahead = \"1s\"\n";

/// Tests of one program run side by side; large pictures in real time want the machine for themselves.
static MACHINE: RwLock<()> = RwLock::new(());

/// Waits until no other test of this program runs, and keeps others out.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until no test wants the machine [`alone`].
pub(crate) fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// The checkout, where the clients' scripts lie and `cargo xtask test` puts their tools.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_lipcast"))
}

/// A server whose media folder holds `files`, once the first of its backends is ready.
pub(crate) fn serve(settings: &str, files: &[(&str, &[u8])]) -> Rig {
    settled(Rig::start(program(), settings, files).unwrap())
}

/// `rig`, once its backends are ready or have failed.
pub(crate) fn settled(rig: Rig) -> Rig {
    for _ in 0..200 {
        let backends = get(&rig, "/ready").json()["backends"].clone();
        if backends.as_array().is_some_and(|all| all.iter().all(|backend| backend["state"] != "opening")) {
            return rig;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the backends do not settle: {}", rig.log());
}

/// Watches `rig`; the arguments are those of the client's script, `--seconds 5 --start ''`.
pub(crate) fn watch(client: Client, rig: &Rig, arguments: &[&str]) -> Value {
    client.watch(root(), rig, arguments).unwrap_or_else(|error| panic!("{error}; the server: {}", rig.log()))
}

/// Prepares an avatar through the seed API.
pub(crate) fn prepare(rig: &Rig, avatar: &str, video: &str) {
    let reply = post(rig, &format!("/api/webrtc/avatar/prepare?avatar_id={avatar}&video_path={video}"), "");
    assert_eq!((reply.status, &reply.json()["status"]), (200, &"success".into()), "{reply:?}");
}

/// What came back over HTTP.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    /// `content-type`, empty when there is none.
    pub kind: String,
    pub body: String,
}

impl Reply {
    /// The body; null when it is no JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

pub(crate) fn get(rig: &Rig, path: &str) -> Reply {
    request(rig, "GET", path, "", b"")
}

pub(crate) fn post(rig: &Rig, path: &str, json: &str) -> Reply {
    request(rig, "POST", path, "application/json", json.as_bytes())
}

/// Sends `path` exactly as it is, which an HTTP library would tidy up first.
pub(crate) fn request(rig: &Rig, method: &str, path: &str, kind: &str, body: &[u8]) -> Reply {
    let address = rig.url().rsplit('/').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n\r\n"
    )
    .unwrap();
    stream.write_all(body).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, kind: header("content-type"), body: body.to_owned() }
}

/// The content type of [`form`].
pub(crate) const FORM: &str = "multipart/form-data; boundary=boundary";

/// A form with one file.
pub(crate) fn form(field: &str, name: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "--boundary\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\r\n"
    );
    [head.as_bytes(), content, b"\r\n--boundary--\r\n"].concat()
}

/// A recording of one's own in the place of a made one: `yongen.mp4`, a speaking face, or `eng.wav`, speech, in the folder
/// that the variable `LIPCAST_TEST_CLIPS` names.
pub(crate) fn recording(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("LIPCAST_TEST_CLIPS")?).join(name);
    path.exists().then_some(path)
}
