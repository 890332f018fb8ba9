//! The program as an operator meets it: exit codes, what it prints, how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};

fn lipcast(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lipcast"));
    command.current_dir(folder);
    command
}

fn output(folder: &Path, arguments: &[&str]) -> Output {
    lipcast(folder).args(arguments).output().unwrap()
}

/// A server on a free port, which its first line tells.
struct Served {
    child: Child,
    address: SocketAddr,
}

impl Served {
    fn start(folder: &Path) -> Self {
        let mut child = lipcast(folder)
            .args(["serve", "--bind", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit("//").next().unwrap().parse().unwrap();
        Self { child, address }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    fn end(mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap()
    }
}

#[test]
fn a_wrong_configuration_is_78_with_all_its_problems() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.toml"), "[server]\nbinnd = 1\nopen = 3\n").unwrap();
    for arguments in [&["config", "check"][..], &["serve"], &["--config", "config.toml"], &["avatar", "list"]]
    {
        let output = output(folder.path(), arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{arguments:?}: {text}");
        assert!(text.contains("config.toml:2:1: server.binnd: unknown key"), "{text}");
        assert!(text.contains("help: did you mean `bind`?"), "{text}");
        assert!(text.contains("config.toml:3:8: server.open: expected true or false"), "{text}");
    }
    assert!(!folder.path().join("data").exists(), "nothing is half-started");
}

#[test]
fn the_shipped_configuration_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let check = output(folder.path(), &["config", "check"]);
    assert_eq!(check.status.code(), Some(0));
    let shipped = output(folder.path(), &["config", "default"]);
    fs::write(folder.path().join("c.toml"), shipped.stdout).unwrap();
    assert_eq!(output(folder.path(), &["config", "check", "c.toml"]).status.code(), Some(0));
    assert_eq!(output(folder.path(), &["config", "check", "missing.toml"]).status.code(), Some(78));
}

#[test]
fn a_port_in_use_is_told_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = output(folder.path(), &["serve", "--bind", &address]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains(&address) && text.contains("another program has this port"), "{text}");
    assert!(!folder.path().join("data").exists(), "nothing is half-started");
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.toml"), "[server]\nheader_timeout = \"1s\"\n").unwrap();
    let served = Served::start(folder.path());
    let mut silent = TcpStream::connect(served.address).unwrap();
    silent.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0, "the server closed it");
    assert!(served.get("/health").starts_with("HTTP/1.1 200"));
    served.end(Signal::TERM);
}

#[test]
fn other_addresses_need_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let output = output(folder.path(), &["serve", "--bind", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no token is set"));
}

#[test]
fn a_required_backend_that_is_missing_ends_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "[server]\nbind = \"127.0.0.1:0\"\n[engine]\nbackends = [\"x\"]\n\
                    [backend.x]\nlibrary = \"libx.so\"\nrequired = true\n";
    fs::write(folder.path().join("config.toml"), settings).unwrap();
    let output = output(folder.path(), &["serve"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("required backend x did not come up"), "{text}");
}

/// Writes settings with a certificate for `localhost`.
fn certificate(folder: &Path) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let settings = "[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";
    fs::write(folder.join("config.toml"), settings).unwrap();
    made
}

fn trusting(certificate: &rustls::pki_types::CertificateDer<'static>) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Over TLS browsers speak HTTP/2, where the host is no header.
#[tokio::test]
async fn a_page_may_post_over_http2() {
    let folder = tempfile::tempdir().unwrap();
    let made = certificate(folder.path());
    let served = Served::start(folder.path());
    let mut client = trusting(made.cert.der());
    client.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(client))
        .connect("localhost".try_into().unwrap(), stream)
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let port = served.address.port();
    for (host, origin, status) in [
        ("localhost", format!("https://localhost:{port}"), 400),
        ("localhost", "https://evil.example".to_owned(), 403),
        ("evil.example", format!("https://evil.example:{port}"), 403),
    ] {
        let request = axum::http::Request::post(format!(
            "https://{host}:{port}/api/webrtc/realtime/stop?session_id=nobody"
        ));
        let request = request.header("origin", &origin).body(()).unwrap();
        let (response, _) = requests.send_request(request, true).unwrap();
        assert_eq!(response.await.unwrap().status(), status, "{host} from {origin}");
    }
    drop(requests);
    assert_eq!(served.end(Signal::TERM).code(), Some(0));
}

#[test]
fn render_names_what_it_cannot_do_and_loads_only_what_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "[engine]\nbackends = [\"other\", \"gone\"]\n[backend.other]\nlibrary = \"libother.so\"\n\
                    [backend.gone]\nlibrary = \"libgone.so\"\n";
    fs::write(folder.path().join("config.toml"), settings).unwrap();
    let unknown = output(folder.path(), &["render", "--backend", "gonne"]);
    let text = String::from_utf8(unknown.stderr).unwrap();
    assert_eq!(unknown.status.code(), Some(78), "{text}");
    assert!(text.contains("no backend gonne") && text.contains("other, gone, demo (built in)"), "{text}");
    let missing = output(folder.path(), &["render", "--backend", "gone"]);
    let text = String::from_utf8(missing.stderr).unwrap();
    assert_eq!(missing.status.code(), Some(69), "{text}");
    assert!(text.contains("cannot be shown: gone: ") && text.contains("libgone.so"), "{text}");
    assert!(!text.contains("libother.so") && !folder.path().join("out.mp4").exists(), "{text}");
}

#[test]
fn what_is_rendered_does_not_take_the_place_of_the_speech() {
    let folder = tempfile::tempdir().unwrap();
    let speech = folder.path().join("speech.wav");
    fs::write(&speech, "a recording").unwrap();
    std::os::unix::fs::symlink("speech.wav", folder.path().join("link")).unwrap();
    for target in ["speech.wav", "./speech.wav", "link"] {
        let output = output(folder.path(), &["render", "--audio", "speech.wav", "-o", target]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains("is the speech itself"), "{text}");
        assert_eq!(fs::read(&speech).unwrap(), b"a recording");
    }
}

#[test]
fn a_limit_of_file_sizes_is_an_error_and_not_the_end() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.toml"), "").unwrap();
    let limited = format!("ulimit -f 64; exec {} render", env!("CARGO_BIN_EXE_lipcast"));
    let mut shell = Command::new("bash");
    let output = shell.current_dir(folder.path()).args(["-c", &limited]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code != 0), "{:?}: {text}", output.status);
    assert!(text.contains("disk") || text.contains("too large"), "{text}");
}

#[test]
fn a_library_that_is_not_built_is_named_and_not_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[engine]\nbackends = [\"talker\"]\n[backend.talker]\nlibrary = \"/nowhere/libtalker.so\"\n";
    fs::write(folder.path().join("config.toml"), config).unwrap();
    let output = output(folder.path(), &["render", "--backend", "talker"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{text}");
    assert!(text.contains("/nowhere/libtalker.so: there is no such file; has it been built?"), "{text}");
}

#[test]
fn a_plugin_folder_is_checked_with_its_pins_as_a_server_opens_it() {
    let folder = tempfile::tempdir().unwrap();
    let pin = "0".repeat(64);
    let manifest = format!(
        "id = \"org.x\"\nversion = \"1.0\"\nlicense = \"MIT\"\nlibrary = \"libx.so\"\nsha256 = \"{pin}\"\n"
    );
    fs::write(folder.path().join("plugin.toml"), manifest).unwrap();
    let unbuilt = output(folder.path(), &["plugin", "check", "."]);
    let text = String::from_utf8(unbuilt.stderr).unwrap();
    assert!(text.contains("libx.so: there is no such file; has it been built?"), "{text}");
    fs::write(folder.path().join("libx.so"), "another one").unwrap();
    let checked = output(folder.path(), &["plugin", "check", "."]);
    let text = String::from_utf8(checked.stderr).unwrap();
    assert_eq!(checked.status.code(), Some(2), "{text}");
    assert!(
        text.contains("it is not the file that `sha256` in plugin.toml pins; it is not opened"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_checked_is_told_with_what_could_be() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("backend.py"), "print(1)").unwrap();
    let text = output(folder.path(), &["plugin", "check", "backend.py"]);
    assert_eq!(text.status.code(), Some(2));
    let text = String::from_utf8(text.stderr).unwrap();
    assert!(text.contains("not a shared library; of an exec backend give the folder"), "{text}");
    let nothing = output(folder.path(), &["plugin", "check", "--only", "nothing", "--", "true"]);
    let text = String::from_utf8(nothing.stderr).unwrap();
    assert!(
        text.contains("the groups are load, create, avatar, infer, session, threads, panic, speed, soak"),
        "{text}"
    );
}

#[test]
fn the_settings_of_a_check_are_the_backends_own_on_either_side_of_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let help = output(folder.path(), &["plugin", "check", "--help"]);
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(text.contains("a JSON file") && !text.contains("./config.toml is read"), "{text}");
    for arguments in [["plugin", "check", "-c", "s.json", "x"], ["-c", "s.json", "plugin", "check", "x"]] {
        fs::write(folder.path().join("x"), "").unwrap();
        let text = String::from_utf8(output(folder.path(), &arguments).stderr).unwrap();
        assert!(text.starts_with("s.json: "), "{text}");
    }
}

#[test]
fn a_reader_that_leaves_ends_a_command_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["config", "default"][..], &["plugin", "list"], &["avatar", "list"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = lipcast(folder.path()).args(arguments).stdout(writer).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.as_str()), (Some(141), ""), "{arguments:?}");
    }
}

#[test]
fn avatars_are_listed_without_opening_backends() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "[engine]\nbackends = [\"gone\"]\n[backend.gone]\nlibrary = \"libgone.so\"\n";
    fs::write(folder.path().join("config.toml"), settings).unwrap();
    let listed = output(folder.path(), &["avatar", "list"]);
    let (text, said) = (String::from_utf8(listed.stdout).unwrap(), String::from_utf8(listed.stderr).unwrap());
    assert_eq!(listed.status.code(), Some(0), "{said}");
    assert!(text.contains("built in"), "{text}");
    assert_eq!(said, "", "a backend that cannot be opened would be warned of");
}

#[test]
fn a_certificate_makes_it_https() {
    let folder = tempfile::tempdir().unwrap();
    let made = certificate(folder.path());
    let served = Served::start(folder.path());

    let client = Arc::new(trusting(made.cert.der()));
    let connection = rustls::ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(served.address).unwrap());
    write!(stream, "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert!(reply.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&reply));
    assert_eq!(served.end(Signal::TERM).code(), Some(0));

    fs::write(folder.path().join("key.pem"), "no key").unwrap();
    let output = output(folder.path(), &["serve", "--bind", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8(output.stderr).unwrap().contains("key.pem"));
}

#[test]
fn a_dump_is_asked_for_over_tls_with_the_token_of_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path());
    let path = folder.path().join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = format!("[server]\nbind = \"{free}\"\ntokens = [\"correct-horse-battery\"]\n");
    fs::write(&path, server + &text).unwrap();
    let mut child =
        lipcast(folder.path()).arg("serve").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let served = Served { child, address: free };
    let dump = |arguments: &[&str]| {
        let output = output(folder.path(), &[&["session", "dump", "anna/1"], arguments].concat());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // Address, token and certificate are those of the settings.
    let (code, text) = dump(&[]);
    assert!(code == Some(1) && text.contains("404: there is no such session"), "{text}");
    let url = format!("https://localhost:{}", free.port());
    let (code, text) = dump(&["--server", &url]);
    assert!(
        code == Some(1) && text.contains("401: a token is needed"),
        "no other server is shown it: {text}"
    );
    let (code, text) = dump(&["--server", &url, "--token", "correct-horse-battery"]);
    assert!(code == Some(1) && text.contains("404"), "{text}");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.path().join("other.pem"), other.cert.pem()).unwrap();
    let (code, text) = dump(&["--certificate", "other.pem"]);
    assert!(code == Some(69) && text.contains("certificate"), "{text}");
    let (code, text) = dump(&["--certificate", "key.pem"]);
    assert!(code == Some(78) && text.contains("key.pem"), "{text}");
    assert_eq!(served.end(Signal::TERM).code(), Some(0));
}

#[test]
fn it_serves_and_ends_politely_on_either_signal() {
    let folder = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let served = Served::start(folder.path());
        let health = served.get("/health");
        assert!(health.starts_with("HTTP/1.1 200") && health.contains("\"status\":\"ok\""), "{health}");
        let ready = served.get("/ready");
        assert!(ready.contains("\"ready\":true") && ready.contains("\"name\":\"demo\""), "{ready}");
        assert_eq!(served.end(signal).code(), Some(0));
    }
}

#[test]
fn the_doctor_names_what_a_backend_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let nano = Path::new(env!("CARGO_MANIFEST_DIR")).join("../backends/musetalk/tests/data/nano");
    let doctor_of = |engine: &str, backend: &str, config: &str| {
        let text = format!(
            "[engine]\nbackends = [\"onnx\"]\n{engine}[backend.onnx]\nlibrary = \"liblipcast_onnx.so\"\n{backend}\
             [backend.onnx.config]\n{config}"
        );
        fs::write(folder.path().join("config.toml"), text).unwrap();
        let output = output(folder.path(), &["doctor"]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let doctor = |config: &str| doctor_of("", "", config);
    let (code, text) = doctor("");
    assert!(code == Some(1) && text.contains("no `bundle` in [backend.onnx.config]"), "{text}");
    assert_eq!(doctor("bundle = \"\"\n"), (code, text));

    let bundle = format!("bundle = {:?}\n", nano.display().to_string());
    let (code, text) = doctor(&bundle);
    assert!(code == Some(0) && text.contains("onnx fp32 speaks and prepares"), "{text}");
    let (code, text) = doctor(&(bundle.clone() + "decoder = \"taesd\"\n"));
    assert!(code == Some(1) && text.contains("has no taesd_decoder: set decoder = \"sd-vae\""), "{text}");

    let (code, text) = doctor(&format!("{bundle}precision = \"fp16\"\n"));
    assert!(
        code == Some(1) && text.contains("fp16 is to be run, and the bundle has its onnx networks in fp32"),
        "{text}"
    );
    let (code, text) = doctor_of("host = \"/nowhere/backend-host\"\n", "", &bundle);
    assert!(code == Some(1) && text.contains("engine.host: /nowhere/backend-host: no such file"), "{text}");
    fs::write(folder.path().join("text.so"), "a text").unwrap();
    let (code, text) = doctor_of("", "preload = [\"text.so\"]\n", &bundle);
    assert!(code == Some(1) && text.contains("text.so: not a shared library"), "{text}");

    let (code, text) = doctor("bundel = \"x\"\n");
    assert!(code == Some(1) && text.contains("did you mean"), "{text}");

    let copy = folder.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&nano).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    fs::remove_file(copy.join("unet.onnx")).unwrap();
    let (code, text) = doctor("bundle = \"copy\"\n");
    let missing = text.lines().any(|line| line.contains("wrong") && line.contains("copy/unet.onnx"));
    assert!(code == Some(1) && missing, "{text}");
}
