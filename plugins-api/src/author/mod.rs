//! For plugin authors: a safe trait, and the macro that makes a shared library of it.
//!
//! Implement [`Backend`], then write [`export_backend!`](crate::export_backend) with its type in the crate
//! that becomes the `cdylib`. Every entry catches panics and turns them into the status `BACKEND_PANIC`, so
//! the crate must be built with `panic = "unwind"`.
//!
//! The exported symbols stand alone: link backends into one binary as plain libraries and reach each by
//! [`plugin_table`]; only the crate that invokes the macro exports anything.

mod adapter;
mod backend;
mod batch;
mod host;
mod source;
mod table;
mod timeline;

#[cfg(feature = "loader")]
pub(crate) use adapter::{check, empty_status, fill_status, message, read_slice, read_str};
#[cfg(feature = "loader")]
pub(crate) use host::text;

pub use crate::types::*;
pub use backend::Backend;
pub use batch::{Batch, FrameOutput, FrameRequest};
pub use host::{BlobSink, Host, Operation};
pub use source::AvatarSource;
pub use table::{LinkedPlugin, plugin_table};
pub use timeline::AudioTimeline;

/// Exports a [`Backend`] through both doors of a shared library.
///
/// Use it once in the crate whose type is `cdylib`. It needs no `unsafe` from that crate, so
/// `#![forbid(unsafe_code)]` may stay.
///
/// ```ignore
/// lipcast_plugins_api::export_backend!(my_backend::MyBackend);
/// ```
#[macro_export]
macro_rules! export_backend {
    ($backend:ty) => {
        #[doc(hidden)]
        #[unsafe(no_mangle)]
        pub extern "C" fn lipcast_plugin_entry_v1(
            host_major: u32,
            host_minor: u32,
        ) -> *const $crate::abi::Plugin {
            $crate::__export::entry::<$backend>(host_major, host_minor)
        }

        // The name is abi_stable's, for its minor version 0.11; a test of this crate holds it.
        #[doc(hidden)]
        #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
        pub static LIPCAST_ROOT_MODULE: $crate::__export::LibHeader = $crate::__export::header::<$backend>();
    };
}
