//! Whether a backend has room for one session more: what was measured of it, against the sessions that it has.
//!
//! A session counts by its frame rate from the moment it is admitted, also while it says nothing: it may speak at any
//! time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lipcast_engine::backend::{Capacity, Instance, Room};

/// Sessions that were admitted and do not run yet.
#[derive(Default)]
pub(super) struct Admission {
    starting: Mutex<Vec<Start>>,
}

struct Start {
    number: u64,
    backend: String,
    fps: f64,
}

/// A place in a backend's load, until the session runs and counts by itself.
pub(super) struct Admitted {
    admission: Arc<Admission>,
    number: u64,
}

impl Admission {
    /// Takes a place for a session of `fps` frames per second; `running` is what those want that run on the backend.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn admit(
        self: &Arc<Self>,
        instance: &dyn Instance,
        fps: f64,
        running: impl FnOnce() -> f64,
    ) -> Result<Admitted, Room> {
        let mut starting = self.lock();
        let load = running() + wanted(&starting, instance.name());
        match Capacity::room(instance.capacity(), load, fps) {
            Room::Free => {
                let number = starting.iter().map(|start| start.number).max().map_or(0, |last| last + 1);
                starting.push(Start { number, backend: instance.name().to_owned(), fps });
                Ok(Admitted { admission: self.clone(), number })
            }
            full => Err(full),
        }
    }

    /// What those want that were admitted to the backend `name` and do not run yet, frames per second.
    pub(super) fn starting(&self, name: &str) -> f64 {
        wanted(&self.lock(), name)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Start>> {
        // Nothing here panics while it holds the lock halfway through a change.
        self.starting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wanted(starting: &[Start], name: &str) -> f64 {
    starting.iter().filter(|start| start.backend == name).map(|start| start.fps).sum()
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.lock().retain(|start| start.number != self.number);
    }
}
