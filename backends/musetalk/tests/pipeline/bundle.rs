//! Bundles of [`Arithmetic`](super::arithmetic::Arithmetic), in temporary folders.

use std::path::Path;

use lipcast_musetalk::bundle::ports::{Dim, Port};
use lipcast_musetalk::networks::Network;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// The networks that every bundle has.
pub const FOUR: [Network; 4] =
    [Network::WhisperEncoder, Network::Unet, Network::VaeEncoder, Network::VaeDecoder];

/// A bundle of `networks`, all of gain 1.
pub fn of(networks: &[Network]) -> TempDir {
    with_gains(&networks.iter().map(|network| (*network, 1.0)).collect::<Vec<_>>())
}

/// A bundle of networks with their gains.
pub fn with_gains(networks: &[(Network, f32)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut models, mut files) = (Map::new(), Map::new());
    for (network, gain) in networks {
        let file = format!("{}.f32", network.name());
        let bytes = gain.to_le_bytes();
        std::fs::write(folder.path().join(&file), bytes).expect("a file in a temporary folder");
        let hash: String =
            digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        files.insert(file.clone(), json!({"bytes": bytes.len(), "sha256": hash}));
        let interface = network.interface();
        models.insert(
            network.name().to_owned(),
            json!({
                "inputs": ports(interface.inputs),
                "outputs": ports(interface.outputs),
                "formats": {"arithmetic": [file]},
            }),
        );
    }
    let manifest = json!({
        "manifest_version": 1,
        "kind": "musetalk",
        "weights": "arithmetic",
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
        "models": models,
        "files": files,
    });
    let text = serde_json::to_string_pretty(&manifest).expect("a manifest is plain data");
    std::fs::write(folder.path().join("manifest.json"), text).expect("a file in a temporary folder");
    folder
}

/// The settings for a bundle, with some of `more`.
pub fn settings(folder: &Path, more: Value) -> Value {
    let mut settings = json!({"bundle": folder});
    let (Value::Object(table), Value::Object(more)) = (&mut settings, more) else {
        panic!("settings are a table");
    };
    table.extend(more);
    settings
}

fn ports(ports: &[Port]) -> Value {
    let shape = |port: &Port| -> Vec<Value> {
        let axis = |dim: &Dim| match dim {
            Dim::Batch => json!("batch"),
            Dim::Fixed(length) => json!(length),
            Dim::Any => json!("any"),
        };
        port.shape.iter().map(axis).collect()
    };
    ports.iter().map(|port| json!({"name": port.name, "shape": shape(port), "dtype": "f32"})).collect()
}
