//! libtorch for building and for the CPU: its headers, and the least of libraries that run without a GPU.
//!
//! The wheel of torch is built for CUDA, yet its half for the CPU needs two small libraries of CUDA and none of the
//! other twelve. `docs/musetalk.md` says how the plugin is given the whole of it on a GPU machine.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::Runtime;
use super::wheels::Wheels;
use crate::steps::run;

/// Pinned: libtorch's C++ interface changes with every version, and `tch` is written for this one.
const TORCH: &str = "torch==2.11.0";
const CUPTI: &str = "nvidia-cuda-cupti==13.0.85";
const CUDART: &str = "nvidia-cuda-runtime==13.0.96";

/// The library that a plugin finds by having it opened before.
pub(crate) const LIBRARY: &str = "lib/libtorch_cpu.so";

pub(super) const RUNTIME: Runtime = Runtime {
    name: "torch",
    title: "libtorch 2.11.0",
    small: false,
    folder: "libtorch",
    recipe: "torch==2.11.0 nvidia-cuda-cupti==13.0.85 nvidia-cuda-runtime==13.0.96",
    fill,
    // A plugin names them by path: half a gigabyte is not copied.
    libraries: &[],
    package: "lipcast-torch",
    format: "torchscript",
    variables,
};

fn variables(folder: &Path) -> Vec<(&'static str, PathBuf)> {
    let before = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let before = env::split_paths(&before).filter(|path| path.as_os_str() != OsStr::new(""));
    let libraries = [folder.join("lib")].into_iter().chain(before);
    // No path has a colon in it: those that did were split.
    let libraries = env::join_paths(libraries).unwrap_or_default();
    vec![("LIBTORCH", folder.to_owned()), ("LD_LIBRARY_PATH", libraries.into())]
}

fn fill(folder: &Path) -> Result<()> {
    println!("   540 MB are downloaded, 510 MB of what is in them stay");
    let lib = folder.join("lib");
    let wheels = Wheels::download(&[TORCH, CUPTI, CUDART], folder)?;
    wheels.unpack("torch", "torch/include/", "*", &folder.join("include"))?;
    for library in ["libtorch_cpu.so", "libc10.so", "libgomp.so.1"] {
        wheels.unpack("torch", "torch/lib/", library, &lib)?;
    }
    wheels.unpack("nvidia-cuda-cupti", "nvidia/cu13/lib/", "libcupti.so.13", &lib)?;
    wheels.unpack("nvidia-cuda-runtime", "nvidia/cu13/lib/", "libcudart.so.13", &lib)?;
    drop(wheels);
    shell(&lib)
}

/// Makes `libtorch.so`, which everything built on libtorch is linked with. The wheel's is an empty shell that needs the
/// half for GPUs; this one needs the half for the CPU alone.
fn shell(lib: &Path) -> Result<()> {
    let source = lib.join("libtorch.c");
    fs::write(&source, "int lipcast_shell_of_libtorch;\n")?;
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-Wl,-soname,libtorch.so", "-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed"]);
    command.arg(&source).arg("-L").arg(lib).args(["-ltorch_cpu", "-lc10", "-o"]).arg(lib.join("libtorch.so"));
    run(&mut command)?;
    Ok(fs::remove_file(source)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_names_what_is_downloaded() {
        assert_eq!(RUNTIME.recipe, [TORCH, CUPTI, CUDART].join(" "));
    }

    #[test]
    fn the_folder_comes_first_where_libraries_are_looked_for() {
        let variables = variables(Path::new("/opt/libtorch"));
        assert_eq!(variables[0], ("LIBTORCH", PathBuf::from("/opt/libtorch")));
        let (name, value) = &variables[1];
        assert_eq!(*name, "LD_LIBRARY_PATH");
        assert_eq!(env::split_paths(value).next(), Some(PathBuf::from("/opt/libtorch/lib")));
    }
}
