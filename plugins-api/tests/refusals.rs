//! Every file that is not a fitting plugin is refused with one line that says why.
#![cfg(feature = "loader")]

#[path = "common/c_plugin.rs"]
mod c_plugin;
mod common;

use std::path::Path;

use c_plugin::{COMPILERS, compile};
use common::example;
use lipcast_plugins_api::abi;
use lipcast_plugins_api::loader::Plugin;

/// The refusal of the file at `path`, without the path it begins with.
fn refusal(path: &Path) -> String {
    let text = Plugin::open(path).expect_err("the file is refused").to_string();
    assert!(!text.contains('\n'), "one line: {text}");
    let prefix = format!("{}: ", path.display());
    text.strip_prefix(&prefix).unwrap_or_else(|| panic!("{text} begins with the path")).to_owned()
}

fn variant(macros: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    refusal(&compile(folder.path(), COMPILERS[0], macros))
}

#[test]
fn what_is_no_shared_library_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plugin.so");
    assert_eq!(refusal(&file), "cannot be read: No such file or directory (os error 2)");
    for (bytes, reason) in [
        (&b""[..], "not a shared library: it is too short"),
        (b"This is a text file, not a library.\n", "not a shared library: it has no ELF header"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(refusal(&file), reason);
    }
    assert_eq!(refusal(folder.path()), "cannot be read: Is a directory (os error 21)");

    let mut object = std::fs::read(example("minimal")).unwrap();
    object[16] = 1;
    std::fs::write(&file, &object).unwrap();
    assert_eq!(refusal(&file), "not a shared library: it is an ELF file of another type");
    object[16] = 3;
    std::fs::write(&file, &object[..4096]).unwrap();
    let cut = refusal(&file);
    assert!(cut.starts_with("not a shared library: it is cut short: 4096 bytes of at least "), "{cut}");
}

#[test]
fn another_architecture_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plugin.so");
    let library = std::fs::read(example("minimal")).unwrap();
    let here = std::env::consts::ARCH.replace("x86_64", "x86-64");
    for (offset, byte, name) in
        [(18, 243, "riscv64"), (18, 21, "ppc64"), (18, 77, "ELF machine 77"), (4, 1, "a 32-bit machine")]
    {
        let mut patched = library.clone();
        patched[offset] = byte;
        std::fs::write(&file, patched).unwrap();
        assert_eq!(refusal(&file), format!("built for {name}, this server runs on {here}"));
    }
}

#[test]
fn a_library_without_an_entry_is_no_plugin() {
    assert_eq!(
        variant(&["-DVARIANT_ENTRY=another_name"]),
        "not a Lipcast plugin: neither the Rust root module nor the symbol lipcast_plugin_entry_v1 is there"
    );
}

#[test]
fn other_versions_are_refused_with_both() {
    assert_eq!(
        variant(&["-DVARIANT_MAJOR=2", "-DVARIANT_MINOR=3"]),
        "built against contract 2.3, this server speaks 1.0"
    );
    assert_eq!(
        variant(&["-DVARIANT_MAJOR=0", "-DVARIANT_MINOR=9"]),
        "built against contract 0.9, this server speaks 1.0"
    );
}

#[test]
fn an_altered_layout_is_refused_with_both_fingerprints() {
    assert_eq!(
        variant(&["-DVARIANT_FINGERPRINT=UINT64_C(0xbad)"]),
        format!(
            "built against a modified 1.0 header: fingerprint 0x0000000000000bad, expected {:#018x}",
            abi::FINGERPRINT
        )
    );
}

#[test]
fn a_plugin_may_decline_and_a_table_must_be_whole() {
    assert_eq!(variant(&["-DVARIANT_DECLINED=\"needs a host of 0.12\""]), "declined: needs a host of 0.12");
    assert_eq!(
        variant(&["-DVARIANT_TABLE_SIZE=offsetof(lipcast_backend,reset)"]),
        "its descriptor is malformed: its call table has no `reset`"
    );
    assert_eq!(
        variant(&["-DVARIANT_CAPABILITIES=\"{\\\"lookahead_ms\\\":2001}\""]),
        "its descriptor is malformed: a look-ahead of 2001 ms: 2000 ms is the limit"
    );
}

/// The linker's own words stand behind libloading's "dlopen failed".
#[test]
fn a_library_that_needs_another_is_refused_in_the_linkers_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plugin.so");
    let mut library = std::fs::read(example("minimal")).unwrap();
    let name = b"\0libc.so.6\0";
    let at = library.windows(name.len()).position(|bytes| bytes == name).unwrap();
    library[at + 4] = b'X';
    std::fs::write(&file, library).unwrap();
    let reason = refusal(&file);
    assert!(reason.starts_with("cannot be loaded: ") && reason.contains("libX.so.6"), "{reason}");
}
