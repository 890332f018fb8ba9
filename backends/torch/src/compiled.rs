//! UNet and decoder compiled ahead of time, each for one kind of GPU and one batch size.
//!
//! `tools/musetalk/compile_for_gpu.py` writes packages into a bundle's folder, with `compiled.json` beside them, which
//! says what they were made for. Whatever does not fit is left aside: TorchScript does the same, slower.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use lipcast_musetalk::bundle::sha256;
use lipcast_musetalk::file;
use lipcast_musetalk::networks::{Network, all_finite};
use lipcast_musetalk::settings::Decoder;
use lipcast_torch_native::gpu::{self, Gpu};
use lipcast_torch_native::{Package, inference, torch_version};
use serde::Deserialize;
use tch::{Device, Kind};

use crate::error::said;
use crate::script;
use crate::tensors::{input_shapes, to_device, to_host, wave};

/// The list of packages in a bundle's folder.
pub(crate) const LIST: &str = "compiled.json";

/// The version of the list that is read.
const VERSION: u32 = 2;
/// Most bytes of a list.
const LONGEST: u64 = 1 << 20;

/// Networks that packages are read for: those that every frame runs.
const NETWORKS: [Network; 2] = [Network::Unet, Network::VaeDecoder];

/// What packages were made for.
#[derive(Debug, Deserialize)]
struct List {
    compiled_version: u32,
    /// The GPU's name, for people; `cpu` when it was only tried out.
    device: String,
    /// Its compute capability: the code runs on this one alone.
    capability: Option<(u32, u32)>,
    /// The version of torch that compiled it, perhaps with its CUDA, like `2.11.0+cu130`.
    torch: String,
    /// `sd-vae` or `taesd`.
    decoder: Decoder,
    /// Of inputs and weights: `fp16` or `fp32`.
    dtype: String,
    /// File names by network and batch size.
    packages: BTreeMap<String, BTreeMap<usize, String>>,
    /// Files by name.
    files: BTreeMap<String, File>,
}

#[derive(Debug, Deserialize)]
struct File {
    bytes: u64,
    /// In hexadecimal digits.
    sha256: String,
}

/// The packages that are open, by network and batch size.
pub(crate) type Packages = BTreeMap<Network, BTreeMap<usize, Package>>;

/// Opens those of `folder` that fit, for the batch sizes in `buckets`, compared with their hashes if `verify` says so.
/// Without a list there are none; when one does not fit, `log` hears why.
pub(crate) fn open(
    folder: &Path,
    device: Device,
    kind: Kind,
    decoder: Decoder,
    buckets: &[usize],
    verify: bool,
    log: &dyn Fn(&str),
) -> Packages {
    let Device::Cuda(index) = device else { return Packages::new() };
    let list = folder.join(LIST);
    let text = match text_of(&list) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Packages::new(),
        Err(error) => {
            log(&format!("{}: {error}; TorchScript is used", list.display()));
            return Packages::new();
        }
    };
    let fitting = || -> Result<_, String> {
        let list = read(&text)?;
        fits(&list, &gpu::describe(index)?, kind, decoder)?;
        Ok(list)
    };
    let list = match fitting() {
        Ok(list) => list,
        Err(reason) => {
            log(&format!("{}: {reason}; TorchScript is used", list.display()));
            return Packages::new();
        }
    };
    let mut open = Packages::new();
    for network in NETWORKS {
        let listed = list.packages.get(network.name()).into_iter().flatten();
        for (&batch, name) in listed.filter(|(batch, _)| buckets.contains(batch)) {
            let path = folder.join(name);
            let opened = whole(&path, list.files.get(name), verify)
                .and_then(|()| Package::open(&path, Some(index)))
                .and_then(|package| tried(package, network, batch, kind, device));
            match opened {
                Ok(package) => _ = open.entry(network).or_default().insert(batch, package),
                Err(reason) => {
                    let reason = said(&path.display().to_string(), &reason);
                    log(&format!("{reason}; TorchScript is used for batches of {batch}"));
                }
            }
        }
    }
    open
}

/// What a file says that is to be a list.
fn text_of(list: &Path) -> io::Result<String> {
    let mut text = String::new();
    let bytes = file::open(list)?.take(LONGEST + 1).read_to_string(&mut text)? as u64;
    if bytes > LONGEST { Err(io::Error::other("far longer than a list")) } else { Ok(text) }
}

/// The package, once it gave what its network gives.
fn tried(
    mut package: Package,
    network: Network,
    batch: usize,
    kind: Kind,
    device: Device,
) -> Result<Package, String> {
    let ran = inference(|| {
        let input = |shape: &Vec<i64>| {
            let values = shape.iter().product::<i64>() as usize;
            to_device(&wave(values), shape, device, kind)
        };
        let inputs: Result<Vec<_>, _> = input_shapes(network, batch).iter().map(input).collect();
        let inputs = inputs.map_err(|error| error.to_string())?;
        let outputs = package.run(&inputs.iter().collect::<Vec<_>>())?;
        let outputs = script::of_its_shapes(network, batch, outputs)?;
        let finite = outputs.iter().map(|output| to_host(output).map(|output| all_finite(&output.data)));
        match finite.collect::<Result<Vec<_>, _>>() {
            Ok(finite) if finite.iter().all(|finite| *finite) => Ok(()),
            Ok(_) => Err("it gave NaN or infinity in its first run".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    });
    ran.map(|()| package)
}

/// Reads a list; its names are files of the folder and nothing else.
fn read(text: &str) -> Result<List, String> {
    let list: List = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let plain = |name: &&String| Path::new(name).file_name().is_some_and(|file| file == name.as_str());
    if let Some(name) = list.packages.values().flat_map(BTreeMap::values).find(|name| !plain(name)) {
        return Err(format!("`{name}` is not the name of a file"));
    }
    match list.packages.keys().find(|name| NETWORKS.iter().all(|network| network.name() != name.as_str())) {
        Some(name) => Err(format!("`{name}` is not a network that is compiled")),
        None => Ok(list),
    }
}

/// Whether a package is as it was listed: by its length, and by its hash where that is asked for.
fn whole(path: &Path, listed: Option<&File>, verify: bool) -> Result<(), String> {
    let file = listed.ok_or_else(|| format!("{LIST} does not list it"))?;
    let opened = file::open(path).and_then(|file| file.metadata());
    let found = opened.map_err(|error| error.to_string())?.len();
    if file.bytes != found {
        return Err(format!("it has {found} bytes, and should have {}", file.bytes));
    }
    if verify && sha256(path).map_err(|error| error.to_string())? != file.sha256 {
        return Err("damaged: its sha256 is another one".to_owned());
    }
    Ok(())
}

/// Whether packages can be run here.
fn fits(list: &List, gpu: &Gpu, kind: Kind, decoder: Decoder) -> Result<(), String> {
    if list.compiled_version != VERSION {
        return Err(format!(
            "version {} of the list, and this reads version {VERSION}",
            list.compiled_version
        ));
    }
    if list.capability != Some(gpu.capability) {
        let made = list.capability.map_or(String::new(), |(a, b)| format!(" (capability {a}.{b})"));
        let (a, b) = gpu.capability;
        return Err(format!("compiled for {}{made}, and this is {} ({a}.{b})", list.device, gpu.name));
    }
    let version = |text: &str| text.split('+').next().unwrap_or(text).to_owned();
    if version(&list.torch) != torch_version() {
        return Err(format!("compiled by torch {}, and this is libtorch {}", list.torch, torch_version()));
    }
    if list.decoder != decoder {
        return Err(format!("compiled with decoder {:?}, and {decoder:?} is set", list.decoder));
    }
    let precision = crate::script::precision(kind);
    if list.dtype != precision {
        return Err(format!("compiled in {}, and {precision} is set", list.dtype));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    fn list() -> Value {
        json!({
            "compiled_version": 2, "device": "NVIDIA H100 80GB HBM3", "capability": [9, 0], "cuda": "13.0",
            "torch": "2.11.0+cu130", "decoder": "sd-vae", "dtype": "fp16",
            "packages": { "unet": { "1": "unet.b1.fp16.pt2" }, "vae_decoder": { "8": "vae_decoder.b8.fp16.pt2" } },
            "files": {
                "unet.b1.fp16.pt2": { "bytes": 5, "sha256": "00" },
                "vae_decoder.b8.fp16.pt2": { "bytes": 6, "sha256": "01" },
            },
        })
    }

    fn verdict(list: &Value) -> Result<(), String> {
        let gpu = Gpu { name: "NVIDIA H100 PCIe".to_owned(), capability: (9, 0) };
        fits(&read(&list.to_string())?, &gpu, Kind::Half, Decoder::SdVae)
    }

    #[test]
    fn packages_fit_the_capability_version_decoder_and_precision_that_they_were_made_for() {
        assert_eq!(verdict(&list()), Ok(()));
        for (key, value, word) in [
            ("compiled_version", json!(1), "version 1"),
            ("capability", json!([8, 9]), "capability 8.9"),
            ("capability", Value::Null, "H100"),
            ("torch", json!("2.12.0+cu130"), "torch 2.12.0+cu130"),
            ("decoder", json!("taesd"), "Taesd"),
            ("dtype", json!("fp32"), "fp32"),
            ("packages", json!({ "unet": { "1": "../unet.pt2" } }), "`../unet.pt2`"),
            ("packages", json!({ "unet": { "one": "unet.pt2" } }), "number"),
            ("packages", json!({ "generator": { "1": "generator.pt2" } }), "`generator`"),
        ] {
            let mut list = list();
            list[key] = value;
            let error = verdict(&list).expect_err(key);
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_package_that_was_cut_or_is_not_listed_is_not_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("unet.b1.fp16.pt2");
        let sha256 = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5".to_owned();
        let file = Some(&File { bytes: 5, sha256 });
        assert!(whole(&path, file, true).is_err());
        for (content, unverified, verified) in [
            ("12345", Ok(()), Ok(())),
            ("12346", Ok(()), Err("damaged: its sha256 is another one")),
            ("1234", Err("it has 4 bytes, and should have 5"), Err("it has 4 bytes, and should have 5")),
        ] {
            fs::write(&path, content).expect("it can be written");
            assert_eq!(whole(&path, file, false), unverified.map_err(str::to_owned));
            assert_eq!(whole(&path, file, true), verified.map_err(str::to_owned));
        }
        assert_eq!(whole(&path, None, true), Err("compiled.json does not list it".to_owned()));
    }
}
