//! The names of sessions: taken when a session is asked for, its own when it runs, free when it is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lipcast_engine::avatar::Job;

use crate::app::{Rejection, StudioError};

/// Sessions that start or run, at most so many; `P` is a performance.
pub(super) struct Sessions<P> {
    slots: Mutex<Slots<P>>,
    most: usize,
}

struct Slots<P> {
    by_name: HashMap<String, Slot<P>>,
    /// The server ends: nothing starts any more.
    closed: bool,
}

enum Slot<P> {
    /// Asked for; its job stops what is done to open it.
    Starting(Arc<Job>),
    Running(Arc<P>),
}

/// A name that is taken while its session is being opened; freed when that comes to nothing.
pub(super) struct Place<P> {
    sessions: Arc<Sessions<P>>,
    name: String,
    job: Arc<Job>,
}

/// What [`Sessions::end`] found.
pub(super) enum Ended<P> {
    /// It had not begun, and now will not.
    Starting,
    /// The caller ends it.
    Running(Arc<P>),
}

impl<P> Sessions<P> {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let slots = Slots { by_name: HashMap::new(), closed: false };
        Arc::new(Self { slots: Mutex::new(slots), most })
    }

    /// Takes `name` for a session that is going to be opened.
    ///
    /// # Errors
    /// `Conflict` when it is taken, `Busy` when there is no room or the server ends.
    pub(super) fn take(self: &Arc<Self>, name: &str) -> Result<Place<P>, StudioError> {
        let mut slots = self.lock();
        if slots.closed {
            return Err(StudioError::Busy {
                detail: "the server is ending".to_owned(),
                retry_after: 5,
                reason: Rejection::Draining,
            });
        }
        if slots.by_name.contains_key(name) {
            let detail =
                format!("session \"{name}\" is running; stop it first, or choose another session_id");
            return Err(StudioError::Conflict(detail));
        }
        if slots.by_name.len() >= self.most {
            let detail = format!("{} sessions run, the most there may be", self.most);
            return Err(StudioError::Busy { detail, retry_after: 5, reason: Rejection::Sessions });
        }
        let job = Arc::new(Job::new());
        slots.by_name.insert(name.to_owned(), Slot::Starting(job.clone()));
        Ok(Place { sessions: self.clone(), name: name.to_owned(), job })
    }

    /// The session that runs under `name`.
    pub(super) fn running(&self, name: &str) -> Option<Arc<P>> {
        self.lock().by_name.get(name).and_then(Slot::running)
    }

    /// From now on nothing starts; what is being opened will not run.
    pub(super) fn drain(&self) {
        let mut slots = self.lock();
        slots.closed = true;
        slots.by_name.retain(|_, slot| match slot {
            Slot::Starting(job) => {
                job.cancel();
                false
            }
            Slot::Running(_) => true,
        });
    }

    /// Whether nothing starts any more.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// How many are being opened.
    pub(super) fn starting(&self) -> usize {
        self.lock().by_name.values().filter(|slot| matches!(slot, Slot::Starting(_))).count()
    }

    /// All that run, by name.
    pub(super) fn all(&self) -> Vec<(String, Arc<P>)> {
        let slots = self.lock();
        let running = |(name, slot): (&String, &Slot<P>)| Some((name.clone(), slot.running()?));
        let mut all: Vec<_> = slots.by_name.iter().filter_map(running).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Frees `name`; a session that was being opened under it will not run. `None` when nobody has it.
    pub(super) fn end(&self, name: &str) -> Option<Ended<P>> {
        match self.lock().by_name.remove(name)? {
            Slot::Starting(job) => {
                job.cancel();
                Some(Ended::Starting)
            }
            Slot::Running(performance) => Some(Ended::Running(performance)),
        }
    }

    /// Frees `name`; `false` when the performance has it no more. Whoever frees it ends the performance, so that it ends
    /// once and for one reason.
    pub(super) fn remove(&self, name: &str, performance: &Arc<P>) -> bool {
        let mut slots = self.lock();
        let running = slots.by_name.get(name).and_then(Slot::running);
        let is_its = running.is_some_and(|now| Arc::ptr_eq(&now, performance));
        is_its && slots.by_name.remove(name).is_some()
    }

    /// Frees all names for good, and gives what ran; what was being opened will not run.
    pub(super) fn close(&self) -> Vec<Arc<P>> {
        let mut slots = self.lock();
        slots.closed = true;
        let slots = std::mem::take(&mut slots.by_name).into_values();
        let running = slots.filter_map(|slot| match slot {
            Slot::Starting(job) => {
                job.cancel();
                None
            }
            Slot::Running(performance) => Some(performance),
        });
        running.collect()
    }

    fn lock(&self) -> MutexGuard<'_, Slots<P>> {
        // Nothing here panics while it holds the lock halfway through a change.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P> Slot<P> {
    fn running(&self) -> Option<Arc<P>> {
        match self {
            Self::Starting(_) => None,
            Self::Running(performance) => Some(performance.clone()),
        }
    }
}

impl<P> Place<P> {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What stops the opening when the session is stopped meanwhile.
    pub(super) fn job(&self) -> Job {
        (*self.job).clone()
    }

    /// The session runs now; `false` when it was stopped meanwhile, and the caller has to end it.
    #[must_use]
    pub(super) fn fill(&self, performance: &Arc<P>) -> bool {
        let mut slots = self.sessions.lock();
        match slots.by_name.get_mut(&self.name) {
            Some(slot) if slot.is_start_of(&self.job) => {
                *slot = Slot::Running(performance.clone());
                true
            }
            _ => false,
        }
    }
}

impl<P> Slot<P> {
    fn is_start_of(&self, job: &Arc<Job>) -> bool {
        matches!(self, Self::Starting(own) if Arc::ptr_eq(own, job))
    }
}

impl<P> Drop for Place<P> {
    fn drop(&mut self) {
        let mut slots = self.sessions.lock();
        // The name may be another start's by now, or this session may run.
        if slots.by_name.get(&self.name).is_some_and(|slot| slot.is_start_of(&self.job)) {
            slots.by_name.remove(&self.name);
            // Whoever asked may be gone, with the session still being opened.
            self.job.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_stopped_while_it_starts_does_not_run() {
        let sessions = Sessions::<()>::new(2);
        let place = sessions.take("anna").unwrap();
        assert!(matches!(sessions.end("anna"), Some(Ended::Starting)));
        assert!(place.job().is_cancelled());
        assert!(sessions.end("anna").is_none(), "it is over");
        // The name is free at once, and what comes to its end late leaves its next owner alone.
        let next = sessions.take("anna").unwrap();
        assert!(!place.fill(&Arc::new(())));
        let running = Arc::new(());
        assert!(next.fill(&running));
        assert!(Arc::ptr_eq(&sessions.running("anna").unwrap(), &running));
        assert!(!sessions.remove("anna", &Arc::new(())));
        assert_eq!(sessions.all().len(), 1, "only its own performance takes it away");
        // Of those who would end it, one does.
        assert!(sessions.remove("anna", &running));
        assert!(!sessions.remove("anna", &running) && sessions.end("anna").is_none());
    }

    #[test]
    fn sessions_count_while_they_start() {
        let sessions = Sessions::<()>::new(2);
        let places = [sessions.take("a").unwrap(), sessions.take("b").unwrap()];
        assert!(matches!(sessions.take("a"), Err(StudioError::Conflict(_))));
        assert!(matches!(sessions.take("c"), Err(StudioError::Busy { .. })));
        drop(places);
        assert!(sessions.take("c").is_ok(), "a start that came to nothing frees its place");
    }

    #[test]
    fn after_the_end_nothing_runs() {
        let sessions = Sessions::<()>::new(4);
        let (running, starting) = (Arc::new(()), sessions.take("b").unwrap());
        assert!(sessions.take("a").unwrap().fill(&running));
        assert_eq!(sessions.close().len(), 1);
        assert!(starting.job().is_cancelled() && !starting.fill(&Arc::new(())));
        assert!(matches!(sessions.take("c"), Err(StudioError::Busy { .. })));
        assert!(sessions.all().is_empty());
    }
}
