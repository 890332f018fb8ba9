//! ONNX Runtime for the CPU: one file, 29 MB. On a GPU machine, `docs/musetalk.md` says which folder replaces it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Runtime, Wheels};

/// Pinned: `ort` takes any that is not older than the interface it was written for, the parity figures are of this.
const WHEEL: &str = "onnxruntime==1.31.1";
const FILE: &str = "libonnxruntime.so.1.31.1";

pub(super) const RUNTIME: Runtime =
    Runtime { name: "onnx", title: "ONNX Runtime 1.31.1", folder: "onnxruntime", recipe: WHEEL, fill };

/// The library, when it is installed.
pub(crate) fn library() -> Option<PathBuf> {
    RUNTIME.is_current().then(|| RUNTIME.folder().join(FILE))
}

fn fill(folder: &Path) -> Result<()> {
    let wheels = Wheels::download(&[WHEEL], folder)?;
    wheels.unpack("onnxruntime", "onnxruntime/capi/", "libonnxruntime.so*", folder)
}
