//! How the process's heap treats large blocks.

/// Memory that libtorch frees stays with the process, for the next operator.
///
/// By default glibc maps every block above some hundred kilobytes afresh and gives it back at once, so that each
/// operator on the CPU pays for page faults on all of its output; the VAE decoder takes a quarter longer that way.
/// It holds for the whole process, also when what is returned is dropped; that gives back what is free by then.
pub fn keep_freed_blocks() -> Kept {
    for (parameter, bytes) in [
        // Blocks below this come from the heap instead of a mapping of their own. An older glibc takes no more than the
        // first; a newer one takes the second, too.
        (libc::M_MMAP_THRESHOLD, 32 << 20),
        (libc::M_MMAP_THRESHOLD, 1 << 30),
        // So much free memory at the heap's end stays.
        (libc::M_TRIM_THRESHOLD, i32::MAX),
        // The heap grows in steps of this.
        (libc::M_TOP_PAD, 64 << 20),
    ] {
        // SAFETY: `mallopt` only sets a number of the allocator, under its lock; a value that it does not take, it
        // ignores.
        unsafe { libc::mallopt(parameter, bytes) };
    }
    Kept(())
}

/// Freed blocks are being kept; to be dropped after what used them.
#[derive(Debug)]
pub struct Kept(());

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: it looks at the allocator's own lists alone, under their locks.
        unsafe { libc::malloc_trim(0) };
    }
}
