//! Rows 17 and 18: what avatars are kept in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lipcast_engine::avatar::{AvatarId, AvatarStore};
use lipcast_server::bench::rig::Rig;
use rustix::process::Signal;

use crate::row::Row;
use crate::scene::{
    CHAOS, PROBE, assert_alive, assert_control, assert_flawless, assert_survived, chaos_before_probe, ms,
    restarts, serve_by, settings, signal, turns, until, watch_as, wrapped,
};
use crate::session::{AT_A_LOSS, once, record};
use crate::whole::clips::{self, Portrait};
use crate::whole::{post, program};

/// A dozen frames with a face.
pub(crate) fn face(folder: &Path) -> Vec<u8> {
    let (portrait, target) = (Portrait::new(), folder.join("face.mp4"));
    let arguments = format!(
        "{} -vf loop=11:1,fps=25 -r 25 -pix_fmt yuv420p -c:v libx264 -preset ultrafast",
        portrait.input()
    );
    clips::ffmpeg(&arguments, &target, &portrait.rgb);
    fs::read(target).unwrap()
}

fn serve(program: &Path, folder: &Path) -> Rig {
    serve_by(program, &settings("\"probe\"", "", ""), &[("face.mp4", &face(folder))])
}

pub(crate) fn prepare(rig: &Rig, avatar: &str) -> serde_json::Value {
    post(rig, &format!("/api/webrtc/avatar/prepare?avatar_id={avatar}&video_path=face.mp4"), "").json()
}

#[test]
fn row_17_killed_while_it_writes() {
    let mut row = Row::begin_alone(
        "SIGKILL at forty moments of preparing an avatar over an old one",
        "afterwards there is the old avatar or the new one, whole, and nothing is left over; the order of flushing \
         and renaming is proved by the store's own tests, which cut the power at every step",
    );
    let folder = tempfile::tempdir().unwrap();
    let text = "[media]\ndata_dir = \"data\"\n[engine]\nbackends = [\"probe\"]\n\
                [backend.probe]\nlibrary = \"liblipcast_probe.so\"\n";
    fs::write(folder.path().join("config.toml"), text).unwrap();
    face(folder.path());
    let start = || {
        Command::new(program())
            .current_dir(folder.path())
            .args(["avatar", "prepare", "--id", "face", "face.mp4"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let begun = Instant::now();
    assert!(start().wait().unwrap().success());
    let whole = begun.elapsed();
    let id: AvatarId = "face".parse().unwrap();
    let avatars = folder.path().join("data/avatars");
    // Of the probe and of the built-in demo, which is made last: the program waits for it.
    let blobs: Vec<_> = fs::read_dir(avatars.join("face/blobs")).unwrap().flatten().collect();
    let is_finished = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().starts_with(".new-");
    assert!(blobs.len() == 2 && blobs.iter().all(is_finished), "{blobs:?}");
    let (mut cut, mut finished) = (0, 0);
    for moment in 0..40 {
        let mut child = start();
        // Most of them in the last third, where it writes.
        let part = if moment % 4 == 0 {
            0.66 * f64::from(moment) / 40.0
        } else {
            0.6 + 0.5 * f64::from(moment) / 40.0
        };
        std::thread::sleep(whole.mul_f64(part));
        let _ = child.kill();
        match child.wait().unwrap().signal() {
            Some(_) => cut += 1,
            None => finished += 1,
        }
        let store = AvatarStore::open(&avatars).unwrap();
        store.verify(&id).unwrap_or_else(|error| panic!("after a cut at {part:.2}: {error}"));
        let names: Vec<_> =
            fs::read_dir(&avatars).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["face"], "something is left after a cut at {part:.2}");
        if whole * (moment + 1) > Duration::from_secs(15) {
            break;
        }
    }
    row.measured("cut", cut);
    row.measured("finished_before", finished);
    assert!(cut >= 5, "only {cut} were cut");
}

#[test]
fn row_18_the_logs_disk_is_full() {
    let mut row = Row::begin(
        "every line of the server's log fails for want of room, while backends die and sessions run",
        "the lines are lost and nothing else: a session misses no more than at any loss of its backend",
    );
    let folder = tempfile::tempdir().unwrap();
    let full = folder.path().join("lipcast-full");
    let text = format!("#!/bin/sh\nexec {} \"$@\" 2>/dev/full\n", program().display());
    fs::write(&full, text).unwrap();
    fs::set_permissions(&full, fs::Permissions::from_mode(0o755)).unwrap();
    let fault = once(&folder, &["at_frame = 50, do = \"crash\""]);
    let mut rig = serve_by(&full, &chaos_before_probe(&fault), &[]);
    let report = watch_as(&rig, "demo", 9, Some("audio_path=tone.wav"));
    record(&mut row, "watched", &report);
    assert_survived(&report, AT_A_LOSS);
    assert_eq!((turns(&report), restarts(&rig, "chaos")), (vec![1, 0, 1], 1), "{report}");
    assert_eq!(rig.log(), "");
    assert_alive(&mut rig);
    assert_control();
}

#[test]
fn row_18_nobody_reads_the_log() {
    let mut row = Row::begin(
        "the log goes into a pipe that is open and never read, and a backend prints enough to fill it",
        "lines are dropped and nothing else: the session misses nothing, requests are answered, SIGTERM ends the server",
    );
    let folder = tempfile::tempdir().unwrap();
    let deaf = folder.path().join("lipcast-deaf");
    let pipe = folder.path().join("log");
    // The reader opens the pipe and sleeps; it ends by itself.
    let text = format!(
        "#!/bin/sh\nmkfifo {0}\nsleep 40 < {0} &\nexec {1} \"$@\" 2> {0}\n",
        pipe.display(),
        program().display()
    );
    fs::write(&deaf, text).unwrap();
    fs::set_permissions(&deaf, fs::Permissions::from_mode(0o755)).unwrap();
    let fault = "{ in = \"infer_batch\", do = \"print\", lines = 4, bytes = 400, to = \"stderr\" }";
    let mut rig = serve_by(&deaf, &chaos_before_probe(fault), &[]);
    let report = watch_as(&rig, "demo", 9, Some("audio_path=tone.wav"));
    record(&mut row, "watched", &report);
    assert_flawless(&report, CHAOS);
    assert_alive(&mut rig);
    signal(rig.process_id(), Signal::TERM);
    let ended = until("SIGTERM ends it", || rig.ended().is_some());
    row.measured("ended_after_ms", ms(ended));
    assert_eq!(rig.ended().and_then(|status| status.code()), Some(0));
}

#[test]
fn row_18_the_disk_is_full_or_read_only() {
    let mut row = Row::begin(
        "the avatars' disk has one megabyte, then none that can be written",
        "preparing fails and says why; a session that runs misses nothing; avatars prepare again when there is room",
    );
    if !Command::new("unshare").args(["-Urm", "true"]).status().is_ok_and(|status| status.success()) {
        println!("no user namespaces here: the disk cannot be made small");
        row.open("not run: this machine gives no mount namespace");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    let small = r#"
A="$HERE/data/avatars"
mv "$A" "$A.was"
mkdir "$A"
mount -t tmpfs -o size=256m none "$A"
cp -r "$A.was/." "$A"
mount -o remount,size=$(($(du -sk "$A" | cut -f1) + 1024))k "$A"
"#;
    let program = program().display();
    let text = format!("#!/bin/sh\nset -e\nHERE=$(dirname \"$2\")\n{small}\nexec {program} \"$@\"\n");
    fs::write(&inner, text).unwrap();
    let script = wrapped(folder.path(), &format!("exec unshare -Urm sh {} \"$@\";", inner.display()));
    let mut rig = serve(&script, folder.path());
    let remount = |rig: &Rig, options: &str| {
        let avatars = rig.folder().join("data/avatars");
        let pid = rig.process_id().to_string();
        let status = Command::new("nsenter")
            .args(["-t", &pid, "-U", "-m", "--preserve-credentials", "mount", "-o"])
            .arg(format!("remount,{options}"))
            .arg(avatars)
            .status();
        assert!(status.unwrap().success());
    };
    let (report, full, read_only) = std::thread::scope(|scope| {
        let watched = scope.spawn(|| watch_as(&rig, "demo", 10, Some("audio_path=tone.wav")));
        std::thread::sleep(Duration::from_secs(2));
        let full = prepare(&rig, "face");
        remount(&rig, "ro");
        let read_only = prepare(&rig, "face");
        (watched.join().unwrap(), full, read_only)
    });
    for refused in [&full, &read_only] {
        assert_eq!(refused["status"], "failed", "{refused}");
    }
    row.measured("full_says", full["detail"].clone());
    row.measured("read_only_says", read_only["detail"].clone());
    assert!(full["detail"].as_str().unwrap().contains("space"), "{full}");
    assert_flawless(&report, PROBE);
    remount(&rig, "rw,size=256m");
    assert_eq!(prepare(&rig, "face")["status"], "success", "{}", rig.log());
    assert_flawless(&watch_as(&rig, "after", 5, Some("avatar_id=face&audio_path=tone.wav")), PROBE);
    assert_alive(&mut rig);
}
