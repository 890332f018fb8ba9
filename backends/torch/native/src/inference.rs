//! Computing for results alone.

use crate::raw;

/// Does `work` with nothing kept for gradients, neither now nor for later: beyond `no_grad`, tensors count no versions
/// and operators skip the layer that would watch them, which is a tenth of a small network's time on a CPU.
pub fn inference<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: it takes nothing. What it returns is ended below, once, on this thread, and after whatever `work` began,
    // since that ends within `work` by this same function.
    let _mode = Mode(unsafe { raw::lipcast_inference_begin() });
    work()
}

/// Ends it, also when the work panics.
struct Mode(*mut raw::RawInference);

impl Drop for Mode {
    fn drop(&mut self) {
        // SAFETY: as in `inference`; nobody else has the pointer.
        unsafe { raw::lipcast_inference_end(self.0) };
    }
}
