//! Opens a plugin through either door and checks its descriptor.

use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;

use abi_stable::library::{LibraryError, lib_header_from_path};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use serde_json::Value;

use super::checks;
use super::elf;
use super::error::{LoadError, Refusal, chain, one_line};
use super::instance::Instance;
use super::services::{HostServices, Progress};
use crate::abi;
use crate::author::{LinkedPlugin, read_str};
use crate::root::RootRef;
use crate::types::{Capabilities, Descriptor, Error};

/// A loaded plugin: its descriptor and its calls. Cheap to clone; never unloaded.
#[derive(Clone, Debug)]
pub struct Plugin {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    descriptor: Descriptor,
    api: (u32, u32),
    origin: String,
    table: abi::Backend,
}

impl Plugin {
    /// Opens the shared library at `path`: the Rust root module when it has one, the C symbol otherwise.
    ///
    /// The library's initialisers run here, so open only files the operator named.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let origin = path.display().to_string();
        let refuse = |refusal| LoadError { origin: origin.clone(), refusal };
        let descriptor = descriptor_of(path).map_err(refuse)?;
        Self::from_raw(descriptor, origin.clone()).map_err(refuse)
    }

    /// Takes a backend that is linked into this binary, through the very same table and checks.
    pub fn linked(plugin: LinkedPlugin) -> Result<Self, LoadError> {
        let origin = "linked backend".to_owned();
        Self::from_raw(plugin.as_ptr(), origin.clone()).map_err(|refusal| LoadError { origin, refusal })
    }

    /// The name tag.
    pub fn descriptor(&self) -> &Descriptor {
        &self.inner.descriptor
    }

    /// The contract the plugin was built against: major and minor version.
    pub fn api_version(&self) -> (u32, u32) {
        self.inner.api
    }

    /// Where it came from: a path, or "linked backend".
    pub fn origin(&self) -> &str {
        &self.inner.origin
    }

    /// Loads an instance: weights and warm-up. May take minutes. Call it from a control thread.
    pub fn create(
        &self,
        services: Arc<dyn HostServices>,
        config: &Value,
        progress: &dyn Progress,
    ) -> Result<Instance, Error> {
        Instance::create(self.clone(), services, config, progress)
    }

    pub(super) fn table(&self) -> &abi::Backend {
        &self.inner.table
    }

    fn from_raw(raw: *const abi::Plugin, origin: String) -> Result<Self, Refusal> {
        let raw = copy_descriptor(raw)?;
        check_version(&raw)?;
        let table = copy_table(&raw)?;
        let descriptor = read_descriptor(&raw)?;
        let inner = Inner { descriptor, api: (raw.api_major, raw.api_minor), origin, table };
        Ok(Self { inner: Arc::new(inner) })
    }
}

fn descriptor_of(path: &Path) -> Result<*const abi::Plugin, Refusal> {
    elf::check(path)?;
    // A bare file name would be searched for in the system's library folders instead.
    let path = std::path::absolute(path).map_err(Refusal::Unreadable)?;
    // SAFETY: running a library's initialisers is what opening a plugin means; the operator named it.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| Refusal::Linker(chain(&error)))?;
    // Never closed, even when it is refused: its code has run, and may have threads and destructors waiting.
    let library = ManuallyDrop::new(library);
    match lib_header_from_path(&path) {
        Ok(header) => {
            let root = header
                .init_root_module::<RootRef>()
                .map_err(|error| Refusal::Root(last_line(&error.to_string())))?;
            Ok(root.plugin()(abi::API_MAJOR, abi::API_MINOR).cast())
        }
        Err(LibraryError::GetSymbolError { .. }) => c_entry(&library),
        Err(error) => Err(Refusal::Root(last_line(&error.to_string()))),
    }
}

fn c_entry(library: &Library) -> Result<*const abi::Plugin, Refusal> {
    // SAFETY: the contract fixes the type of the symbol of this name.
    let entry = unsafe { library.get::<abi::EntryFn>(abi::ENTRY_SYMBOL) }.map_err(|_| Refusal::NoEntry)?;
    // SAFETY: the contract lets the entry be called at any time, from any thread.
    Ok(unsafe { entry(abi::API_MAJOR, abi::API_MINOR) })
}

/// abi_stable explains at length; the reason stands at the end.
fn last_line(text: &str) -> String {
    one_line(text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(text))
}

/// Copies as much of the descriptor as both sides know; the rest reads as zero.
fn copy_descriptor(raw: *const abi::Plugin) -> Result<abi::Plugin, Refusal> {
    if raw.is_null() {
        return Err(Refusal::Declined("it gives no reason".into()));
    }
    if !raw.is_aligned() {
        return Err(Refusal::Descriptor("it is not aligned".into()));
    }
    // SAFETY: the contract fixes the first two words of what the entry returns, for all versions.
    let (magic, size) = unsafe { ((*raw).magic, (*raw).struct_size as usize) };
    if magic != abi::MAGIC {
        return Err(Refusal::Descriptor(format!("it starts with {magic:#010x}, not {:#010x}", abi::MAGIC)));
    }
    if size < std::mem::offset_of!(abi::Plugin, id) {
        return Err(Refusal::Descriptor(format!("it has only {size} bytes")));
    }
    // SAFETY: the descriptor has `size` bytes; its fields are integers and pointers.
    Ok(unsafe { copy_prefix(raw, size) })
}

fn check_version(raw: &abi::Plugin) -> Result<(), Refusal> {
    let (found_major, found_minor) = (raw.api_major, raw.api_minor);
    if found_major != abi::API_MAJOR {
        return Err(Refusal::Version { found_major, found_minor });
    }
    // The tables of a newer minor are not known here; it promises to have only appended to ours.
    let expected = abi::fingerprint(found_minor);
    if found_minor.cmp(&abi::API_MINOR).is_le() && raw.abi_fingerprint != expected {
        return Err(Refusal::Fingerprint { minor: found_minor, found: raw.abi_fingerprint, expected });
    }
    if (raw.struct_size as usize) < size_of::<abi::Plugin>() {
        return Err(Refusal::Descriptor(format!("it has only {} bytes", raw.struct_size)));
    }
    Ok(())
}

fn copy_table(raw: &abi::Plugin) -> Result<abi::Backend, Refusal> {
    if raw.backend.is_null() {
        // SAFETY: a descriptor of our version; its texts are static.
        let reason = one_line(&unsafe { read_str(raw.declined) });
        let reason = if reason.is_empty() { "it gives no reason".into() } else { reason };
        return Err(Refusal::Declined(reason));
    }
    if !raw.backend.is_aligned() {
        return Err(Refusal::Descriptor("its call table is not aligned".into()));
    }
    // SAFETY: every version of the table starts with its size.
    let size = unsafe { (*raw.backend).struct_size } as usize;
    // SAFETY: the table has `size` bytes; its fields are integers and optional functions.
    let table: abi::Backend = unsafe { copy_prefix(raw.backend, size) };
    let core = [
        ("create", table.create.is_some()),
        ("destroy", table.destroy.is_some()),
        ("describe", table.describe.is_some()),
        ("prepare_avatar", table.prepare_avatar.is_some()),
        ("load_avatar", table.load_avatar.is_some()),
        ("unload_avatar", table.unload_avatar.is_some()),
        ("avatar_info", table.avatar_info.is_some()),
        ("frame_mask", table.frame_mask.is_some()),
        ("open_session", table.open_session.is_some()),
        ("close_session", table.close_session.is_some()),
        ("push_audio", table.push_audio.is_some()),
        ("reset", table.reset.is_some()),
        ("infer_batch", table.infer_batch.is_some()),
        ("health", table.health.is_some()),
    ];
    match core.iter().find(|(_, present)| !present) {
        Some((name, _)) => Err(Refusal::Descriptor(format!("its call table has no `{name}`"))),
        None => Ok(table),
    }
}

fn read_descriptor(raw: &abi::Plugin) -> Result<Descriptor, Refusal> {
    // SAFETY: a descriptor of our version; its texts are static.
    let read = |text| one_line(&unsafe { read_str(text) });
    // SAFETY: as above.
    let capabilities = unsafe { read_str(raw.capabilities_json) };
    let capabilities: Capabilities = serde_json::from_str(&capabilities)
        .map_err(|error| Refusal::Descriptor(format!("its capabilities are not understood: {error}")))?;
    let descriptor = Descriptor {
        id: read(raw.id),
        name: read(raw.name),
        version: read(raw.version),
        vendor: read(raw.vendor),
        license: read(raw.license),
        url: read(raw.url),
        capabilities,
    };
    checks::descriptor(&descriptor).map_err(Refusal::Descriptor)?;
    Ok(descriptor)
}

/// Copies the first `min(size, ours)` bytes of a table over a zeroed one.
///
/// # Safety
/// `raw` has `size` readable bytes, and all-zero bytes are a valid `T`.
pub(super) unsafe fn copy_prefix<T: abi::Layout>(raw: *const T, size: usize) -> T {
    let mut copy = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: both sides have as many bytes; zeroes are valid, as the caller promises.
    unsafe {
        std::ptr::copy_nonoverlapping(raw.cast::<u8>(), copy.as_mut_ptr().cast(), size.min(size_of::<T>()));
        copy.assume_init()
    }
}
