//! `cargo xtask reliability`: `docs/reliability.md`, made of what the tests of the fault matrix recorded.
//!
//! In: one JSON file a test below `target/reliability/`. Out: the page, in the order of the rows. A row's number and
//! what its test is called come from the tests' own names, `row_NN_what`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::steps::{cargo, root, run, target};

/// Where the tests lie.
const TESTS: &str = "server/tests/fault_matrix";

/// The rows of the matrix that shall have a test, and what fails in each.
const WANTED: &[(u32, &str)] = &[
    (1, "a backend's create returns an error"),
    (2, "a backend crashes while it is opened, or its library is missing or of another kind"),
    (3, "a backend's create hangs"),
    (4, "no backend comes up"),
    (5, "frames fail"),
    (6, "a backend's process ends in mid-sentence"),
    (7, "a call hangs in mid-sentence"),
    (8, "the machine is starved"),
    (9, "pictures that are none"),
    (10, "a backend slower than real time"),
    (11, "a write behind the end of a slot"),
    (12, "a ring that is scribbled over, a socket that is closed"),
    (13, "a leak"),
    (14, "device memory runs out, a device is lost"),
    (15, "a flood of log lines"),
    (16, "a damaged blob"),
    (17, "a power cut while a blob is written"),
    (18, "a full or read-only disk"),
    (29, "signals that end the server, or have it read its settings again"),
    (30, "the server is killed"),
    (31, "settings that are wrong"),
    (35, "every backend crashes again and again"),
    (37, "a panic in the engine"),
    (38, "descriptors run out"),
];

const HEAD: &str = "\
# Reliability

What can go wrong, made to go wrong in real processes, and what was seen of it by a real WebRTC client.
This page is made by `cargo xtask reliability` from the records of the tests below `server/tests/fault_matrix`, never by hand.
What a row expects is asserted by its test; figures are what one run measured on one machine, and are not asserted.

";

/// `cargo xtask reliability [--run | --check]`: runs the tests first, or only looks whether the page has every row.
pub(crate) fn reliability(arguments: &[String]) -> Result<()> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => write_page(),
        ["--check"] => check(),
        ["--run"] => {
            crate::test::test(&["install", "build"].map(str::to_owned))?;
            let tests = ["test", "--release", "--package", "lipcast", "--test", "fault_matrix"];
            // A row that fails is on the page too, as one that failed.
            let outcome = run(&mut cargo(&tests));
            write_page()?;
            outcome
        }
        _ => bail!("`cargo xtask reliability` takes nothing, --run or --check"),
    }
}

/// Every row that has a test is on the committed page.
pub(crate) fn check() -> Result<()> {
    let page = fs::read_to_string(page())?;
    let missing: Vec<_> =
        tests(&root().join(TESTS))?.into_iter().filter(|test| !page.contains(&format!("`{test}`"))).collect();
    ensure!(
        missing.is_empty(),
        "docs/reliability.md lacks {}: run `cargo xtask reliability --run`",
        missing.join(", ")
    );
    Ok(())
}

fn page() -> PathBuf {
    root().join("docs/reliability.md")
}

/// Names of the tests, in order.
fn tests(folder: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let text = fs::read_to_string(entry?.path())?;
        let names = text.lines().filter_map(|line| line.strip_prefix("fn row_")?.split_once('('));
        found.extend(names.map(|(name, _)| format!("row_{name}")));
    }
    Ok(found)
}

fn write_page() -> Result<()> {
    let folder = target().join("reliability");
    let mut text = HEAD.to_owned();
    let (mut passed, mut all) = (0, 0);
    let mut rows = String::new();
    for test in tests(&root().join(TESTS))? {
        let path = folder.join(format!("{test}.json"));
        let record = fs::read_to_string(&path)
            .with_context(|| format!("{} is missing: run `cargo xtask reliability --run`", path.display()))?;
        let record: Value = serde_json::from_str(&record).with_context(|| path.display().to_string())?;
        all += 1;
        passed += usize::from(record["result"] == "passed");
        write_row(&mut rows, &test, &record)?;
    }
    writeln!(text, "{passed} of {all} tests passed in the run that this page was made of.\n")?;
    let tested: BTreeSet<_> = tests(&root().join(TESTS))?.iter().filter_map(|test| number(test)).collect();
    let untested: Vec<_> = WANTED.iter().filter(|(row, _)| !tested.contains(row)).collect();
    if !untested.is_empty() {
        writeln!(text, "Rows that have no test yet, so that nothing is promised of them here:\n")?;
        for (row, fault) in untested {
            writeln!(text, "- {row}: {fault}")?;
        }
        writeln!(text)?;
    }
    text += &rows;
    fs::write(page(), text.trim_end().to_owned() + "\n")?;
    println!("   {passed} of {all} rows passed; docs/reliability.md is written");
    Ok(())
}

fn write_row(page: &mut String, test: &str, record: &Value) -> Result<()> {
    let text = |key: &str| record[key].as_str().unwrap_or_default();
    writeln!(page, "## {}: {}\n", record["row"], text("fault"))?;
    writeln!(page, "Expected: {}.\n", text("expected"))?;
    writeln!(page, "Test: `{test}`, {} in {} s.\n", text("result"), record["seconds"])?;
    for open in record["open"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        writeln!(page, "Open: {open}.\n")?;
    }
    let measured = record["measured"].as_object().filter(|measured| !measured.is_empty());
    if let Some(measured) = measured {
        writeln!(page, "| measured | |\n| --- | --- |")?;
        for (what, value) in measured {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            writeln!(page, "| {} | {value} |", in_words(what))?;
        }
        writeln!(page)?;
    }
    Ok(())
}

/// The row of a test.
fn number(test: &str) -> Option<u32> {
    test.strip_prefix("row_")?.split('_').next()?.parse().ok()
}

/// `start_ms` as "start, ms".
fn in_words(key: &str) -> String {
    key.strip_suffix("_ms").map_or_else(|| key.to_owned(), |key| format!("{key}, ms")).replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_has_every_row() {
        check().unwrap();
    }

    #[test]
    fn a_tests_name_tells_its_row() {
        assert_eq!([number("row_06_crash"), number("row_31_x"), number("other")], [Some(6), Some(31), None]);
    }

    #[test]
    fn a_record_becomes_a_section_of_the_page() {
        let record = serde_json::json!({
            "row": 6, "fault": "a crash", "expected": "nothing is lost", "result": "passed", "seconds": 2.5,
            "open": ["the rest"], "measured": { "longest_gap_ms": 48, "said": "words" },
        });
        let mut page = String::new();
        write_row(&mut page, "row_06_crash", &record).unwrap();
        for part in [
            "## 6: a crash",
            "`row_06_crash`, passed in 2.5 s",
            "Open: the rest.",
            "| longest gap, ms | 48 |",
        ] {
            assert!(page.contains(part), "{page}");
        }
    }
}
