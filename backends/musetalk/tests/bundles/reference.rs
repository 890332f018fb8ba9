//! The reference's steps around the networks, on the bundle of the tests. The toy stands in for the networks, so that
//! what they compute is wrong and all else has to be right.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use lipcast_musetalk::parity::run;
use lipcast_musetalk::settings::{PrecisionChoice, RuntimeSettings};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::made_up::MadeUp;
use crate::toy::Toy;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny/golden/reference.safetensors")
}

/// The check-points of the reference: id, name and verdict of each.
fn points(folder: &Path) -> Vec<(String, String, bool)> {
    let settings = RuntimeSettings { precision: PrecisionChoice::Fp32, ..RuntimeSettings::default() };
    let mut lines = Vec::new();
    run::<Toy>(folder, &settings, &mut lines).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    let point = |line: &str| {
        let (id, rest) = line.split_once(' ')?;
        let name = rest.trim_start().strip_prefix("reference: ")?.split("  ").next()?.to_owned();
        Some((id.to_owned(), name, line.ends_with(" ok")))
    };
    lines.lines().filter_map(point).collect()
}

/// A bundle of noise with this one golden, changed.
fn changed(change: impl FnOnce(&mut HashMap<String, Vec<u8>>)) -> MadeUp {
    let file = fs::read(golden()).unwrap();
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let mut data: HashMap<String, Vec<u8>> =
        tensors.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect();
    change(&mut data);
    let views = tensors.iter().filter_map(|(name, view)| {
        let data = data.get(name)?;
        Some((name.to_owned(), TensorView::new(view.dtype(), view.shape().to_vec(), data).unwrap()))
    });
    let made = MadeUp::new();
    fs::create_dir(made.path("golden")).unwrap();
    let file = safetensors::serialize(views, header.metadata().clone()).unwrap();
    fs::write(made.path("golden/reference.safetensors"), file).unwrap();
    made
}

#[test]
fn all_around_the_networks_is_the_references() {
    let points = points(&golden().with_file_name("..").canonicalize().unwrap());
    // Without a network: pictures, boxes, masks, windows, mel, and frames of the reference's own faces.
    let exact = ["-", "G1", "G2", "G3", "G5", "G7", "G11", "G12", "G14", "G16", "G21", "G27"];
    let around = |(id, name, _): &&(String, String, bool)| {
        let given = id == "G4" && name.starts_with("given.") || id == "G6" && name.starts_with("frame.");
        exact.contains(&id.as_str()) || given
    };
    let failed: Vec<_> = points.iter().filter(around).filter(|(.., ok)| !ok).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let count = |wanted: &str| points.iter().filter(|(id, ..)| id == wanted).count();
    let counts: Vec<usize> = exact.iter().map(|id| count(id)).collect();
    assert_eq!(counts, [2, 2, 2, 2, 10, 4, 2, 3, 7, 1, 1, 2], "{points:?}");

    // The toy is no MuseTalk, and that shows.
    for id in ["G8", "G9", "G13", "G15", "G18", "G19", "G20", "G22", "G24", "G26"] {
        let seen: Vec<_> = points.iter().filter(|(found, ..)| found == id).collect();
        assert!(!seen.is_empty(), "no {id}");
        assert!(seen.iter().any(|(.., ok)| !ok), "{id} passed: {seen:?}");
    }
}

#[test]
fn a_byte_that_differs_is_found() {
    for (tensor, point) in [
        ("crc32.G1.crop.0", "crop.0"),
        ("crc32.G6.frame.26", "frame.26"),
        ("crc32.G5.alpha.1", "alpha.1"),
        ("G14.rows.24", "rows.24"),
        ("G27.case_boxes", "case_boxes"),
        ("G11.cells", "cells"),
    ] {
        let made = changed(|data| data.get_mut(tensor).unwrap()[0] ^= 1);
        let points = points(made.folder());
        let (.., ok) = points.iter().find(|(_, name, _)| name == point).unwrap();
        assert!(!ok, "{tensor}");
    }
}

#[test]
fn a_golden_with_something_missing_or_odd_is_refused_by_name() {
    let refusal = |made: &MadeUp| {
        let settings = RuntimeSettings::default();
        run::<Toy>(made.folder(), &settings, &mut Vec::new()).unwrap_err().to_string()
    };
    for name in ["G12.mel", "crc32.frame.1", "G27.boxes", "G20.face.26"] {
        let made = changed(|data| drop(data.remove(name)));
        let error = refusal(&made);
        assert!(error.contains("golden/reference.safetensors") && error.contains(name), "{error}");
    }
    // A box outside the picture.
    let made =
        changed(|data| data.get_mut("G27.boxes").unwrap()[8..12].copy_from_slice(&5000_i32.to_le_bytes()));
    let error = refusal(&made);
    assert!(error.contains("leaves the picture"), "{error}");
}
