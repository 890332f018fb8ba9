//! Compiles the C plugin in variants.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The strict compilers of the contract: C11 and C++17.
pub(crate) const COMPILERS: [&[&str]; 2] = [&["cc", "-std=c11"], &["c++", "-std=c++17", "-xc++"]];

/// Compiles the plugin that authors copy into `folder`.
pub(crate) fn compile_template(folder: &Path, compiler: &[&str]) -> PathBuf {
    build(folder, compiler, &[], "templates/minimal.c")
}

/// Compiles `tests/data/variants.c` into `folder` with macros like `-DVARIANT_MINOR=1`.
pub(crate) fn compile(folder: &Path, compiler: &[&str], macros: &[&str]) -> PathBuf {
    build(folder, compiler, macros, "tests/data/variants.c")
}

fn build(folder: &Path, compiler: &[&str], macros: &[&str], source: &str) -> PathBuf {
    let data = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = folder.join("libminimal_c.so");
    let output = Command::new(compiler[0])
        .args(&compiler[1..])
        .args(["-O1", "-shared", "-fPIC", "-fvisibility=hidden"])
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
        .arg(data.join("include"))
        .arg("-I")
        .arg(data.join("templates"))
        .args(macros)
        .arg(data.join(source))
        .arg("-o")
        .arg(&library)
        .output()
        .expect("a C compiler is part of the build tools");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}
