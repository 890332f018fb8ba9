//! What ONNX Runtime says, as a [`NetworkError`].
//!
//! The runtime has few codes and long messages; what a host must know (no memory, no device) is told by words in them.

use lipcast_musetalk::NetworkError;
use ort::ErrorCode;

/// Words of messages that say that memory ran out, of the arenas of the runtime, CUDA, cuBLAS, cuDNN and C++.
const NO_MEMORY: [&str; 6] = [
    "Failed to allocate memory",
    "out of memory",
    "CUDA failure 2:",
    "ALLOC_FAILED",
    "bad_alloc",
    "OutOfMemory",
];

/// CUDA's numbers for a device that is gone, or a context that nothing works in any more: unavailable, none, ECC, NVLink,
/// illegal address, time-out, assertion, stack, instruction, misaligned, address space, program counter, launch.
const LOST: [u32; 14] = [46, 100, 214, 220, 700, 702, 710, 714, 715, 716, 717, 718, 719, 999];

/// Turns the runtime's error into ours: `what` failed, like "unet" or a file.
pub(crate) fn failed<R>(what: &str, error: ort::Error<R>) -> NetworkError {
    let message = error.message();
    // The first line says it; the rest are frames of the runtime's own code.
    let first = message.lines().next().unwrap_or("no reason given");
    // "Load model from PATH failed:why"; the path is told already.
    let unread = first.strip_prefix("Load model from ").and_then(|rest| Some(rest.split_once(" failed:")?.1));
    let mut line = format!("{what}: {}", unread.unwrap_or(first).trim().trim_end_matches('.'));
    if first.contains("is not enabled in this build") {
        line.push_str(
            "; `library` has to name the folder of onnxruntime-gpu's libraries, as docs/musetalk.md says",
        );
    }
    match error.code() {
        _ if NO_MEMORY.iter().any(|words| message.contains(words)) => NetworkError::OutOfMemory(line),
        ErrorCode::DeviceReset => NetworkError::DeviceLost(line),
        _ if cuda_failure(message).is_some_and(|number| LOST.contains(&number)) => {
            NetworkError::DeviceLost(line)
        }
        ErrorCode::NoSuchFile => NetworkError::Missing(line),
        _ if unread.is_some() => NetworkError::Corrupt(line),
        ErrorCode::InvalidProtobuf | ErrorCode::InvalidGraph | ErrorCode::NoModel => {
            NetworkError::Corrupt(line)
        }
        ErrorCode::NotImplemented => NetworkError::Unsupported(line),
        _ => NetworkError::Runtime(line),
    }
}

/// The number in "CUDA failure 719: unspecified launch failure ; GPU=0 …".
fn cuda_failure(message: &str) -> Option<u32> {
    let (_, rest) = message.split_once("CUDA failure ")?;
    rest.split(':').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_cuda_failure_is_found() {
        let lost = "CUDA failure 719: unspecified launch failure ; GPU=0 ; hostname=a ; expr=cudaStreamSynchronize(s);";
        assert_eq!(cuda_failure(lost), Some(719));
        assert_eq!(cuda_failure("Non-zero status code. CUDA failure 2: out of memory"), Some(2));
        assert_eq!(
            [cuda_failure("CUDA failure"), cuda_failure("CUDA failure x: y"), cuda_failure("")],
            [None; 3]
        );
    }
}
