//! What a GPU is, by the driver's own interface, and how much of its memory libtorch uses.

use std::ffi::{CStr, c_char, c_int};
use std::mem::ManuallyDrop;

use libloading::os::unix::{Library, Symbol};

use crate::libraries::words;
use crate::raw;

/// The driver's library; it comes with the driver, and is not there on a machine without.
const DRIVER: &str = "libcuda.so.1";
/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `…_MINOR` of cuda.h.
const CAPABILITY: [c_int; 2] = [75, 76];

/// A GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Like `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Compute capability: major and minor.
    pub capability: (u32, u32),
}

/// Bytes of a GPU's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Most that tensors took at one time.
    pub allocated: u64,
    /// Most that was held for them; without the context and the libraries' own, some hundred MB.
    pub reserved: u64,
}

type Init = unsafe extern "C" fn(u32) -> c_int;
type DeviceGet = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
type DeviceGetName = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
type DeviceGetAttribute = unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int;

/// The GPU number `index` of those that this process may see.
///
/// # Errors
/// When there is no driver, or no such GPU.
pub fn describe(index: usize) -> Result<Gpu, String> {
    let index = c_int::try_from(index).map_err(|_| "no such GPU".to_owned())?;
    // SAFETY: the driver's library may be opened by any thread; libtorch opens the same one.
    let driver = unsafe { Library::new(DRIVER) }.map_err(|error| words(&error))?;
    // It stays open: it has threads of its own once it was used.
    let driver = ManuallyDrop::new(driver);
    // SAFETY: the types are those of the functions in cuda.h, unchanged since CUDA 2. The symbols do not outlive the
    // library.
    let (init, get, name, attribute) = unsafe {
        (
            symbol::<Init>(&driver, b"cuInit\0")?,
            symbol::<DeviceGet>(&driver, b"cuDeviceGet\0")?,
            symbol::<DeviceGetName>(&driver, b"cuDeviceGetName\0")?,
            symbol::<DeviceGetAttribute>(&driver, b"cuDeviceGetAttribute\0")?,
        )
    };
    let mut device = 0;
    let mut text: [c_char; 128] = [0; 128];
    let mut numbers = [0; 2];
    // SAFETY: every pointer has room for what is written through it: an int, and as many bytes as are told.
    unsafe {
        check("cuInit", init(0))?;
        check("cuDeviceGet", get(&mut device, index))?;
        check("cuDeviceGetName", name(text.as_mut_ptr(), text.len() as c_int, device))?;
        for (number, which) in numbers.iter_mut().zip(CAPABILITY) {
            check("cuDeviceGetAttribute", attribute(number, which, device))?;
        }
    }
    *text.last_mut().expect("it has 128 bytes") = 0;
    // SAFETY: it ends with a zero at the latest in its last byte.
    let name = unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned();
    let [major, minor] = numbers.map(|number| u32::try_from(number).unwrap_or(0));
    Ok(Gpu { name, capability: (major, minor) })
}

/// Most memory that libtorch's allocator used on the GPU number `index`. CUDA must have been used before.
///
/// # Errors
/// In libtorch's words.
pub fn memory(index: usize) -> Result<Memory, String> {
    let index = i8::try_from(index).map_err(|_| "no such GPU".to_owned())?;
    let (mut allocated, mut reserved) = (0, 0);
    // SAFETY: both have room for their number; what comes back is a text of that function.
    unsafe { raw::outcome(raw::lipcast_device_memory(index, &mut allocated, &mut reserved)) }?;
    let bytes = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(Memory { allocated: bytes(allocated), reserved: bytes(reserved) })
}

/// # Safety
/// `T` is the type of the function called `name`, which ends with a zero.
unsafe fn symbol<T>(library: &Library, name: &[u8]) -> Result<Symbol<T>, String> {
    // SAFETY: by the contract of this function.
    unsafe { library.get(name) }.map_err(|error| words(&error))
}

fn check(call: &str, code: c_int) -> Result<(), String> {
    if code == 0 { Ok(()) } else { Err(format!("{call} of {DRIVER} failed with code {code}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_has_a_name_or_the_reason_is_told() {
        match describe(0) {
            Ok(gpu) => assert!(!gpu.name.is_empty() && gpu.capability.0 > 0, "{gpu:?}"),
            Err(error) => assert!(error.contains(DRIVER), "{error}"),
        }
    }
}
