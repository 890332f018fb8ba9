//! Preparations: each one a job with an id, progress and an outcome, whoever asked for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use lipcast_engine::avatar::{AvatarId, Job, Stage};
use serde::Serialize;
use tokio::sync::{Semaphore, watch};

use super::{Rejection, Studio, StudioError};
use crate::files::OpenedMedia;

/// How many finished jobs are remembered.
const REMEMBERED: usize = 200;

/// How many preparations wait for the running one; more are refused.
const WAITING: usize = 16;

/// All jobs. Preparations run one after the other: each uses every core for itself.
#[derive(Debug)]
pub struct Jobs {
    entries: Mutex<VecDeque<Arc<Entry>>>,
    turn: Arc<Semaphore>,
}

#[derive(Debug)]
struct Entry {
    id: String,
    avatar: AvatarId,
    job: Job,
    outcome: watch::Sender<Option<Outcome>>,
}

/// How a job ended. Texts are for the client.
#[derive(Debug, Clone)]
enum Outcome {
    Succeeded,
    Failed(String),
    Cancelled,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It waits for another to finish, or works.
    Running,
    /// Done; the avatar can be shown.
    Succeeded,
    /// It did not work; `detail` says why.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// A job as clients see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobRecord {
    /// Its id.
    pub id: String,
    /// What is done: always `prepare`.
    pub kind: &'static str,
    /// For which avatar.
    pub avatar_id: AvatarId,
    /// Where it is.
    pub state: JobState,
    /// The step that is being done.
    pub stage: &'static str,
    /// Of the whole, 0 to 1.
    pub progress: f64,
    /// Why it failed; of one that succeeded, which backends cannot show the avatar, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self { entries: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Jobs {
    /// Begins to prepare `avatar` from `source`; `then` runs when the job is over.
    ///
    /// # Errors
    /// `Conflict` while the same avatar is being prepared, `Busy` when too many jobs wait.
    pub fn prepare(
        &self,
        studio: Arc<dyn Studio>,
        avatar: AvatarId,
        source: OpenedMedia,
        then: impl Future<Output = ()> + Send + 'static,
    ) -> Result<String, StudioError> {
        let entry = self.enter(avatar)?;
        let (id, turn) = (entry.id.clone(), self.turn.clone());
        tokio::spawn(async move {
            let _turn = turn.acquire_owned().await;
            let worker = entry.clone();
            let work = tokio::task::spawn_blocking(move || {
                if worker.job.is_cancelled() {
                    return Err(StudioError::Cancelled);
                }
                studio.prepare(&worker.avatar, &source, &worker.job).map(|_| ())
            });
            let outcome = match work.await {
                Ok(Ok(())) => Outcome::Succeeded,
                Ok(Err(StudioError::Cancelled)) => Outcome::Cancelled,
                Ok(Err(error)) => Outcome::failed(&entry, &error),
                Err(panic) => Outcome::failed(&entry, &StudioError::internal(panic)),
            };
            then.await;
            entry.outcome.send_replace(Some(outcome));
        });
        Ok(id)
    }

    /// Waits until a job is over; `None` for an unknown id.
    pub async fn wait(&self, id: &str) -> Option<JobRecord> {
        let entry = self.find(id)?;
        let mut outcome = entry.outcome.subscribe();
        // The sender lives in `entry`, so waiting cannot fail.
        let _ = outcome.wait_for(Option::is_some).await;
        Some(entry.record())
    }

    /// One job.
    pub fn record(&self, id: &str) -> Option<JobRecord> {
        self.find(id).map(|entry| entry.record())
    }

    /// Asks a job to stop; `None` for an unknown id.
    pub fn cancel(&self, id: &str) -> Option<JobRecord> {
        let entry = self.find(id)?;
        entry.job.cancel();
        Some(entry.record())
    }

    /// Asks every running job to stop.
    pub fn cancel_all(&self) {
        for entry in self.lock().iter() {
            entry.job.cancel();
        }
    }

    fn enter(&self, avatar: AvatarId) -> Result<Arc<Entry>, StudioError> {
        let mut entries = self.lock();
        let open = || entries.iter().filter(|entry| !entry.is_over());
        if open().any(|entry| entry.avatar == avatar) {
            return Err(StudioError::Conflict(format!("avatar \"{avatar}\" is being prepared already")));
        }
        if open().count() > WAITING {
            let detail = "too many avatars wait to be prepared".to_owned();
            return Err(StudioError::Busy { detail, retry_after: 30, reason: Rejection::Preparing });
        }
        while entries.len() >= REMEMBERED {
            match entries.iter().position(|entry| entry.is_over()) {
                Some(oldest) => entries.remove(oldest),
                None => break,
            };
        }
        let id = format!("{:016x}", rand::random::<u64>());
        let entry = Arc::new(Entry { id, avatar, job: Job::new(), outcome: watch::Sender::new(None) });
        entries.push_back(entry.clone());
        Ok(entry)
    }

    fn find(&self, id: &str) -> Option<Arc<Entry>> {
        self.lock().iter().find(|entry| entry.id == id).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn is_over(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    fn record(&self) -> JobRecord {
        let (state, detail) = match &*self.outcome.borrow() {
            None => (JobState::Running, None),
            Some(Outcome::Succeeded) => {
                let notes = self.job.notes();
                (JobState::Succeeded, (!notes.is_empty()).then(|| notes.join("; ")))
            }
            Some(Outcome::Failed(detail)) => (JobState::Failed, Some(detail.clone())),
            Some(Outcome::Cancelled) => (JobState::Cancelled, Some("cancelled".to_owned())),
        };
        let progress = self.job.progress();
        let progress_permille = match state {
            JobState::Succeeded => 1_000,
            _ => overall(progress.permille, self.job.backend_permille()),
        };
        // The avatar is there; the first backend still makes its own of it.
        let loads = state == JobState::Running && progress.stage == Stage::Done;
        JobRecord {
            id: self.id.clone(),
            kind: "prepare",
            avatar_id: self.avatar.clone(),
            state,
            stage: if loads { "loading" } else { progress.stage.name() },
            progress: f64::from(progress_permille) / 1_000.0,
            detail,
        }
    }
}

/// Of the whole, permille: the store's part, which is done when the backend's begins, and the backend's.
pub(crate) fn overall(store: u16, backend: Option<u16>) -> u16 {
    (store * 7 + backend.unwrap_or(0) * 3) / 10
}

#[cfg(test)]
#[test]
fn the_backends_part_follows_the_stores() {
    let steps =
        [(0, None), (999, None), (1_000, None), (1_000, Some(0)), (1_000, Some(500)), (1_000, Some(1_000))];
    assert_eq!(steps.map(|(store, backend)| overall(store, backend)), [0, 699, 700, 700, 850, 1_000]);
}

impl Outcome {
    fn failed(entry: &Entry, error: &StudioError) -> Self {
        if let StudioError::Internal(cause) = error {
            tracing::error!(job = entry.id, avatar = %entry.avatar, cause, "preparation failed");
        }
        Self::Failed(error.to_string())
    }
}
