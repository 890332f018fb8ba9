//! Row 16: what is kept of an avatar, damaged.

use std::fs;
use std::path::{Path, PathBuf};

use lipcast_engine::avatar::{AvatarId, AvatarStore};
use lipcast_server::bench::rig::Rig;
use rustix::process::Signal;
use serde_json::Value;

use crate::row::Row;
use crate::scene::{
    CHAOS, Seeded, assert_alive, assert_flawless, assert_survived, chaos_before_probe, drawn_by, serve_by,
    signal, turns, until, watch_as,
};
use crate::store::{face, prepare};
use crate::whole::{self, get, post, program, request};

/// Mutants of a blob: what is done to the file, and what is written with a checksum that fits.
const MUTANTS: usize = 45;

/// What is kept of the avatar `face`.
struct Kept {
    store: PathBuf,
    folder: PathBuf,
    /// The chaos backend's blob, and the probe's.
    blob: PathBuf,
    other: Vec<u8>,
    good: Vec<u8>,
}

impl Kept {
    fn of(rig: &Rig) -> Self {
        let store = rig.folder().join("data/avatars");
        let folder = store.join("face");
        let blob_of = |backend: &str| {
            let named = |path: &PathBuf| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                name.starts_with(&format!("lipcast.{backend}-")) && name.ends_with(".bin")
            };
            let all = fs::read_dir(folder.join("blobs")).ok()?.flatten().map(|entry| entry.path());
            all.into_iter().find(named)
        };
        // The second one is made in the background.
        until("both backends have a blob", || ["chaos", "probe"].iter().all(|name| blob_of(name).is_some()));
        let (blob, other) = (blob_of("chaos").unwrap(), blob_of("probe").unwrap());
        let (good, other) = (fs::read(&blob).unwrap(), fs::read(other).unwrap());
        Self { store, folder, blob, other, good }
    }

    /// Damages the blob; in words how, and the bytes that are to be set aside, if any are.
    fn damage(&self, mutant: usize, random: &mut Seeded) -> (&'static str, Option<Vec<u8>>) {
        let mut bytes = self.good.clone();
        let place = random.below(bytes.len());
        let how = match mutant % 9 {
            0 | 1 => {
                bytes[place] ^= 1 << random.below(8);
                "a bit of it is another"
            }
            2 | 3 => {
                bytes.truncate(place);
                "it is cut short"
            }
            4 => {
                bytes.clear();
                "it is empty"
            }
            5 => {
                bytes.clone_from(&self.other);
                "it is another backend's"
            }
            6 => {
                let version = self.blob.with_file_name("lipcast.chaos-77.bin");
                fs::rename(&self.blob, version).unwrap();
                return ("it is of another version", None);
            }
            // These with a checksum that fits: what wrote them was wrong, not the disk. The first has no name of a backend,
            // the second is one of an avatar that is four pixels wider.
            7 if mutant.is_multiple_of(2) => {
                bytes[0] ^= 0x55;
                self.write(&bytes);
                return ("it was written wrong", None);
            }
            7 => {
                bytes[8] ^= 4;
                self.write(&bytes);
                return ("it was written for another avatar", None);
            }
            _ => {
                self.write(&self.other);
                return ("it was written by another backend", None);
            }
        };
        fs::write(&self.blob, &bytes).unwrap();
        (how, Some(bytes))
    }

    fn write(&self, bytes: &[u8]) {
        let avatar = AvatarStore::open(&self.store).unwrap().avatar(&face_id()).unwrap();
        let name = self.blob.file_stem().unwrap().to_string_lossy().into_owned();
        let (backend, version) = name.rsplit_once('-').unwrap();
        avatar.write_blob(backend, version.parse().unwrap(), bytes).unwrap();
    }

    fn is_whole(&self) -> bool {
        fs::read(&self.blob).is_ok_and(|bytes| bytes == self.good)
    }
}

fn face_id() -> AvatarId {
    "face".parse().unwrap()
}

/// Starts a session of the avatar and stops it; the backend that took it.
fn backend_of_a_session(rig: &Rig, session: &str) -> String {
    let path = format!("/api/webrtc/realtime/start?session_id={session}&avatar_id=face&audio_path=tone.wav");
    let started = post(rig, &path, "");
    assert_eq!(started.status, 200, "{started:?}: {}", rig.log());
    let backend = started.json()["backend"].as_str().unwrap_or_default().to_owned();
    assert_eq!(request(rig, "DELETE", &format!("/v1/sessions/{session}"), "", b"").status, 204);
    backend
}

/// The chaos backend anew, in which nothing is loaded.
fn forget(rig: &Rig) {
    let reloaded = post(rig, "/v1/backends/chaos/reload", "");
    assert_eq!(reloaded.status, 200, "{reloaded:?}: {}", rig.log());
}

#[test]
fn row_16_damaged_blobs() {
    let mut row = Row::begin(
        "45 mutants of a backend's blob: bits, cuts, nothing, another backend's, another version's, with a checksum \
         that fits and without; then of the avatar's own files",
        "the damaged file is set aside and made again; another backend draws meanwhile; nothing crashes",
    );
    let folder = tempfile::tempdir().unwrap();
    let slow = folder.path().join("slow");
    let fault =
        format!("{{ in = \"prepare_avatar\", do = \"hang\", ms = 1500, if_file = \"{}\" }}", slow.display());
    let clip = face(folder.path());
    let mut rig = serve_by(program(), &chaos_before_probe(&fault), &[("face.mp4", &clip)]);
    assert_eq!(prepare(&rig, "face")["status"], "success", "{}", rig.log());
    let kept = Kept::of(&rig);
    let mut random = Seeded(16);
    let (mut by_another, begun) = (0, std::time::Instant::now());
    for mutant in 0..MUTANTS {
        let (how, aside) = kept.damage(mutant, &mut random);
        forget(&rig);
        let first = backend_of_a_session(&rig, &format!("first-{mutant}"));
        by_another += u32::from(first != "chaos");
        until(&format!("{how}, and is made again"), || kept.is_whole());
        until("the backend takes sessions again", || backend_of_a_session(&rig, "again") == "chaos");
        if let Some(damaged) = aside {
            let bad = kept.blob.with_added_extension("bad");
            assert_eq!(fs::read(bad).unwrap(), damaged, "{how}: it was set aside");
        }
    }
    row.measured("mutants", MUTANTS);
    row.measured("a_mutant_ms", begun.elapsed().as_millis() as u64 / MUTANTS as u64);
    row.measured("sessions_begun_by_another", by_another);
    assert_alive(&mut rig);

    // What a viewer sees while it is made again, and then of one that is whole.
    fs::write(&slow, "").unwrap();
    fs::write(&kept.blob, "").unwrap();
    forget(&rig);
    let report = watch_as(&rig, "damaged", 9, Some("avatar_id=face&audio_path=tone.wav"));
    assert_survived(&report, 0);
    assert_eq!(turns(&report), [0, 1], "{report}");
    row.measured("drawn_by_another", drawn_by(&report, Some(0)));
    assert_flawless(&watch_as(&rig, "whole", 4, Some("avatar_id=face&audio_path=tone.wav")), CHAOS);
    assert_alive(&mut rig);

    // The avatar itself is looked at when a server opens it.
    for file in ["manifest.json", "frames.i420"] {
        signal(rig.process_id(), Signal::TERM);
        rig.wait().unwrap();
        cut(&kept.folder.join(file));
        rig.restart(program()).unwrap();
        until("the backends are there", || crate::scene::backend(&rig, "chaos")["state"] == "ready");
        let backend = backend_of_a_session(&rig, "rebuilt");
        assert!(["chaos", "probe"].contains(&backend.as_str()), "{backend}");
        AvatarStore::open(&kept.store).unwrap().verify(&face_id()).unwrap();
    }
    assert_alive(&mut rig);
    row.open(
        "a bit of the avatar's own frames that has turned is found when the avatar is verified, not when it is opened, \
         which takes milliseconds however long the clip is; until then it is a speck in a picture",
    );
}

/// Begins to prepare the avatar; the path of the job.
fn upload(rig: &Rig, clip: &[u8]) -> String {
    let body = whole::form("file", "face.mp4", clip);
    let accepted = request(rig, "POST", "/v1/avatars/face/source", whole::FORM, &body);
    assert_eq!(accepted.status, 202, "{accepted:?}");
    format!("/v1/jobs/{}", accepted.json()["job"].as_str().unwrap())
}

/// What became of a job.
fn over(rig: &Rig, job: &str) -> Value {
    until("it is over", || get(rig, job).json()["state"] != "running");
    get(rig, job).json()
}

#[test]
fn row_16_a_reload_while_it_prepares() {
    let mut row = Row::begin(
        "while a backend prepares an avatar it is reloaded, then the avatar is deleted; another cannot show it at all",
        "the one in its place prepares it; what was deleted is cancelled; a job that succeeds tells who cannot show it",
    );
    let folder = tempfile::tempdir().unwrap();
    let slow = folder.path().join("slow");
    let fault =
        format!("{{ in = \"prepare_avatar\", do = \"hang\", ms = 4000, if_file = \"{}\" }}", slow.display());
    let clip = face(folder.path());
    let mut rig = serve_by(program(), &chaos_before_probe(&fault), &[]);
    fs::write(&slow, "").unwrap();
    let job = upload(&rig, &clip);
    until("it prepares", || !slow.exists());
    forget(&rig);
    let prepared = over(&rig, &job);
    assert_eq!((&prepared["state"], &prepared["detail"]), (&"succeeded".into(), &Value::Null), "{prepared}");
    Kept::of(&rig);
    assert_eq!(backend_of_a_session(&rig, "after"), "chaos");

    fs::write(&slow, "").unwrap();
    let job = upload(&rig, &clip);
    until("it prepares", || !slow.exists());
    assert_eq!(request(&rig, "DELETE", "/v1/avatars/face", "", b"").status, 204);
    let deleted = over(&rig, &job);
    assert_eq!(deleted["state"], "cancelled", "{deleted}");
    assert_alive(&mut rig);

    let fails = "{ in = \"prepare_avatar\", do = \"fail\", message = \"no room\" }";
    let rig = serve_by(program(), &chaos_before_probe(fails), &[]);
    let job = upload(&rig, &clip);
    let record = over(&rig, &job);
    assert_eq!(record["state"], "succeeded", "{record}");
    let detail = record["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("cannot be shown on chaos") && detail.contains("no room"), "{record}");
    row.measured("told", detail);
}

fn cut(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(file, bytes).unwrap();
}
