//! All configured backends: opened side by side, each with its own deadline; the first that is ready serves.
//!
//! A backend that cannot be opened never stops the others. One that becomes ready late takes new sessions. Behind
//! all of them stands the last resort, which is linked into the program.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::Instance;

/// Opens one backend; may take minutes, and may be tried again after a failure.
pub type Opener = Arc<dyn Fn() -> Result<Arc<dyn Instance>, String> + Send + Sync>;

/// One configured backend.
#[derive(Clone)]
pub struct BackendSpec {
    /// Its name in the configuration.
    pub name: String,
    /// How it is opened.
    pub open: Opener,
    /// Longest time to wait for it; a backend that comes later still joins.
    pub init_timeout: Duration,
    /// The server must not run without it.
    pub required: bool,
}

/// Where a backend is.
#[derive(Clone)]
pub enum BackendState {
    /// Being loaded since then.
    Opening {
        /// When loading began.
        since: Instant,
    },
    /// Serves, unless it was lost since: [`Instance::lost`] tells.
    Ready(Arc<dyn Instance>),
    /// Refused or broken; the reason in one line.
    Failed {
        /// For the operator.
        reason: String,
    },
}

impl BackendState {
    /// Why it does not serve and will not by itself: it failed, or it served and was lost.
    fn failure(&self) -> Option<String> {
        match self {
            Self::Opening { .. } => None,
            Self::Ready(instance) => instance.lost(),
            Self::Failed { reason } => Some(reason.clone()),
        }
    }
}

/// Where a backend is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportedState {
    /// Being loaded.
    Opening,
    /// Still being loaded, after its deadline; it joins when it is ready.
    Late,
    /// Serves.
    Ready,
    /// Refused or broken.
    Failed,
}

/// A backend as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendReport {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is.
    pub state: ReportedState,
    /// The id in its descriptor, such as `lipcast.demo`; known once it is ready.
    pub id: Option<String>,
    /// Why it does not serve; what it says of itself when it does.
    pub detail: String,
    /// The server must not run without it.
    pub required: bool,
}

pub(super) struct Slot {
    pub(super) spec: BackendSpec,
    state: BackendState,
    /// Another one is being opened to take its place.
    pub(super) reloading: bool,
}

impl Slot {
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.state, BackendState::Opening { .. })
    }

    /// `instance` serves from now on; who served before.
    pub(super) fn replace(&mut self, instance: Arc<dyn Instance>) -> Option<Arc<dyn Instance>> {
        match std::mem::replace(&mut self.state, BackendState::Ready(instance)) {
            BackendState::Ready(former) => Some(former),
            _ => None,
        }
    }
}

/// All backends of a server.
pub struct Backends {
    slots: Mutex<Vec<Slot>>,
    changed: Condvar,
    last_resort: Arc<dyn Instance>,
}

impl Backends {
    /// Begins to open all of them, in parallel; returns at once. The order is the order of preference.
    pub fn open(specs: Vec<BackendSpec>, last_resort: Arc<dyn Instance>) -> Arc<Self> {
        let since = Instant::now();
        let slots = specs
            .iter()
            .cloned()
            .map(|spec| Slot { spec, state: BackendState::Opening { since }, reloading: false })
            .collect();
        let backends = Arc::new(Self { slots: Mutex::new(slots), changed: Condvar::new(), last_resort });
        for (index, spec) in specs.into_iter().enumerate() {
            backends.spawn_open(index, spec);
        }
        backends
    }

    /// Tries those again that failed or were lost; returns at once.
    pub fn retry_failed(self: &Arc<Self>) {
        let mut again = Vec::new();
        for (index, slot) in self.lock().iter_mut().enumerate() {
            if slot.state.failure().is_some() {
                let since = Instant::now();
                let former = std::mem::replace(&mut slot.state, BackendState::Opening { since });
                again.push((index, slot.spec.clone(), former));
            }
        }
        // A lost instance may take long to end: not while the registry is locked.
        for (index, spec, former) in again {
            drop(former);
            self.spawn_open(index, spec);
        }
    }

    /// Waits until each backend is ready, has failed, or is past its own deadline.
    pub fn wait_settled(&self) {
        let mut slots = self.lock();
        loop {
            let now = Instant::now();
            let patience = slots.iter().filter_map(|slot| match slot.state {
                BackendState::Opening { since } => {
                    Some((since + slot.spec.init_timeout).saturating_duration_since(now))
                }
                _ => None,
            });
            let Some(longest) = patience.max().filter(|left| !left.is_zero()) else { return };
            let waited = self.changed.wait_timeout(slots, longest);
            slots = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    /// Every backend in order of preference.
    pub fn report(&self) -> Vec<BackendReport> {
        let describe = |slot: &Slot| {
            let (state, detail) = match &slot.state {
                BackendState::Opening { since } if since.elapsed() > slot.spec.init_timeout => (
                    ReportedState::Late,
                    format!("still loading after {:.0} s", since.elapsed().as_secs_f64()),
                ),
                BackendState::Opening { since } => {
                    (ReportedState::Opening, format!("since {:.1} s", since.elapsed().as_secs_f64()))
                }
                state => match (state.failure(), state) {
                    (None, BackendState::Ready(instance)) => (ReportedState::Ready, instance.summary()),
                    (reason, _) => (ReportedState::Failed, reason.unwrap_or_default()),
                },
            };
            let id = match &slot.state {
                BackendState::Ready(instance) => Some(instance.blob_key().0.to_owned()),
                _ => None,
            };
            BackendReport { name: slot.spec.name.clone(), state, id, detail, required: slot.spec.required }
        };
        self.lock().iter().map(describe).collect()
    }

    /// Those that can serve now, in order of preference; the last resort ends the list.
    pub fn ready(&self) -> Vec<Arc<dyn Instance>> {
        let mut ready: Vec<Arc<dyn Instance>> = self
            .lock()
            .iter()
            .filter_map(|slot| match &slot.state {
                BackendState::Ready(instance) if instance.lost().is_none() => Some(instance.clone()),
                _ => None,
            })
            .collect();
        ready.push(self.last_resort.clone());
        ready
    }

    fn spawn_open(self: &Arc<Self>, index: usize, spec: BackendSpec) {
        let backends = Arc::downgrade(self);
        let open = move || {
            let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (spec.open)()))
                .unwrap_or_else(|_| Err("panicked while it was opened".to_owned()));
            match &opened {
                Ok(instance) => tracing::info!(backend = spec.name, detail = instance.summary(), "ready"),
                Err(reason) => tracing::warn!(backend = spec.name, reason, "refused"),
            }
            if let Some(backends) = backends.upgrade() {
                let state = match opened {
                    Ok(instance) => BackendState::Ready(instance),
                    Err(reason) => BackendState::Failed { reason },
                };
                backends.lock()[index].state = state;
                backends.changed.notify_all();
            }
        };
        thread::Builder::new()
            .name("open backend".into())
            .spawn(open)
            .expect("the system can start a thread");
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
