//! The tables of `include/lipcast_backend.h` as `repr(C)` structs, with their layout and fingerprint.
//!
//! Meaning, threads, states and ownership are told in the header, once; the names here are the header's
//! without the prefix. Fields are only ever appended.

mod codes;
mod layout;
mod tables;

pub use codes::*;
pub use layout::{Field, Layout, StructLayout, dump, fingerprint, structs};
pub use tables::*;

/// Spells "LPCS" in memory: the first word of every descriptor.
pub const MAGIC: u32 = 0x5343_504C;

/// Major version of the contract. Frozen: what a plugin of this major was built against stays as it is.
pub const API_MAJOR: u32 = 1;

/// Minor version of the contract that this crate speaks.
pub const API_MINOR: u32 = 0;

/// Fingerprint of the tables at [`API_MINOR`]: what a plugin built with this crate carries.
pub const FINGERPRINT: u64 = fingerprint(API_MINOR);

/// Name of the exported C entry.
pub const ENTRY_SYMBOL: &str = "lipcast_plugin_entry_v1";

/// The exported C entry: given the host's version, the plugin's static descriptor, or null to decline.
pub type EntryFn = unsafe extern "C" fn(host_major: u32, host_minor: u32) -> *const Plugin;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the contract's layouts are those of 64-bit platforms");
