//! The store as its users see it: prepared, reloaded, damaged, repaired, cut off, misused.

mod crash;
mod damage;
mod input;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use lipcast_codecs::I420;
use tempfile::TempDir;

use super::builtin::Builtin;
use super::*;
use crate::face::{DEFAULT_MODEL, FaceBox};

/// A folder that disappears with the test.
fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn id(text: &str) -> AvatarId {
    AvatarId::parse(text).expect("a good id")
}

/// Writes one image.
fn write_image(path: &Path, width: usize, height: usize, rgb: &[u8]) {
    image::save_buffer(path, rgb, width as u32, height as u32, image::ExtendedColorType::Rgb8)
        .expect("an image");
}

/// Frames of the built-in portrait as images: a drawn face that the detector finds.
/// Where `shown` says false, the frame is grey.
fn portrait(folder: &Path, shown: &[bool]) -> PathBuf {
    let folder = folder.join("portrait");
    fs::create_dir_all(&folder).unwrap();
    let (mut artist, mut rgb) = (Builtin::new(), Vec::new());
    for (index, &face) in shown.iter().enumerate() {
        artist.render(index * 3, &mut rgb);
        if !face {
            rgb.fill(128);
        }
        write_image(&folder.join(format!("{index}.bmp")), Builtin::WIDTH, Builtin::HEIGHT, &rgb);
    }
    folder
}

/// Small pictures without a face, for tests that are not about faces; `tint` makes them differ.
fn pictures(folder: &Path, count: usize, tint: u8) -> PathBuf {
    let folder = folder.join(format!("pictures-{tint}"));
    fs::create_dir_all(&folder).unwrap();
    for index in 0..count {
        let rgb: Vec<u8> = (0..64 * 48 * 3).map(|at| (at / 7 + index * 40) as u8 ^ tint).collect();
        write_image(&folder.join(format!("{index}.bmp")), 64, 48, &rgb);
    }
    folder
}

/// A box by hand needs neither a face nor the landmark model.
const BY_HAND: FaceBox = [10.0, 8.0, 50.0, 44.0];

fn by_hand() -> PrepareOptions {
    PrepareOptions { face_box: Some(BY_HAND), ..PrepareOptions::default() }
}

/// A store that never loads the 100 MB landmark model.
fn quick_store(root: &Path) -> AvatarStore {
    without_model(AvatarStore::open(root).expect("a store"))
}

fn without_model(store: AvatarStore) -> AvatarStore {
    store.with_landmark_model(Some(PathBuf::from("/nonexistent/landmarks.dat")))
}

/// Tests that need the real model say so, instead of passing without it.
fn require_landmark_model() {
    assert!(
        Path::new(DEFAULT_MODEL).is_file(),
        "this test needs {DEFAULT_MODEL}: install the package libdlib-data (apt-get install libdlib-data)"
    );
}

fn pixels(avatar: &Avatar) -> Vec<u8> {
    let (width, height) = avatar.size();
    let mut all = Vec::new();
    for index in 0..avatar.frame_count() {
        let mut picture = I420::black(width, height).unwrap();
        avatar.read_frame(index, &mut picture).unwrap();
        all.extend_from_slice(picture.data());
    }
    all
}

/// Names in the store's folder, hidden ones included.
fn names(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_portrait_survives_a_restart() {
    require_landmark_model();
    let folder = scratch();
    let root = folder.path().join("avatars");
    let store = AvatarStore::open(&root).unwrap();
    let job = Job::new();
    let source = PrepareSource::File(portrait(folder.path(), &[true; 5]));
    let (avatar, mut kept) =
        store.prepare_with_frames(&id("anna"), source, &PrepareOptions::default(), &job).unwrap();

    assert_eq!(job.progress(), Progress { stage: Stage::Done, permille: 1000 });
    assert_eq!(avatar.size(), (Builtin::WIDTH, Builtin::HEIGHT));
    assert_eq!(avatar.frame_count(), 5);
    assert_eq!(avatar.playback_index(6), 2, "ping-pong");
    assert_eq!(avatar.report().frames_with_face, 5);
    assert_eq!(avatar.report().issues, []);
    assert_eq!(&avatar.poster().unwrap()[..3], [0xff, 0xd8, 0xff]);
    let (mut artist, mut rgb) = (Builtin::new(), Vec::new());
    for index in 0..5 {
        let drawn = artist.render(index * 3, &mut rgb);
        let found = avatar.face(index).expect("the portrait's face");
        let apart: f32 =
            drawn.landmarks.iter().zip(&found.landmarks).map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1])).sum();
        assert!(apart / 68.0 < 0.04 * drawn.box_width(), "landmarks are {} px off", apart / 68.0);
        assert!(found.confidence > 0.5);
    }

    let mut source = avatar.open_source().unwrap();
    artist.render(9, &mut rgb);
    let mut again = Vec::new();
    source.frame(3, &mut again).unwrap();
    assert!(again == rgb, "frame 3 of the source, exactly");
    source.frame(0, &mut again).unwrap();
    artist.render(0, &mut rgb);
    assert!(again == rgb, "and back to frame 0");
    assert!(source.frame(5, &mut again).is_err());
    assert_eq!((kept.frame_count(), kept.size()), (source.frame_count(), source.size()));
    for index in [4, 0, 2] {
        source.frame(index, &mut again).unwrap();
        kept.frame(index, &mut rgb).unwrap();
        assert!(again == rgb, "frame {index} as it was kept from preparing");
    }
    assert!(kept.frame(5, &mut again).is_err());

    let reopened = AvatarStore::open(&root).unwrap();
    assert_eq!(reopened.ids().unwrap(), [id("anna")]);
    let loaded = reopened.avatar(&id("anna")).unwrap();
    assert_eq!(loaded.faces(), avatar.faces());
    assert!(pixels(&loaded) == pixels(&avatar));
    assert!(Arc::ptr_eq(&loaded, &reopened.avatar(&id("anna")).unwrap()), "loaded once");
    reopened.verify(&id("anna")).unwrap();
}

#[test]
fn the_built_in_avatar_needs_no_file() {
    let folder = scratch();
    let store = quick_store(folder.path());
    let options = PrepareOptions { max_frames: 3, ..PrepareOptions::default() };
    let avatar = store.prepare(&id(builtin::ID), PrepareSource::Builtin, &options, &Job::new()).unwrap();
    assert_eq!(avatar.frame_count(), 3);
    assert!(avatar.report().truncated);
    assert_eq!(avatar.manifest().loop_mode, LoopMode::Loop);
    let (mut artist, mut rgb, mut again) = (Builtin::new(), Vec::new(), Vec::new());
    assert_eq!(avatar.face(2), Some(&artist.render(2, &mut rgb)));
    avatar.open_source().unwrap().frame(2, &mut again).unwrap();
    assert!(again == rgb);
}

#[test]
fn blobs_are_kept_per_backend_and_version() {
    let folder = scratch();
    let store = quick_store(&folder.path().join("avatars"));
    let source = PrepareSource::File(pictures(folder.path(), 2, 0));
    let avatar = store.prepare(&id("a"), source.clone(), &by_hand(), &Job::new()).unwrap();
    assert!(avatar.blob("demo", 1).unwrap().is_none());
    avatar.write_blob("demo", 1, b"one").unwrap();
    avatar.write_blob("demo", 2, b"").unwrap();
    avatar.write_blob("other", 1, b"three").unwrap();
    avatar.write_blob("demo", 1, b"replaced").unwrap();
    drop(avatar.blob_writer("demo", 1).unwrap());

    let reopened = quick_store(&folder.path().join("avatars"));
    let loaded = reopened.avatar(&id("a")).unwrap();
    assert_eq!(&*loaded.blob("demo", 1).unwrap().unwrap(), b"replaced");
    assert_eq!(&*loaded.blob("demo", 2).unwrap().unwrap(), b"");
    assert_eq!(&*loaded.blob("other", 1).unwrap().unwrap(), b"three");
    assert!(matches!(loaded.blob("../demo", 1), Err(AvatarError::BlobName(_))));

    store.prepare(&id("a"), source, &by_hand(), &Job::new()).unwrap();
    assert!(store.avatar(&id("a")).unwrap().blob("demo", 1).unwrap().is_none(), "prepared anew");
}

#[test]
fn an_old_handle_cannot_write_into_a_new_avatar() {
    let folder = scratch();
    let store = quick_store(&folder.path().join("avatars"));
    let prepare = |tint| {
        let source = PrepareSource::File(pictures(folder.path(), 2, tint));
        store.prepare(&id("a"), source, &by_hand(), &Job::new()).unwrap()
    };
    let old = prepare(0);
    let before = pixels(&old);
    let new = prepare(255);
    assert!(pixels(&new) != before);
    assert!(pixels(&old) == before, "sessions keep what they show");
    assert!(matches!(old.write_blob("demo", 1, b"stale"), Err(AvatarError::Replaced(_))));
    assert!(new.blob("demo", 1).unwrap().is_none());
    assert!(Arc::ptr_eq(&new, &store.avatar(&id("a")).unwrap()));
}

#[test]
fn deleting_leaves_running_sessions_alone() {
    let folder = scratch();
    let store = quick_store(&folder.path().join("avatars"));
    let source = PrepareSource::File(pictures(folder.path(), 3, 0));
    let avatar = store.prepare(&id("a"), source, &by_hand(), &Job::new()).unwrap();
    let before = pixels(&avatar);
    store.delete(&id("a")).unwrap();
    assert!(pixels(&avatar) == before);
    assert!(matches!(avatar.blob("demo", 1), Err(AvatarError::Replaced(_))));
    assert!(matches!(store.avatar(&id("a")), Err(AvatarError::Unknown(_))));
    assert!(matches!(store.delete(&id("a")), Err(AvatarError::Unknown(_))));
    assert_eq!(names(store.root()), [""; 0]);
}

#[test]
fn another_process_sees_and_changes_the_same_store() {
    let folder = scratch();
    let (here, there) = (quick_store(&folder.path().join("a")), quick_store(&folder.path().join("a")));
    let source = |tint| PrepareSource::File(pictures(folder.path(), 2, tint));
    let first = here.prepare(&id("x"), source(0), &by_hand(), &Job::new()).unwrap();
    assert!(pixels(&there.avatar(&id("x")).unwrap()) == pixels(&first));
    let second = there.prepare(&id("x"), source(9), &by_hand(), &Job::new()).unwrap();
    assert!(pixels(&here.avatar(&id("x")).unwrap()) == pixels(&second), "reloaded");
}

#[test]
fn a_second_preparation_is_refused_and_a_cancelled_one_leaves_nothing() {
    let folder = scratch();
    let store = quick_store(&folder.path().join("avatars"));
    let job = Job::new();
    let refused = thread::scope(|scope| {
        let watcher = job.clone();
        let (store_ref, source) = (&store, PrepareSource::Builtin);
        let worker =
            scope.spawn(move || store_ref.prepare(&id("a"), source, &PrepareOptions::default(), &job));
        while watcher.progress().stage < Stage::Frames {
            thread::yield_now();
        }
        let refused = store.prepare(&id("a"), PrepareSource::Builtin, &by_hand(), &Job::new());
        let deleted = store.delete(&id("a"));
        watcher.cancel();
        assert!(matches!(worker.join().unwrap(), Err(AvatarError::Cancelled)));
        assert_eq!(watcher.progress().stage, Stage::Done);
        assert!(watcher.progress().permille < 1000);
        assert!(matches!(deleted, Err(AvatarError::Busy(_))));
        refused
    });
    assert!(refused.unwrap_err().to_string().contains("being prepared already"));
    assert_eq!(names(store.root()), [""; 0]);
}
