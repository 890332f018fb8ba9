//! Backends that keep the contract pass every check, through each door.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{alone, check_library, compile, liar, named};
use lipcast_conformance::subject::{Linked, LocalLauncher};
use lipcast_conformance::{Format, Options, Report, Verdict, check};
use lipcast_demo::DemoBackend;
use lipcast_plugins_api::author::{Backend, plugin_table};
use lipcast_probe::ProbeBackend;

fn passes(report: &Report, least: usize) {
    let text = report.write(Format::Text);
    println!("{text}");
    assert_eq!(report.exit_code(), 0, "{text}");
    assert!(report.count(Verdict::Passed) >= least, "{text}");
}

fn linked<B: Backend>() -> Report {
    let _alone = alone();
    let launcher = LocalLauncher(Linked::Table(plugin_table::<B>()));
    check(Arc::new(launcher), Options::default(), &mut |_| {})
}

#[test]
fn a_faultless_liar_passes_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let library = liar(folder.path(), "HONEST");
    let report = check_library(&library, Options { soak: Duration::from_secs(2), ..Options::default() });
    passes(&report, 35);
    // It takes no settings, draws no idle, and cannot panic on purpose.
    assert_eq!(named(&report, Verdict::Skipped), ["create.missing_model", "infer.idle", "panic.is_caught"]);
}

#[test]
fn the_smallest_c_backend_passes() {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins-api/templates/minimal.c");
    let library = compile(folder.path(), &source, "minimal", &[]);
    passes(&check_library(&library, Options::default()), 34);
}

#[test]
fn the_demo_passes_in_this_process() {
    passes(&linked::<DemoBackend>(), 25);
}

#[test]
fn the_probe_passes_in_this_process() {
    passes(&linked::<ProbeBackend>(), 25);
}

#[test]
fn what_is_no_library_cannot_be_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text.so");
    std::fs::write(&file, "this is no library at all").unwrap();
    let report = check_library(&file, Options::default());
    assert_eq!(report.exit_code(), 2);
    let text = report.write(Format::Text);
    assert!(report.entries[0].reason.contains("no ELF header"), "{text}");
    assert_eq!(named(&report, Verdict::Failed), ["load.descriptor"], "{text}");
    let skipped = format!("{} checks skipped: load.descriptor did not pass", report.count(Verdict::Skipped));
    assert!(text.contains(&skipped) && text.lines().count() < 12, "{text}");
}

#[test]
fn the_report_reads_as_json_and_as_xml() {
    let folder = tempfile::tempdir().unwrap();
    let library = liar(folder.path(), "EAGER");
    let report = check_library(&library, Options { only: Some("load".to_owned()), ..Options::default() });
    let json: serde_json::Value = serde_json::from_str(&report.write(Format::Json)).unwrap();
    assert_eq!(json["entries"][2]["verdict"], "failed");
    let xml = report.write(Format::Junit);
    assert!(xml.contains("<testcase classname=\"load\" name=\"instant\""), "{xml}");
    assert!(xml.contains("<failure message=\"the descriptor left 1 files open"), "{xml}");
    assert_eq!(xml.matches("<testcase").count(), report.entries.len());
}

/// A plugin that the workspace builds, in a process of its own.
fn built(library: &str) {
    let path = common::backend_host().with_file_name(library);
    assert!(path.is_file(), "{} is built with the workspace: cargo build --workspace", path.display());
    passes(&check_library(&path, Options::default()), 34);
}

#[test]
fn the_demo_passes_in_a_process_of_its_own() {
    built("liblipcast_demo.so");
}

#[test]
fn the_probe_passes_in_a_process_of_its_own() {
    built("liblipcast_probe.so");
}

#[test]
fn the_sequential_sample_passes() {
    built("examples/libsequential.so");
}

#[test]
fn the_canvas_sample_passes() {
    built("examples/libcanvas.so");
}
