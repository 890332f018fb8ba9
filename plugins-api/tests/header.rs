//! The header and the Rust twins say the same: layout, numbers, fingerprint.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use lipcast_plugins_api::abi;

fn crate_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Compiles and runs a program that prints every size, offset and number of the header.
fn print_with(compiler: &[&str], program: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join(if compiler[0] == "cc" { "layout.c" } else { "layout.cc" });
    std::fs::write(&source, program).unwrap();
    let binary = folder.path().join("layout");
    let compiled = Command::new(compiler[0])
        .args(&compiler[1..])
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
        .arg(crate_file("include"))
        .arg(&source)
        .arg("-o")
        .arg(&binary)
        .output()
        .expect("a C compiler is part of the build tools");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    String::from_utf8(Command::new(&binary).output().unwrap().stdout).unwrap()
}

#[test]
fn sizes_and_offsets_are_the_same_in_c_cpp_and_rust() {
    let mut expected = String::new();
    let mut program = String::from("#include <stdio.h>\n#include \"lipcast_backend.h\"\nint main(void) {\n");
    for layout in abi::structs() {
        writeln!(expected, "{} {}", layout.name, layout.size).unwrap();
        writeln!(program, "printf(\"{0} %zu\\n\", sizeof({0}));", layout.name).unwrap();
        for field in layout.fields {
            writeln!(expected, "{}.{} {} {}", layout.name, field.name, field.offset, field.size).unwrap();
            writeln!(
                program,
                "printf(\"{0}.{1} %zu %zu\\n\", offsetof({0}, {1}), sizeof((({0} *)0)->{1}));",
                layout.name, field.name
            )
            .unwrap();
        }
    }
    program.push_str("return 0;\n}\n");
    for compiler in [&["cc", "-std=c11"], &["c++", "-std=c++17"]] {
        assert_eq!(print_with(compiler, &program), expected, "{compiler:?}");
    }
}

/// Each number of the header by name; a macro keeps the name and the Rust constant together.
macro_rules! numbers {
    ($($name:ident)*) => { [$((stringify!($name), i64::from(abi::$name))),*] };
}

#[test]
fn numbers_are_the_same_in_c_and_rust() {
    let numbers = numbers!(
        MAGIC API_MAJOR API_MINOR
        OK INVALID_ARG UNSUPPORTED NOT_READY WOULD_BLOCK CANCELLED DEADLINE OOM_HOST OOM_DEVICE DEVICE_LOST
        MODEL_MISSING MODEL_CORRUPT BLOB_INCOMPATIBLE BAD_OUTPUT NOT_FOUND INTERNAL BACKEND_PANIC
        FORMAT_RGB24 FORMAT_RGBA FORMAT_I420 FORMAT_I420A ALPHA_STATIC ALPHA_INLINE ALPHA_OPAQUE
        REQUEST_FIRST REQUEST_LAST REQUEST_DISCARD_OK RESULT_UNCHANGED RESULT_AT_REST AUDIO_END
        MODE_LIVE MODE_WHOLE IDLE_HOST IDLE_BACKEND REST_ASK REST_AT_ONCE
        HEALTH_OK HEALTH_DEGRADED HEALTH_BROKEN
        LOG_ERROR LOG_WARN LOG_INFO LOG_DEBUG LOG_TRACE METRIC_COUNTER METRIC_GAUGE METRIC_HISTOGRAM
    );
    let mut program = String::from("#include <stdio.h>\n#include \"lipcast_backend.h\"\nint main(void) {\n");
    let mut expected = String::new();
    for (name, value) in numbers {
        writeln!(program, "printf(\"{name} %lld\\n\", (long long)LIPCAST_{name});").unwrap();
        writeln!(expected, "{name} {value}").unwrap();
    }
    writeln!(program, "printf(\"%016llx\\n\", (unsigned long long)LIPCAST_ABI_FINGERPRINT);").unwrap();
    writeln!(expected, "{:016x}", abi::FINGERPRINT).unwrap();
    writeln!(program, "printf(\"%s\\n\", LIPCAST_EXTENSION_CONTROL);\nreturn 0;\n}}").unwrap();
    writeln!(expected, "{}", abi::EXTENSION_CONTROL).unwrap();
    assert_eq!(print_with(&["cc", "-std=c11"], &program), expected);

    let header = std::fs::read_to_string(crate_file("include/lipcast_backend.h")).unwrap();
    let defined = header.lines().filter(|line| line.starts_with("#define LIPCAST_")).count();
    // The rest: include guard, fingerprint, extension id, two of EXPORT, two of STATIC_ASSERT, LAYOUT.
    assert_eq!(defined, numbers.len() + 8, "a number of the header is missing from this test");
}

/// A changed dump means a changed contract. Raise the minor version, then run with LIPCAST_BLESS=1 and put
/// the new fingerprint into the header.
#[test]
fn the_fingerprint_file_lists_the_tables_as_they_are() {
    let file = crate_file("abi-fingerprint.txt");
    if std::env::var_os("LIPCAST_BLESS").is_some() {
        std::fs::write(&file, abi::dump()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), abi::dump());
}
