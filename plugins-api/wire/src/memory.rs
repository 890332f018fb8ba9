//! Memory that two processes map: anonymous files that can be neither cut nor grown.
//!
//! A file that the other side could cut would end whoever reads it by a SIGBUS (measured), so seals come before the
//! first byte is read. Whoever else maps the memory may write to it at any time: counters are atomics, everything
//! else is copied out before it is looked at.
#![allow(
    unsafe_code,
    reason = "mapping memory that another process writes; every access is checked against its length"
)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags};

/// What keeps a file at its length for ever.
const FIXED: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// A sealed anonymous file, mapped for reading and writing, or for reading only.
///
/// The other process may write at any time. Within one process whoever writes has the place to itself: an end of a ring
/// has one owner, a cell of it belongs to one side at a time, a slot to one request, transfer memory to one call.
#[derive(Debug)]
pub struct SharedMemory {
    file: OwnedFd,
    map: MmapRaw,
    writable: bool,
}

/// A sealed file could not be made or was refused.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The system's reason.
    #[error("shared memory: {0}")]
    Io(#[from] io::Error),
    /// It could be cut or grown or, where that matters, written to.
    #[error("shared memory of the other side is not sealed: it could be changed under its reader")]
    NotSealed,
    /// Another length than was said.
    #[error("shared memory of {found} bytes where {expected} were said")]
    Length {
        /// What was said.
        expected: u64,
        /// What there is.
        found: u64,
    },
}

impl From<rustix::io::Errno> for MemoryError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

impl SharedMemory {
    /// Makes `len` zero bytes, above 0, that stay as many.
    ///
    /// # Errors
    /// When the system has no memory or no descriptor left.
    pub fn create(name: &str, len: usize) -> Result<Self, MemoryError> {
        let file = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&file, len as u64)?;
        Self::seal(&file, FIXED)?;
        Self::map(file, len, true)
    }

    /// Makes memory whose content is `bytes`, above 0 of them, and never changes.
    ///
    /// # Errors
    /// When the system has no memory or no descriptor left.
    pub fn constant(name: &str, bytes: &[u8]) -> Result<Self, MemoryError> {
        let file = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = std::fs::File::from(file);
        io::Write::write_all(&mut file, bytes)?;
        let file = OwnedFd::from(file);
        Self::seal(&file, FIXED | SealFlags::WRITE)?;
        Self::map(file, bytes.len(), false)
    }

    /// Seals a file that nobody else has. The system itself may be looking at its pages for a moment, to see which of
    /// them are in use; it waits for that and calls the file busy in the end. Then the same is asked again.
    fn seal(file: &OwnedFd, seals: SealFlags) -> Result<(), rustix::io::Errno> {
        const ATTEMPTS: usize = 10;
        let mut sealed = Err(rustix::io::Errno::BUSY);
        for _ in 0..ATTEMPTS {
            sealed = rustix::fs::fcntl_add_seals(file, seals);
            if sealed != Err(rustix::io::Errno::BUSY) {
                break;
            }
        }
        sealed
    }

    /// Takes memory that the other side made.
    ///
    /// # Errors
    /// When it could be cut or grown, or has another length than `len`.
    pub fn open(file: OwnedFd, len: usize) -> Result<Self, MemoryError> {
        Self::check(&file, FIXED, len)?;
        Self::map(file, len, true)
    }

    /// Takes memory that the other side made and that nobody can change any more.
    ///
    /// # Errors
    /// When it could be changed, or has another length than `len`.
    pub fn open_constant(file: OwnedFd, len: usize) -> Result<Self, MemoryError> {
        Self::check(&file, FIXED | SealFlags::WRITE, len)?;
        Self::map(file, len, false)
    }

    /// Bytes of the file behind a descriptor.
    ///
    /// # Errors
    /// When the system says so.
    pub fn len_of(file: BorrowedFd<'_>) -> io::Result<u64> {
        Ok(rustix::fs::fstat(file)?.st_size as u64)
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Never: there is at least a byte.
    pub fn is_empty(&self) -> bool {
        self.map.len() == 0
    }

    /// The file, to hand to the other side.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The number at `at`, which both sides may change.
    ///
    /// # Panics
    /// When `at` is no multiple of 4 or outside: a constant of ours is wrong.
    pub fn word(&self, at: usize) -> &AtomicU32 {
        assert!(
            self.writable && at.is_multiple_of(4) && at + 4 <= self.len(),
            "a word at {at} of {}",
            self.len()
        );
        // SAFETY: inside the mapping, aligned (a mapping begins at a page), and only ever used as an atomic.
        unsafe { &*self.map.as_mut_ptr().add(at).cast::<AtomicU32>() }
    }

    /// Copies bytes out.
    ///
    /// # Panics
    /// When they are not all inside; check untrusted places before.
    pub fn read(&self, at: usize, into: &mut [u8]) {
        assert!(at.checked_add(into.len()).is_some_and(|end| end <= self.len()), "a read inside");
        // SAFETY: inside the mapping, which lives as long as `self`; `into` is memory of our own. Another process may
        // write meanwhile: then the copy holds some mixture of bytes, which whoever reads them has to check anyway.
        unsafe { self.map.as_ptr().add(at).copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) }
    }

    /// Copies bytes out, into memory that nothing else is written to first.
    ///
    /// # Panics
    /// When they are not all inside; check untrusted places before.
    pub fn copy(&self, at: usize, len: usize) -> Vec<u8> {
        assert!(at.checked_add(len).is_some_and(|end| end <= self.len()), "a copy inside");
        let mut bytes = Vec::with_capacity(len);
        // SAFETY: as in `read`, into memory of our own with room for `len` bytes.
        unsafe { self.map.as_ptr().add(at).copy_to_nonoverlapping(bytes.as_mut_ptr(), len) };
        // SAFETY: as many bytes have just been written, and any value of them is one.
        unsafe { bytes.set_len(len) };
        bytes
    }

    /// The bytes themselves, without a copy.
    ///
    /// # Safety
    /// Another process may write to them at any time. Whoever reads them must be content with any mixture of values,
    /// and decide nothing by them: no length, no index, no branch that has to come out the same twice.
    ///
    /// # Panics
    /// When they are not all inside; check untrusted places before.
    pub unsafe fn shared_bytes(&self, at: usize, len: usize) -> &[u8] {
        assert!(at.checked_add(len).is_some_and(|end| end <= self.len()), "bytes inside");
        // SAFETY: inside the mapping, which lives as long as `self` and can be neither cut nor grown; what they may be
        // used for is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(at), len) }
    }

    /// Copies bytes in.
    ///
    /// # Panics
    /// When they are not all inside, or the memory is for reading only.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        assert!(
            self.writable && at.checked_add(bytes.len()).is_some_and(|end| end <= self.len()),
            "a write inside"
        );
        // SAFETY: inside the mapping, which is writable and lives as long as `self`.
        unsafe { self.map.as_mut_ptr().add(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    /// Whether all of the bytes at `at` are `value`.
    ///
    /// # Panics
    /// When they are not all inside.
    pub fn is_filled(&self, at: usize, count: usize, value: u8) -> bool {
        let mut bytes = [0; 256];
        (0..count).step_by(bytes.len()).all(|done| {
            let piece = &mut bytes[..(count - done).min(256)];
            self.read(at + done, piece);
            piece.iter().all(|byte| *byte == value)
        })
    }

    /// The bytes themselves, of memory that nobody can change; empty for any other.
    pub fn constant_bytes(&self) -> &[u8] {
        if self.writable {
            return &[];
        }
        // SAFETY: the file is sealed against writing, cutting and growing (`open_constant`, `constant`), so these
        // bytes are there and stay as they are while the mapping lives.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr(), self.map.len()) }
    }

    /// Where the mapping begins, for a plugin that writes pictures into it.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    fn check(file: &OwnedFd, wanted: SealFlags, len: usize) -> Result<(), MemoryError> {
        // A file that knows no seals answers with an error: not sealed.
        let seals = rustix::fs::fcntl_get_seals(file).unwrap_or(SealFlags::empty());
        if !seals.contains(wanted) {
            return Err(MemoryError::NotSealed);
        }
        let found = Self::len_of(file.as_fd())?;
        if found != len as u64 || len == 0 {
            return Err(MemoryError::Length { expected: len as u64, found });
        }
        Ok(())
    }

    fn map(file: OwnedFd, len: usize, writable: bool) -> Result<Self, MemoryError> {
        let mut options = MmapOptions::new();
        options.len(len);
        // A file that is sealed against writing is mapped privately: before Linux 6.7 a shared mapping of one is refused
        // even for reading.
        // SAFETY: the file is sealed at its length, and where the mapping is private against writing too.
        let private = || unsafe { options.map_copy_read_only(&file) };
        let map = if writable { options.map_raw(&file)? } else { private()?.into() };
        Ok(Self { file, map, writable })
    }
}

// SAFETY: the mapping is not bound to a thread, and every access is an atomic or a copy of a place that no other thread of
// this process writes to meanwhile (see the type).
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

/// A file of the other side, mapped for reading.
///
/// Unlike [`SharedMemory`] it may be cut by whoever owns it, which ends the process that reads it by a SIGBUS. That is a
/// child's lot, and why a blob is read there and not in the parent.
#[derive(Debug)]
pub struct FileBytes(Option<memmap2::Mmap>);

impl FileBytes {
    /// Maps the first `len` bytes.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn map(file: &OwnedFd, len: u64) -> Result<Self, MemoryError> {
        if len == 0 {
            return Ok(Self(None));
        }
        let found = SharedMemory::len_of(file.as_fd())?;
        if found < len {
            return Err(MemoryError::Length { expected: len, found });
        }
        // SAFETY: the file is there for as long as the mapping; see above for one that is cut meanwhile.
        // Private for the same reason as constant memory.
        let map = unsafe { MmapOptions::new().len(len as usize).map_copy_read_only(file)? };
        Ok(Self(Some(map)))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_cut_or_grow_it() {
        let memory = SharedMemory::create("test", 4096).unwrap();
        let other = memory.file().try_clone_to_owned().unwrap();
        for len in [0, 8192] {
            assert!(rustix::fs::ftruncate(&other, len).is_err());
        }
        assert!(SharedMemory::open(other, 4096).is_ok());
    }

    #[test]
    fn memory_that_could_change_is_refused() {
        let loose =
            rustix::fs::memfd_create("loose", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&loose, 64).unwrap();
        assert!(matches!(SharedMemory::open(loose, 64), Err(MemoryError::NotSealed)));
        let fixed = SharedMemory::create("fixed", 64).unwrap().file().try_clone_to_owned().unwrap();
        assert!(matches!(SharedMemory::open_constant(fixed, 64), Err(MemoryError::NotSealed)));
        let short = SharedMemory::create("short", 64).unwrap().file().try_clone_to_owned().unwrap();
        assert!(matches!(SharedMemory::open(short, 65), Err(MemoryError::Length { found: 64, .. })));
    }

    #[test]
    fn constant_memory_is_mapped_privately() {
        // Before Linux 6.7 a shared mapping of a file that is sealed against writing is refused.
        let _made = SharedMemory::constant("private-masks", b"alpha").unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.contains("memfd:private-masks")).unwrap();
        assert!(line.contains(" r--p "), "{line}");
    }

    #[test]
    fn what_was_written_is_read_and_copied() {
        let memory = SharedMemory::create("test", 300).unwrap();
        memory.write(290, b"picture");
        let mut read = [0; 7];
        memory.read(290, &mut read);
        assert_eq!((&read, memory.copy(290, 7), memory.copy(300, 0)), (b"picture", read.to_vec(), vec![]));
        assert!(std::panic::catch_unwind(|| memory.copy(294, 7)).is_err(), "beyond the end");
        assert!(std::panic::catch_unwind(|| memory.copy(usize::MAX, 7)).is_err());
    }

    #[test]
    fn constant_bytes_are_those_that_were_given() {
        let made = SharedMemory::constant("masks", b"alpha").unwrap();
        let taken = SharedMemory::open_constant(made.file().try_clone_to_owned().unwrap(), 5).unwrap();
        assert_eq!(taken.constant_bytes(), b"alpha");
        assert!(SharedMemory::create("own", 8).unwrap().constant_bytes().is_empty());
    }
}
