//! `backend-host --preload`: what a plugin needs is opened before it.
#![cfg(target_os = "linux")]

mod common;

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use common::compile;

/// Whether the plugin could be inspected with `preloaded` opened before it, and what was said if not.
fn inspected(preloaded: &[&Path], plugin: &Path) -> Result<(), String> {
    let words = preloaded.iter().flat_map(|library| [OsStr::new("--preload"), library.as_os_str()]);
    let output = Command::new(env!("CARGO_BIN_EXE_backend-host"))
        .args(words)
        .args(["--inspect", "descriptor"])
        .arg(plugin)
        .arg("{}")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert!(said.lines().count() <= 1, "{said}");
    if output.status.success() { Ok(()) } else { Err(said) }
}

#[test]
fn libraries_are_opened_in_order_before_the_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let library = |name: &str, words: &[&str]| {
        let (source, library) = (folder.path().join("one.c"), folder.path().join(format!("lib{name}.so")));
        std::fs::write(&source, format!("int lipcast_test_{name}(void) {{ return 7; }}\n")).unwrap();
        let soname = format!("-Wl,-soname,lib{name}.so");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", &soname, "-Wl,--no-as-needed"])
            .arg(&source)
            .arg("-o")
            .arg(&library)
            .args(words)
            .status();
        assert!(compiled.unwrap().success());
        library
    };
    let search = format!("-L{}", folder.path().display());
    // The plugin needs the second, which needs the first; neither says where the other lies.
    let first = library("first", &[]);
    let second = library("second", &[&search, "-lfirst"]);
    let plugin = compile(folder.path(), &["-Wl,--no-as-needed", &search, "-lsecond"]);

    let error = inspected(&[], &plugin).unwrap_err();
    assert!(error.contains("libsecond.so"), "{error}");
    let error = inspected(&[&second], &plugin).unwrap_err();
    assert!(error.starts_with(&format!("preload: {}: ", second.display())), "{error}");
    assert!(error.contains("libfirst.so"), "{error}");
    assert_eq!(inspected(&[&first, &second], &plugin), Ok(()));
    let missing = folder.path().join("libmissing.so");
    let error = inspected(&[&first, &missing], &plugin).unwrap_err();
    assert_eq!(error, format!("preload: {}: no such file", missing.display()));
}
