//! `cargo xtask distance`: how far what a live session hears is from what a session of the whole file hears.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::runtimes;
use crate::steps::run;

const USAGE: &str = "`cargo xtask distance` takes --bundle DIR [--runtime onnx] RECORDING…";

/// Installs the runtime where it is missing, and measures.
pub(crate) fn distance(arguments: &[String]) -> Result<()> {
    let (mut bundle, mut runtime, mut recordings) = (None, "onnx".to_owned(), Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--bundle" => bundle = Some(PathBuf::from(rest.next().context(USAGE)?)),
            "--runtime" => runtime.clone_from(rest.next().context(USAGE)?),
            option if option.starts_with('-') => bail!(USAGE),
            recording => {
                let recording = PathBuf::from(recording);
                recordings.push(recording.canonicalize().with_context(|| recording.display().to_string())?);
            }
        }
    }
    let bundle = bundle.context(USAGE)?;
    let bundle = bundle.canonicalize().with_context(|| bundle.display().to_string())?;
    ensure!(!recordings.is_empty(), USAGE);
    let runtime = runtimes::named(&runtime)?;
    runtime.install()?;
    run(runtime.example("distance").arg(&bundle).arg(runtime.folder()).args(&recordings))
}
