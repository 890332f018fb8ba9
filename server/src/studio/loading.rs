//! Which avatar is loaded in which backend instance, and the making of blobs that are missing: each once at a time,
//! whoever waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use lipcast_engine::avatar::{Avatar, AvatarError, AvatarId, Job, RgbSource};
use lipcast_engine::backend::{self, Instance, LoadError, LoadedAvatar};

/// Loaded avatars and preparations that run. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Loading(Arc<Shared>);

#[derive(Default)]
struct Shared {
    entries: Mutex<HashMap<Key, Entry>>,
    changed: Condvar,
}

/// An avatar and the name of an instance.
type Key = (AvatarId, String);

/// What is known of an avatar in an instance, good as long as both are the ones it is about.
struct Entry {
    avatar: Weak<Avatar>,
    instance: Weak<dyn Instance>,
    state: State,
}

#[derive(Clone)]
enum State {
    /// Its blob is being loaded, which takes a moment.
    Loading,
    /// Its blob is being made; the job stops that.
    Preparing(Job),
    Loaded(Arc<dyn LoadedAvatar>),
    /// It could not be; tried again when [`PATIENCE`] has passed.
    Failed(String, Instant),
}

/// How long a failure stands before the same is tried again: a full disk may have been cleared by then.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often somebody who waits looks whether it still shall.
const LOOK: Duration = Duration::from_millis(50);

/// A preparation that took longer has a line in the log, for those who saw another backend meanwhile.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

/// Whether somebody waits for what is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// A session does.
    Now,
    /// It is for the day a backend fails: everything else comes first.
    Later,
}

/// What [`Loading::at_once`] finds.
pub(super) enum Found {
    Loaded(Arc<dyn LoadedAvatar>),
    /// Its blob has to be made first; [`Loading::in_background`] does it.
    Missing,
    /// It cannot be loaded; why.
    Failed(String),
}

/// Why an avatar is not loaded.
#[derive(Debug)]
pub(super) struct Unloaded {
    pub(super) reason: String,
    /// The instance was replaced meanwhile: the one in its place was not asked.
    pub(super) replaced: bool,
}

impl From<String> for Unloaded {
    fn from(reason: String) -> Self {
        Self { reason, replaced: false }
    }
}

impl Unloaded {
    /// What was under way as `job`, or a part of it, is not any more.
    fn stopped(job: &Job) -> Self {
        let replaced = !job.is_whole_cancelled();
        let reason = if replaced { "it was started anew meanwhile" } else { "cancelled" };
        Self { reason: reason.to_owned(), replaced }
    }
}

impl Loading {
    /// `avatar` in `instance`, if it is loaded or has a blob that can be.
    pub(super) fn at_once(&self, avatar: &Arc<Avatar>, instance: &Arc<dyn Instance>) -> Found {
        let mut entries = self.lock();
        loop {
            match entries.get(&key(avatar, instance)).filter(|entry| entry.is_about(avatar, instance)) {
                Some(Entry { state: State::Loading, .. }) => entries = self.sleep(entries),
                Some(Entry { state: State::Loaded(there), .. }) => return Found::Loaded(there.clone()),
                Some(Entry { state: State::Preparing(_), .. }) => return Found::Missing,
                Some(Entry { state: State::Failed(reason, _), .. }) => return Found::Failed(reason.clone()),
                None => break,
            }
        }
        drop(entries);
        if !self.begin(avatar, instance, State::Loading) {
            // Somebody else was faster.
            return self.at_once(avatar, instance);
        }
        let load = || backend::load_existing(avatar, instance).map_err(|error| reason(&error));
        let existing =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(load)).unwrap_or_else(|_| panicked());
        let (state, found) = match existing {
            Ok(Some(there)) => (Some(State::Loaded(there.clone())), Found::Loaded(there)),
            Ok(None) => (None, Found::Missing),
            Err(reason) => (None, Found::Failed(reason)),
        };
        self.settle(avatar, instance, state);
        found
    }

    /// Begins to prepare `avatar` for `instance` on a thread of its own; `false` when somebody does already, or it is
    /// done.
    pub(super) fn in_background(
        &self,
        avatar: &Arc<Avatar>,
        instance: &Arc<dyn Instance>,
        haste: Haste,
    ) -> bool {
        let job = Job::new().part();
        if !self.begin(avatar, instance, State::Preparing(job.clone())) {
            return false;
        }
        let (loading, whom, place) = (self.clone(), avatar.clone(), instance.clone());
        let span = tracing::Span::current();
        let prepare = move || {
            if haste == Haste::Later {
                // Of this thread alone. Where the system refuses, it is as it was.
                let _ = rustix::process::nice(10);
            }
            span.in_scope(|| drop(loading.prepare(&whom, &place, None, &job)));
        };
        if let Err(error) = std::thread::Builder::new().name("prepare blob".to_owned()).spawn(prepare) {
            tracing::error!(%error, "no thread to prepare an avatar");
            let reason = "this server has no thread left to prepare it".to_owned();
            self.settle(avatar, instance, Some(State::Failed(reason, Instant::now())));
        }
        true
    }

    /// `avatar` in `instance`, for as long as it takes: its blob is made when it is missing, here or, when somebody
    /// is at it already, there. `frames` are the source's, where they are at hand.
    ///
    /// # Errors
    /// Why it cannot be; also when `job` is cancelled.
    pub(super) fn wait(
        &self,
        avatar: &Arc<Avatar>,
        instance: &Arc<dyn Instance>,
        frames: Option<RgbSource>,
        job: &Job,
    ) -> Result<Arc<dyn LoadedAvatar>, Unloaded> {
        match self.at_once(avatar, instance) {
            Found::Loaded(there) => Ok(there),
            Found::Failed(reason) => Err(reason.into()),
            Found::Missing => {
                // Whoever forgets the instance stops this, and not all that its caller does.
                let part = job.part();
                if !self.begin(avatar, instance, State::Preparing(part.clone())) {
                    return self.outcome(avatar, instance, job);
                }
                let loaded = self.prepare(avatar, instance, frames, &part);
                loaded.map_err(
                    |reason| if part.is_cancelled() { Unloaded::stopped(job) } else { reason.into() },
                )
            }
        }
    }

    /// Waits for a preparation that runs.
    ///
    /// # Errors
    /// Why it failed; also when `job`, that of who waits, is cancelled.
    pub(super) fn outcome(
        &self,
        avatar: &Arc<Avatar>,
        instance: &Arc<dyn Instance>,
        job: &Job,
    ) -> Result<Arc<dyn LoadedAvatar>, Unloaded> {
        let mut under_way = job.clone();
        let mut entries = self.lock();
        loop {
            match entries.get(&key(avatar, instance)).filter(|entry| entry.is_for(avatar, instance)) {
                Some(Entry { state: State::Loaded(there), .. }) => return Ok(there.clone()),
                Some(Entry { state: State::Failed(reason, _), .. }) => return Err(reason.clone().into()),
                _ if job.is_cancelled() => return Err(Unloaded::stopped(job)),
                Some(Entry { state: State::Preparing(work), .. }) => under_way = work.clone(),
                Some(Entry { state: State::Loading, .. }) => {}
                None => return Err(Unloaded::stopped(&under_way)),
            }
            entries = self.sleep(entries);
        }
    }

    /// Forgets an avatar; preparations of it stop.
    pub(super) fn forget(&self, id: &AvatarId) {
        // Unloading may take a while: not under the lock.
        let forgotten: Vec<_> = self.lock().extract_if(|(avatar, _), _| avatar == id).collect();
        stop(forgotten.into_iter().map(|(_, entry)| entry), Job::cancel_whole);
        self.0.changed.notify_all();
    }

    /// Forgets what is loaded in an instance that was replaced; preparations for it stop.
    pub(super) fn forget_instance(&self, instance: &Arc<dyn Instance>) {
        let is_in_it =
            |entry: &mut Entry| entry.instance.upgrade().is_none_or(|known| Arc::ptr_eq(&known, instance));
        let forgotten: Vec<_> = self.lock().extract_if(|_, entry| is_in_it(entry)).collect();
        // Whoever asked for it may ask the one in its place.
        stop(forgotten.into_iter().map(|(_, entry)| entry), Job::cancel);
        self.0.changed.notify_all();
    }

    /// Stops all preparations.
    pub(super) fn stop(&self) {
        let entries = std::mem::take(&mut *self.lock());
        stop(entries.into_values(), Job::cancel_whole);
        self.0.changed.notify_all();
    }

    /// Notes what the caller does; `false` when somebody does already, or it is done.
    fn begin(&self, avatar: &Arc<Avatar>, instance: &Arc<dyn Instance>, state: State) -> bool {
        let mut entries = self.lock();
        if entries.get(&key(avatar, instance)).is_some_and(|entry| entry.is_about(avatar, instance)) {
            return false;
        }
        let former = entries.insert(key(avatar, instance), Entry::new(avatar, instance, state));
        // What was loaded in instances that are no more holds memory and descriptors.
        let dead: Vec<_> = entries.extract_if(|_, entry| entry.instance.strong_count() == 0).collect();
        drop(entries);
        // After the lock: unloading may take a while.
        drop((former, dead));
        true
    }

    /// Notes what came of what the caller [began](Self::begin), and tells who waits; not if it was forgotten
    /// meanwhile, or is another's. Without a state the next one may try again at once.
    fn settle(&self, avatar: &Arc<Avatar>, instance: &Arc<dyn Instance>, state: Option<State>) {
        let mut entries = self.lock();
        let own = entries
            .get_mut(&key(avatar, instance))
            .filter(|entry| entry.is_for(avatar, instance) && entry.state.is_under_way());
        match (own, state) {
            (Some(entry), Some(state)) => entry.state = state,
            (Some(_), None) => drop(entries.remove(&key(avatar, instance))),
            (None, _) => {}
        }
        drop(entries);
        self.0.changed.notify_all();
    }

    /// Does what [`Loading::begin`] announced, and tells who waits.
    fn prepare(
        &self,
        avatar: &Arc<Avatar>,
        instance: &Arc<dyn Instance>,
        frames: Option<RgbSource>,
        job: &Job,
    ) -> Result<Arc<dyn LoadedAvatar>, String> {
        let load = || backend::load_avatar(avatar, instance, frames, job).map_err(|error| reason(&error));
        let begun = Instant::now();
        let loaded =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(load)).unwrap_or_else(|_| panicked());
        let (backend, id, took) = (instance.name(), avatar.id(), begun.elapsed());
        let state = match &loaded {
            Ok(there) => {
                if took > WORTH_A_LINE {
                    tracing::info!(backend, avatar = %id, seconds = took.as_secs(), "can show it now");
                }
                State::Loaded(there.clone())
            }
            Err(reason) => {
                if !job.is_cancelled() {
                    tracing::warn!(backend, avatar = %id, reason, "cannot show it");
                }
                State::Failed(reason.clone(), Instant::now())
            }
        };
        // The next one may try again at once.
        self.settle(avatar, instance, Some(state).filter(|_| !job.is_cancelled()));
        loaded
    }

    fn sleep<'a>(&self, entries: MutexGuard<'a, HashMap<Key, Entry>>) -> MutexGuard<'a, HashMap<Key, Entry>> {
        self.0.changed.wait_timeout(entries, LOOK).unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(avatar: &Arc<Avatar>, instance: &Arc<dyn Instance>, state: State) -> Self {
        Self { avatar: Arc::downgrade(avatar), instance: Arc::downgrade(instance), state }
    }

    fn is_for(&self, avatar: &Arc<Avatar>, instance: &Arc<dyn Instance>) -> bool {
        let same_avatar = self.avatar.upgrade().is_some_and(|known| Arc::ptr_eq(&known, avatar));
        same_avatar && self.instance.upgrade().is_some_and(|known| Arc::ptr_eq(&known, instance))
    }

    /// Whether it is for them and still good.
    fn is_about(&self, avatar: &Arc<Avatar>, instance: &Arc<dyn Instance>) -> bool {
        let over = matches!(&self.state, State::Failed(_, since) if since.elapsed() > PATIENCE);
        !over && self.is_for(avatar, instance)
    }
}

impl State {
    fn is_under_way(&self) -> bool {
        matches!(self, Self::Loading | Self::Preparing(_))
    }
}

fn panicked<T>() -> Result<T, String> {
    Err("it panicked while it was prepared".to_owned())
}

/// What a client may be told: the disk's errors name folders, which are the operator's.
fn reason(error: &LoadError) -> String {
    match error {
        LoadError::Avatar(AvatarError::Io { source, .. }) => {
            tracing::warn!(%error, "an avatar's files");
            format!("this server's disk: {}", source.kind())
        }
        error => error.to_string(),
    }
}

fn stop(entries: impl Iterator<Item = Entry>, cancel: fn(&Job)) {
    for entry in entries {
        if let State::Preparing(job) = entry.state {
            cancel(&job);
        }
    }
}

fn key(avatar: &Avatar, instance: &Arc<dyn Instance>) -> Key {
    (avatar.id().clone(), instance.name().to_owned())
}
