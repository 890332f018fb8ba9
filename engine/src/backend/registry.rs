//! All configured backends, each with its keeper: brought up side by side, and again when they are lost.
//!
//! A backend that cannot be opened never stops the others. One that becomes ready late takes new sessions. Behind
//! all of them stands the last resort, which is linked into the program.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::keeper::{Changes, Keeper, Status};
use super::link::resident_bytes;
use super::program::{BackendSpec, CrashList};
use super::supervisor::State;
use super::{BackendMeter, Capacity, Instance};
use crate::sync::lock;

/// Where a backend is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportedState {
    /// Being loaded, for the first time.
    Opening,
    /// Still being loaded, after its deadline; it joins when it is ready.
    Late,
    /// Serves.
    Ready,
    /// It was lost, and is on its way back by itself.
    Restarting,
    /// It died too often; it is tried again after a while, or when somebody asks.
    Quarantined,
    /// Refused; it is tried again when its file changes, or when somebody asks.
    Failed,
}

/// A backend as operators see it.
#[derive(Debug, Clone, PartialEq)]
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
    /// How often it was started again since the server began.
    pub restarts: u64,
    /// Its process, if it has one.
    pub process: Option<u32>,
    /// What it can draw, once that was measured.
    pub capacity: Option<Capacity>,
}

/// A backend in numbers.
#[derive(Debug, Clone)]
pub struct BackendFigures {
    /// Its name in the configuration.
    pub name: String,
    /// What became of it.
    pub meter: Arc<BackendMeter>,
    /// Resident bytes of its process, if it has one.
    pub resident: Option<u64>,
}

pub(super) enum Slot {
    /// Brought up and kept up.
    Kept { spec: Box<BackendSpec>, keeper: Keeper },
    /// An instance that somebody else opened.
    Given(Arc<dyn Instance>),
}

impl Slot {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Kept { spec, .. } => &spec.name,
            Self::Given(instance) => instance.name(),
        }
    }
}

/// All backends of a server.
pub struct Backends {
    slots: Mutex<Vec<Slot>>,
    /// Names of those that are being replaced.
    pub(super) reloading: Mutex<HashSet<String>>,
    pub(super) changes: Changes,
    last_resort: Arc<dyn Instance>,
}

impl Backends {
    /// Begins to open all of them, in parallel; returns at once. The order is the order of preference.
    ///
    /// # Panics
    /// When the system has no thread left.
    pub fn open(specs: Vec<BackendSpec>, last_resort: Arc<dyn Instance>) -> Arc<Self> {
        let (changes, crashes) = (Changes::default(), CrashList::default());
        let start = |spec: BackendSpec| {
            let keeper = Keeper::start(spec.clone(), crashes.clone(), changes.clone(), Arc::default());
            Slot::Kept { spec: Box::new(spec), keeper: keeper.expect("the system can start a thread") }
        };
        let slots = Mutex::new(specs.into_iter().map(start).collect());
        Arc::new(Self { slots, reloading: Mutex::default(), changes, last_resort })
    }

    /// Instances that are open already, in order of preference. Nobody starts them again.
    pub fn given(instances: Vec<Arc<dyn Instance>>, last_resort: Arc<dyn Instance>) -> Arc<Self> {
        let slots = Mutex::new(instances.into_iter().map(Slot::Given).collect());
        let changes = Changes::default();
        Arc::new(Self { slots, reloading: Mutex::default(), changes, last_resort })
    }

    /// Tries those again now that do not serve, whatever happened; returns at once.
    pub fn retry_failed(&self) {
        for slot in self.lock().iter() {
            if let Slot::Kept { keeper, .. } = slot {
                keeper.retry();
            }
        }
    }

    /// Waits until each backend is ready, has failed, or is past its own deadline.
    pub fn wait_settled(&self) {
        loop {
            let known = self.changes.count();
            let waits = |slot: &Slot| {
                let Slot::Kept { spec, keeper } = slot else { return None };
                let status = keeper.status();
                let left = spec.init_timeout.saturating_sub(status.since.elapsed());
                (matches!(status.state, State::Starting | State::Dead) && !left.is_zero()).then_some(left)
            };
            let Some(longest) = self.lock().iter().filter_map(waits).max() else { return };
            self.changes.wait(known, longest);
        }
    }

    /// Every backend in order of preference.
    pub fn report(&self) -> Vec<BackendReport> {
        let describe = |slot: &Slot| match slot {
            Slot::Kept { spec, keeper } => kept(spec, &keeper.status()),
            Slot::Given(instance) => given(&**instance),
        };
        self.lock().iter().map(describe).collect()
    }

    /// The figures of every backend in order of preference, and of the last resort. Reads a file for each process.
    pub fn figures(&self) -> Vec<BackendFigures> {
        let given = |instance: &Arc<dyn Instance>| {
            Some(BackendFigures {
                name: instance.name().to_owned(),
                meter: instance.meter()?,
                resident: None,
            })
        };
        let slots = self.lock();
        let figures = slots.iter().filter_map(|slot| match slot {
            Slot::Kept { spec, keeper } => Some(BackendFigures {
                name: spec.name.clone(),
                meter: keeper.meter(),
                resident: keeper.status().process.and_then(resident_bytes),
            }),
            Slot::Given(instance) => given(instance),
        });
        figures.chain(given(&self.last_resort)).collect()
    }

    /// The one that serves when no other does.
    pub fn last_resort(&self) -> &Arc<dyn Instance> {
        &self.last_resort
    }

    /// The counters of the backend `name`; fresh ones where nobody counts.
    pub(super) fn meter_of(&self, name: &str) -> Arc<BackendMeter> {
        let slots = self.lock();
        let meter = slots.iter().find(|slot| slot.name() == name).and_then(|slot| match slot {
            Slot::Kept { keeper, .. } => Some(keeper.meter()),
            Slot::Given(instance) => instance.meter(),
        });
        meter.unwrap_or_default()
    }

    /// Those that can serve now, in order of preference; the last resort ends the list.
    pub fn ready(&self) -> Vec<Arc<dyn Instance>> {
        let mut ready: Vec<Arc<dyn Instance>> = self
            .lock()
            .iter()
            .filter_map(|slot| match slot {
                Slot::Kept { keeper, .. } => {
                    let status = keeper.status();
                    let welcomes = matches!(status.state, State::Ready | State::Late);
                    status.incarnation.filter(|_| welcomes).map(|there| there as Arc<dyn Instance>)
                }
                Slot::Given(instance) => Some(instance.clone()),
            })
            .filter(|instance| instance.lost().is_none())
            .collect();
        ready.push(self.last_resort.clone());
        ready
    }

    /// Waits until something changed after `known`, a count of [`changes`](Self::changes), at most for `patience`.
    pub fn wait_changed(&self, known: u64, patience: Duration) {
        self.changes.wait(known, patience);
    }

    /// Counts changes of any backend's state.
    pub fn changes(&self) -> u64 {
        self.changes.count()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Slot>> {
        lock(&self.slots)
    }
}

fn kept(spec: &BackendSpec, status: &Status) -> BackendReport {
    let (state, detail) = state_of(status, spec.init_timeout);
    BackendReport {
        name: spec.name.clone(),
        state,
        id: status.incarnation.as_ref().map(|there| there.blob_key().0.to_owned()),
        detail,
        required: spec.required,
        restarts: status.incarnations.saturating_sub(1),
        process: status.process,
        capacity: status.incarnation.as_ref().and_then(|there| there.capacity()).filter(is_measured),
    }
}

fn is_measured(capacity: &Capacity) -> bool {
    capacity.frames_per_second > 0.0
}

fn given(instance: &dyn Instance) -> BackendReport {
    let (state, detail) = match instance.lost() {
        None => (ReportedState::Ready, instance.summary()),
        Some(reason) => (ReportedState::Failed, reason),
    };
    let capacity = instance.capacity().filter(is_measured);
    let (name, id) = (instance.name().to_owned(), Some(instance.blob_key().0.to_owned()));
    BackendReport { name, state, id, detail, required: false, restarts: 0, process: None, capacity }
}

fn state_of(status: &Status, init_timeout: Duration) -> (ReportedState, String) {
    let seconds = status.since.elapsed().as_secs_f64();
    let summary = || status.incarnation.as_ref().map(|there| there.summary()).unwrap_or_default();
    let reason = || status.reason.clone();
    let first = status.incarnations <= 1;
    match status.state {
        State::Starting if first && status.since.elapsed() > init_timeout => {
            (ReportedState::Late, format!("still loading after {seconds:.0} s"))
        }
        State::Starting if first => (ReportedState::Opening, format!("since {seconds:.1} s")),
        State::Starting => (ReportedState::Restarting, format!("since {seconds:.1} s")),
        State::Ready | State::Late => (ReportedState::Ready, summary()),
        State::Draining => (ReportedState::Restarting, format!("draining: {}", status.reason)),
        State::Dead | State::BackingOff => (ReportedState::Restarting, reason()),
        State::Quarantined => (ReportedState::Quarantined, reason()),
        State::Refused | State::Idle => (ReportedState::Failed, reason()),
    }
}
