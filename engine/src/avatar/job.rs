//! A handle on long work: how far it is, and a way to stop it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use crate::sync::lock;

/// What a preparation is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing yet.
    Waiting,
    /// The source is copied and its landmark model loaded.
    Opening,
    /// Frames are decoded, searched for faces, converted and written.
    Frames,
    /// Landmarks are smoothed; files are flushed and put in place.
    Saving,
    /// Over: finished, failed or cancelled; the call's result tells which.
    Done,
}

impl Stage {
    /// A lower-case word for logs and replies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Opening => "opening",
            Self::Frames => "frames",
            Self::Saving => "saving",
            Self::Done => "done",
        }
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Of the whole job, 0 to 1000; never goes back.
    pub permille: u16,
}

/// Shared between the thread that works and those that watch; clones are the same job.
#[derive(Debug, Clone, Default)]
pub struct Job {
    state: Arc<State>,
    /// Of a part of it: whether that alone was cancelled.
    part_cancelled: Option<Arc<AtomicBool>>,
}

#[derive(Debug, Default)]
struct State {
    cancelled: AtomicBool,
    /// Stage in the upper half, permille in the lower: one store, so that the two always fit.
    progress: AtomicU32,
    /// Of the backend's own part, permille and one; 0 before it begins.
    backend: AtomicU32,
    notes: Mutex<Vec<String>>,
}

impl Job {
    /// A job that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// A part of the whole job: its progress is the whole's, and it can be cancelled by itself.
    pub fn part(&self) -> Self {
        Self { state: self.state.clone(), part_cancelled: Some(Arc::default()) }
    }

    /// Where the work is.
    pub fn progress(&self) -> Progress {
        let packed = self.state.progress.load(Ordering::Relaxed);
        let stage = match packed >> 16 {
            0 => Stage::Waiting,
            1 => Stage::Opening,
            2 => Stage::Frames,
            3 => Stage::Saving,
            _ => Stage::Done,
        };
        Progress { stage, permille: packed as u16 }
    }

    /// How far a backend is with what it makes of the avatar, which follows the store's part: 0 to 1000, never going
    /// back; `None` before it begins.
    pub fn backend_permille(&self) -> Option<u16> {
        Some(self.state.backend.load(Ordering::Relaxed).checked_sub(1)? as u16)
    }

    /// Asks the work to stop; it does so within about one frame, and leaves nothing behind.
    pub fn cancel(&self) {
        self.part_cancelled.as_deref().unwrap_or(&self.state.cancelled).store(true, Ordering::Relaxed);
    }

    /// Asks the whole job to stop, also where this is a part of it.
    pub fn cancel_whole(&self) {
        self.state.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether [`Job::cancel`] was called, of a part also whether it was of the whole.
    pub fn is_cancelled(&self) -> bool {
        let part = self.part_cancelled.as_ref().is_some_and(|cancelled| cancelled.load(Ordering::Relaxed));
        part || self.is_whole_cancelled()
    }

    /// Whether the whole job was cancelled, and not only this part of it.
    pub fn is_whole_cancelled(&self) -> bool {
        self.state.cancelled.load(Ordering::Relaxed)
    }

    /// Tells what did not keep it from succeeding, and whoever began it should know, in a line.
    pub fn note(&self, text: String) {
        lock(&self.state.notes).push(text);
    }

    /// What was [noted](Job::note).
    pub fn notes(&self) -> Vec<String> {
        lock(&self.state.notes).clone()
    }

    /// Tells the watchers; called by the worker only.
    pub(crate) fn set(&self, stage: Stage, permille: u16) {
        let packed = ((stage as u32) << 16) | u32::from(permille.min(1000));
        self.state.progress.fetch_max(packed, Ordering::Relaxed);
    }

    /// Tells the watchers how far the backend says it is; called by its thread only.
    pub(crate) fn set_backend(&self, permille: u32) {
        self.state.backend.fetch_max(permille.min(1000) + 1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_progress_and_cancel() {
        let job = Job::new();
        let watcher = job.clone();
        assert_eq!(watcher.progress(), Progress { stage: Stage::Waiting, permille: 0 });
        job.set(Stage::Frames, 412);
        job.part().set(Stage::Opening, 20);
        assert_eq!(watcher.progress(), Progress { stage: Stage::Frames, permille: 412 });
        let part = job.part();
        part.cancel();
        assert!(part.is_cancelled() && part.clone().is_cancelled());
        assert!(!part.is_whole_cancelled() && !job.is_cancelled() && !job.part().is_cancelled());
        job.part().cancel_whole();
        assert!(job.is_cancelled());
        watcher.cancel();
        assert!(job.is_cancelled() && job.part().is_cancelled());
    }
}
