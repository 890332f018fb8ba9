//! Puts the face detector's model, which the `rustface` crate carries in its package, where the engine can embed it.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../Cargo.lock");
    let package = package_folder("rustface");
    let model = package.join("model/seeta_fd_frontal_v1.0.bin");
    let target = PathBuf::from(variable("OUT_DIR")).join("seeta_fd_frontal_v1.0.bin");
    if let Err(error) = fs::copy(&model, &target) {
        panic!("copying the face detector's model from {}: {error}", model.display());
    }
}

/// Where cargo unpacked a dependency, as `cargo metadata` tells.
fn package_folder(name: &str) -> PathBuf {
    let output = Command::new(variable("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", &variable("TARGET")])
        .args(["--manifest-path", &format!("{}/Cargo.toml", variable("CARGO_MANIFEST_DIR"))])
        .output()
        .expect("cargo runs, since it runs this");
    let text = String::from_utf8_lossy(&output.stdout);
    // One field is wanted, so that a JSON library would be a build dependency for nothing:
    // ..."manifest_path":"/…/rustface-0.1.7/Cargo.toml"...
    let path =
        text.split("\"manifest_path\":\"").skip(1).filter_map(|rest| rest.split('"').next()).find(|path| {
            let folder =
                PathBuf::from(path).parent().and_then(|folder| folder.file_name()).map(|f| f.to_owned());
            folder.is_some_and(|folder| {
                let folder = folder.to_string_lossy().into_owned();
                folder == name || folder.strip_prefix(name).is_some_and(|version| version.starts_with('-'))
            })
        });
    let Some(path) = path else {
        panic!("cargo metadata names no package {name}: {}", String::from_utf8_lossy(&output.stderr));
    };
    PathBuf::from(path).parent().map(PathBuf::from).unwrap_or_default()
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
