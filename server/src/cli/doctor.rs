//! `lipcast doctor`: what this machine and these settings lack, each with its name and where it comes from.
//!
//! It opens no plugin and starts nothing; `lipcast plugin check` does.

use std::env;
use std::path::{Path, PathBuf};

use lipcast_musetalk::bundle::{self, Report, Variant};
use lipcast_musetalk::settings::Settings;
use lipcast_plugins_api::loader::check_library;
use serde::Serialize;

use super::{CliError, failed, load};
use crate::config::{BackendConfig, EngineConfig, Isolation};
use crate::plugins::{self, Program};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Folders of bundles to look at, instead of everything that the settings name.
    bundles: Vec<PathBuf>,
    /// Compare sizes of files alone, not hashes: at once, where hashing takes seconds for full-size weights.
    #[arg(long)]
    quick: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    /// What it is, like `ffmpeg` or `backend onnx`.
    about: String,
    /// Whether it is as it has to be.
    ok: bool,
    /// In a line.
    text: String,
    /// Of a backend with a bundle of networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<Report>,
}

pub(super) fn run(settings: Option<&Path>, arguments: &Arguments) -> Result<(), CliError> {
    let examine = |folder: &Path| {
        let quiet = |_: u64, _: u64| {};
        bundle::examine(folder, (!arguments.quick).then_some(&quiet as &dyn Fn(u64, u64)))
    };
    let findings = if arguments.bundles.is_empty() {
        let config = load(settings)?;
        let mut findings: Vec<_> = ["ffmpeg", "ffprobe"].map(program).into();
        let landmarks = "it finds faces in your videos (Debian: package libdlib-data)";
        findings.push(file("media.landmarks", &config.media.landmarks, landmarks));
        let host = "it opens backends in processes of their own, and comes with lipcast";
        findings.push(file("engine.host", &config.engine.host, host));
        findings.extend(config.engine.backends.iter().flat_map(|b| backend(b, &config.engine, &examine)));
        findings
    } else {
        arguments.bundles.iter().map(|folder| of_bundle("bundle", examine(folder))).collect()
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&findings).map_err(failed)?);
    } else {
        findings.iter().for_each(|finding| print!("{}", shown(finding)));
    }
    match findings.iter().filter(|finding| !finding.ok).count() {
        0 => Ok(()),
        1 => Err(CliError::Failed("1 thing has to be mended".to_owned())),
        count => Err(CliError::Failed(format!("{count} things have to be mended"))),
    }
}

/// A program that reads avatar videos, looked for as the shell does.
fn program(name: &str) -> Finding {
    let paths = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.is_file());
    let text = match &found {
        Some(path) => path.display().to_string(),
        None => "not found; it reads avatar videos (Debian: package ffmpeg)".to_owned(),
    };
    Finding { about: name.to_owned(), ok: found.is_some(), text, bundle: None }
}

/// A file that the settings name; `purpose` tells what it is for and where it comes from.
fn file(about: &str, path: &Path, purpose: &str) -> Finding {
    let (ok, path) = (path.is_file(), path.display());
    let text = if ok { path.to_string() } else { format!("{path}: no such file; {purpose}") };
    Finding { about: about.to_owned(), ok, text, bundle: None }
}

/// What is wrong with the first of `libraries` with which something is.
fn broken<'a>(libraries: impl IntoIterator<Item = &'a PathBuf>) -> Option<String> {
    libraries.into_iter().find_map(|library| {
        let path = library.display();
        if !library.is_file() {
            return Some(format!("{path}: no such file"));
        }
        check_library(library).err().map(|refusal| format!("{path}: {refusal}"))
    })
}

/// What a backend is started from, and the bundle that its settings name.
fn backend(
    backend: &BackendConfig,
    engine: &EngineConfig,
    examine: &impl Fn(&Path) -> Report,
) -> Vec<Finding> {
    let about = format!("backend {}", backend.name);
    let (ok, text) = match plugins::find(engine, &backend.source, &backend.preload) {
        Err(error) => (false, error.to_string()),
        Ok(found) => match found.program {
            Program::Library { file, preload } => match broken(preload.iter().chain([&file])) {
                Some(wrong) => (false, wrong),
                None => (true, file.display().to_string()),
            },
            Program::Exec { command, folder } => {
                (true, format!("{} in {}", command.join(" "), folder.display()))
            }
        },
    };
    let format = MUSETALK.iter().find(|(library, _)| text.ends_with(library)).map(|(_, format)| *format);
    let mut findings = vec![Finding { about: about.clone(), ok, text, bundle: None }];
    let setting = |key: &str| backend.config.get(key).and_then(|value| value.as_str());
    match setting("bundle").filter(|folder| !folder.is_empty()) {
        Some(folder) => {
            // A library in the server's own process finds it from where the server is started.
            let start = if backend.isolation == Isolation::Process { &backend.folder } else { Path::new("") };
            let report = examine(&start.join(folder));
            let decoder = lacks_decoder(&report, setting("decoder").unwrap_or("sd-vae"));
            let precision = match setting("precision").unwrap_or("auto") {
                // As both backends choose.
                "auto" if setting("device") == Some("cpu") => "fp32",
                precision => precision,
            };
            let precision = format.and_then(|format| lacks_precision(&report, format, precision));
            findings.push(of_bundle(&about, report));
            let missing = [decoder, precision].into_iter().flatten();
            findings.extend(missing.map(|text| Finding {
                about: about.clone(),
                ok: false,
                text,
                bundle: None,
            }));
        }
        None if format.is_some() => {
            let text = format!(
                "no `bundle` in [backend.{}.config]; docs/musetalk.md tells how one is made",
                backend.name
            );
            findings.push(Finding { about, ok: false, text, bundle: None });
        }
        None => {}
    }
    if format.is_some()
        && let Err(error) = Settings::read(backend.config.clone())
    {
        let text = format!("[backend.{}.config]: {}", backend.name, error.message);
        findings.push(Finding { about: format!("backend {}", backend.name), ok: false, text, bundle: None });
    }
    findings
}

/// The plugins that need a bundle, and the format of networks that each reads.
const MUSETALK: [(&str, &str); 2] =
    [("/liblipcast_onnx.so", "onnx"), ("/liblipcast_torch.so", "torchscript")];

/// What to do where a bundle can speak, but not as this runtime reads it and in the precision that is set.
fn lacks_precision(report: &Report, format: &str, precision: &str) -> Option<String> {
    // What is damaged is told anyway, and may be all that is missing.
    if !report.problems.is_empty() {
        return None;
    }
    let there: Vec<_> = report.variants.iter().filter(|variant| variant.format == format).collect();
    let usable = |variant: &&Variant| variant.speaks && variant.prepares;
    let usable: Vec<_> = there.iter().copied().filter(usable).map(|variant| variant.precision).collect();
    if usable.iter().any(|found| ["auto", found].contains(&precision)) {
        return None;
    }
    Some(if there.is_empty() {
        format!("the bundle has no {format} networks: export it with `--formats {format}`")
    } else if usable.is_empty() {
        format!("the bundle has in no precision all {format} networks that speak and prepare")
    } else {
        format!("{precision} is to be run, and the bundle has its {format} networks in {}", usable.join(", "))
    })
}

/// What to do where a bundle can speak, but not with the decoder that is set.
fn lacks_decoder(report: &Report, decoder: &str) -> Option<String> {
    let (wanted, other) =
        if decoder == "taesd" { ("taesd_decoder", "sd-vae") } else { ("vae_decoder", "taesd") };
    let mut speaking = report.variants.iter().filter(|variant| variant.speaks).peekable();
    speaking.peek()?;
    (!speaking.any(|variant| variant.models.contains(&wanted)))
        .then(|| format!("decoder = \"{decoder}\" and the bundle has no {wanted}: set decoder = \"{other}\""))
}

fn of_bundle(about: &str, report: Report) -> Finding {
    let text = report.folder.display().to_string();
    Finding { about: about.to_owned(), ok: report.healthy(), text, bundle: Some(report) }
}

fn shown(finding: &Finding) -> String {
    let mark = if finding.ok { "ok  " } else { "BAD " };
    match &finding.bundle {
        Some(report) => {
            let lines: String = report.to_string().lines().map(|line| format!("     {line}\n")).collect();
            format!("{mark} {}\n{lines}", finding.about)
        }
        None => format!("{mark} {}: {}\n", finding.about, finding.text),
    }
}
