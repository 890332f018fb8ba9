//! Compiles `src/native.cpp` against the headers of the libtorch that `torch-sys` found.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=src/native.cpp");
    println!("cargo:rerun-if-changed=src/native.h");
    // Set by the build script of torch-sys: the folder that it links from, `lib` beside `include`.
    let lib = env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys names the folder of libtorch");
    let include = Path::new(&lib).parent().expect("libtorch's folder holds `lib`").join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        // The headers are not ours to keep free of warnings.
        .flag(format!("-isystem{}", include.display()))
        .flag(format!("-isystem{}", include.join("torch/csrc/api/include").display()))
        .warnings_into_errors(true)
        .file("src/native.cpp")
        .compile("lipcast_torch_native");
}
