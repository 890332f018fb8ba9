//! Computing for results alone.

use std::sync::{PoisonError, RwLock};

use crate::raw;

/// Held together by whoever computes, and alone by whoever records: libtorch has one switch for the whole process that
/// makes waiting for a GPU an error.
static COMPUTING: RwLock<()> = RwLock::new(());

/// Does `work` with nothing kept for gradients, neither now nor for later: beyond `no_grad`, tensors count no versions
/// and operators skip the layer that would watch them, which is a tenth of a small network's time on a CPU.
///
/// It is not called within itself, nor within [`inference_alone`].
pub fn inference<T>(work: impl FnOnce() -> T) -> T {
    let _beside_others = COMPUTING.read().unwrap_or_else(PoisonError::into_inner);
    let _mode = Mode::begin();
    work()
}

/// As [`inference`], while nobody else in this process computes by either of them.
pub fn inference_alone<T>(work: impl FnOnce(&Alone) -> T) -> T {
    let _alone = COMPUTING.write().unwrap_or_else(PoisonError::into_inner);
    let _mode = Mode::begin();
    work(&Alone(()))
}

/// Nobody else computes while this can be borrowed.
#[derive(Debug)]
pub struct Alone(());

/// Ends it, also when the work panics.
struct Mode(*mut raw::RawInference);

impl Mode {
    fn begin() -> Self {
        // SAFETY: it takes nothing. What it returns is ended when this is dropped, once, on this thread, since a pointer
        // is not `Send`, and after whatever the work began, since that ends within it.
        Self(unsafe { raw::lipcast_inference_begin() })
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        // SAFETY: as in `begin`; nobody else has the pointer.
        unsafe { raw::lipcast_inference_end(self.0) };
    }
}
