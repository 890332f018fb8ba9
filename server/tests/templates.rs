//! `lipcast plugin new` as an author meets it: each template is made, built, tested by its own tests, called through
//! the protocol in a process of its own, and rendered with, until the mouth of the built-in avatar moves.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use lipcast_plugins_api::loader::{NoProgress, Source};
use lipcast_plugins_api::types::{Alpha, Code, Error, Health, LogLevel, MetricKind, PixelFormat};
use lipcast_wire::client::{Blocking, CallError, Events, Host, RemoteAvatar};
use lipcast_wire::op::{Op, Request};
use lipcast_wire::spawn::ChildCommand;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// A project `my-mouth`, built.
struct Project {
    folder: PathBuf,
    /// What a server would start.
    command: ChildCommand,
    _dir: Option<tempfile::TempDir>,
}

impl Project {
    /// One that is made for the caller.
    fn new(language: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = Self::within(language, dir.path());
        Self { _dir: Some(dir), ..made }
    }

    /// The one in Rust, made once: building it takes longest. It lies where cargo keeps what tests make, so that the
    /// next run compiles the project alone.
    fn in_rust() -> &'static Self {
        static PROJECT: OnceLock<Project> = OnceLock::new();
        PROJECT.get_or_init(|| {
            let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("templates");
            let _ = std::fs::remove_dir_all(dir.join("my-mouth"));
            std::fs::create_dir_all(&dir).unwrap();
            Self::within("rust", &dir)
        })
    }

    fn within(language: &str, dir: &Path) -> Self {
        let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins-api");
        let mut new = Command::new(env!("CARGO_BIN_EXE_lipcast"));
        new.current_dir(dir).args(["plugin", "new", "my-mouth", "--lang", language]);
        if language == "rust" {
            new.arg("--api").arg(api);
        }
        let said = run(&mut new);
        assert!(said.contains("lipcast plugin check"), "it says what to do next: {said}");
        let folder = dir.join("my-mouth");
        build(language, &folder);
        let host = release().join("backend-host");
        let (program, arguments) = match language {
            "rust" => (host, vec![folder.join("target/release/libmy_mouth.so").into()]),
            "c" => (host, vec![folder.join("libmy_mouth.so").into()]),
            _ => ("python3".into(), vec!["backend.py".into()]),
        };
        let command = ChildCommand { program, arguments, folder: Some(folder.clone()), core_dumps: false };
        Self { folder, command, _dir: None }
    }

    fn start(&self) -> (Blocking, Arc<Heard>) {
        let heard = Arc::new(Heard::default());
        let host = Host::start(&self.command, heard.clone(), PATIENCE).unwrap();
        (host.into_blocking(), heard)
    }
}

fn build(language: &str, folder: &Path) {
    match language {
        "rust" => {
            // Kept between runs, so that only the project itself is compiled again.
            let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("templates/target");
            for work in ["build", "test"] {
                let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
                cargo.current_dir(folder).args([work, "--release", "--offline", "--quiet"]);
                run(cargo.env("CARGO_TARGET_DIR", &target));
            }
            std::fs::create_dir_all(folder.join("target/release")).unwrap();
            let library = Path::new("release/libmy_mouth.so");
            std::fs::copy(target.join(library), folder.join("target").join(library)).unwrap();
        }
        "c" => drop(run(Command::new("make").current_dir(folder).arg("CFLAGS=-O2 -Wpedantic -Werror"))),
        _ => drop(run(Command::new("python3").current_dir(folder).arg("test_backend.py"))),
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

fn release() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_lipcast")).parent().unwrap().to_owned()
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Events for Heard {
    fn log(&self, _: LogLevel, _: &str, message: &str, _: &Value) {
        self.0.lock().unwrap().push(message.to_owned());
    }
    fn output(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
    fn dropped(&self, _: u64) {}
    fn metric(&self, _: &str, _: MetricKind, _: f64, _: &Value) {}
    fn closed(&self, _: &str) {}
}

/// Three grey frames of 128 by 96 with a mouth 32 wide; the last has no face.
struct Grey;

impl Source for Grey {
    fn frame_count(&self) -> u32 {
        3
    }
    fn size(&self) -> (u32, u32) {
        (128, 96)
    }
    fn fps(&self) -> (u32, u32) {
        (25, 1)
    }
    fn frame(&mut self, _: u32, rgb: &mut Vec<u8>) -> Result<(), Error> {
        rgb.clear();
        rgb.resize(128 * 96 * 3, 128);
        Ok(())
    }
    fn landmarks(&self, index: u32) -> Option<[[f32; 2]; 68]> {
        let mut points = [[64.0, 48.0]; 68];
        (points[48], points[54]) = ([48.0, 48.0], [80.0, 48.0]);
        (index < 2).then_some(points)
    }
    fn face_box(&self, _: u32) -> Option<[f32; 4]> {
        None
    }
}

fn request(session: u64, frame: u64, avatar_frame: u32) -> Request {
    Request { session, seq: frame, frame, deadline_ns: 0, epoch: 0, avatar_frame, flags: 0, slot: 0 }
}

/// Dark pixels that one frame's patch has, and whether the face is at rest.
fn draw(
    host: &mut Blocking,
    avatar: &RemoteAvatar,
    session: u64,
    frame: u64,
    avatar_frame: u32,
) -> (usize, bool) {
    let request = request(session, frame, avatar_frame);
    let drawn = host.infer(&[request], PATIENCE).unwrap().remove(0).unwrap();
    let (checked, intact) = avatar.check(&request, &drawn);
    let result = checked.unwrap();
    assert!(intact, "frame {frame}: behind the slot");
    if result.rect.is_empty() {
        return (0, result.at_rest);
    }
    assert_eq!((result.format, result.alpha), (PixelFormat::Rgba, Alpha::Inline));
    let dark = avatar.picture(0, &result).chunks(4).filter(|pixel| *pixel == [60, 20, 25, 255]).count();
    (dark, result.at_rest)
}

fn speaks_through_the_protocol(project: &Project) {
    let (mut host, heard) = project.start();
    assert_eq!(host.descriptor().id, "org.example.my-mouth");
    let calls = host.calls().clone();
    let refused = calls.create(&json!({"colour": 1}), &NoProgress, Some(PATIENCE)).unwrap_err();
    assert!(matches!(&refused, CallError::Failed(error) if error.code == Code::InvalidArg), "{refused}");
    calls.create(&Value::Null, &NoProgress, Some(PATIENCE)).unwrap();
    assert_eq!(calls.health(PATIENCE).unwrap(), Health::ok());
    assert_eq!(calls.describe(PATIENCE).unwrap()["device"].as_str().unwrap_or("cpu"), "cpu");
    assert!(calls.stats(PATIENCE).unwrap().is_object());

    let mut blob = Vec::new();
    calls.prepare_avatar(&mut Grey, &Value::Null, &mut blob, &NoProgress).unwrap();
    for bytes in [&b""[..], b"TLK1", &blob[..blob.len() - 1], &[255; 64]] {
        let error = calls.load_avatar(bytes, 1, Some(PATIENCE)).unwrap_err();
        let incompatible = matches!(&error, CallError::Failed(error) if error.code == Code::BlobIncompatible);
        assert!(incompatible, "{} bytes: {error}", bytes.len());
    }
    let avatar = calls.load_avatar(&blob, 2, Some(PATIENCE)).unwrap();
    assert_eq!((avatar.info().canvas, avatar.info().frame_count), ((128, 96), 3));
    let open = |session, whole| Op::Open {
        session,
        avatar: avatar.id(),
        whole,
        fps: (25, 1),
        params: "null".to_owned(),
    };
    host.run(&open(1, false), PATIENCE).unwrap();
    host.run(&open(2, false), PATIENCE).unwrap();
    assert!(host.run(&open(3, true), PATIENCE).is_err(), "a whole utterance is more than it keeps");
    let speech =
        |session, first_sample| Op::Push { session, first_sample, pcm: vec![0.3; 4 * 640], end: true };
    host.run(&speech(1, 0), PATIENCE).unwrap();
    // 40 ms before a frame are heard too, so frame 4 still moves.
    for frame in 0..7 {
        let (dark, at_rest) = draw(&mut host, &avatar, 1, frame, 0);
        assert_eq!((dark > 20, at_rest), (frame <= 4, frame > 4), "frame {frame}: {dark} dark pixels");
    }
    assert_eq!(draw(&mut host, &avatar, 1, 2, 2).0, 0, "no face, so nothing is painted");
    assert_eq!(draw(&mut host, &avatar, 2, 2, 0).0, 0, "the other session hears nothing");
    let back = host.run(&speech(1, 0), PATIENCE);
    assert!(matches!(&back, Err(CallError::Failed(error)) if error.code == Code::InvalidArg), "{back:?}");
    host.run(&Op::Reset { session: 1, epoch: 1 }, PATIENCE).unwrap();
    assert_eq!(draw(&mut host, &avatar, 1, 2, 0).0, 0, "a reset forgets what was heard");
    host.run(&speech(1, 6400), PATIENCE).unwrap();
    assert!(draw(&mut host, &avatar, 1, 11, 1).0 > 20);

    // One request that cannot be answered leaves its neighbours alone.
    let results = host.infer(&[request(9, 11, 0), request(1, 11, 0)], PATIENCE).unwrap();
    assert!(results[0].is_err() && results[1].is_ok(), "{results:?}");
    host.run(&Op::Close { session: 1 }, PATIENCE).unwrap();
    assert!(host.infer(&[request(1, 12, 0)], PATIENCE).unwrap()[0].is_err(), "it is closed");
    drop(avatar);
    calls.end();
    assert_eq!(host.child().wait(), "exited with 0");
    assert!(heard.0.lock().unwrap().iter().any(|line| line == "ready"), "{:?}", heard.0);
}

/// `lipcast plugin check` as the guide tells an author to call it.
fn passes_the_check(project: &Project) {
    let mut check = Command::new(env!("CARGO_BIN_EXE_lipcast"));
    let said = run(check.current_dir(&project.folder).args(["plugin", "check", "."]));
    println!("{said}");
    let summary = said.lines().last().unwrap_or_default();
    assert!(summary.contains(" passed, 0 failed, "), "{said}");
    let passed: usize = summary.split(' ').next().unwrap().parse().unwrap();
    assert!(passed >= 34, "{said}");
}

#[test]
fn the_template_in_rust_passes_the_check() {
    passes_the_check(Project::in_rust());
}

#[test]
fn the_template_in_c_passes_the_check() {
    passes_the_check(&Project::new("c"));
}

#[test]
fn the_template_in_python_passes_the_check() {
    passes_the_check(&Project::new("python"));
}

#[test]
fn the_template_in_rust_speaks_through_the_protocol() {
    speaks_through_the_protocol(Project::in_rust());
}

#[test]
fn the_template_in_c_speaks_through_the_protocol() {
    speaks_through_the_protocol(&Project::new("c"));
}

#[test]
fn the_template_in_python_speaks_through_the_protocol() {
    speaks_through_the_protocol(&Project::new("python"));
}

/// A backend in Python that is asked for more than it can: its exceptions end calls, not the process.
#[test]
fn an_exception_in_python_is_a_status_and_a_traceback_in_the_log() {
    let project = Project::new("python");
    let backend = project.folder.join("backend.py");
    let text = std::fs::read_to_string(&backend).unwrap();
    let hook = "        if request.frame == 13:\n            raise KeyError(\"unlucky\")\n        session = request.session";
    std::fs::write(&backend, text.replace("        session = request.session", hook)).unwrap();
    let (mut host, heard) = project.start();
    let calls = host.calls().clone();
    calls.create(&json!({"strength": 2}), &NoProgress, Some(PATIENCE)).unwrap();
    let mut blob = Vec::new();
    calls.prepare_avatar(&mut Grey, &Value::Null, &mut blob, &NoProgress).unwrap();
    let avatar = calls.load_avatar(&blob, 2, Some(PATIENCE)).unwrap();
    let params = "null".to_owned();
    let open = Op::Open { session: 1, avatar: avatar.id(), whole: false, fps: (25, 1), params };
    host.run(&open, PATIENCE).unwrap();
    let results = host.infer(&[request(1, 12, 0), request(1, 13, 0)], PATIENCE).unwrap();
    assert!(results[0].is_ok());
    let error = results[1].as_ref().unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (Code::BackendPanic, "KeyError: 'unlucky'"));
    // More than 64 operations: the ring goes round.
    for frame in 14..100 {
        draw(&mut host, &avatar, 1, frame, 0);
    }
    let before = host.beat();
    std::thread::sleep(Duration::from_millis(500));
    assert!(host.beat().wrapping_sub(before) >= 1, "its heart beats");
    drop(avatar);
    calls.end();
    assert_eq!(host.child().wait(), "exited with 0");
    let heard = heard.0.lock().unwrap();
    assert!(
        heard.iter().any(|line| line.contains("unlucky"))
            && heard.iter().any(|line| line.contains("Traceback"))
    );
}

/// Somebody waits for the answer of every call: what ends a thread of Python's, or is no message, is an error.
#[test]
fn what_python_cannot_answer_with_is_an_error_with_words() {
    let project = Project::new("python");
    let backend = project.folder.join("backend.py");
    let text = std::fs::read_to_string(&backend).unwrap();
    let create = "    def create(self, config, operation):\n";
    assert!(text.contains(create), "{text}");
    let odd = "        if config == 1:\n            raise SystemExit(\"no GPU here\")\n        if config == 2:\n            \
               raise BackendError(\"OOM_HOST\", \"x\" * 100_000)\n        self.told = config\n        if config in (3, 4):\n            return\n";
    let describe = "    def describe(self):\n        return {\"x\": float(\"nan\") if self.told == 3 else \"x\" * 100_000}\n\n";
    std::fs::write(&backend, text.replace(create, &format!("{describe}{create}{odd}"))).unwrap();
    let (host, heard) = project.start();
    let calls = host.calls().clone();
    let create = |config| calls.create(&json!(config), &NoProgress, Some(PATIENCE));
    let error = create(1).unwrap_err().to_string();
    assert!(error.contains("SystemExit: no GPU here"), "{error}");
    let error = create(2).unwrap_err().to_string();
    assert!(error.contains("xxx") && error.len() < 1_100, "{error}");
    for (config, words) in [(3, "ValueError"), (4, "bytes of JSON in one message")] {
        create(config).unwrap();
        let error = calls.describe(PATIENCE).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    calls.end();
    let heard = heard.0.lock().unwrap();
    assert!(heard.iter().any(|line| line.contains("no GPU here")), "its traceback is in the log: {heard:?}");
}

#[test]
fn a_plugin_that_is_another_than_its_folder_says_does_not_pass_the_check() {
    let project = Project::new("python");
    let manifest = project.folder.join("plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("org.example.my-mouth", "org.example.other")).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_lipcast"));
    let output = check.current_dir(&project.folder).args(["plugin", "check", "."]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let told = "plugin.toml says id org.example.other, the plugin itself says org.example.my-mouth";
    assert!(said.contains(told), "{said}");
}

/// 0.4 s of silence, 0.8 s of a voice-like buzz if `spoken`, 0.8 s of silence: 16 kHz mono, as a wav file.
fn wav(path: &Path, spoken: bool) {
    let samples = (0..32_000_u32).map(|i| {
        let loud = spoken && (6_400..19_200).contains(&i);
        if loud { (i % 107) as i16 * 180 - 9_630 } else { 0 }
    });
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let mut file = Vec::from(*b"RIFF");
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(16_000_u32.to_le_bytes());
    file.extend(32_000_u32.to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    std::fs::write(path, file).unwrap();
}

/// The built-in avatar rendered with the project's own config.toml: width, and frames of luma.
fn rendered(project: &Project, audio: &Path) -> (usize, Vec<Vec<u8>>) {
    let movie = audio.with_extension("mp4");
    let mut render = Command::new(env!("CARGO_BIN_EXE_lipcast"));
    render.current_dir(&project.folder).args(["render", "--config", "config.toml", "--backend", "my-mouth"]);
    run(render.arg("--audio").arg(audio).arg("-o").arg(&movie));
    let mut probe = Command::new("ffprobe");
    probe.args("-v error -select_streams v -show_entries stream=width,height -of csv=p=0".split(' '));
    let size = run(probe.arg(&movie));
    let size: Vec<usize> = size.trim().split(',').map(|side| side.parse().unwrap()).collect();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(&movie).args("-f rawvideo -pix_fmt gray -".split(' '));
    let luma = ffmpeg.output().unwrap().stdout;
    (size[0], luma.chunks_exact(size[0] * size[1]).map(<[u8]>::to_vec).collect())
}

/// In silence both renderings show the avatar's own frames; in speech only the mouth differs.
fn moves_a_mouth(project: &Project) {
    let (speech, silence) = (project.folder.join("speech.wav"), project.folder.join("silence.wav"));
    wav(&speech, true);
    wav(&silence, false);
    let ((width, speaking), (_, silent)) = (rendered(project, &speech), rendered(project, &silence));
    assert!(speaking.len() >= 48 && speaking.len() == silent.len(), "{} frames", speaking.len());
    let changed = |frame: usize| -> Vec<usize> {
        let pairs = speaking[frame].iter().zip(&silent[frame]).enumerate();
        // More than two encodings of one picture differ by.
        pairs.filter(|(_, (a, b))| a.abs_diff(**b) > 40).map(|(place, _)| place).collect()
    };
    let height = speaking[0].len() / width;
    for frame in (0..8).chain(38..48) {
        let count = changed(frame).len();
        assert!(count < 20, "{count} pixels move in silence, frame {frame}");
    }
    for frame in 14..28 {
        let places = changed(frame);
        assert!(places.len() > 150, "{} pixels move in speech, frame {frame}", places.len());
        let rows = places.iter().map(|place| place / width);
        let columns = places.iter().map(|place| place % width);
        let (rows, columns) = (extent(rows), extent(columns));
        assert!(rows < height / 3 && columns < width / 3, "{columns} by {rows} pixels are more than a mouth");
    }
}

fn extent(values: impl Iterator<Item = usize> + Clone) -> usize {
    values.clone().max().unwrap_or(0) - values.min().unwrap_or(0)
}

#[test]
fn the_template_in_rust_moves_the_mouth_of_an_avatar() {
    moves_a_mouth(Project::in_rust());
}

#[test]
fn the_template_in_c_moves_the_mouth_of_an_avatar() {
    moves_a_mouth(&Project::new("c"));
}

#[test]
fn the_template_in_python_moves_the_mouth_of_an_avatar() {
    moves_a_mouth(&Project::new("python"));
}
