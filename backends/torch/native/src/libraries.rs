//! Libraries of the process: which are mapped, and opening more.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// Where the library called `name` lies that this process has mapped, if it has.
///
/// # Errors
/// When the list of mappings cannot be read.
pub fn mapped(name: &str) -> io::Result<Option<PathBuf>> {
    Ok(find(&fs::read_to_string("/proc/self/maps")?, name))
}

/// What stands behind the path of a file that was removed or replaced since.
const GONE: &str = " (deleted)";

/// The path of the first mapping of a file called `name`. A line of `maps` is address, rights, offset, device, inode
/// and path, the path being the rest of the line.
fn find(maps: &str, name: &str) -> Option<PathBuf> {
    maps.lines()
        .filter_map(|line| line.find('/').map(|at| &line[at..]))
        .map(|path| Path::new(path.strip_suffix(GONE).unwrap_or(path)))
        .find(|path| path.file_name().is_some_and(|file| file == name))
        .map(Path::to_owned)
}

/// Opens a library for good, its symbols visible to whatever is opened later.
///
/// # Errors
/// In the dynamic loader's words, which name the library that it misses.
pub fn open_globally(path: &Path) -> Result<(), String> {
    // SAFETY: running the initialisers of a library is what its caller asks for; they are those of libtorch and of the
    // GPU's libraries, which may be opened by any thread at any time. It is never closed.
    match unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) } {
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        Err(error) => Err(words(&error)),
    }
}

/// The dynamic loader's own words, which an error of `libloading` only carries as its source.
pub(crate) fn words(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_found_by_its_whole_name() {
        let maps = "7f0000000000-7f0000001000 r--p 00000000 fe:00 42   /opt/my torch/lib/libtorch_cpu.so\n\
                    7f0000001000-7f0000002000 r--p 00000000 fe:00 43   /opt/lib/libc10.so.1\n\
                    7f0000002000-7f0000003000 rw-p 00000000 00:00 0    [heap]\n\
                    7f0000003000-7f0000004000 rw-p 00000000 00:00 0\n";
        assert_eq!(find(maps, "libtorch_cpu.so"), Some(PathBuf::from("/opt/my torch/lib/libtorch_cpu.so")));
        assert_eq!(find(maps, "libc10.so"), None);
        // A newer one lies in that folder by now; its other half lies there too.
        let replaced =
            "7f0000000000-7f0000001000 r--p 00000000 fe:00 42   /opt/lib/libtorch_cpu.so (deleted)\n";
        assert_eq!(find(replaced, "libtorch_cpu.so"), Some(PathBuf::from("/opt/lib/libtorch_cpu.so")));
    }

    #[test]
    fn libtorch_is_mapped_in_what_links_it() {
        // Calling it keeps the linker from leaving it out.
        assert!(tch::get_num_threads() > 0);
        let path = mapped("libtorch_cpu.so").expect("the mappings are readable").expect("it is linked");
        assert!(path.is_file(), "{}", path.display());
        assert_eq!(open_globally(&path), Ok(()));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = open_globally(Path::new("/nowhere/libtorch_cuda.so")).expect_err("it is not there");
        assert!(error.contains("/nowhere/libtorch_cuda.so"), "{error}");
    }
}
