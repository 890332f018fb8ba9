//! A bundle: a folder with the networks of one MuseTalk, each in one or more formats, and `manifest.json`.
//!
//! In: the folder. Out: files whose sizes are right and whose shapes are declared to be ours, or one line
//! that says what is wrong with which file. Nothing is fetched from anywhere.
//!
//! ```text
//! bundle/
//!   manifest.json            kind, constants, ports, files with sizes and SHA-256
//!   unet.onnx  unet.pt       each network by format; `onnx_fp16` and the like are further formats
//!   golden/unet.safetensors  inputs and outputs to compare with
//! ```

mod check;
mod chosen;
mod error;
mod manifest;
mod model;
pub mod ports;
mod report;
mod sources;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use check::{FEATURES_PER_SECOND, SCALING_FACTOR};
pub use error::BundleError;
pub use manifest::{Axis, DeclaredPort, Entry, KIND, Listed, MANIFEST, Manifest, VERSION};
pub use model::Model;
pub use report::{Absent, Problem, Report, Variant, examine};
pub use sources::Checkpoint;
pub use verify::sha256;

use crate::networks::Network;
use crate::settings::Decoder;

/// A bundle whose manifest was read and whose files of one format are there. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bundle {
    folder: PathBuf,
    format: String,
    decoder: Decoder,
    manifest: Arc<Manifest>,
}

impl Bundle {
    /// Reads the manifest of `folder`, and looks whether every file that it names for `format` has its size.
    ///
    /// The decoder is MuseTalk's own until [`Bundle::with_decoder`] chooses.
    ///
    /// # Errors
    /// Names the first file that is missing, cut, or of a wrong shape, and the first network that is missing
    /// of those that speech needs.
    pub fn open(folder: &Path, format: &str) -> Result<Self, BundleError> {
        let manifest = Manifest::read(folder)?;
        let path = folder.join(MANIFEST);
        first(check::manifest(&manifest, &path))?;
        let bundle = Self {
            folder: folder.to_owned(),
            format: format.to_owned(),
            decoder: Decoder::default(),
            manifest: Arc::new(manifest),
        };
        first(check::files(&bundle.manifest, folder, bundle.names()))?;
        for network in [Network::WhisperEncoder, Network::Unet] {
            bundle.require(Model::Network(network))?;
        }
        if !bundle.holds(Model::TaesdDecoder) {
            bundle.require(Model::Network(Network::VaeDecoder))?;
        }
        Ok(bundle)
    }

    /// The same bundle with `decoder` as its [`Network::VaeDecoder`].
    ///
    /// # Errors
    /// When it is not there; the message says which setting would do.
    pub fn with_decoder(mut self, decoder: Decoder) -> Result<Self, BundleError> {
        let model = Model::of(Network::VaeDecoder, decoder);
        if self.holds(model) {
            self.decoder = decoder;
            return Ok(self);
        }
        let (wanted, other) = match decoder {
            Decoder::SdVae => ("sd-vae", "taesd"),
            Decoder::Taesd => ("taesd", "sd-vae"),
        };
        Err(BundleError::missing(
            self.folder.join(MANIFEST),
            format!(
                "no {} as {}, which decoder = \"{wanted}\" needs; decoder = \"{other}\" would do",
                model.name(),
                self.format
            ),
        ))
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The format that was looked at: `onnx` or `torchscript`.
    pub fn format(&self) -> &str {
        &self.format
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether it has `network`, in any precision.
    pub fn has(&self, network: Network) -> bool {
        self.holds(Model::of(network, self.decoder))
    }

    /// The file of `network` in `format` (`onnx`, `torchscript`, …) and `precision` (`fp32`, `fp16`), if the
    /// bundle has it. External data lies beside it under the name that it knows.
    pub fn file(&self, network: Network, format: &str, precision: &str) -> Option<PathBuf> {
        self.main_file(Model::of(network, self.decoder), format, precision)
    }

    /// The golden tensors of `name`, a model's or another part's, if the bundle has them. Those that are
    /// listed are looked at like any file, and their hash is compared.
    ///
    /// # Errors
    /// When they are listed and not there, or not what is listed.
    pub fn golden(&self, name: &str) -> Result<Option<PathBuf>, BundleError> {
        let model = self.manifest.models.get(name).and_then(|entry| entry.golden.clone());
        let file = model.unwrap_or_else(|| format!("golden/{name}.safetensors"));
        let path = check::place(&self.folder, &file)?;
        if !self.manifest.files.contains_key(&file) {
            return Ok(path.is_file().then_some(path));
        }
        first(check::files(&self.manifest, &self.folder, [file.as_str()]))?;
        verify::files::<BundleError>(&self.manifest, &self.folder, [file.as_str()], &|_, _| Ok(()))?;
        Ok(Some(path))
    }

    /// Compares all files of the format with their SHA-256. `progress` hears bytes done and bytes in all,
    /// each megabyte, and can end it with an error of its own.
    ///
    /// # Errors
    /// Names the first file that differs, or passes on what `progress` said.
    pub fn verify<E: From<BundleError>>(
        &self,
        progress: &dyn Fn(u64, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        verify::files(&self.manifest, &self.folder, self.names(), progress)
    }

    /// Compares the files of `network` with their sizes and SHA-256: before one is opened long after the others were
    /// compared, since what it makes of an avatar is kept under the hash that is listed.
    ///
    /// # Errors
    /// Names the first file that differs.
    pub fn verify_network(&self, network: Network) -> Result<(), BundleError> {
        let names: Vec<_> = self.names_of([Model::of(network, self.decoder)]).collect();
        // As many bytes as are listed are hashed: one that grew is found by its size.
        first(check::files(&self.manifest, &self.folder, names.iter().copied()))?;
        verify::files(&self.manifest, &self.folder, names, &|_, _| Ok(()))
    }

    /// What an avatar's latents and masks depend on: the listed hashes of encoder, parsing, landmarks and
    /// detector, and `settings`, the bytes of whatever else changes them. Equal for both runtimes on one
    /// bundle.
    pub fn fingerprint(&self, settings: &[u8]) -> [u8; 32] {
        verify::fingerprint(&self.manifest, settings)
    }

    /// Paths of the manifest that belong to the format, in any precision.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.names_of(Model::ALL)
    }

    /// Those of them that are of `models`.
    fn names_of(&self, models: impl IntoIterator<Item = Model>) -> impl Iterator<Item = &str> {
        models
            .into_iter()
            .filter_map(|model| self.manifest.model(model))
            .flat_map(|entry| &entry.formats)
            .filter(|(key, _)| of_format(key, &self.format))
            .flat_map(|(_, names)| names)
            .map(String::as_str)
    }

    fn main_file(&self, model: Model, format: &str, precision: &str) -> Option<PathBuf> {
        let name = self.manifest.files_of(model, format, precision)?.first()?;
        // Files of another format than the one that was opened have not been looked at.
        check::place(&self.folder, name).ok()
    }

    fn holds(&self, model: Model) -> bool {
        ["fp32", "fp16"]
            .iter()
            .any(|precision| self.manifest.files_of(model, &self.format, precision).is_some())
    }

    fn require(&self, model: Model) -> Result<(), BundleError> {
        if self.holds(model) {
            return Ok(());
        }
        let variants: Vec<String> = self
            .manifest
            .variants_of(model)
            .into_iter()
            .map(|(format, precision)| format!("{format} {precision}").escape_debug().to_string())
            .collect();
        let (name, format) = (model.name(), &self.format);
        let what = if variants.is_empty() {
            format!("no {name}, which is needed to speak")
        } else {
            format!("no {name} as {format} fp32 or fp16; it is there as {}", variants.join(", "))
        };
        Err(BundleError::missing(self.folder.join(MANIFEST), what))
    }
}

fn first(found: Vec<BundleError>) -> Result<(), BundleError> {
    found.into_iter().next().map_or(Ok(()), Err)
}

/// Whether `key` of a model's formats is `format` itself, or `format` in a precision of its name.
fn of_format(key: &str, format: &str) -> bool {
    key.strip_prefix(format).is_some_and(|rest| ["", "_fp32", "_fp16"].contains(&rest))
}
