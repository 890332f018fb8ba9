//! The functions of `native.h`.

use std::ffi::{CStr, c_char};

use torch_sys::C_tensor;

/// An opened package; only ever behind a pointer.
#[repr(C)]
pub(crate) struct RawPackage {
    _private: [u8; 0],
}

/// A thread that computes for results alone; only ever behind a pointer.
#[repr(C)]
pub(crate) struct RawInference {
    _private: [u8; 0],
}

/// A stream that a thread is on; only ever behind a pointer.
#[repr(C)]
pub(crate) struct RawStream {
    _private: [u8; 0],
}

/// Recorded work of a GPU; only ever behind a pointer.
#[repr(C)]
pub(crate) struct RawGraph {
    _private: [u8; 0],
}

unsafe extern "C" {
    pub(crate) fn lipcast_inference_begin() -> *mut RawInference;
    pub(crate) fn lipcast_inference_end(inference: *mut RawInference);
    pub(crate) fn lipcast_text_free(text: *mut c_char);
    pub(crate) fn lipcast_package_open(
        path: *const c_char,
        device: i8,
        package: *mut *mut RawPackage,
    ) -> *mut c_char;
    pub(crate) fn lipcast_package_run(
        package: *mut RawPackage,
        inputs: *const *const C_tensor,
        count: usize,
        outputs: *mut *mut C_tensor,
        capacity: usize,
        made: *mut usize,
    ) -> *mut c_char;
    pub(crate) fn lipcast_package_close(package: *mut RawPackage);
    pub(crate) fn lipcast_stream_enter(device: i8, stream: *mut *mut RawStream) -> *mut c_char;
    pub(crate) fn lipcast_stream_leave(stream: *mut RawStream) -> *mut c_char;
    pub(crate) fn lipcast_waits_refused(refused: bool) -> *mut c_char;
    pub(crate) fn lipcast_graph_begin(beside: *mut RawGraph, graph: *mut *mut RawGraph) -> *mut c_char;
    pub(crate) fn lipcast_graph_end(graph: *mut RawGraph) -> *mut c_char;
    pub(crate) fn lipcast_graph_replay(graph: *mut RawGraph) -> *mut c_char;
    pub(crate) fn lipcast_graph_free(graph: *mut RawGraph);
    pub(crate) fn lipcast_device_memory(device: i8, allocated: *mut i64, reserved: *mut i64) -> *mut c_char;
    pub(crate) fn lipcast_torch_version() -> *const c_char;
}

/// The result of a function that returned `text`.
///
/// # Safety
/// `text` is null, or a text of one of the functions above that nobody has freed.
pub(crate) unsafe fn outcome(text: *mut c_char) -> Result<(), String> {
    if text.is_null() {
        return Ok(());
    }
    // SAFETY: by the contract of this function it is a text with a final zero.
    let words = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    // SAFETY: as above; it was copied and is not used again.
    unsafe { lipcast_text_free(text) };
    Err(words)
}
