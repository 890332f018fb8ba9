//! A plugin in C, strictly compiled as C11 and as C++17, loaded and run; and versions that meet.
#![cfg(feature = "loader")]

#[path = "common/c_plugin.rs"]
mod c_plugin;
mod common;

use std::sync::Arc;

use c_plugin::{COMPILERS, compile, compile_template};
use common::{Listener, avatar, params, session};
use lipcast_plugins_api::abi;
use lipcast_plugins_api::loader::{FrameRequest, NoProgress, Plugin, Slot};
use lipcast_plugins_api::serde_json::{Value, json};
use lipcast_plugins_api::types::{
    Alpha, Code, HealthState, IdleBy, PixelFormat, Rect, SessionMode, SessionParams,
};

const SQUARE: Rect = Rect::new(16, 12, 32, 24);

#[test]
fn the_plugin_to_copy_runs_in_c_and_cpp_from_prepare_to_rest() {
    for compiler in COMPILERS {
        let folder = tempfile::tempdir().unwrap();
        let plugin = Plugin::open(&compile_template(folder.path(), compiler)).unwrap();
        assert_eq!(plugin.descriptor().id, "org.example.minimal-c");
        assert_eq!(plugin.descriptor().capabilities.max_batch, 4);

        let host = Arc::new(Listener::default());
        let instance = plugin.create(host.clone(), &Value::Null, &NoProgress).unwrap();
        assert_eq!(*host.lines.lock().unwrap(), ["Info minimal-c: ready"]);
        assert_eq!(instance.describe().unwrap(), json!({"device": "cpu"}));
        assert_eq!(instance.health().state, HealthState::Ok);
        for blob in [&b"what"[..], &[0; 20], &[255; 20]] {
            assert_eq!(instance.load_avatar(blob).err().unwrap().code, Code::BlobIncompatible);
        }

        let avatar = avatar(&instance, 3);
        assert_eq!((avatar.info().frame_count, avatar.info().idle), (3, IdleBy::Host));
        assert_eq!(avatar.frame_mask(2).unwrap().rect, SQUARE);
        let mut inferer = instance.inferer().unwrap();
        let whole = SessionParams { mode: SessionMode::Whole, ..params() };
        assert_eq!(inferer.open_session(&avatar, &whole).err().unwrap().code, Code::Unsupported);
        let mut session = session(&inferer, &avatar);
        session.push_audio(0, &[-0.5; 640], true).unwrap();
        assert_eq!(session.push_audio(3, &[0.0], true).unwrap_err().code, Code::InvalidArg);

        let (mut loud, mut quiet) = (Slot::new(avatar.slot_len()), Slot::new(avatar.slot_len()));
        let mut batch =
            [FrameRequest::new(&session, 0, 0, &mut loud), FrameRequest::new(&session, 1, 1, &mut quiet)];
        batch[0].first = true;
        inferer.infer_batch(&mut batch);
        let [first, second] = batch.map(|request| request.result.unwrap());
        assert_eq!((first.rect, first.format, first.alpha), (SQUARE, PixelFormat::Rgb24, Alpha::Static));
        assert!(first.picture(&loud).iter().all(|byte| *byte == 127) && !first.at_rest);
        assert!(second.picture(&quiet).iter().all(|byte| *byte == 0), "it goes dark when the speech is over");
        assert_eq!((second.at_rest, second.avatar_frame_used), (true, 1));
    }
}

#[test]
fn without_source_frames_there_is_only_avatar_frame_0() {
    let folder = tempfile::tempdir().unwrap();
    for (used, fine) in [(0, true), (1, false), (u32::MAX, false)] {
        let macros = ["-DVARIANT_FRAMELESS", &format!("-DVARIANT_FRAME_USED={used}u")];
        let folder = folder.path().join(used.to_string());
        std::fs::create_dir(&folder).unwrap();
        let plugin = Plugin::open(&compile(&folder, COMPILERS[0], &macros)).unwrap();
        let instance = plugin.create(Arc::new(Listener::default()), &Value::Null, &NoProgress).unwrap();
        let avatar = avatar(&instance, 1);
        assert_eq!((avatar.info().frame_count, avatar.info().idle), (0, IdleBy::Backend));
        let mut inferer = instance.inferer().unwrap();
        let session = session(&inferer, &avatar);
        let mut slot = Slot::new(avatar.slot_len());
        let mut batch = [FrameRequest::new(&session, 0, 0, &mut slot)];
        inferer.infer_batch(&mut batch);
        let [request] = batch;
        assert_eq!(request.result.is_ok(), fine, "frame {used}");
        assert!(request.result.err().is_none_or(|error| error.code == Code::BadOutput));
    }
}

#[test]
fn a_plugins_words_are_one_line_and_a_short_draft_table_is_no_table() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = Plugin::open(&compile(folder.path(), COMPILERS[0], &["-DVARIANT_RUDE"])).unwrap();
    let error = plugin.create(Arc::new(Listener::default()), &Value::Null, &NoProgress).err().unwrap();
    assert_eq!(
        (error.code, error.message.as_str()),
        (Code::ModelMissing, "no weights ERROR forged [2J line")
    );

    let folder = tempfile::tempdir().unwrap();
    let library = compile(folder.path(), COMPILERS[0], &["-DVARIANT_SHORT_EXTENSION"]);
    let plugin = Plugin::open(&library).unwrap();
    let instance = plugin.create(Arc::new(Listener::default()), &Value::Null, &NoProgress).unwrap();
    let (avatar, inferer) = (avatar(&instance, 1), instance.inferer().unwrap());
    let error = session(&inferer, &avatar).control(&json!({})).unwrap_err();
    assert_eq!(error.code, Code::Unsupported);
}

#[test]
fn a_shorter_table_loads_and_lacks_only_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let size = "-DVARIANT_TABLE_SIZE=offsetof(lipcast_backend,stats)";
    let plugin = Plugin::open(&compile(folder.path(), COMPILERS[0], &[size])).unwrap();
    let instance = plugin.create(Arc::new(Listener::default()), &Value::Null, &NoProgress).unwrap();
    assert_eq!(instance.stats().unwrap(), None);
    assert!(!instance.has_extension(abi::EXTENSION_CONTROL));
    assert_eq!(avatar(&instance, 1).info().canvas, (64, 48));
}

#[test]
fn a_newer_minor_loads_and_its_longer_table_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let macros = [
        "-DVARIANT_MINOR=1",
        "-DVARIANT_FINGERPRINT=UINT64_C(1)",
        "-DVARIANT_TABLE_SIZE=sizeof(longer_table)",
    ];
    let plugin = Plugin::open(&compile(folder.path(), COMPILERS[0], &macros)).unwrap();
    assert_eq!(plugin.api_version(), (1, 1));
    let instance = plugin.create(Arc::new(Listener::default()), &Value::Null, &NoProgress).unwrap();
    assert_eq!(instance.stats().unwrap(), Some(json!({"device": "cpu"})));
}
