//! `cargo xtask parity`: every runtime against the golden tensors of a bundle.
//!
//! Out: a line for each check-point of each runtime, and a last line with the worst of all. The exit status is that of
//! the comparison.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::runtimes::{self, RUNTIMES, Runtime};

const USAGE: &str =
    "`cargo xtask parity` takes --bundle DIR [--runtime NAME] [OPTIONS of the comparison, see --help]";

/// The worst check-point of a runtime.
struct Worst {
    runtime: &'static str,
    /// Its difference over its tolerance.
    share: f64,
    /// That and more, in words.
    line: String,
    passed: bool,
}

/// Compares, and fails when a check-point is beyond its tolerance or nothing was compared.
pub(crate) fn parity(arguments: &[String]) -> Result<()> {
    let (mut bundle, mut named, mut options) = (None, None, Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--bundle" => bundle = Some(PathBuf::from(rest.next().context(USAGE)?)),
            "--runtime" => named = Some(runtimes::named(rest.next().context(USAGE)?)?),
            _ => options.push(argument.clone()),
        }
    }
    let bundle = bundle.context(USAGE)?;
    let bundle = bundle.canonicalize().with_context(|| bundle.display().to_string())?;
    let (mut all, mut ran) = (Vec::new(), false);
    for runtime in named.map_or_else(|| RUNTIMES.to_vec(), |runtime| vec![runtime]) {
        println!("── {}", runtime.title);
        if named.is_some() || runtime.small {
            runtime.install()?;
        } else if !runtime.is_there() {
            println!("   skipped: it is not installed; `cargo xtask runtimes {}` does that", runtime.name);
            continue;
        }
        all.extend(compare(runtime, &bundle, &options)?);
        ran = true;
    }
    if ran && all.is_empty() {
        // An option asked for something else than the comparison.
        return Ok(());
    }
    let Some(worst) = all.iter().max_by(|a, b| a.share.total_cmp(&b.share)) else {
        bail!("no runtime is installed, nothing was compared")
    };
    println!("worst of {}: {}, on {}", all.len(), worst.line, worst.runtime);
    if let Some(failed) = all.iter().find(|worst| !worst.passed) {
        bail!("{}: {}", failed.runtime, failed.line);
    }
    Ok(())
}

/// Runs the comparison and passes its lines on. `None`: it succeeded without having compared.
fn compare(runtime: &'static Runtime, bundle: &Path, options: &[String]) -> Result<Option<Worst>> {
    let mut command = runtime.example("parity");
    command.arg(bundle).arg("--library").arg(runtime.folder()).args(options).stdout(Stdio::piped());
    let mut process = command.spawn().context("cannot start cargo")?;
    let mut worst = None;
    for line in BufReader::new(process.stdout.take().context("no pipe")?).lines() {
        let line = line?;
        println!("   {line}");
        if let Some(found) = line.strip_prefix("worst: ") {
            let share = found.split(' ').next().and_then(|share| share.parse().ok());
            let share = share.with_context(|| format!("not understood: {line}"))?;
            worst = Some(Worst { runtime: runtime.name, share, line: found.to_owned(), passed: false });
        }
    }
    let status = process.wait()?;
    match &mut worst {
        Some(worst) => worst.passed = status.success(),
        None if !status.success() => bail!("{}: nothing was compared", runtime.title),
        None => {}
    }
    Ok(worst)
}
