//! Whether a bundle is what this pipeline takes: its constants, its networks' ports, its files.
//!
//! Each check adds what it finds, so that one reader can stop at the first and another can show all.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::BundleError;
use super::manifest::{Axis, DeclaredPort, Listed, MANIFEST, Manifest};
use super::model::Model;
use super::ports::{Dim, Port, Values};
use crate::networks::{FACE, FEATURES, HIDDEN_STATES, LATENT, LATENT_CHANNELS, WINDOW_STEPS};

/// The factor between the VAE's latents and those of the UNet; the default of diffusers' `AutoencoderKL`.
pub const SCALING_FACTOR: f64 = 0.18215;
/// Encoder steps a second.
pub const FEATURES_PER_SECOND: usize = 50;

/// What a caller may leave out because the networks do it themselves.
const FOLDED: [&str; 4] = ["timestep", "audio_positions", "scaling_factor", "image_range"];

/// What the manifest says against what this pipeline is; no file is touched.
pub(super) fn manifest(manifest: &Manifest, path: &Path) -> Vec<BundleError> {
    let mut found = Vec::new();
    let mut say = |what: String| found.push(BundleError::corrupt(path, what));
    configs(manifest, &mut say);
    if !["fp32", "fp16"].contains(&manifest.dtype.as_str()) {
        say(format!("dtype {:?}, where \"fp32\" or \"fp16\" was expected", manifest.dtype));
    }
    pipeline(manifest, &mut say);
    for model in Model::ALL {
        let Some(entry) = manifest.model(model) else { continue };
        let name = model.name();
        let interface = model.interface();
        ports(&format!("models.{name}.inputs"), interface.inputs, &entry.inputs, &mut say);
        ports(&format!("models.{name}.outputs"), interface.outputs, &entry.outputs, &mut say);
    }
    found
}

/// Whether each of `names`, paths of the manifest, is there with its size. A name is looked at once.
pub(super) fn files<'a>(
    manifest: &Manifest,
    folder: &Path,
    names: impl IntoIterator<Item = &'a str>,
) -> Vec<BundleError> {
    let names: BTreeSet<&str> = names.into_iter().collect();
    names.into_iter().filter_map(|name| file(manifest, folder, name).err()).collect()
}

fn file(manifest: &Manifest, folder: &Path, name: &str) -> Result<(), BundleError> {
    let path = place(folder, name)?;
    let expected = listed(manifest, folder, name)?.bytes;
    let found = match fs::metadata(&path) {
        Ok(found) if found.is_file() => found.len(),
        Ok(_) => return Err(BundleError::corrupt(path, "not a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BundleError::missing(path, format!("not there; {expected} bytes were expected")));
        }
        Err(error) => return Err(BundleError::missing(path, error.to_string())),
    };
    match found {
        _ if found == expected => Ok(()),
        _ if found < expected => {
            Err(BundleError::corrupt(path, format!("cut: {found} bytes where {expected} were expected")))
        }
        _ => Err(BundleError::corrupt(path, format!("{found} bytes where {expected} were expected"))),
    }
}

/// Size and hash of the file `name`.
pub(super) fn listed<'a>(
    manifest: &'a Manifest,
    folder: &Path,
    name: &str,
) -> Result<&'a Listed, BundleError> {
    manifest.files.get(name).ok_or_else(|| {
        let what = format!("{name:?} has no size and hash under `files`");
        BundleError::corrupt(folder.join(MANIFEST), what)
    })
}

/// Where the file that the manifest calls `name` lies: below the folder. What an operator put there as a link
/// is followed.
pub(super) fn place(folder: &Path, name: &str) -> Result<PathBuf, BundleError> {
    let path = Path::new(name);
    // Backslashes and colons would lead out of the folder on another system.
    let plain = !name.is_empty()
        && !name.contains(|c: char| matches!(c, '\\' | ':') || c.is_control())
        && path.components().all(|part| matches!(part, Component::Normal(_)));
    if plain {
        Ok(folder.join(path))
    } else {
        let what = format!("the path {name:?} is not one below the bundle's folder");
        Err(BundleError::corrupt(folder.join(MANIFEST), what))
    }
}

/// The numbers that a network's shapes cannot show.
fn configs(manifest: &Manifest, say: &mut impl FnMut(String)) {
    let Some(unet) = manifest.configs.get("unet").filter(|unet| unet.is_object()) else { return };
    let number = |key: &str| unet.get(key).and_then(Value::as_u64);
    let (inputs, outputs) = (number("in_channels"), number("out_channels"));
    if (inputs, outputs) == (Some(32), Some(16)) {
        say("configs.unet has 32 channels in and 16 out, where MuseTalk has 8 and 4: this is the wrong musetalk.json \
             that was published for some days in March 2025; fetch it again"
            .to_owned());
        return;
    }
    for (key, found, expected) in [
        ("in_channels", inputs, 2 * LATENT_CHANNELS),
        ("out_channels", outputs, LATENT_CHANNELS),
        ("cross_attention_dim", number("cross_attention_dim"), FEATURES),
    ] {
        if let Some(found) = found.filter(|found| *found != expected as u64) {
            say(format!("configs.unet.{key} is {found}, not {expected}"));
        }
    }
}

/// The constants that are compiled in here.
fn pipeline(manifest: &Manifest, say: &mut impl FnMut(String)) {
    for (key, expected) in [
        ("image_size", FACE as f64),
        ("latent_channels", LATENT_CHANNELS as f64),
        ("latent_size", LATENT as f64),
        ("scaling_factor", SCALING_FACTOR),
        ("feature_dim", FEATURES as f64),
        ("hidden_states", HIDDEN_STATES as f64),
        ("window_steps", WINDOW_STEPS as f64),
        ("features_per_second", FEATURES_PER_SECOND as f64),
        ("unet_timestep", 0.0),
    ] {
        match manifest.pipeline.get(key) {
            // The factor may have been through f32.
            Some(found) if found.as_f64().is_some_and(|found| (found - expected).abs() <= 1e-7) => {}
            Some(found) => say(format!("pipeline.{key} is {found}, not {expected}")),
            None => say(format!("pipeline.{key} is missing; {expected} was expected")),
        }
    }
    let folded: Option<BTreeSet<&str>> = manifest
        .pipeline
        .get("folded")
        .and_then(Value::as_array)
        .and_then(|names| names.iter().map(Value::as_str).collect());
    match folded {
        Some(folded) if folded == BTreeSet::from(FOLDED) => {}
        Some(folded) => say(format!("pipeline.folded is {folded:?}, where {FOLDED:?} was expected")),
        None => say(format!("pipeline.folded is not a list of names; {FOLDED:?} was expected")),
    }
}

fn ports(place: &str, expected: &[Port], found: &[DeclaredPort], say: &mut impl FnMut(String)) {
    if expected.len() != found.len() {
        return say(format!("{place} has {} entries, not {}", found.len(), expected.len()));
    }
    for (i, (port, declared)) in expected.iter().zip(found).enumerate() {
        let place = format!("{place}[{i}]");
        if declared.name != port.name {
            say(format!("{place} is called {:?}, not {:?}", declared.name, port.name));
        } else if !shape_fits(port, &declared.shape) {
            say(format!("{place} is {}, where {port} was expected", Shown(declared)));
        }
        let dtypes: &[&str] = match port.values {
            Values::Float => &["f32", "f16"],
            Values::Byte => &["u8"],
        };
        if !dtypes.contains(&declared.dtype.as_str()) {
            say(format!("{place} ({}) holds {:?}, not {}", port.name, declared.dtype, dtypes.join(" or ")));
        }
    }
}

fn shape_fits(port: &Port, declared: &[Axis]) -> bool {
    declared.len() == port.shape.len()
        && port.shape.iter().zip(declared).all(|(dim, axis)| match (dim, axis) {
            (Dim::Fixed(expected), Axis::Fixed(found)) => expected == found,
            (Dim::Batch | Dim::Any, Axis::Named(_)) => true,
            (Dim::Any, Axis::Fixed(found)) => *found > 0,
            (Dim::Fixed(_), Axis::Named(_)) | (Dim::Batch, Axis::Fixed(_)) => false,
        })
}

/// A declared port, like `audio [batch, 50, 384]`.
struct Shown<'a>(&'a DeclaredPort);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [", self.0.name)?;
        for (i, axis) in self.0.shape.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            match axis {
                Axis::Fixed(length) => write!(f, "{length}")?,
                Axis::Named(name) => write!(f, "{}", name.escape_debug())?,
            }
        }
        f.write_str("]")
    }
}
