//! A network that AOTInductor compiled ahead of time for one kind of GPU and one batch size.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{NonNull, null_mut};

use tch::Tensor;

use crate::raw;

/// Most outputs that a package may have.
const OUTPUTS: usize = 16;

/// A compiled package (`.pt2`), loaded onto one device.
#[derive(Debug)]
pub struct Package {
    raw: NonNull<raw::RawPackage>,
}

// SAFETY: libtorch's loader belongs to no thread, and a call to it borrows the whole package.
unsafe impl Send for Package {}

impl Package {
    /// Opens the package at `path` on a GPU, or on the CPU when `gpu` is `None`. It is unpacked into a temporary
    /// folder, and a library inside is opened: open only what you would run.
    ///
    /// # Errors
    /// In libtorch's words.
    pub fn open(path: &Path, gpu: Option<usize>) -> Result<Self, String> {
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        let device = gpu.map_or(Ok(-1), i8::try_from).map_err(|_| "no such GPU".to_owned())?;
        let mut package = null_mut();
        // SAFETY: the name ends with a zero and lives through the call; `package` has room for a pointer. What comes
        // back is a text of that function.
        unsafe { raw::outcome(raw::lipcast_package_open(name.as_ptr(), device, &mut package)) }?;
        NonNull::new(package).map(|raw| Self { raw }).ok_or_else(|| "libtorch gave no package".to_owned())
    }

    /// Runs it on `inputs`, which must have the shapes, types and device that it was compiled for; libtorch does not
    /// check all of that.
    ///
    /// # Errors
    /// In libtorch's words.
    pub fn run(&mut self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, String> {
        let inputs: Vec<_> = inputs.iter().map(|tensor| tensor.as_ptr()).collect();
        let mut outputs = [null_mut(); OUTPUTS];
        let mut made = 0;
        // SAFETY: the package is open. Every input is a live tensor of `tch`, borrowed for the call; `outputs` has room
        // for as many as it is told. What comes back is a text of that function.
        unsafe {
            raw::outcome(raw::lipcast_package_run(
                self.raw.as_ptr(),
                inputs.as_ptr(),
                inputs.len(),
                outputs.as_mut_ptr(),
                outputs.len(),
                &mut made,
            ))
        }?;
        // SAFETY: the first `made` pointers are tensors that are ours now; `tch` frees each once, by `delete`, which is
        // how they were made for: `new at::Tensor`.
        Ok(outputs[..made].iter().map(|&output| unsafe { Tensor::from_ptr(output) }).collect())
    }
}

impl Drop for Package {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody uses it afterwards.
        unsafe { raw::lipcast_package_close(self.raw.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_package_is_refused_in_libtorchs_words() {
        for (path, words) in
            [("/nowhere/generator.pt2", "file open failed"), ("/proc/version", "not a ZIP archive")]
        {
            let error = Package::open(Path::new(path), None).expect_err("it is no package");
            assert!(error.contains(words) && !error.contains("frame #"), "{error}");
        }
    }
}
