//! The smallest backend, opened as a shared library through the Rust door.
#![cfg(feature = "loader")]

mod common;

use std::sync::Arc;

use common::{Listener, avatar, example, session};
use lipcast_plugins_api::loader::{FrameRequest, NoProgress, Plugin, Slot};
use lipcast_plugins_api::serde_json::Value;
use lipcast_plugins_api::types::{Code, Rect};

#[test]
fn the_minimal_example_runs_from_prepare_to_picture() {
    let plugin = Plugin::open(&example("minimal")).unwrap();
    assert_eq!(plugin.descriptor().id, "org.example.minimal");
    assert_eq!(plugin.descriptor().capabilities.max_batch, 16);

    let host = Arc::new(Listener::default());
    let instance = plugin.create(host.clone(), &Value::Null, &NoProgress).unwrap();
    assert_eq!(*host.lines.lock().unwrap(), ["Info minimal: ready"]);

    let avatar = avatar(&instance, 3);
    assert_eq!((avatar.info().canvas, avatar.info().frame_count), ((64, 48), 3));
    assert_eq!(avatar.frame_mask(0).unwrap().rect, Rect::new(24, 24, 16, 16));
    assert!(avatar.frame_mask(2).unwrap().rect.is_empty(), "no face, so nothing is painted");
    assert_eq!(avatar.frame_mask(3).unwrap_err().code, Code::NotFound);

    let mut inferer = instance.inferer().unwrap();
    let mut session = session(&inferer, &avatar);
    session.push_audio(640, &[0.5; 640], true).unwrap();
    let (mut loud, mut quiet) = (Slot::new(avatar.slot_len()), Slot::new(avatar.slot_len()));
    let mut batch =
        [FrameRequest::new(&session, 1, 0, &mut loud), FrameRequest::new(&session, 2, 1, &mut quiet)];
    inferer.infer_batch(&mut batch);
    let [first, second] = batch.map(|request| request.result.unwrap());
    assert!(first.picture(&loud).iter().all(|byte| *byte == 127) && !first.at_rest);
    assert!(second.picture(&quiet).iter().all(|byte| *byte == 0) && second.at_rest);
}

#[test]
fn two_copies_of_one_library_are_two_plugins() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.so");
    std::fs::copy(example("minimal"), &copy).unwrap();
    let (first, second) = (Plugin::open(&example("minimal")).unwrap(), Plugin::open(&copy).unwrap());
    assert_ne!(first.origin(), second.origin());
    assert_eq!(first.descriptor(), second.descriptor());
}

#[test]
fn a_damaged_blob_is_refused_by_its_backend() {
    let plugin = Plugin::open(&example("minimal")).unwrap();
    let instance = plugin.create(Arc::new(Listener::default()), &Value::Null, &NoProgress).unwrap();
    for blob in [&b""[..], &[1; 15], &[255; 32]] {
        assert_eq!(instance.load_avatar(blob).err().unwrap().code, Code::BlobIncompatible);
    }
}
