//! The command that a runtime makes of [`run`](super::run): `parity BUNDLE [--device cpu] …`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Map, Value};

use crate::networks::Networks;
use crate::settings::Settings;

/// Settings that can be given as options, with what follows them.
const OPTIONS: [(&str, &str); 7] = [
    ("device", "WORD"),
    ("precision", "WORD"),
    ("library", "PATH"),
    ("decoder", "WORD"),
    ("batches", "LIST"),
    ("threads", "NUMBER"),
    ("options", "JSON"),
];

/// Runs every check-point of the bundle that the command line names on `N`: 0 when all are within their
/// tolerance, 1 when one is not, 2 when nothing could be run.
pub fn main<N: Networks>() -> ExitCode {
    let arguments = std::env::args_os().skip(1).collect();
    let (code, message) = match command::<N>(arguments, &mut io::stdout().lock()) {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => return ExitCode::from(1),
        Err(Refusal::Asked) => (0, usage::<N>()),
        Err(Refusal::Usage(what)) => (2, format!("{what}\n\n{}", usage::<N>())),
        Err(Refusal::Failed(what)) => (2, what),
    };
    eprintln!("{message}");
    ExitCode::from(code)
}

enum Refusal {
    /// Help was asked for.
    Asked,
    /// The command line is not understood.
    Usage(String),
    /// Something could not be run.
    Failed(String),
}

fn command<N: Networks>(arguments: Vec<OsString>, out: &mut dyn Write) -> Result<bool, Refusal> {
    let (bundle, table) = parse(arguments)?;
    let settings = Settings::read(Value::Object(table)).map_err(|error| Refusal::Usage(error.message))?;
    let worst =
        super::run::<N>(&bundle, &settings.runtime, out).map_err(|e| Refusal::Failed(e.to_string()))?;
    Ok(worst.passed())
}

/// The bundle's folder, and the settings as they would stand in `config.toml`.
fn parse(arguments: Vec<OsString>) -> Result<(PathBuf, Map<String, Value>), Refusal> {
    // On a CPU in fp32 unless something else is asked for: that is what goldens are made with.
    let mut table = Map::from_iter([("device".into(), "cpu".into()), ("precision".into(), "fp32".into())]);
    let mut bundle = None;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == "--help" || text == "-h" {
            return Err(Refusal::Asked);
        }
        let Some(name) = text.strip_prefix("--") else {
            if bundle.replace(PathBuf::from(&argument)).is_some() {
                return Err(Refusal::Usage("one bundle at a time".to_owned()));
            }
            continue;
        };
        if !OPTIONS.iter().any(|(known, _)| *known == name) {
            return Err(Refusal::Usage(format!("there is no option --{name}")));
        }
        let Some(value) = arguments.next().and_then(|value| value.into_string().ok()) else {
            return Err(Refusal::Usage(format!("--{name} needs a value")));
        };
        let value = match name {
            "batches" => value.split(',').map(number).collect(),
            "threads" => number(&value),
            "options" => serde_json::from_str(&value)
                .map_err(|error| Refusal::Usage(format!("--options is not JSON: {error}")))?,
            _ => value.into(),
        };
        table.insert(name.to_owned(), value);
    }
    let bundle = bundle.ok_or_else(|| Refusal::Usage("which bundle?".to_owned()))?;
    Ok((bundle, table))
}

/// A number where it is one; a setting says itself what it takes otherwise.
fn number(text: &str) -> Value {
    text.trim().parse::<i64>().map_or_else(|_| text.into(), Value::from)
}

fn usage<N: Networks>() -> String {
    let options: String = OPTIONS.iter().map(|(name, value)| format!(" [--{name} {value}]")).collect();
    format!(
        "usage: parity BUNDLE{options}\n\
         Compares {} with the golden tensors of a bundle; options are the settings of config.toml, device and\n\
         precision being \"cpu\" and \"fp32\" where they are not given.",
        N::NAME
    )
}
