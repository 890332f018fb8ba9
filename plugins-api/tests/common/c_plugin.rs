//! Compiles the C plugin in variants. Tests of other crates beside this one use it too.
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

/// Makes `libneeded.so` in `folder/needed`, and in `folder` a plugin that cannot be opened without it: it names the
/// library, but not where it lies. Gives the plugin and the library.
pub(crate) fn compile_needy(folder: &Path) -> (PathBuf, PathBuf) {
    let aside = folder.join("needed");
    std::fs::create_dir(&aside).unwrap();
    let (source, library) = (aside.join("needed.c"), aside.join("libneeded.so"));
    std::fs::write(&source, "int lipcast_test_needed(void) { return 7; }\n").unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wl,-soname,libneeded.so"])
        .arg(&source)
        .arg("-o")
        .arg(&library)
        .status();
    assert!(compiled.expect("a C compiler is part of the build tools").success());
    let search = format!("-L{}", aside.display());
    // Named though nothing of it is called, as libtorch's halves are.
    let macros = ["-Wl,--no-as-needed", search.as_str(), "-lneeded"];
    (compile(folder, COMPILERS[0], &macros), library)
}

fn build(folder: &Path, compiler: &[&str], macros: &[&str], source: &str) -> PathBuf {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins-api");
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
