//! The Rust door: a frozen one-field abi_stable root module.
//!
//! It never grows during the life of the v1 entry; everything that evolves is the C table behind it.
//! abi_stable checks its header, version and layout before the field is read. The version strings are
//! literals on purpose: they are the version of this door, not of the crate.

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::RStr;

/// The root module of a Lipcast plugin written in Rust.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = RootRef)))]
#[sabi(missing_field(panic))]
pub struct Root {
    /// Same meaning as the C entry; the pointer is a `lipcast_plugin`.
    #[sabi(last_prefix_field)]
    pub plugin: extern "C" fn(u32, u32) -> *const (),
}

impl RootModule for RootRef {
    abi_stable::declare_root_module_statics! {RootRef}
    const BASE_NAME: &'static str = "lipcast_backend";
    const NAME: &'static str = "lipcast_backend";
    const VERSION_STRINGS: VersionStrings = VersionStrings { version: RStr::from_str("1.0.0") };
}

/// What [`export_backend!`](crate::export_backend) expands to; not for anybody else.
#[doc(hidden)]
pub mod __export {
    use abi_stable::library::{__call_root_module_loader, CheckTypeLayout, RootModuleResult};
    use abi_stable::prefix_type::PrefixTypeTrait;

    pub use abi_stable::library::LibHeader;

    use super::{Root, RootRef};
    use crate::abi;
    use crate::author::{Backend, plugin_table};

    /// The header that abi_stable looks for, of backend `B`.
    pub const fn header<B: Backend>() -> LibHeader {
        // SAFETY: `constructor` returns what `__call_root_module_loader` made of a `RootRef`, and the type
        // given here is that same `RootRef`.
        unsafe { LibHeader::from_constructor::<RootRef>(constructor::<B>, CheckTypeLayout::Yes) }
    }

    /// The C entry of backend `B`. Never unwinds.
    ///
    /// The table is handed out whatever the host's version: the host's refusal names both versions.
    pub fn entry<B: Backend>(_host_major: u32, _host_minor: u32) -> *const abi::Plugin {
        std::panic::catch_unwind(plugin_table::<B>).map_or(std::ptr::null(), |table| table.as_ptr())
    }

    extern "C" fn constructor<B: Backend>() -> RootModuleResult {
        __call_root_module_loader(root::<B>)
    }

    fn root<B: Backend>() -> RootRef {
        Root { plugin: plugin::<B> }.leak_into_prefix()
    }

    extern "C" fn plugin<B: Backend>(host_major: u32, host_minor: u32) -> *const () {
        entry::<B>(host_major, host_minor).cast()
    }
}

#[cfg(test)]
mod tests {
    use abi_stable::library::ROOT_MODULE_LOADER_NAME;

    /// `export_backend!` must write the name as a literal; a new abi_stable would change it.
    #[test]
    fn the_exported_name_is_the_one_abi_stable_looks_for() {
        let macro_text = include_str!("author/mod.rs");
        assert!(
            macro_text.contains(&format!("export_name = \"{ROOT_MODULE_LOADER_NAME}\"")),
            "{ROOT_MODULE_LOADER_NAME}"
        );
    }
}
