//! What libtorch says, as a [`NetworkError`].
//!
//! It has no codes, only texts; what a host must know (no memory, no device) is told by words in them.

use lipcast_musetalk::NetworkError;
use tch::TchError;

/// Words of messages that say that memory ran out: of CUDA's allocator, cuBLAS, cuDNN, the CPU's allocator and C++.
const NO_MEMORY: [&str; 5] =
    ["out of memory", "ALLOC_FAILED", "can't allocate memory", "bad_alloc", "NOT_ENOUGH_MEMORY"];

/// Words of CUDA's errors after which nothing works any more in the process, or the device is gone.
const LOST: [&str; 10] = [
    "illegal memory access",
    "illegal instruction",
    "unspecified launch failure",
    "launch timed out",
    "device-side assert triggered",
    "misaligned address",
    "uncorrectable ECC",
    "unknown error",
    "device is lost",
    "no longer available",
];

/// Turns an error of `tch` into ours: `what` failed, like `unet` or a file.
pub(crate) fn failed(what: &str) -> impl Fn(TchError) -> NetworkError + '_ {
    move |error| match error {
        TchError::Torch(text) => said(what, &text),
        error => NetworkError::Runtime(format!("{what}: {error}")),
    }
}

/// Turns what libtorch said into ours.
pub(crate) fn said(what: &str, text: &str) -> NetworkError {
    let line = format!("{what}: {}", line(text));
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    if says(&NO_MEMORY) {
        NetworkError::OutOfMemory(line)
    } else if text.contains("CUDA") && says(&LOST) {
        NetworkError::DeviceLost(line)
    } else {
        NetworkError::Runtime(line)
    }
}

/// The line that says it. TorchScript puts a traceback of the network's source before it, and frames of C++ behind.
fn line(text: &str) -> &str {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines()
        .find_map(|line| line.strip_prefix("RuntimeError: "))
        .or_else(|| lines().find(|line| line.contains("rror: ")))
        .or_else(|| lines().next())
        .unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_behind_a_traceback_is_what_is_told() {
        let text = "The following operation failed in the TorchScript interpreter.\n\
                    Traceback of TorchScript, serialized code (most recent call last):\n  \
                    File \"code/__torch__/wrap.py\", line 12, in forward\n    x = torch.conv2d(image, w)\n\
                    RuntimeError: Given groups=1, expected input[1, 5, 32, 32] to have 4 channels\n";
        let error = said("vae_decoder", text);
        let line = "vae_decoder: Given groups=1, expected input[1, 5, 32, 32] to have 4 channels";
        assert_eq!(error, NetworkError::Runtime(line.to_owned()));
    }

    #[test]
    fn memory_and_a_lost_device_are_told_apart() {
        let memory =
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB";
        assert_eq!(said("unet", memory), NetworkError::OutOfMemory(format!("unet: {memory}")));
        let cpu = "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you \
                   tried to allocate 8 bytes.";
        assert!(matches!(said("unet", cpu), NetworkError::OutOfMemory(_)));
        let lost = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be reported later";
        let line = "unet: CUDA error: an illegal memory access was encountered";
        assert_eq!(said("unet", lost), NetworkError::DeviceLost(line.to_owned()));
        assert!(matches!(said("unet", "an unknown error"), NetworkError::Runtime(_)));
        // The advice that libtorch puts behind whatever CUDA says.
        let other = "CUDA error: invalid argument\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.";
        assert!(matches!(said("unet", other), NetworkError::Runtime(_)));
    }
}
