//! A library in this very process whose own libraries are opened before it.

#[path = "../../plugins-api/tests/common/c_plugin.rs"]
mod c_plugin;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use c_plugin::compile_needy;
use lipcast_engine::backend::supervisor::Policy;
use lipcast_engine::backend::{BackendSpec, Backends, Candidate, LocalInstance, Program, ReportedState};
use serde_json::Value;

/// The state of a backend in this process and what is told of it.
fn opened(library: &Path, preload: Vec<PathBuf>) -> (ReportedState, String) {
    let candidate =
        Candidate { program: Program::InProcess { library: library.to_owned(), preload }, expected_id: None };
    let spec = BackendSpec {
        name: "needy".into(),
        find: Arc::new(move || Ok(candidate.clone())),
        config: Value::Null,
        init_timeout: Duration::from_secs(60),
        policy: Policy::default(),
        required: false,
    };
    let folder = tempfile::tempdir().unwrap();
    let last = c_plugin::compile_template(folder.path(), c_plugin::COMPILERS[0]);
    let backends = Backends::open(vec![spec], LocalInstance::open("last", &last, &Value::Null).unwrap());
    backends.wait_settled();
    let report = backends.report().remove(0);
    (report.state, report.detail)
}

#[test]
fn a_library_is_opened_after_those_that_it_needs_or_refused_with_the_one_that_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (plugin, needed) = compile_needy(folder.path());
    let missing = folder.path().join("libmissing.so");
    let (state, detail) = opened(&plugin, vec![missing.clone()]);
    assert_eq!(state, ReportedState::Failed);
    assert_eq!(detail, format!("preload: {}: no such file", missing.display()));
    let (state, detail) = opened(&plugin, Vec::new());
    assert_eq!(state, ReportedState::Failed);
    assert!(detail.contains("libneeded.so"), "{detail}");
    assert_eq!(opened(&plugin, vec![needed]).0, ReportedState::Ready);
}
