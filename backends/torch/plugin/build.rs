//! What torch-sys and its dependencies mark as exported stays inside: two plugins with a symbol of the same name would
//! disturb each other.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
}
