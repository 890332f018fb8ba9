//! What happens to a session, for whoever watches it: a short numbered history, and a bell.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

/// Something that happened to a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SessionEvent {
    /// Another backend draws.
    Backend(BackendChange),
    /// The session is over.
    Ended {
        /// Why, in a sentence.
        reason: String,
    },
    /// The server ends.
    Draining {
        /// The session goes on for so long at most, seconds.
        seconds: u64,
    },
}

/// A change from one backend to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackendChange {
    /// Who drew; `None`: nobody.
    pub from: Option<String>,
    /// Who draws; `None`: nobody is left, the avatar plays on.
    pub to: Option<String>,
    /// `lost`, `late`, `failing`, `return` or `replaced`.
    pub reason: &'static str,
    /// The first frame that was asked of the new one.
    pub frame: u64,
}

impl SessionEvent {
    /// Its kind in a word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Backend(_) => "backend",
            Self::Ended { .. } => "ended",
            Self::Draining { .. } => "draining",
        }
    }
}

/// The events of one session, numbered from 1. The last one is its end.
#[derive(Debug)]
pub struct SessionEvents {
    log: Mutex<Log>,
    bell: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Log {
    count: u64,
    kept: VecDeque<(u64, SessionEvent)>,
    over: bool,
}

impl SessionEvents {
    /// Events that are kept for those who come late or come back.
    const KEPT: usize = 64;

    /// No events yet.
    pub fn new() -> Self {
        Self { log: Mutex::default(), bell: watch::Sender::new(()) }
    }

    /// Adds an event, unless the session is over.
    pub fn push(&self, event: SessionEvent) {
        let mut log = self.lock();
        if log.over {
            return;
        }
        log.over = matches!(event, SessionEvent::Ended { .. });
        log.count += 1;
        let number = log.count;
        log.kept.push_back((number, event));
        if log.kept.len() > Self::KEPT {
            log.kept.pop_front();
        }
        drop(log);
        self.bell.send_replace(());
    }

    /// The last change of backend, while it is kept.
    pub fn last_change(&self) -> Option<BackendChange> {
        self.lock().kept.iter().rev().find_map(|(_, event)| match event {
            SessionEvent::Backend(change) => Some(change.clone()),
            _ => None,
        })
    }

    /// The first event after number `after`, with its number, once there is one; what is no longer kept is left out.
    /// A number that no event has yet is one of an earlier session of the same name, and counts as 0.
    /// `None` when the session is over and nothing comes any more.
    pub async fn next(&self, after: u64) -> Option<(u64, SessionEvent)> {
        let mut bell = self.bell.subscribe();
        loop {
            {
                let log = self.lock();
                let after = if after > log.count { 0 } else { after };
                if let Some(event) = log.kept.iter().find(|(number, _)| *number > after) {
                    return Some(event.clone());
                }
                if log.over {
                    return None;
                }
            }
            // The sender lives as long as `self`.
            bell.changed().await.ok()?;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        // Nothing here panics while it holds the lock halfway through a change.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for SessionEvents {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn draining(seconds: u64) -> SessionEvent {
        SessionEvent::Draining { seconds }
    }

    #[tokio::test]
    async fn who_comes_back_hears_what_came_since_and_the_end_is_the_last() {
        let events = Arc::new(SessionEvents::new());
        let waiting = tokio::spawn({
            let events = events.clone();
            async move { events.next(0).await }
        });
        tokio::task::yield_now().await;
        events.push(draining(1));
        assert_eq!(waiting.await.unwrap(), Some((1, draining(1))));
        events.push(draining(2));
        let ended = SessionEvent::Ended { reason: "it was stopped".to_owned() };
        events.push(ended.clone());
        events.push(draining(3));
        assert_eq!(events.next(1).await, Some((2, draining(2))));
        assert_eq!(events.next(2).await, Some((3, ended)));
        assert_eq!(events.next(3).await, None);
    }

    #[tokio::test]
    async fn a_number_of_an_earlier_session_hides_nothing() {
        let events = SessionEvents::new();
        events.push(draining(1));
        assert_eq!(events.next(57).await, Some((1, draining(1))));
    }

    #[tokio::test]
    async fn only_the_last_events_are_kept() {
        let events = SessionEvents::new();
        (1..=100).for_each(|seconds| events.push(draining(seconds)));
        assert_eq!(events.next(0).await, Some((37, draining(37))));
    }
}
