//! What harms the process itself. Everything here is meant to go wrong; the reasons tell why no more than that does.
#![allow(unsafe_code, reason = "faults of memory, descriptors and processes are what this backend is for")]

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::mm::{MapFlags, ProtFlags};
use rustix::process::{Signal, getpid, kill_process};

use crate::fault::Scribble;
use crate::trigger::random;

/// The ring's first word, as it lies in memory.
const RING_MAGIC: [u8; 4] = *b"LPCR";

/// Of the ring: a header of 4096 bytes, in which the count of completed calls has its place, then the cells.
const HEADER: usize = 4096;
const COMPLETED: usize = 128;
const CELL: usize = 65_536;

unsafe extern "C" {
    fn fork() -> i32;
    fn usleep(microseconds: u32) -> i32;
    fn _exit(status: i32) -> !;
}

/// SIGSEGV, by a write to a page that no process has.
pub(crate) fn segfault() {
    let nowhere = std::hint::black_box(8) as *mut u64;
    // SAFETY: none; the first page is never mapped, so this ends the process and changes nothing.
    unsafe { nowhere.write_volatile(1) }
}

/// SIGSTOP to the own process.
pub(crate) fn stop() {
    // Nobody forbids a process to signal itself.
    let _ = kill_process(getpid(), Signal::STOP);
}

/// Leaves a child behind that holds all descriptors for `time`.
pub(crate) fn fork_for(time: Duration) {
    let microseconds = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    // SAFETY: the child calls nothing but two functions that are safe after a fork of a process with threads.
    unsafe {
        if fork() == 0 {
            usleep(microseconds);
            _exit(0);
        }
    }
}

/// Closes descriptors 3 to 10.
pub(crate) fn close_descriptors() {
    for descriptor in 3..=10 {
        // SAFETY: none; whoever owned them finds them closed, which is the fault. No memory is involved.
        unsafe { rustix::io::close(descriptor) }
    }
}

/// Sends nonsense over the socket at descriptor 3, if it is one.
pub(crate) fn talk_nonsense() {
    // SAFETY: borrowed for this call; where there is no such descriptor, or it is no socket, the call says so.
    let control = unsafe { BorrowedFd::borrow_raw(3) };
    // Whoever does not hear it has nothing to find out.
    let _ = rustix::net::send(control, b"\xFF{nonsense", rustix::net::SendFlags::NOSIGNAL);
}

/// Writes `bytes` bytes from `offset` of the slot that `picture` begins.
pub(crate) fn overrun(picture: &mut [u8], offset: usize, bytes: usize) {
    // SAFETY: none. A host keeps at least 64 bytes of canary there; beyond them it is the host's memory that is hurt.
    unsafe { picture.as_mut_ptr().add(offset).write_bytes(0xEE, bytes) }
}

/// Writes nonsense into the shared memory at descriptor 4, if it is a ring.
pub(crate) fn scribble(what: Scribble) {
    // SAFETY: borrowed for this function; where there is no such descriptor the calls below say so.
    let ring = unsafe { BorrowedFd::borrow_raw(4) };
    let Ok(stat) = rustix::fs::fstat(ring) else { return };
    let len = stat.st_size as usize;
    if len < HEADER + CELL {
        return;
    }
    let flags = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice, of as many bytes as the file has.
    let mapped = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, flags, MapFlags::SHARED, ring, 0) };
    let Ok(mapped) = mapped else { return };
    let bytes = mapped.cast::<u8>();
    let write = |from: usize, to: usize| {
        let mut seed = 1;
        for at in from..to {
            // SAFETY: below `len`. Others see torn values, which is the fault.
            unsafe { bytes.add(at).write_volatile(random(&mut seed) as u8) }
        }
    };
    // SAFETY: four bytes at the start of the mapping.
    let magic = unsafe { bytes.cast::<[u8; 4]>().read() };
    if magic == RING_MAGIC {
        match what {
            // SAFETY: inside the header, aligned. More calls completed than were ever submitted.
            Scribble::Counter => unsafe { bytes.add(COMPLETED).cast::<u32>().write_volatile(0x7FFF_FFFF) },
            Scribble::Cells => write(HEADER, len),
            Scribble::All => write(0, len),
        }
    }
    // SAFETY: the mapping of above, which nobody else knows.
    let _ = unsafe { rustix::mm::munmap(mapped, len) };
}
