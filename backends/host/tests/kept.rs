//! The host of the day that the contract was frozen opens the backends of today, and those that will be.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod common;

use std::path::Path;
use std::process::Command;

use common::{compile, contract};

/// What a host's `--inspect` prints.
fn inspect(host: &Path, what: &str, library: &Path) -> String {
    let output = Command::new(host).args(["--inspect", what]).arg(library).arg("{}").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what} of {}: {said}", library.display());
    String::from_utf8(output.stdout).unwrap()
}

/// Every host table and every setting that a backend has to take was taken.
fn assert_as_promised(answer: &str) {
    let rows: serde_json::Value = serde_json::from_str(answer).unwrap();
    let must: Vec<_> = rows.as_array().unwrap().iter().filter(|row| row["must_work"] == true).collect();
    assert_eq!(must.len(), 2, "today's host table, and a longer one: {answer}");
    for row in must {
        assert_eq!(row["code"], "OK", "{row}");
    }
}

#[test]
fn the_first_host_opens_backends_of_a_later_minor_with_longer_tables() {
    let folder = tempfile::tempdir().unwrap();
    let newer = compile(
        folder.path(),
        &[
            "-DVARIANT_MINOR=7",
            "-DVARIANT_FINGERPRINT=UINT64_C(7)",
            "-DVARIANT_TABLE_SIZE=sizeof(longer_table)",
        ],
    );
    let host = contract().join("tests/kept/1.0/backend-host");
    assert!(inspect(&host, "descriptor", &newer).contains("\"same_pointer\":true"));
    assert_as_promised(&inspect(&host, "tables", &newer));
    inspect(&host, "cycles", &newer);
}

#[test]
fn the_host_of_today_hands_longer_tables_to_backends_of_the_first_day() {
    let host = Path::new(env!("CARGO_BIN_EXE_backend-host"));
    for name in ["minimal", "sequential", "canvas", "minimal_c"] {
        let library = contract().join(format!("tests/kept/1.0/lib{name}.so"));
        assert_as_promised(&inspect(host, "tables", &library));
        inspect(host, "cycles", &library);
    }
}
