//! The committed bundles on libtorch, against their golden tensors.

use std::path::Path;

use lipcast_musetalk::parity;
use lipcast_musetalk::settings::{Decoder, DeviceChoice, RuntimeSettings};
use lipcast_torch::TorchNetworks;

/// Compares everything of the bundle `name`, prints it, and gives the number of check-points.
fn compared(name: &str, decoder: Decoder) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../musetalk/tests/data").join(name);
    let settings =
        RuntimeSettings { device: DeviceChoice::Cpu, threads: 1, decoder, ..RuntimeSettings::default() };
    let mut sheet = Vec::new();
    let worst = parity::run::<TorchNetworks>(&folder, &settings, &mut sheet).unwrap();
    let sheet = String::from_utf8(sheet).unwrap();
    println!("{sheet}");
    assert!(worst.passed(), "{sheet}");
    worst.points
}

#[test]
fn every_check_point_of_the_golden_bundle_is_within_its_tolerance() {
    assert!(compared("tiny", Decoder::SdVae) > 20);
    assert!(compared("tiny", Decoder::Taesd) > 10);
}

#[test]
fn so_is_that_of_the_fast_one() {
    // It has the golden of the whole pipeline alone.
    assert_eq!(compared("nano", Decoder::SdVae), 3);
}
