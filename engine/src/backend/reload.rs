//! A backend replaced at run time: the new one is opened beside the old one and takes its place when it is ready.
//!
//! Sessions notice by themselves: whoever draws for them is no longer among those who are ready, so they move to who
//! is, without a held frame. The old one ends when they have left it.

use std::sync::Arc;

use super::BackendMeter;
use super::keeper::Keeper;
use super::program::{BackendSpec, CrashList};
use super::registry::{Backends, Slot};
use super::supervisor::{Cause, Note};
use crate::sync::lock;

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
    /// How a backend was opened last; `None` for a name that is not there, or an instance that somebody else opened.
    pub fn spec(&self, name: &str) -> Option<BackendSpec> {
        self.lock().iter().find_map(|slot| match slot {
            Slot::Kept { spec, .. } if spec.name == name => Some((**spec).clone()),
            _ => None,
        })
    }

    /// Starts `spec` and puts it in the place of the backend of the same name, which is drained: it serves its
    /// sessions until they have moved, and ends. Blocks for as long as starting takes, `init_timeout` at most.
    ///
    /// # Errors
    /// When there is no such backend, it is being replaced, or the new one does not come up; then nothing has changed.
    pub fn reload(&self, spec: BackendSpec) -> Result<(), ReloadError> {
        let name = spec.name.clone();
        if self.lock().iter().all(|slot| slot.name() != name) {
            return Err(ReloadError::Unknown(name));
        }
        if !lock(&self.reloading).insert(name.clone()) {
            return Err(ReloadError::Opening(name));
        }
        let meter = self.meter_of(&name);
        let opened = self.bring_up(&spec, meter.clone());
        lock(&self.reloading).remove(&name);
        let keeper = opened.map_err(|reason| ReloadError::Refused { name: name.clone(), reason })?;
        tracing::info!(backend = name, "replaced");
        meter.note(Note::Restart(Cause::Operator));
        let mut slots = self.lock();
        // Slots are never taken away.
        let slot = slots.iter_mut().find(|slot| slot.name() == name);
        let slot = slot.ok_or_else(|| ReloadError::Unknown(name.clone()))?;
        let former = std::mem::replace(slot, Slot::Kept { spec: Box::new(spec), keeper });
        drop(slots);
        // Its keeper drains it.
        drop(former);
        Ok(())
    }

    /// A keeper whose backend is ready.
    fn bring_up(&self, spec: &BackendSpec, meter: Arc<BackendMeter>) -> Result<Keeper, String> {
        // Somebody wants it now, whatever happened before.
        let keeper = Keeper::start(spec.clone(), CrashList::default(), self.changes.clone(), meter)
            .map_err(|error| format!("no thread for it: {error}"))?;
        keeper.wait_ready(&self.changes, Some(spec.init_timeout))?;
        Ok(keeper)
    }
}
