//! ONNX Runtime for the CPU: one file, 29 MB. On a GPU machine, `docs/musetalk.md` says which files go beside it.

use std::path::Path;

use anyhow::Result;

use super::Runtime;
use super::wheels::Wheels;

/// The figures of parity and speed are of this version; `ort` takes any that is not older than the interface it was
/// written for.
const WHEEL: &str = "onnxruntime==1.31.1";

pub(super) const RUNTIME: Runtime = Runtime {
    name: "onnx",
    title: "ONNX Runtime 1.31.1",
    small: true,
    folder: "onnxruntime",
    recipe: WHEEL,
    fill,
    libraries: &["libonnxruntime.so"],
    package: "lipcast-onnx",
    format: "onnx",
    variables: |_| Vec::new(),
};

fn fill(folder: &Path) -> Result<()> {
    let wheels = Wheels::download(&[WHEEL], folder)?;
    wheels.unpack("onnxruntime", "onnxruntime/capi/", "libonnxruntime.so*", folder)
}
