//! Plugins in C, made from the contract's own sources.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the contract.
pub(crate) fn contract() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins-api")
}

/// Compiles the C plugin's variants into `folder`; `words` are macros like `-DVARIANT_MINOR=1`, or libraries that it is
/// linked with.
pub(crate) fn compile(folder: &Path, words: &[&str]) -> PathBuf {
    let library = folder.join("libnewer.so");
    let contract = contract();
    let compiled = Command::new("cc")
        .args(["-std=c11", "-O1", "-shared", "-fPIC", "-fvisibility=hidden"])
        .args(words)
        .arg("-I")
        .arg(contract.join("include"))
        .arg("-I")
        .arg(contract.join("templates"))
        .arg(contract.join("tests/data/variants.c"))
        .arg("-o")
        .arg(&library)
        .status()
        .expect("a C compiler is part of the build tools");
    assert!(compiled.success());
    library
}
