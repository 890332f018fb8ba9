//! Backends of the day that the contract was frozen, performed by the host of today.
#![cfg(all(feature = "loader", target_arch = "x86_64", target_os = "linux"))]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Listener, avatar, example, session};
use lipcast_plugins_api::abi;
use lipcast_plugins_api::loader::{FrameRequest, NoProgress, Plugin, Slot};
use lipcast_plugins_api::serde_json::Value;
use lipcast_plugins_api::types::{PixelFormat, Rect};

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kept/1.0").join(format!("lib{name}.so"))
}

/// What a run of speech looks like: rect, format, flags and pixels of each frame.
#[derive(Debug, PartialEq)]
struct Drawn {
    rect: Rect,
    format: PixelFormat,
    at_rest: bool,
    pixels: Vec<u8>,
}

fn perform(library: &Path) -> Vec<Drawn> {
    let plugin = Plugin::open(library).unwrap();
    let instance = plugin.create(Arc::new(Listener::default()), &Value::Null, &NoProgress).unwrap();
    let avatar = avatar(&instance, 3);
    let mut inferer = instance.inferer().unwrap();
    let mut session = session(&inferer, &avatar);
    session.push_audio(0, &[0.5; 6 * 640], true).unwrap();
    let mut slot = Slot::new(avatar.slot_len());
    let drawn = (0..8).map(|frame| {
        let mut batch = [FrameRequest::new(&session, frame, 0, &mut slot)];
        batch[0].first = frame == 0;
        inferer.infer_batch(&mut batch);
        let [request] = batch;
        let result = request.result.unwrap();
        let bytes = result.format.bytes(&result.rect) as usize;
        let pixels = if result.unchanged { Vec::new() } else { slot.bytes()[..bytes].to_vec() };
        Drawn { rect: result.rect, format: result.format, at_rest: result.at_rest, pixels }
    });
    drawn.collect()
}

#[test]
fn backends_of_the_first_day_load_and_draw_what_they_drew() {
    for name in ["minimal", "sequential", "canvas"] {
        let old = Plugin::open(&kept(name)).unwrap();
        assert_eq!(old.api_version(), (1, 0), "{name}");
        assert_eq!(old.descriptor().id, Plugin::open(&example(name)).unwrap().descriptor().id);
        let drawn = perform(&kept(name));
        assert!(drawn.iter().any(|frame| frame.pixels.iter().any(|p| *p > 0)), "{name} draws something");
        // The examples' sources are those of that day; a change to one of them belongs into this test.
        assert!(drawn == perform(&example(name)), "{name} draws what it drew");
    }
}

#[test]
fn the_c_backend_of_the_first_day_loads_and_draws() {
    let plugin = Plugin::open(&kept("minimal_c")).unwrap();
    assert_eq!(plugin.api_version(), (1, 0));
    assert!(perform(&kept("minimal_c")).iter().any(|frame| frame.pixels.iter().any(|p| *p > 0)));
}

/// The fingerprint of 1.0, for ever: whoever changes a table of it sees it here, however the header is blessed.
#[test]
fn the_tables_of_the_first_day_are_what_they_were() {
    assert_eq!(abi::API_MAJOR, 1);
    assert_eq!(abi::fingerprint(0), 0x9dba_68bf_c772_9996);
}
