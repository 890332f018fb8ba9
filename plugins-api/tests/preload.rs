//! Libraries that are opened before a plugin, so that it finds them.
#![cfg(feature = "loader")]

#[path = "common/c_plugin.rs"]
mod c_plugin;

use c_plugin::compile_needy;
use lipcast_plugins_api::loader::{Plugin, preload};

#[test]
fn a_plugin_finds_what_was_opened_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (plugin, needed) = compile_needy(folder.path());
    let error = Plugin::open(&plugin).unwrap_err().to_string();
    assert!(error.contains("cannot be loaded: ") && error.contains("libneeded.so"), "{error}");

    preload(std::slice::from_ref(&needed)).unwrap();
    // Twice does no harm.
    preload(&[needed]).unwrap();
    assert_eq!(Plugin::open(&plugin).unwrap().descriptor().id, "org.example.minimal-c");
}

#[test]
fn what_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libmissing.so");
    let refusal = || preload(std::slice::from_ref(&file)).unwrap_err().to_string();
    assert_eq!(refusal(), format!("preload: {}: no such file", file.display()));
    std::fs::write(&file, "GROUP ( libmissing.so.1 )").unwrap();
    let reason = "not a shared library: it has no ELF header";
    assert_eq!(refusal(), format!("preload: {}: {reason}", file.display()));
}
