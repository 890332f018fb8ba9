//! The chaos backend as a shared library: its C entry, and nothing else.
//!
//! It comes through the C door only: its table is not the one that `export_backend!` would export.
#![allow(unsafe_code, reason = "exporting a symbol under a fixed name")]

use lipcast_plugins_api::abi;

/// The entry that the contract names.
// SAFETY: no other symbol of this library has the name, and the signature is the contract's.
#[unsafe(no_mangle)]
pub extern "C" fn lipcast_plugin_entry_v1(_host_major: u32, _host_minor: u32) -> *const abi::Plugin {
    std::panic::catch_unwind(lipcast_chaos::plugin).map_or(std::ptr::null(), |plugin| plugin.as_ptr())
}
