//! What of libtorch and of the process the torch backend needs and `tch` does not wrap: opening libraries, compiled
//! packages, recorded work, what a GPU is and how much memory is in use. Raw calls are inside; at the edge are slices,
//! tensors and texts.
#![allow(unsafe_code, reason = "a leaf around C and C++ calls; every block has its proof")]

pub mod libraries;

pub mod gpu;

mod graph;

pub mod heap;

mod inference;

mod package;

mod raw;

pub use graph::{Graph, GraphError, SideStream};
pub use inference::{Alone, inference, inference_alone};
pub use package::Package;

/// The version of libtorch that this was compiled for, like `2.11.0`. Whatever is opened at run time must be the same:
/// its C++ interface is not stable.
pub fn torch_version() -> &'static str {
    // SAFETY: it takes nothing and returns a static text with a final zero.
    let text = unsafe { std::ffi::CStr::from_ptr(raw::lipcast_torch_version()) };
    text.to_str().expect("a version is ASCII")
}
