//! The static descriptor and call table of a backend, made once and kept for the life of the process.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::adapter::Adapter;
use super::backend::Backend;
use super::host::text;
use crate::abi;

/// The table of a backend that is linked into this binary: what the entry of a shared library returns.
#[derive(Clone, Copy, Debug)]
pub struct LinkedPlugin(&'static abi::Plugin);

// SAFETY: the descriptor and everything it points to is leaked, never written again, and made of plain data
// and functions.
unsafe impl Send for LinkedPlugin {}
// SAFETY: as above.
unsafe impl Sync for LinkedPlugin {}

impl LinkedPlugin {
    /// Takes over a descriptor from elsewhere, like a C backend that is linked in.
    ///
    /// # Safety
    /// Everything the header promises of the value of `lipcast_plugin_entry_v1` holds for it.
    pub unsafe fn from_static(plugin: &'static abi::Plugin) -> Self {
        Self(plugin)
    }

    /// The descriptor.
    pub fn as_ptr(&self) -> *const abi::Plugin {
        self.0
    }
}

/// The table of backend `B`, without any exported symbol. Made at the first call.
pub fn plugin_table<B: Backend>() -> LinkedPlugin {
    static TABLES: OnceLock<Mutex<HashMap<TypeId, LinkedPlugin>>> = OnceLock::new();
    let tables = TABLES.get_or_init(Mutex::default);
    let mut tables = tables.lock().unwrap_or_else(PoisonError::into_inner);
    *tables.entry(TypeId::of::<B>()).or_insert_with(make::<B>)
}

fn make<B: Backend>() -> LinkedPlugin {
    let descriptor = B::descriptor();
    let capabilities = serde_json::to_string(&descriptor.capabilities)
        .expect("capabilities are plain data with string keys");
    let leak = |value: String| text(String::leak(value));
    LinkedPlugin(Box::leak(Box::new(abi::Plugin {
        magic: abi::MAGIC,
        struct_size: size_of::<abi::Plugin>() as u32,
        api_major: abi::API_MAJOR,
        api_minor: abi::API_MINOR,
        abi_fingerprint: abi::FINGERPRINT,
        id: leak(descriptor.id),
        name: leak(descriptor.name),
        version: leak(descriptor.version),
        vendor: leak(descriptor.vendor),
        license: leak(descriptor.license),
        url: leak(descriptor.url),
        capabilities_json: leak(capabilities),
        declined: text(""),
        backend: &Adapter::<B>::TABLE,
    })))
}
