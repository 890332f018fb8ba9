//! `manifest.json`: what a bundle says of itself, parsed.
//!
//! Fields that this version does not know are passed over, so that a bundle may say more than its reader asks
//! for. What the numbers mean, and whether they are ours, is looked at by `check`.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use super::BundleError;
use super::model::Model;
use crate::file;

/// The manifest's name in a bundle.
pub const MANIFEST: &str = "manifest.json";
/// The version of the manifest that is read.
pub const VERSION: u64 = 1;
/// What a bundle of ours says it is.
pub const KIND: &str = "musetalk";
/// A manifest has some tens of kilobytes; what is larger is something else.
const LARGEST: u64 = 4 << 20;

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Manifest {
    /// Where the weights are from: `random`, or the name of the checkpoint.
    #[serde(default)]
    pub weights: String,
    /// The size of random networks: `nano`, `tiny`, `small` or `full`.
    #[serde(default)]
    pub preset: String,
    /// What the random weights were drawn with.
    #[serde(default)]
    pub seed: Option<u64>,
    /// `fp32` or `fp16`: the precision of formats that do not name theirs.
    #[serde(default = "fp32")]
    pub dtype: String,
    /// The pipeline's constants.
    pub pipeline: Map<String, Value>,
    /// The configurations that the networks were built with.
    #[serde(default)]
    pub configs: Map<String, Value>,
    /// The models by name.
    pub models: BTreeMap<String, Entry>,
    /// Every file, by its path below the bundle's folder with `/` between parts.
    pub files: BTreeMap<String, Listed>,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Entry {
    /// What goes in.
    pub inputs: Vec<DeclaredPort>,
    /// What comes out.
    pub outputs: Vec<DeclaredPort>,
    /// Files by format (`onnx`, `torchscript`, …, or with a precision, `onnx_fp16`); the first is the one to
    /// open.
    pub formats: BTreeMap<String, Vec<String>>,
    /// Where it differs from the bundle's.
    #[serde(default)]
    pub dtype: Option<String>,
    /// Inputs and outputs to compare with.
    #[serde(default)]
    pub golden: Option<String>,
}

/// An input or output as the manifest has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DeclaredPort {
    /// Its name in the files.
    pub name: String,
    /// Its axes.
    pub shape: Vec<Axis>,
    /// `f32`, `f16` or `u8`.
    #[serde(default = "f32")]
    pub dtype: String,
}

/// One axis of a declared port.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Axis {
    /// Of this length.
    Fixed(usize),
    /// Of any length; those of one name are equal.
    Named(String),
}

/// A file as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Listed {
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    #[serde(deserialize_with = "sha256")]
    pub sha256: [u8; 32],
}

/// What is looked at before anything else, so that a stranger is called a stranger.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    kind: Value,
    #[serde(default)]
    manifest_version: Value,
}

impl Manifest {
    /// Reads `manifest.json` of `folder`.
    ///
    /// # Errors
    /// When there is no folder, no manifest, or one that is not a file, not JSON, not ours, newer, or of
    /// another form.
    pub fn read(folder: &Path) -> Result<Self, BundleError> {
        let path = folder.join(MANIFEST);
        let mut text = String::new();
        let size = match file::open(&path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text)) {
            Ok(size) => size as u64,
            Err(error) => return Err(unreadable(folder, &path, &error)),
        };
        if size > LARGEST {
            let what = format!("a manifest of more than {LARGEST} bytes, where some thousands are usual");
            return Err(BundleError::corrupt(path, what));
        }
        Self::parse(&text, &path)
    }

    /// Parses the manifest's text; `path` is what errors name.
    ///
    /// # Errors
    /// When it is not JSON, not ours, newer, or of another form.
    pub fn parse(text: &str, path: &Path) -> Result<Self, BundleError> {
        let head: Head = serde_json::from_str(text)
            .map_err(|error| BundleError::corrupt(path, format!("not a JSON object: {error}")))?;
        match head.kind.as_str() {
            Some(KIND) => {}
            Some(kind) => {
                return Err(BundleError::unfit(path, format!("a bundle of kind {kind:?}, not {KIND:?}")));
            }
            None => {
                return Err(BundleError::unfit(path, format!("not a bundle: its `kind` is not {KIND:?}")));
            }
        }
        match head.manifest_version.as_u64() {
            Some(VERSION) => {}
            Some(newer) if newer > VERSION => {
                let what =
                    format!("manifest_version {newer}: this Lipcast reads {VERSION} and must be updated");
                return Err(BundleError::unfit(path, what));
            }
            _ => {
                let found = &head.manifest_version;
                return Err(BundleError::corrupt(path, format!("manifest_version {found}, not {VERSION}")));
            }
        }
        serde_json::from_str(text).map_err(|error| BundleError::corrupt(path, error.to_string()))
    }

    /// What it says of `model`.
    pub fn model(&self, model: Model) -> Option<&Entry> {
        self.models.get(model.name())
    }

    /// The files of `model` in `format` and `precision`, the one to open first.
    pub fn files_of(&self, model: Model, format: &str, precision: &str) -> Option<&[String]> {
        let entry = self.model(model)?;
        // A format without files is as good as none.
        let files = |key: &str| entry.formats.get(key).filter(|files| !files.is_empty()).map(Vec::as_slice);
        files(&format!("{format}_{precision}"))
            .or_else(|| files(format).filter(|_| self.own_precision(entry) == precision))
    }

    /// The formats that have files of `model`, each with its precision.
    pub fn variants_of(&self, model: Model) -> Vec<(&str, &str)> {
        let Some(entry) = self.model(model) else { return Vec::new() };
        let there = entry.formats.iter().filter(|(_, files)| !files.is_empty());
        there
            .map(|(key, _)| match key.rsplit_once('_') {
                Some((format, precision @ ("fp32" | "fp16"))) => (format, precision),
                _ => (key.as_str(), self.own_precision(entry)),
            })
            .collect()
    }

    /// The precision of formats that do not name theirs.
    fn own_precision<'a>(&'a self, entry: &'a Entry) -> &'a str {
        entry.dtype.as_deref().unwrap_or(&self.dtype)
    }

    /// What kind of weights these are, in words.
    pub fn describe(&self) -> String {
        let (weights, preset) = (self.weights.escape_debug(), self.preset.escape_debug());
        match (self.weights.is_empty(), self.preset.is_empty(), self.seed) {
            (true, true, _) => "weights of unknown origin".to_owned(),
            (_, true, _) => format!("{weights} weights"),
            (true, ..) => format!("weights of preset {preset}"),
            (.., Some(seed)) => format!("{weights} weights, preset {preset}, seed {seed}"),
            (.., None) => format!("{weights} weights, preset {preset}"),
        }
    }
}

fn unreadable(folder: &Path, path: &Path, error: &io::Error) -> BundleError {
    match error.kind() {
        _ if folder.as_os_str().is_empty() => {
            BundleError::unfit("bundle", "this setting names a folder, and is empty")
        }
        io::ErrorKind::NotFound if !folder.exists() => BundleError::missing(folder, "no such folder"),
        io::ErrorKind::NotFound
            if folder.join("musetalkV15").is_dir() || folder.join("unet.pth").is_file() =>
        {
            let what = "not there: these are the authors' checkpoints, of which tools/musetalk/export_musetalk.py makes a bundle";
            BundleError::missing(path, what)
        }
        io::ErrorKind::NotFound => BundleError::missing(path, "not there, so this folder is not a bundle"),
        io::ErrorKind::NotADirectory => BundleError::unfit(folder, "a file, where a bundle is a folder"),
        io::ErrorKind::InvalidData => BundleError::corrupt(path, "not a text in UTF-8"),
        // It is there, and not a file.
        io::ErrorKind::Other => BundleError::corrupt(path, error.to_string()),
        _ => BundleError::missing(path, error.to_string()),
    }
}

fn fp32() -> String {
    "fp32".to_owned()
}

fn f32() -> String {
    "f32".to_owned()
}

fn sha256<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.as_bytes();
    let mut hash = [0; 32];
    let valid = digits.len() == 64
        && hash.iter_mut().zip(digits.chunks_exact(2)).all(|(byte, pair)| {
            let value = |digit: u8| (digit as char).to_digit(16);
            match (value(pair[0]), value(pair[1])) {
                (Some(high), Some(low)) => {
                    *byte = (high << 4 | low) as u8;
                    true
                }
                _ => false,
            }
        });
    if valid { Ok(hash) } else { Err(de::Error::custom("sha256 is not 64 hexadecimal digits")) }
}
