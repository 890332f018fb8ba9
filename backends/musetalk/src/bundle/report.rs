//! Everything that is wrong with a bundle, or not in it, at once: for `lipcast doctor`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::manifest::{MANIFEST, Manifest};
use super::model::Model;
use super::sources::{self, Checkpoint};
use super::{BundleError, check, verify};
use crate::networks::Network;

/// Formats that a runtime opens; others are weights alone.
const RUNNABLE: [&str; 2] = ["onnx", "torchscript"];

/// What a bundle is good for. `Display` says it in lines for people; serialised, it is for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The bundle's folder.
    pub folder: PathBuf,
    /// What the bundle says of its weights; `None` when its manifest cannot be read.
    pub weights: Option<String>,
    /// Whether hashes were compared; otherwise sizes alone.
    pub hashed: bool,
    /// What is wrong, in the order in which it was looked at.
    pub problems: Vec<Problem>,
    /// Each format and precision, with what it has; models with a damaged file do not count.
    pub variants: Vec<Variant>,
    /// Networks that are whole in no format and precision.
    pub absent: Vec<Absent>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The contract's word for it: `MODEL_MISSING`, `MODEL_CORRUPT` or `INVALID_ARG`.
    pub code: &'static str,
    /// The file.
    pub file: PathBuf,
    /// What was expected and what was found.
    pub what: String,
}

/// What can be run in one format and precision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variant {
    /// `onnx` or `torchscript`.
    pub format: &'static str,
    /// `fp32` or `fp16`.
    pub precision: &'static str,
    /// It has what speech needs.
    pub speaks: bool,
    /// It has what preparing an avatar needs at least.
    pub prepares: bool,
    /// Names of its models.
    pub models: Vec<&'static str>,
}

/// A network that is not in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Absent {
    /// Its name.
    pub model: &'static str,
    /// What it does.
    pub does: &'static str,
    /// Whether nothing works without it.
    pub required: bool,
    /// What it is exported from.
    pub checkpoint: Checkpoint,
}

impl Report {
    /// Whether some format can be served, with nothing wrong anywhere.
    pub fn healthy(&self) -> bool {
        self.problems.is_empty() && self.variants.iter().any(|variant| variant.speaks && variant.prepares)
    }
}

/// Looks at all of the bundle in `folder`. With `hashing` the hashes are compared too, and it hears bytes
/// done and bytes in all.
pub fn examine(folder: &Path, hashing: Option<&dyn Fn(u64, u64)>) -> Report {
    let mut report = Report {
        folder: folder.to_owned(),
        weights: None,
        hashed: hashing.is_some(),
        problems: Vec::new(),
        variants: Vec::new(),
        absent: Vec::new(),
    };
    let manifest = match Manifest::read(folder) {
        Ok(manifest) => manifest,
        Err(error) => {
            report.problems.push(error.into());
            report.absent = absent(&[]);
            return report;
        }
    };
    report.weights = Some(manifest.describe());
    let mut found = check::manifest(&manifest, &folder.join(MANIFEST));
    found.extend(check::files(&manifest, folder, names(&manifest)));
    if let Some(progress) = hashing {
        found.extend(damaged(&manifest, folder, &found, progress));
    }
    report.variants = variants(&manifest, folder, &found);
    report.absent = absent(&report.variants);
    report.problems = found.into_iter().map(Problem::from).collect();
    report
}

/// Every path that the manifest names.
fn names(manifest: &Manifest) -> BTreeSet<&str> {
    let of_models =
        manifest.models.values().flat_map(|entry| entry.formats.values().flatten().chain(&entry.golden));
    of_models.chain(manifest.files.keys()).map(String::as_str).collect()
}

/// Files whose size is right and whose hash is not.
fn damaged(
    manifest: &Manifest,
    folder: &Path,
    found: &[BundleError],
    progress: &dyn Fn(u64, u64),
) -> Vec<BundleError> {
    let whole: Vec<&str> =
        names(manifest).into_iter().filter(|name| intact(manifest, folder, name, found)).collect();
    let all = whole.iter().filter_map(|name| manifest.files.get(*name)).map(|listed| listed.bytes).sum();
    let mut done = 0;
    let mut damaged = Vec::new();
    for name in whole {
        let mut tell = |read| {
            done += read;
            progress(done, all);
            Ok(())
        };
        damaged.extend(verify::file::<BundleError>(manifest, folder, name, &mut tell).err());
    }
    damaged
}

/// Whether the file `name` is listed, and nothing was found about it.
fn intact(manifest: &Manifest, folder: &Path, name: &str, found: &[BundleError]) -> bool {
    manifest.files.contains_key(name)
        && check::place(folder, name).is_ok_and(|path| found.iter().all(|error| error.file() != path))
}

fn variants(manifest: &Manifest, folder: &Path, found: &[BundleError]) -> Vec<Variant> {
    let whole = |model: Model, format: &str, precision: &str| {
        manifest
            .files_of(model, format, precision)
            .is_some_and(|files| files.iter().all(|name| intact(manifest, folder, name, found)))
    };
    let mut variants = Vec::new();
    for format in RUNNABLE {
        for precision in ["fp32", "fp16"] {
            let models: Vec<Model> =
                Model::ALL.into_iter().filter(|model| whole(*model, format, precision)).collect();
            if models.is_empty() {
                continue;
            }
            let holds = |network| models.contains(&Model::Network(network));
            // As `Bundle::chosen` takes them: fp32 does beside an fp16 UNet and decoder.
            let holds_in_full = |network| holds(network) || whole(Model::Network(network), format, "fp32");
            let decodes = holds(Network::VaeDecoder) || models.contains(&Model::TaesdDecoder);
            variants.push(Variant {
                format,
                precision,
                speaks: holds_in_full(Network::WhisperEncoder) && holds(Network::Unet) && decodes,
                prepares: holds_in_full(Network::VaeEncoder),
                models: models.into_iter().map(Model::name).collect(),
            });
        }
    }
    variants
}

fn absent(variants: &[Variant]) -> Vec<Absent> {
    let there = |model: Model| variants.iter().any(|variant| variant.models.contains(&model.name()));
    let decodes = there(Model::TaesdDecoder);
    Model::ALL
        .into_iter()
        // The generator is only a faster form of two others.
        .filter(|model| *model != Model::Generator && !there(*model))
        .map(|model| {
            let (checkpoint, does) = sources::of(model);
            let required = match model {
                Model::Network(Network::VaeDecoder) => !decodes,
                Model::Network(Network::WhisperEncoder | Network::Unet | Network::VaeEncoder) => true,
                _ => false,
            };
            Absent { model: model.name(), does, required, checkpoint }
        })
        .collect()
}

impl From<BundleError> for Problem {
    fn from(error: BundleError) -> Self {
        Self { code: error.code().name(), file: error.file().to_owned(), what: error.what().to_owned() }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weights = self.weights.as_deref().unwrap_or("not readable");
        writeln!(f, "bundle {}: {weights}", self.folder.display())?;
        for Problem { file, what, .. } in &self.problems {
            writeln!(f, "  wrong    {}: {what}", file.display())?;
        }
        for variant in &self.variants {
            let can = match (variant.speaks, variant.prepares) {
                (true, true) => "speaks and prepares",
                (true, false) => "speaks",
                (false, true) => "prepares",
                (false, false) => "neither speaks nor prepares",
            };
            let (format, precision) = (variant.format, variant.precision);
            writeln!(f, "  has      {format} {precision} {can}: {}", variant.models.join(", "))?;
        }
        for Absent { model, does, required, checkpoint } in &self.absent {
            let word = if *required { "missing " } else { "optional" };
            let Checkpoint { file, published, sha256 } = checkpoint;
            write!(f, "  {word} {model}, which {does}: exported from {file} ({published}")?;
            match sha256 {
                Some(hash) => writeln!(f, ", sha256 {hash})")?,
                None => writeln!(f, ")")?,
            }
        }
        let hashes = if self.hashed {
            "sizes and hashes were compared"
        } else {
            "sizes were compared, hashes were not"
        };
        match self.problems.len() {
            0 => writeln!(f, "  nothing wrong; {hashes}"),
            1 => writeln!(f, "  1 thing is wrong; {hashes}"),
            count => writeln!(f, "  {count} things are wrong; {hashes}"),
        }
    }
}
