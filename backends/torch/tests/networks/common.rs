//! Bundles, and inputs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use lipcast_musetalk::bundle::Bundle;
use lipcast_musetalk::networks::{FEATURES, LATENT, LATENT_CHANNELS, TOKENS};
use lipcast_musetalk::settings::{DeviceChoice, RuntimeSettings};
use lipcast_musetalk::{NetworkError, Networks, Tensor};
use lipcast_torch::TorchNetworks;
use serde_json::json;

/// The folder of a committed bundle.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../musetalk/tests/data").join(name)
}

/// One thread on the CPU.
pub(crate) fn settings() -> RuntimeSettings {
    RuntimeSettings {
        device: DeviceChoice::Cpu,
        threads: 1,
        batches: vec![1, 3],
        // Files are refused for what is in them, where a test does not ask for more.
        verify: false,
        ..RuntimeSettings::default()
    }
}

/// `nano` with those settings, opened once for all tests.
pub(crate) fn nano() -> MutexGuard<'static, TorchNetworks> {
    static NANO: OnceLock<Mutex<TorchNetworks>> = OnceLock::new();
    let networks = NANO.get_or_init(|| Mutex::new(open(&folder("nano"), &settings()).unwrap()));
    networks.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn open(folder: &Path, settings: &RuntimeSettings) -> Result<TorchNetworks, NetworkError> {
    TorchNetworks::open(&Bundle::open(folder, TorchNetworks::FORMAT).unwrap(), settings, &|_| {})
}

/// A copy of a bundle's TorchScript files, whose manifest is made to agree with what is done to them.
pub(crate) struct Copy {
    pub(crate) folder: tempfile::TempDir,
}

impl Copy {
    pub(crate) fn of(name: &str) -> Self {
        let copy = Self { folder: tempfile::tempdir().unwrap() };
        for entry in fs::read_dir(folder(name)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "pt" || extension == "json") {
                fs::copy(&path, copy.path(path.file_name().unwrap().to_str().unwrap())).unwrap();
            }
        }
        copy
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts `bytes` in the place of file `name`, and their number into the manifest.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
        let mut manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(self.path("manifest.json")).unwrap()).unwrap();
        manifest["files"][name]["bytes"] = json!(bytes.len());
        fs::write(self.path("manifest.json"), manifest.to_string()).unwrap();
    }
}

/// Values in -1…1 that look like noise, of a hash of the index and `seed`.
pub(crate) fn noise(seed: u32, shape: &[usize]) -> Tensor {
    let value = |i: u32| {
        let word = (i ^ seed.wrapping_mul(0x9E37_79B9)).wrapping_mul(0x85EB_CA6B);
        ((word ^ word >> 13).wrapping_mul(0xC2B2_AE35) >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    Tensor::new(shape, (0..shape.iter().product::<usize>() as u32).map(value).collect())
}

/// `latents` and `audio` of a batch.
pub(crate) fn speech(seed: u32, batch: usize) -> [Tensor; 2] {
    [noise(seed, &[batch, 2 * LATENT_CHANNELS, LATENT, LATENT]), noise(seed + 1, &[batch, TOKENS, FEATURES])]
}
