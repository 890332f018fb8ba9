//! A backend replaced at run time: the new one is opened beside the old one and takes its place when it is ready.
//!
//! Sessions notice by themselves: whoever draws for them is no longer among those who are ready, so they move to who
//! is, without a held frame. The old one ends when nobody holds it any more.

use std::sync::Arc;
use std::thread;

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::{BackendSpec, Backends, Instance};

/// Why a backend was not replaced; the one before serves on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// No backend has that name.
    #[error("there is no backend \"{0}\" in use")]
    Unknown(String),
    /// It is being opened already.
    #[error("backend \"{0}\" is being opened just now")]
    Opening(String),
    /// The new one did not come up.
    #[error("backend \"{name}\" could not be replaced: {reason}")]
    Refused {
        /// Its name.
        name: String,
        /// Its own words.
        reason: String,
    },
}

impl Backends {
    /// How a backend was opened last.
    pub fn spec(&self, name: &str) -> Option<BackendSpec> {
        self.lock().iter().find(|slot| slot.spec.name == name).map(|slot| slot.spec.clone())
    }

    /// Opens `spec` and puts it in the place of the backend of the same name; returns that one, which may serve
    /// sessions yet. Blocks for as long as opening takes, `init_timeout` at most.
    ///
    /// # Errors
    /// When there is no such backend, it is being opened, or the new one does not come up; then nothing has changed.
    pub fn reload(&self, spec: BackendSpec) -> Result<Option<Arc<dyn Instance>>, ReloadError> {
        let name = spec.name.clone();
        {
            let mut slots = self.lock();
            let slot = slots.iter_mut().find(|slot| slot.spec.name == name);
            let slot = slot.ok_or_else(|| ReloadError::Unknown(name.clone()))?;
            if slot.is_opening() || std::mem::replace(&mut slot.reloading, true) {
                return Err(ReloadError::Opening(name));
            }
        }
        let opened = open(&spec);
        let mut slots = self.lock();
        // Slots are never taken away.
        let slot = slots.iter_mut().find(|slot| slot.spec.name == name);
        let slot = slot.ok_or_else(|| ReloadError::Unknown(name.clone()))?;
        slot.reloading = false;
        let instance = opened.map_err(|reason| ReloadError::Refused { name, reason })?;
        tracing::info!(backend = spec.name, detail = instance.summary(), "replaced");
        slot.spec = spec;
        Ok(slot.replace(instance))
    }
}

/// Opens on a thread of its own, so that one that hangs can be given up.
fn open(spec: &BackendSpec) -> Result<Arc<dyn Instance>, String> {
    let (done, opened) = bounded(1);
    let opener = spec.open.clone();
    let run = move || {
        let instance = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| opener()))
            .unwrap_or_else(|_| Err("it panicked while it was opened".to_owned()));
        // Nobody waits any more: the instance ends here.
        let _ = done.send(instance);
    };
    let spawned = thread::Builder::new().name("reload backend".to_owned()).spawn(run);
    spawned.map_err(|error| format!("no thread for it: {error}"))?;
    opened.recv_timeout(spec.init_timeout).unwrap_or_else(|error| match error {
        RecvTimeoutError::Timeout => {
            Err(format!("it was not ready within {:.0} s", spec.init_timeout.as_secs_f64()))
        }
        RecvTimeoutError::Disconnected => Err("its thread ended".to_owned()),
    })
}
