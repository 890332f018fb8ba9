//! `lipcast plugin check` on the MuseTalk plugins as an author would call it: networks of random weights, on a CPU.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// The program with its plugins beside it.
fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_lipcast"))
}

/// Checks the plugin at `path`, beside the program, on the small bundle.
fn assert_keeps_the_contract(path: &str) {
    let plugin = program().with_file_name("plugins").join(path);
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../backends/musetalk/tests/data/nano");
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings.json");
    // Most of the time goes into starting it, once for each check: what makes the first calls slower is left out.
    let options = if path == "torch" { json!({ "optimize": false }) } else { json!({}) };
    let config =
        json!({ "bundle": bundle, "device": "cpu", "threads": 1, "verify": false, "options": options });
    fs::write(&settings, config.to_string()).unwrap();
    let mut check = Command::new(program());
    check.args(["plugin", "check", "--format", "json", "--config"]).arg(&settings).arg(&plugin);
    let output = check.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    let of = |verdict: &str| -> Vec<&Value> {
        let all = report["entries"].as_array().unwrap().iter();
        all.filter(|entry| entry["verdict"] == verdict).collect()
    };
    assert!(output.status.success(), "{path}: {:#?}", of("failed"));
    // The host shows a MuseTalk avatar while nobody speaks, and nobody asked for a soak.
    let skipped: Vec<_> = of("skipped").iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(skipped, ["idle", "random"]);
    assert!(of("passed").len() >= 45, "{text}");
}

#[test]
fn musetalk_on_onnx_runtime_keeps_the_contract() {
    assert_keeps_the_contract("liblipcast_onnx.so");
}

#[test]
fn musetalk_on_libtorch_keeps_the_contract() {
    if program().with_file_name("plugins/torch/plugin.toml").exists() {
        assert_keeps_the_contract("torch");
    } else {
        println!("libtorch was not built: its plugin is not checked");
    }
}
