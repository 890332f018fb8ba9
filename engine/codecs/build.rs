//! Notes whether H.264 is built with its assembly: without NASM the encoder takes twice the time a frame.

use std::process::{Command, Stdio};

fn main() {
    // Runs once a target folder, as the build of openh264 itself does, so both see the same machine.
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(h264_assembly)");
    let refused = std::env::var_os("OPENH264_NO_ASM").is_some();
    let x86 = matches!(std::env::var("CARGO_CFG_TARGET_ARCH").as_deref(), Ok("x86_64" | "x86"));
    if x86 && !refused && nasm_runs() {
        println!("cargo::rustc-cfg=h264_assembly");
    }
}

fn nasm_runs() -> bool {
    let mut nasm = Command::new("nasm");
    nasm.arg("-v").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    nasm.status().is_ok_and(|status| status.success())
}
