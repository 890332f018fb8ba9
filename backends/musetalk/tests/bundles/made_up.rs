//! A made-up bundle: a manifest as exporters write it, and files of noise with the sizes and hashes that it
//! names.

use std::fs;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A bundle that no runtime could run, but whose manifest and files are in order.
pub(crate) struct MadeUp {
    folder: TempDir,
    /// The manifest that [`MadeUp::write`] writes.
    pub(crate) manifest: Value,
}

/// Name, inputs and outputs of every model, as `name: axis axis …` with `b`, `h` and the like for what
/// varies.
const MODELS: [(&str, &[&str], &[&str]); 9] = [
    ("whisper_encoder", &["mel: b 80 t"], &["features: b s 5 384"]),
    ("unet", &["latents: b 8 32 32", "audio: b 50 384"], &["latent: b 4 32 32"]),
    ("vae_encoder", &["image: b 3 256 256"], &["latent_mean: b 4 32 32", "latent_std: b 4 32 32"]),
    ("vae_decoder", &["latent: b 4 32 32"], &["image: b 3 256 256"]),
    ("face_parsing", &["image: b 3 512 512"], &["logits: b 19 512 512"]),
    ("landmarks", &["input: b 3 384 288"], &["simcc_x: b 133 576", "simcc_y: b 133 768"]),
    (
        "face_detector",
        &["image: b 3 h w"],
        &[
            "class0: b 2 h w",
            "box0: b 4 h w",
            "class1: b 2 h w",
            "box1: b 4 h w",
            "class2: b 2 h w",
            "box2: b 4 h w",
            "class3: b 2 h w",
            "box3: b 4 h w",
            "class4: b 2 h w",
            "box4: b 4 h w",
            "class5: b 2 h w",
            "box5: b 4 h w",
        ],
    ),
    ("taesd_decoder", &["latent: b 4 32 32"], &["image: b 3 256 256"]),
    ("generator", &["latents: b 8 32 32", "audio: b 50 384"], &["frames: b 256 256 3 u8"]),
];

impl MadeUp {
    /// All models as ONNX and TorchScript in fp32, `unet` with external data and in fp16 too.
    pub(crate) fn new() -> Self {
        let mut models = serde_json::Map::new();
        for (name, inputs, outputs) in MODELS {
            let formats = json!({ "onnx": [format!("{name}.onnx")], "torchscript": [format!("{name}.pt")] });
            let ports = |ports: &[&str]| ports.iter().map(|text| port(text)).collect::<Vec<_>>();
            models.insert(
                name.to_owned(),
                json!({ "inputs": ports(inputs), "outputs": ports(outputs), "formats": formats }),
            );
        }
        models["unet"]["formats"]["onnx"] = json!(["unet.onnx", "unet.onnx.data"]);
        models["unet"]["formats"]["onnx_fp16"] = json!(["fp16/unet.onnx"]);
        let mut bundle = Self {
            folder: tempfile::tempdir().unwrap(),
            manifest: json!({
                "manifest_version": 1,
                "kind": "musetalk",
                "weights": "noise",
                "dtype": "fp32",
                "pipeline": {
                    "image_size": 256,
                    "latent_channels": 4,
                    "latent_size": 32,
                    "scaling_factor": 0.18215,
                    "feature_dim": 384,
                    "hidden_states": 5,
                    "window_steps": 10,
                    "features_per_second": 50,
                    "unet_timestep": 0,
                    "folded": ["timestep", "audio_positions", "scaling_factor", "image_range"],
                },
                "configs": {"unet": {"in_channels": 8, "out_channels": 4, "cross_attention_dim": 384}},
                "models": models,
                "files": {},
                "a field of another day": {"is": ["passed", "over"]},
            }),
        };
        bundle.list();
        bundle.write();
        bundle
    }

    /// Only what speech and preparing need.
    pub(crate) fn smallest() -> Self {
        let mut bundle = Self::new();
        for name in ["face_parsing", "landmarks", "face_detector", "taesd_decoder", "generator"] {
            bundle.drop_model(name);
        }
        bundle.write();
        bundle
    }

    /// The bundle's folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of the bundle.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Takes a model and its files out of the manifest.
    pub(crate) fn drop_model(&mut self, name: &str) {
        self.manifest["models"].as_object_mut().unwrap().remove(name).unwrap();
        self.manifest["files"].as_object_mut().unwrap().clear();
        self.list();
    }

    /// Makes every file that a model names, and lists it.
    pub(crate) fn list(&mut self) {
        let mut names = Vec::new();
        for model in self.manifest["models"].as_object().unwrap().values() {
            for files in model["formats"].as_object().unwrap().values() {
                names.extend(files.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()));
            }
        }
        for name in names {
            let bytes = noise(&name);
            let path = self.path(&name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &bytes).unwrap();
            self.manifest["files"][&name] = json!({
                "bytes": bytes.len(),
                "sha256": hex(digest(&SHA256, &bytes).as_ref()),
            });
        }
    }

    /// Writes the manifest as it is now.
    pub(crate) fn write(&self) {
        fs::write(self.path("manifest.json"), serde_json::to_string_pretty(&self.manifest).unwrap()).unwrap();
    }
}

/// Some thousand bytes that depend on `name` alone.
fn noise(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < 3000 + 7 * name.len() {
        let next = digest(&SHA256, format!("{name} {}", bytes.len()).as_bytes());
        bytes.extend_from_slice(next.as_ref());
    }
    bytes
}

fn port(text: &str) -> Value {
    let (name, axes) = text.split_once(": ").unwrap();
    let (axes, dtype) = match axes.strip_suffix(" u8") {
        Some(axes) => (axes, "u8"),
        None => (axes, "f32"),
    };
    let shape: Vec<Value> =
        axes.split(' ').map(|axis| axis.parse::<u64>().map_or(json!(axis), |length| json!(length))).collect();
    json!({ "name": name, "shape": shape, "dtype": dtype })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
