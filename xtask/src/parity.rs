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
    let mut all = Vec::new();
    for runtime in named.map_or_else(|| RUNTIMES.to_vec(), |runtime| vec![runtime]) {
        println!("── {}", runtime.title);
        if named.is_some() || runtime.small {
            runtime.install()?;
        } else if !runtime.is_there() {
            println!("   skipped: it is not installed; `cargo xtask runtimes {}` does that", runtime.name);
            continue;
        }
        all.push(compare(runtime, &bundle, &options)?);
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

fn compare(runtime: &'static Runtime, bundle: &Path, options: &[String]) -> Result<Worst> {
    let mut command = runtime.example("parity");
    command.arg(bundle).arg("--library").arg(runtime.folder()).args(options).stdout(Stdio::piped());
    let mut process = command.spawn().context("cannot start cargo")?;
    let mut last = String::new();
    for line in BufReader::new(process.stdout.take().context("no pipe")?).lines() {
        last = line?;
        println!("   {last}");
    }
    let status = process.wait()?;
    let line = last.strip_prefix("worst: ").map(str::to_owned);
    let share = line.as_deref().and_then(|line| line.split(' ').next()?.parse().ok());
    let (Some(line), Some(share)) = (line, share) else { bail!("{}: nothing was compared", runtime.title) };
    Ok(Worst { runtime: runtime.name, share, line, passed: status.success() })
}
