//! The committed bundles against their golden tensors, by the same check-points as `cargo xtask parity`.

use lipcast_musetalk::parity;
use lipcast_onnx::OnnxNetworks;

use crate::common::{folder, settings};

fn check(bundle: &str) {
    let mut lines = Vec::new();
    let worst = parity::run::<OnnxNetworks>(&folder(bundle), &settings(), &mut lines).unwrap();
    assert!(worst.passed(), "{}", String::from_utf8_lossy(&lines));
}

#[test]
fn nano_is_equal_to_its_goldens() {
    check("nano");
}

#[test]
fn tiny_is_equal_to_its_goldens() {
    check("tiny");
}
