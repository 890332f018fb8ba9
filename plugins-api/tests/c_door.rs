//! A plugin in C, strictly compiled as C11 and as C++17, loaded and run; and versions that meet.
#![cfg(feature = "loader")]

#[path = "common/c_plugin.rs"]
mod c_plugin;
mod common;

use std::sync::Arc;

use c_plugin::{COMPILERS, compile};
use common::{Listener, avatar, session};
use lipcast_plugins_api::abi;
use lipcast_plugins_api::loader::{FrameRequest, NoProgress, Plugin, Slot};
use lipcast_plugins_api::serde_json::{Value, json};
use lipcast_plugins_api::types::{Alpha, Code, HealthState, IdleBy, PixelFormat, Rect};

#[test]
fn a_frameless_canvas_in_c_and_cpp_runs_from_prepare_to_idle() {
    for compiler in COMPILERS {
        let folder = tempfile::tempdir().unwrap();
        let plugin = Plugin::open(&compile(folder.path(), compiler, &[])).unwrap();
        assert_eq!(plugin.descriptor().id, "org.example.minimal-c");
        assert_eq!(plugin.descriptor().capabilities.max_batch, 4);

        let host = Arc::new(Listener::default());
        let instance = plugin.create(host.clone(), &Value::Null, &NoProgress).unwrap();
        assert_eq!(*host.lines.lock().unwrap(), ["Info minimal-c: ready"]);
        assert_eq!(instance.describe().unwrap(), json!({"device": "cpu"}));
        assert_eq!(instance.health().state, HealthState::Ok);
        assert_eq!(instance.load_avatar(b"what").err().unwrap().code, Code::BlobIncompatible);

        let avatar = avatar(&instance, 3);
        assert_eq!((avatar.info().frame_count, avatar.info().idle), (0, IdleBy::Backend));
        let mut inferer = instance.inferer().unwrap();
        let mut session = session(&inferer, &avatar);
        session.push_audio(0, &[-0.5; 640], true).unwrap();
        assert_eq!(session.push_audio(3, &[0.0], true).unwrap_err().code, Code::InvalidArg);

        let (mut loud, mut quiet) = (Slot::new(avatar.slot_len()), Slot::new(avatar.slot_len()));
        let mut batch =
            [FrameRequest::new(&session, 0, 0, &mut loud), FrameRequest::new(&session, 1, 0, &mut quiet)];
        batch[0].first = true;
        inferer.infer_batch(&mut batch);
        let [first, second] = batch.map(|request| request.result.unwrap());
        assert_eq!(
            (first.rect, first.format, first.alpha),
            (Rect::new(0, 0, 64, 48), PixelFormat::Rgba, Alpha::Inline)
        );
        assert!(first.picture(&loud).iter().all(|byte| *byte == 127));
        assert!(second.unchanged && second.at_rest);
    }
}

#[test]
fn an_older_minor_loads_and_lacks_only_what_came_later() {
    let folder = tempfile::tempdir().unwrap();
    let fingerprint = format!("-DVARIANT_FINGERPRINT=UINT64_C({:#x})", abi::fingerprint(8));
    let size = "-DVARIANT_TABLE_SIZE=offsetof(lipcast_backend,stats)";
    let library = compile(folder.path(), COMPILERS[0], &["-DVARIANT_MINOR=8", &fingerprint, size]);
    let plugin = Plugin::open(&library).unwrap();
    assert_eq!(plugin.api_version(), (0, 8));
    let instance = plugin.create(Arc::new(Listener::default()), &Value::Null, &NoProgress).unwrap();
    assert_eq!(instance.stats().unwrap(), None);
    assert!(!instance.has_extension(abi::EXTENSION_CONTROL));
    assert_eq!(avatar(&instance, 1).info().canvas, (64, 48));
}

#[test]
fn a_newer_minor_loads_and_its_longer_table_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let macros = [
        "-DVARIANT_MINOR=10",
        "-DVARIANT_FINGERPRINT=UINT64_C(1)",
        "-DVARIANT_TABLE_SIZE=sizeof(longer_table)",
    ];
    let plugin = Plugin::open(&compile(folder.path(), COMPILERS[0], &macros)).unwrap();
    assert_eq!(plugin.api_version(), (0, 10));
    let instance = plugin.create(Arc::new(Listener::default()), &Value::Null, &NoProgress).unwrap();
    assert_eq!(instance.stats().unwrap(), Some(json!({"device": "cpu"})));
}
