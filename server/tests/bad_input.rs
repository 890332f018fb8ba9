//! Bad input at a whole server: each kind gets its status and its words, in the dialect of its route, and a session
//! that runs beside all of it misses no frame.

mod whole;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lipcast_server::bench::rig::{Client, Rig};
use lipcast_server::bench::sync;
use serde_json::{Value, json};
use whole::clips::{self, Portrait};
use whole::{Reply, get, post, request};

const OFFER: &str = include_str!("data/offer_chromium.sdp");

/// What a route answers.
enum Answer {
    /// The status, and `{"detail": …}` with these words in it.
    Seed(u16, &'static str),
    /// 422 about one field.
    Field(&'static str),
    /// A preparation that failed, with these words.
    Failed(&'static str),
    /// A problem document with this status and these words.
    Problem(u16, &'static str),
    /// The status and one line of text.
    Plain(u16),
}

use Answer::{Failed, Field, Plain, Problem, Seed};

impl Answer {
    /// Why `reply` is another one.
    fn differs(&self, reply: &Reply) -> Option<&'static str> {
        let json = reply.json();
        let says = |words: &str| json["detail"].as_str().is_some_and(|detail| detail.contains(words));
        let (status, kind, right) = match self {
            Seed(status, words) => (*status, "application/json", says(words)),
            Field(name) => (422, "application/json", json["detail"][0]["loc"][1] == **name),
            Failed(words) => (200, "application/json", json["status"] == "failed" && says(words)),
            Problem(status, words) => {
                let whole =
                    json["status"] == *status && json["title"].is_string() && json["type"].is_string();
                (*status, "application/problem+json", whole && says(words))
            }
            Plain(status) => (*status, "text/plain; charset=utf-8", reply.body.lines().count() == 1),
        };
        match () {
            () if reply.status != status => Some("status"),
            () if reply.kind != kind => Some("content type"),
            () if !right => Some("words"),
            () => None,
        }
    }
}

/// Files of every bad kind, and what they are called.
fn files(folder: &Path) -> HashMap<&'static str, Vec<u8>> {
    let portrait = Portrait::new();
    let clip = |name: &'static str, arguments: &str| {
        let target = folder.join(name);
        clips::ffmpeg(arguments, &target, &portrait.rgb);
        (name, std::fs::read(&target).unwrap())
    };
    let h264 = "-pix_fmt yuv420p -c:v libx264 -preset ultrafast";
    let face = portrait.input();
    let wall = clip("wall.mp4", &format!("-f lavfi -i testsrc2=s=320x240:d=0.4:r=25 {h264}"));
    let speech = clips::tone(1);
    HashMap::from([
        ("empty.wav", Vec::new()),
        ("empty.mp4", Vec::new()),
        ("text.wav", b"This is no sound, and never was.\n".to_vec()),
        ("text.mp4", b"This is no film, and never was.\n".to_vec()),
        ("cut.wav", speech[..30].to_vec()),
        ("cut.mp4", wall.1[..wall.1.len() / 2].to_vec()),
        ("none.wav", wav(16_000, 0, &[])),
        ("over_an_hour.wav", wav(8_000, 3_601 * 8_000, &[])),
        ("sound.wav", speech),
        wall,
        clip("dot.png", "-f lavfi -i color=gray:s=64x64 -frames:v 1 -vf scale=1:1"),
        clip("dot.mkv", "-f lavfi -i color=gray:s=64x64:d=0.2 -vf scale=1:1 -c:v ffv1"),
        clip("wider.png", "-f lavfi -i color=gray:s=8200x64 -frames:v 1"),
        clip("huge.mp4", &format!("{face} -vf loop=1:1,scale=3456:4320,pad=7680:4320:-1:-1 -r 25 {h264}")),
        clip("odd.mkv", &format!("{face} -vf loop=4:1,scale=381:477 -r 25 -c:v ffv1 -pix_fmt yuv444p")),
        clip(
            "sometimes.mp4",
            &format!(
                "{face} -f lavfi -i color=gray:s=512x640:r=25:d=1 -filter_complex \
             [0:v]loop=11:1,fps=25,trim=end_frame=12[face];[1:v][face]overlay=enable='not(between(n,4,7))':\
             eof_action=endall {h264}"
            ),
        ),
    ])
}

/// A 16-bit mono wav that says to hold `samples`, and holds `first`.
fn wav(rate: u32, samples: u32, first: &[i16]) -> Vec<u8> {
    let mut wav = sync::clicks(0);
    let mut put = |at: usize, value: u32| wav[at..at + 4].copy_from_slice(&value.to_le_bytes());
    put(4, 36 + samples * 2);
    put(24, rate);
    put(28, rate * 2);
    put(40, samples * 2);
    wav.extend(first.iter().flat_map(|sample| sample.to_le_bytes()));
    wav
}

/// Four seconds with a click of 2 ms at 1, 2 and 3 s, in each channel.
fn clicks(rate: usize, channels: usize) -> Vec<i16> {
    let sample = |index: usize| {
        let place = index % rate;
        let loud = index >= rate && place < rate / 500;
        if !loud {
            0
        } else if place % (rate / 2_000) < rate / 4_000 {
            28_000
        } else {
            -28_000
        }
    };
    (0..rate * 4 * channels).map(|index| sample(index / channels)).collect()
}

/// A request and what it must be answered with.
struct Case {
    method: &'static str,
    path: String,
    kind: &'static str,
    body: Vec<u8>,
    answer: Answer,
}

impl Case {
    fn of(method: &'static str, path: impl Into<String>, answer: Answer) -> Self {
        Self { method, path: path.into(), kind: "", body: Vec::new(), answer }
    }

    fn start(query: &str, answer: Answer) -> Self {
        Self::of("POST", format!("/api/webrtc/realtime/start?session_id=other{query}"), answer)
    }

    fn prepare(video: &str, answer: Answer) -> Self {
        Self::of("POST", format!("/api/webrtc/avatar/prepare?avatar_id=new&video_path={video}"), answer)
    }

    fn offer(body: &Value, answer: Answer) -> Self {
        let case = Self::of("POST", "/api/webrtc/offer", answer);
        Self { kind: "application/json", body: body.to_string().into_bytes(), ..case }
    }

    fn speak(session: &str, body: &Value, answer: Answer) -> Self {
        let case = Self::of("POST", format!("/v1/sessions/{session}/speech"), answer);
        Self { kind: "application/json", body: body.to_string().into_bytes(), ..case }
    }

    fn upload(path: &str, field: &str, name: &str, content: &[u8], answer: Answer) -> Self {
        let case = Self::of("POST", path, answer);
        Self { kind: whole::FORM, body: whole::form(field, name, content), ..case }
    }
}

/// Spellings that lead out of the media folders, as they stand in a query, and how each is refused.
const OUTSIDE: [(&str, &str); 11] = [
    ("../../../../../../etc/passwd", "outside of the media folders"),
    ("%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd", "outside of the media folders"),
    ("..%5C..%5Cetc%5Cpasswd", "was not found"),
    ("%252e%252e%252fetc%252fpasswd", "was not found"),
    ("/etc/passwd", "outside of the media folders"),
    ("%2Fetc%2Fpasswd", "outside of the media folders"),
    ("link.wav", "outside of the media folders"),
    ("link/passwd", "outside of the media folders"),
    ("sound.wav%00.mp4", "control characters"),
    ("%00", "control characters"),
    ("", "empty"),
];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (path, words) in OUTSIDE {
        // An empty `audio_path` is no file: nothing is said yet.
        if !path.is_empty() {
            cases.push(Case::start(&format!("&audio_path={path}"), Seed(400, words)));
        }
        cases.push(Case::prepare(path, Seed(400, words)));
    }
    let long = "x".repeat(1_100);
    cases.push(Case::start(&format!("&audio_path={long}"), Seed(400, "too long")));
    for (query, words) in [
        ("&audio_path=gone.wav", "\"gone.wav\" was not found"),
        ("&audio_path=empty.wav", "empty.wav is empty (0 bytes)"),
        ("&audio_path=text.wav", "text.wav is not an audio file"),
        ("&audio_path=cut.wav", "cut.wav begins like a WAV file, but is damaged or cut off"),
        ("&audio_path=none.wav", "none.wav is a whole wave file, but holds no sound (0 samples)"),
        ("&audio_path=wall.mp4", "wall.mp4 has no audio track"),
        ("&audio_path=over_an_hour.wav", "over_an_hour.wav is too long: 3601 s"),
        ("&audio_path=folder", "is a folder"),
        ("&avatar_id=nobody", "nobody"),
        ("&avatar_id=..%2F..", "is no avatar id"),
        ("&product_id=1", "product_id"),
    ] {
        cases.push(Case::start(query, Seed(400, words)));
    }
    cases.push(Case::start("&fps=many", Field("fps")));
    cases.push(Case::of("POST", "/api/webrtc/realtime/start", Field("session_id")));
    let running = "session \"beside\" is running";
    cases.push(Case::of("POST", "/api/webrtc/realtime/start?session_id=beside", Seed(400, running)));
    cases.push(Case::of(
        "POST",
        "/api/webrtc/realtime/stop?session_id=nobody",
        Seed(400, "no session \"nobody\""),
    ));
    for (video, words) in [
        ("empty.mp4", "empty.mp4"),
        ("text.mp4", "text.mp4 is not a video or image that can be read"),
        ("cut.mp4", "cut.mp4 is not a video or image that can be read: moov atom not found"),
        ("sound.wav", "sound.wav has no video: it holds audio"),
        ("wall.mp4", "wall.mp4: no face found in any of 10 frames"),
        ("dot.png", "dot.png is 1x1 pixels"),
        ("dot.mkv", "dot.mkv is 1x1 pixels"),
        ("wider.png", "wider.png is 8200x64 pixels"),
        ("folder", "no images"),
    ] {
        cases.push(Case::prepare(video, Failed(words)));
    }
    cases.push(Case::prepare("gone.mp4", Seed(400, "\"gone.mp4\" was not found")));
    cases.push(Case::of("POST", "/api/webrtc/avatar/prepare?avatar_id=x", Field("video_path")));

    let no_codec = OFFER.replace("H264", "X264").replace("VP8", "XP8");
    for (sdp, words) in [
        ("", "offer"),
        ("hello", "offer"),
        ("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", "offer"),
        (&OFFER[..600], "offer"),
        (&OFFER.replace("a=fingerprint:", "a=x:"), "a=fingerprint"),
        (&no_codec, "no common video codec"),
    ] {
        cases.push(Case::offer(
            &json!({ "session_id": "beside", "sdp": sdp, "type": "offer" }),
            Seed(400, words),
        ));
    }
    let nobody = json!({ "session_id": "nobody", "sdp": OFFER, "type": "offer" });
    cases.push(Case::offer(&nobody, Seed(400, "no session \"nobody\"")));
    let answer = json!({ "session_id": "beside", "sdp": OFFER, "type": "answer" });
    cases.push(Case::offer(&answer, Seed(400, "type must be \"offer\"")));
    cases.push(Case::offer(&json!({ "session_id": "beside", "type": "offer" }), Field("sdp")));

    for (method, path, status, words) in [
        ("GET", "/v1/avatars/nobody", 404, "nobody"),
        ("GET", "/v1/avatars/nobody/poster", 404, "nobody"),
        ("DELETE", "/v1/avatars/nobody", 404, "nobody"),
        ("DELETE", "/v1/avatars/linh", 409, "linh"),
        ("GET", "/v1/avatars/..%2F..%2Fetc", 400, "is no avatar id"),
        ("GET", "/v1/avatars/%00", 400, "is no avatar id"),
        ("GET", "/v1/avatars/../../etc/passwd", 404, "Not Found"),
        ("GET", "/v1/sessions/nobody", 404, "session"),
        ("DELETE", "/v1/sessions/nobody", 404, "session"),
        ("GET", "/v1/jobs/nothing", 404, "job"),
        ("PUT", "/v1/avatars", 405, "Method Not Allowed"),
    ] {
        cases.push(Case::of(method, path, Problem(status, words)));
    }
    let no_file = Problem(400, "no field named `file`");
    cases.push(Case::upload("/v1/avatars/new/source", "other", "a.mp4", b"x", no_file));
    cases.push(Case::upload("/v1/avatars/new/source", "file", "a.mp4", b"", Problem(400, "empty")));
    cases.push(Case::upload("/v1/speech", "file", "../../a.wav", b"", Problem(400, "empty")));
    let notes = b"This is no sound, and never was.\n";
    cases.push(Case::upload(
        "/v1/speech",
        "file",
        "notes.wav",
        notes,
        Problem(400, "notes.wav is not an audio file"),
    ));
    for (session, speech, status, words) in [
        ("nobody", json!({ "path": "sound.wav" }), 404, "no session \"nobody\""),
        ("beside", json!({ "path": "../../etc/passwd" }), 400, "outside of the media folders"),
        ("beside", json!({ "path": "sound.wav\0.mp4" }), 400, "control characters"),
        ("beside", json!({ "path": "none.wav" }), 400, "holds no sound"),
        ("beside", json!({ "path": "over_an_hour.wav" }), 400, "too long"),
        ("beside", json!({}), 400, "say what to speak"),
    ] {
        cases.push(Case::speak(session, &speech, Problem(status, words)));
    }
    cases.push(Case::of("GET", "/../../etc/passwd", Plain(404)));
    cases.push(Case::of("GET", "/%2e%2e/%2e%2e/etc/passwd", Plain(404)));
    cases.push(Case::of("GET", "/api/webrtc/nothing", Seed(404, "Not Found")));
    cases
}

/// Backends that cannot be opened, in the order of the settings, and why; the probe behind them serves.
const REFUSED: [(&str, &str); 4] = [
    ("text", "not a shared library: it has no ELF header"),
    ("foreign", "built for riscv64, this server runs on "),
    ("major", "built against contract 2.0, this server speaks 1.0"),
    ("gone", "there is no such file"),
];

/// Writes the libraries into `folder` and names them in settings.
fn settings(folder: &Path) -> String {
    let probe = std::fs::read(whole::program().with_file_name("plugins/liblipcast_probe.so")).unwrap();
    let mut foreign = probe;
    foreign[18] = 243;
    std::fs::write(folder.join("text.so"), "This is no library, and never was.\n").unwrap();
    std::fs::write(folder.join("foreign.so"), foreign).unwrap();
    let contract = whole::root().join("plugins-api");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-DVARIANT_MAJOR=2", "-DVARIANT_MINOR=0", "-I"])
        .arg(contract.join("include"))
        .arg("-I")
        .arg(contract.join("templates"))
        .arg(contract.join("tests/data/variants.c"))
        .arg("-o")
        .arg(folder.join("major.so"))
        .status();
    assert!(compiled.unwrap().success());
    let mut text = "max_speech = \"1h\"\n[session]\nrender_ahead = \"2s\"\n".to_owned();
    text += "[engine]\nbackends = [\"text\", \"foreign\", \"major\", \"gone\", \"probe\"]\n";
    for (name, _) in REFUSED {
        text += &format!(
            "[backend.{name}]\nlibrary = \"{}\"\n",
            folder.join(name).with_extension("so").display()
        );
    }
    text + "[backend.probe]\nlibrary = \"liblipcast_probe.so\"\nrequired = true\n"
}

/// Files that only a folder can have: links that lead outside, a folder, and an hour of speech that takes no room.
fn lay_out(media: &Path) {
    std::os::unix::fs::symlink("/etc/passwd", media.join("link.wav")).unwrap();
    std::os::unix::fs::symlink("/etc", media.join("link")).unwrap();
    std::fs::create_dir(media.join("folder")).unwrap();
    std::fs::write(media.join("hour.wav"), wav(8_000, 3_600 * 8_000, &clicks(8_000, 1))).unwrap();
    let hour = std::fs::OpenOptions::new().write(true).open(media.join("hour.wav")).unwrap();
    hour.set_len(44 + 3_600 * 8_000 * 2).unwrap();
}

#[test]
fn bad_input_gets_its_answer_and_a_session_beside_it_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let listed: Vec<_> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let rig = whole::serve(&settings(folder.path()), &listed);
    lay_out(&rig.folder().join("data/media"));
    std::fs::write(rig.folder().join("data/media/long.wav"), clips::tone(600)).unwrap();

    let arguments = ["--session", "beside", "--seconds", "600", "--start", "audio_path=long.wav"];
    std::thread::scope(|scope| {
        let _stop = StopBeside(&rig);
        let beside = scope.spawn(|| whole::watch(Client::Aiortc, &rig, &arguments));
        until(|| get(&rig, "/v1/sessions/beside").json()["viewers"] == 1);

        backends_that_cannot_be_opened_say_why(&rig);
        for case in cases() {
            let reply = request(&rig, case.method, &case.path, case.kind, &case.body);
            let what = format!("{} {} {}", case.method, case.path, String::from_utf8_lossy(&case.body));
            assert_eq!(case.answer.differs(&reply), None, "{what}: {reply:?}");
            let inside = [rig.folder(), folder.path()].map(|folder| folder.to_str().unwrap());
            assert!(!inside.iter().any(|folder| reply.body.contains(folder)), "{what}: {reply:?}");
            let other = get(&rig, "/api/webrtc/status/other");
            assert_eq!(other.json(), json!({ "exists": false }), "{what}: nothing is left behind");
        }
        assert_eq!(get(&rig, "/v1/avatars/new").status, 404, "nothing is left of it");
        an_upload_that_is_no_video_fails_as_a_job(&rig);
        unusual_videos_are_prepared(&rig);
        unusual_speech_is_heard_as_long_as_it_is(&rig);
        damaged_avatars_are_mended_or_named(&rig);

        let stopped = post(&rig, "/api/webrtc/realtime/stop?session_id=beside", "");
        assert_eq!(stopped.status, 200, "it ran all the time: {stopped:?}");
        let report = beside.join().unwrap();
        let id = |name: &str| report["ids"][name].as_i64().unwrap_or_else(|| panic!("no {name} in {report}"));
        for wrong in ["missed", "repeated", "backwards", "without"] {
            assert_eq!(id(wrong), 0, "{wrong}: {report}");
        }
        assert_eq!(id("read"), id("last") - id("first") + 1, "{report}");
        println!("{} frames beside", id("read"));
    });
    assert!(!rig.log().contains("panicked"), "{}", rig.log());
}

/// Ends the session beside the cases, also when one of them fails.
struct StopBeside<'a>(&'a Rig);

impl Drop for StopBeside<'_> {
    fn drop(&mut self) {
        post(self.0, "/api/webrtc/realtime/stop?session_id=beside", "");
    }
}

fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..1_200 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("a minute was not enough");
}

fn backends_that_cannot_be_opened_say_why(rig: &Rig) {
    let ready = get(rig, "/ready");
    let json = ready.json();
    assert_eq!((ready.status, &json["serving"]), (200, &json!("probe")), "{ready:?}");
    for (backend, (name, words)) in json["backends"].as_array().unwrap().iter().zip(REFUSED) {
        assert_eq!((&backend["name"], &backend["state"]), (&json!(name), &json!("failed")), "{ready:?}");
        let detail = backend["detail"].as_str().unwrap();
        assert!(detail.contains(words) && !detail.contains('\n'), "{name}: {detail}");
    }
}

fn an_upload_that_is_no_video_fails_as_a_job(rig: &Rig) {
    let form = whole::form("file", "../../film.mp4", b"This is no film, and never was.\n");
    let accepted = request(rig, "POST", "/v1/avatars/uploaded/source", whole::FORM, &form);
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let job = format!("/v1/jobs/{}", accepted.json()["job"].as_str().unwrap());
    until(|| get(rig, &job).json()["state"] != "running");
    let over = get(rig, &job).json();
    assert_eq!(over["state"], "failed", "{over}");
    let detail = over["detail"].as_str().unwrap();
    assert!(detail.contains("film.mp4 is not a video") && !detail.contains('/'), "{detail}");
}

fn unusual_videos_are_prepared(rig: &Rig) {
    whole::prepare(rig, "odd", "odd.mkv");
    let odd = get(rig, "/v1/avatars/odd").json();
    assert_eq!((&odd["width"], &odd["height"], &odd["frame_count"]), (&json!(380), &json!(476), &json!(5)));
    whole::prepare(rig, "huge", "huge.mp4");
    let huge = get(rig, "/v1/avatars/huge").json();
    assert_eq!((&huge["width"], &huge["height"]), (&json!(1920), &json!(1080)), "8K is scaled down: {huge}");
    whole::prepare(rig, "sometimes", "sometimes.mp4");
    let sometimes = get(rig, "/v1/avatars/sometimes").json();
    assert_eq!(sometimes["notes"], json!(["No face was seen in 4 of 12 frames."]), "{sometimes}");
}

fn unusual_speech_is_heard_as_long_as_it_is(rig: &Rig) {
    let media = rig.folder().join("data/media");
    std::fs::write(media.join("narrow.wav"), wav(8_000, 4 * 8_000, &clicks(8_000, 1))).unwrap();
    let six: Vec<u8> = clicks(192_000, 6).into_iter().flat_map(i16::to_le_bytes).collect();
    clips::ffmpeg("-f s16le -ar 192000 -ac 6 -i pipe:0", &media.join("wide.wav"), &six);
    for (name, whole_length) in [("narrow", true), ("wide", true), ("hour", false)] {
        let start = format!("audio_path={name}.wav");
        let report =
            whole::watch(Client::Aiortc, rig, &["--session", name, "--seconds", "6", "--start", &start]);
        let gaps: Vec<f64> =
            report["between_clicks"].as_array().unwrap().iter().map(|gap| gap.as_f64().unwrap()).collect();
        assert!(gaps.len() == 2 && gaps.iter().all(|gap| (gap - 1.0).abs() < 0.002), "{name}: {report}");
        // Four seconds, and up to a second in which the backend is asked how the mouth comes to rest.
        let read = report["ids"]["read"].as_i64().unwrap();
        let expected = if whole_length { 100..=126 } else { 127..=200 };
        assert!(expected.contains(&read), "{name}: {report}");
        assert_eq!(post(rig, &format!("/api/webrtc/realtime/stop?session_id={name}"), "").status, 200);
    }
}

fn damaged_avatars_are_mended_or_named(rig: &Rig) {
    let avatar = rig.folder().join("data/avatars/odd");
    let frames = avatar.join("frames.i420");
    let whole = std::fs::metadata(&frames).unwrap().len();
    let cut = || std::fs::OpenOptions::new().write(true).open(&frames).unwrap().set_len(whole / 2).unwrap();
    let start = "/api/webrtc/realtime/start?session_id=damaged&avatar_id=odd&audio_path=";
    cut();
    assert_eq!(post(rig, start, "").status, 200);
    assert_eq!(std::fs::metadata(&frames).unwrap().len(), whole, "it was made again");
    assert_eq!(post(rig, "/api/webrtc/realtime/stop?session_id=damaged", "").status, 200);
    // Without what it was made of, nothing can be done.
    cut();
    std::fs::remove_dir_all(avatar.join("source")).unwrap();
    let reply = post(rig, start, "");
    assert_eq!(Seed(400, "prepared again").differs(&reply), None, "{reply:?}");
    std::fs::write(avatar.join("manifest.json"), "{").unwrap();
    let reply = post(rig, start, "");
    assert_eq!(Seed(400, "odd").differs(&reply), None, "{reply:?}");
}
