//! `backend-host [--preload LIBRARY]… --inspect WHAT PATH CONFIG`: opens a library by hand and tells what that did to this process.
//!
//! For `lipcast plugin check`, which runs it in a process that may die of it. In: `descriptor`, `tables` or `cycles`, the
//! library, and its settings as JSON. Out: one line of JSON.
#![allow(unsafe_code, reason = "calls a plugin's table without the loader, to see what the loader hides")]

use std::collections::BTreeSet;
use std::ffi::{OsString, c_void};
use std::mem::ManuallyDrop;
use std::path::Path;
use std::time::Instant;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use lipcast_plugins_api::abi;
use lipcast_plugins_api::loader::monotonic_ns;
use lipcast_plugins_api::types::Code;
use serde_json::{Value, json};

/// Rounds of create and destroy.
const CYCLES: usize = 20;

/// Does what the arguments say; the answer is one line.
pub(crate) fn run(arguments: &[OsString]) -> Result<Value, String> {
    let [what, path, config] = arguments else {
        return Err("backend-host --inspect descriptor|tables|cycles PATH CONFIG".to_owned());
    };
    let config = config.to_string_lossy();
    match what.to_string_lossy().as_ref() {
        "descriptor" => descriptor(Path::new(path)),
        "tables" => tables(&Opened::open(Path::new(path))?, &config),
        "cycles" => cycles(&Opened::open(Path::new(path))?, &config),
        other => Err(format!("nothing is known about `{other}`")),
    }
}

fn descriptor(path: &Path) -> Result<Value, String> {
    let (threads, files) = (threads(), files());
    let begin = Instant::now();
    let library = open_library(path)?;
    let open_ms = begin.elapsed().as_secs_f64() * 1e3;
    let entry = entry_of(&library)?;
    let begin = Instant::now();
    // SAFETY: the contract lets the entry be called at any time, from any thread, and more than once.
    let first = unsafe { entry(abi::API_MAJOR, abi::API_MINOR) };
    let entry_ms = begin.elapsed().as_secs_f64() * 1e3;
    // SAFETY: as above.
    let again = unsafe { entry(abi::API_MAJOR, abi::API_MINOR) };
    let new_files: Vec<String> = self::files().difference(&files).cloned().collect();
    Ok(json!({
        "open_ms": open_ms,
        "entry_ms": entry_ms,
        "same_pointer": first == again,
        "new_threads": self::threads().saturating_sub(threads),
        "new_files": new_files,
    }))
}

/// `create` with host tables of several makes, and with settings that are no JSON.
fn tables(plugin: &Opened, config: &str) -> Result<Value, String> {
    /// A host that knows more than this contract does.
    #[repr(C)]
    struct Newer {
        known: abi::Host,
        later: [u64; 8],
    }
    let newer = Newer {
        known: abi::Host { struct_size: size_of::<Newer>() as u32, api_minor: 99, ..host() },
        // Nothing that is a function: whoever reads on finds out.
        later: [0x11; 8],
    };
    let newer: &'static Newer = Box::leak(Box::new(newer));
    let today: &'static abi::Host = Box::leak(Box::new(host()));
    let trials = [
        ("today's host table", true, today, config),
        ("the longer table of a newer host", true, &newer.known, config),
        ("settings that are no JSON", false, today, "{\"cut\": [1, "),
        ("empty settings", false, today, ""),
    ];
    let tried = trials.map(|(name, must_work, host, config)| {
        let (code, message) = match plugin.create(host, config) {
            Ok(instance) => {
                plugin.destroy(instance);
                ("OK", String::new())
            }
            Err((code, message)) => (code, message),
        };
        json!({"name": name, "must_work": must_work, "code": code, "message": message})
    });
    debug_assert_eq!(newer.later[7], 0x11);
    Ok(Value::from(tried.to_vec()))
}

/// What this process holds after each round of create and destroy.
fn cycles(plugin: &Opened, config: &str) -> Result<Value, String> {
    let host: &'static abi::Host = Box::leak(Box::new(host()));
    let mut seen = Vec::with_capacity(CYCLES);
    for round in 1..=CYCLES {
        let instance = plugin
            .create(host, config)
            .map_err(|(code, message)| format!("create number {round} failed: {code}: {message}"))?;
        plugin.destroy(instance);
        seen.push(json!({"threads": threads(), "files": files().len(), "memory": memory()}));
    }
    Ok(Value::from(seen))
}

/// A library whose table is called directly.
struct Opened {
    create: CreateFn,
    destroy: unsafe extern "C" fn(*mut abi::Instance),
}

type CreateFn = unsafe extern "C" fn(
    *const abi::Host,
    abi::Str,
    *const abi::Operation,
    *mut *mut abi::Instance,
    *mut abi::Status,
) -> i32;

impl Opened {
    fn open(path: &Path) -> Result<Self, String> {
        // The loader's checks come first: magic, version, fingerprint.
        lipcast_plugins_api::loader::Plugin::open(path).map_err(|error| error.to_string())?;
        let library = open_library(path)?;
        let entry = entry_of(&library)?;
        // SAFETY: the contract lets the entry be called at any time.
        let descriptor = unsafe { entry(abi::API_MAJOR, abi::API_MINOR) };
        // SAFETY: the loader has just checked this very descriptor and its table.
        let table = unsafe { (*descriptor).backend.as_ref() }.ok_or_else(|| "it declined".to_owned())?;
        match (table.create, table.destroy) {
            (Some(create), Some(destroy)) => Ok(Self { create, destroy }),
            _ => Err("its table has no create or destroy".to_owned()),
        }
    }

    fn create(
        &self,
        host: &'static abi::Host,
        config: &str,
    ) -> Result<*mut abi::Instance, (&'static str, String)> {
        let mut instance = std::ptr::null_mut();
        let mut status = abi::Status {
            struct_size: size_of::<abi::Status>() as u32,
            code: 0,
            retryable: 0,
            reserved: 0,
            message: [0; 240],
        };
        let config = abi::Str { ptr: config.as_ptr(), len: config.len() as u64 };
        // SAFETY: the host table lives as long as the process, everything else for the length of the call.
        let code = unsafe { (self.create)(host, config, std::ptr::null(), &mut instance, &mut status) };
        match Code::from_abi(code) {
            None if instance.is_null() => Err(("OK without an instance", String::new())),
            None => Ok(instance),
            Some(code) => {
                let text = status.message.split(|byte| *byte == 0).next().unwrap_or_default();
                Err((code.name(), String::from_utf8_lossy(text).into_owned()))
            }
        }
    }

    fn destroy(&self, instance: *mut abi::Instance) {
        // SAFETY: made by `create`, ended once, without avatars or sessions.
        unsafe { (self.destroy)(instance) }
    }
}

/// Opened and never closed: its code has run.
fn open_library(path: &Path) -> Result<ManuallyDrop<Library>, String> {
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    // SAFETY: running the library's initialisers is what this is for.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) };
    library.map(ManuallyDrop::new).map_err(|error| {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        source.unwrap_or_else(|| error.to_string())
    })
}

fn entry_of(library: &Library) -> Result<abi::EntryFn, String> {
    // SAFETY: the contract fixes the type of the symbol of this name.
    let entry = unsafe { library.get::<abi::EntryFn>(abi::ENTRY_SYMBOL) };
    entry.map(|entry| *entry).map_err(|_| format!("it has no symbol {}", abi::ENTRY_SYMBOL))
}

/// A host that listens to nothing.
fn host() -> abi::Host {
    abi::Host {
        struct_size: size_of::<abi::Host>() as u32,
        api_major: abi::API_MAJOR,
        api_minor: abi::API_MINOR,
        reserved: 0,
        ctx: std::ptr::null_mut(),
        now_ns,
        log,
        is_cancelled,
        progress,
        blob_write,
        metric,
        get_extension,
    }
}

unsafe extern "C" fn now_ns(_ctx: *mut c_void) -> u64 {
    monotonic_ns()
}

unsafe extern "C" fn log(
    _ctx: *mut c_void,
    _level: u32,
    _target: abi::Str,
    message: abi::Str,
    _fields: abi::Str,
) {
    if !message.ptr.is_null() {
        // SAFETY: the plugin's text, for the length of the call.
        let text = unsafe { std::slice::from_raw_parts(message.ptr, message.len as usize) };
        eprintln!("{}", String::from_utf8_lossy(text));
    }
}

unsafe extern "C" fn is_cancelled(_ctx: *mut c_void, _operation: *const abi::Operation) -> u32 {
    0
}

unsafe extern "C" fn progress(
    _ctx: *mut c_void,
    _operation: *const abi::Operation,
    _permille: u32,
    _stage: abi::Str,
) {
}

unsafe extern "C" fn blob_write(_ctx: *mut c_void, _sink: *mut abi::Sink, _data: abi::Bytes) -> i32 {
    abi::OK
}

unsafe extern "C" fn metric(_ctx: *mut c_void, _name: abi::Str, _kind: u32, _value: f64, _labels: abi::Str) {}

unsafe extern "C" fn get_extension(_ctx: *mut c_void, _id: abi::Str) -> *const c_void {
    std::ptr::null()
}

/// What the open descriptors of this process are.
fn files() -> BTreeSet<String> {
    let Ok(folder) = std::fs::read_dir("/proc/self/fd") else { return BTreeSet::new() };
    let paths = folder.flatten().filter_map(|entry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        Some(format!("{} {}", entry.file_name().display(), target.display()))
    });
    // The folder that is being read is one of them, under whatever number.
    paths.filter(|path| !path.contains("/proc/")).collect()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map(Iterator::count).unwrap_or_default()
}

/// Resident, bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
